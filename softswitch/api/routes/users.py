"""Users, tokens and the audit log."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator, Field

from softswitch.api.access import PREFIX, GuardedRoute, Me, Role, scopes
from softswitch.api.accounts import PASSWORD_MAX
from softswitch.api.models import (
    Epoch,
    Id,
    IfMatch,
    Input,
    Line,
    Output,
    Text,
    among,
    given,
    tag,
    version_of,
)
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, page_read, write_cursor
from softswitch.api.service import Served
from softswitch.config.problems import nearest
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_SCOPE = r"^(\*|[a-z]{1,32}:(read|write))$"


def _known(scope: str) -> str:
    """A scope that nothing asks for is a slip: its program would be refused everywhere."""
    known = scopes()
    if scope != "*" and scope not in known:
        raise ValueError(f"there is no scope {scope}{nearest(scope, known)}")
    return scope


Scope = Annotated[str, Field(pattern=_SCOPE, max_length=64), AfterValidator(_known)]


class UserShown(Output):
    """One user."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["zhao"])
    full_name: str = Field(examples=["Zhao Min"])
    role: str = Field(examples=["supervisor"], json_schema_extra=among(get_args(Role)))
    must_change: bool
    active: bool
    created_at_s: float
    version: int


class NewUser(Input):
    """A user to be."""

    name: str = Field(pattern=_NAME, examples=["zhao"])
    full_name: Line = Field(default="", examples=["Zhao Min"])
    role: Role = "agent"
    password: Text = Field(min_length=10, max_length=PASSWORD_MAX, examples=["correct-horse-1"])
    must_change: bool = True


class UserChange(Input):
    """What is to be different; what is left out stays."""

    full_name: Line | None = None
    role: Role | None = None
    password: Text | None = Field(default=None, min_length=10, max_length=PASSWORD_MAX)
    must_change: bool | None = None
    active: bool | None = None


@router.get("/users", tags=["users"])
async def list_users(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    role: Role | None = None,
    active: bool | None = None,
    text: Annotated[str, Query(max_length=64, description="A part of one of the names.")] = "",
) -> Page[UserShown]:
    """All users, by id. Agents of the office file are not among them: see `/agents`."""
    after = int_cursor(cursor) or 0
    users = service.accounts.users()
    words = text.casefold()
    found = [
        user
        for user in users
        if user.id > after
        and role in (None, user.role)
        and active in (None, user.active)
        and words in f"{user.name} {user.full_name}".casefold()
    ]
    return page_read(found, limit, UserShown.model_validate)


@router.post("/users", tags=["users"], status_code=201)
async def add_user(body: NewUser, response: Response, me: Me, service: Served) -> UserShown:
    """Add a user."""
    user = await service.accounts.add_user(
        me.actor,
        name=body.name,
        full_name=body.full_name,
        role=body.role,
        password_hash=await service.accounts.hash(body.password),
        must_change=body.must_change,
    )
    tag(response, user.version)
    return UserShown.model_validate(user)


@router.get("/users/{user_id}", tags=["users"])
async def show_user(user_id: Id, response: Response, service: Served) -> UserShown:
    """One user."""
    user = service.accounts.user(user_id)
    if user is None:
        raise Missing(f"there is no user {user_id}")
    tag(response, user.version)
    return UserShown.model_validate(user)


@router.patch("/users/{user_id}", tags=["users"])
async def change_user(
    user_id: Id,
    body: UserChange,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> UserShown:
    """Change a user; another password or role ends his sessions."""
    values: dict[str, Any] = {k: v for k, v in given(body).items() if v is not None}
    password = values.pop("password", None)
    if password is not None:
        values["password_hash"] = await service.accounts.hash(password)
    version = version_of(if_match)
    user = await service.accounts.change_user(me.actor, user_id, values, version)
    tag(response, user.version)
    return UserShown.model_validate(user)


@router.delete("/users/{user_id}", tags=["users"], status_code=204)
async def remove_user(user_id: Id, me: Me, service: Served, if_match: IfMatch = None) -> None:
    """Remove a user; what he did stays in the audit log."""
    await service.accounts.remove_user(me.actor, user_id, version_of(if_match))


TokenId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", examples=["0f3a1b2c4d5e"])]


class TokenShown(Output):
    """One token, without its secret."""

    id: str = Field(examples=["0f3a1b2c4d5e"])
    name: str = Field(examples=["CRM"])
    role: str = Field(examples=["agent"], json_schema_extra=among(get_args(Role)))
    scopes: list[str] = Field(examples=[["customers:read", "calls:read"]])
    created_by: str
    created_at_s: float
    expires_at_s: float | None


class TokenMade(TokenShown):
    """A new token with the text that its program sends, shown this once."""

    token: str = Field(examples=["sst_0f3a1b2c4d5e_..."])


class NewToken(Input):
    """A token to be. A scope is a resource and `read` or `write`, as in "calls:read"; "*" is all."""

    name: Line = Field(min_length=1, examples=["CRM"])
    role: Role = "agent"
    scopes: list[Scope] = Field(min_length=1, max_length=64, examples=[["customers:read"]])
    expires_at_s: Epoch | None = None


@router.get("/tokens", tags=["users"])
async def list_tokens(
    service: Served, limit: Limit = 200, cursor: Cursor = None, role: Role | None = None
) -> Page[TokenShown]:
    """All tokens, by when they were made."""
    found = [token for token in service.accounts.tokens() if role in (None, token.role)]
    page, more = page_of(found, lambda token: (token.created_at_s, token.id), limit, cursor)
    return Page(items=[TokenShown.model_validate(token) for token in page], next=more)


@router.post("/tokens", tags=["users"], status_code=201)
async def add_token(body: NewToken, me: Me, service: Served) -> TokenMade:
    """Make a token. Send it as `Authorization: Bearer ...`."""
    token, text = await service.accounts.add_token(
        me.actor,
        name=body.name,
        role=body.role,
        scopes=body.scopes,
        expires_at_s=body.expires_at_s,
    )
    shown = TokenShown.model_validate(token)
    return TokenMade(**shown.model_dump(), token=text)


@router.get("/tokens/{token_id}", tags=["users"])
async def show_token(token_id: TokenId, service: Served) -> TokenShown:
    """One token."""
    for token in service.accounts.tokens():
        if token.id == token_id:
            return TokenShown.model_validate(token)
    raise Missing(f"there is no token {token_id}")


@router.delete("/tokens/{token_id}", tags=["users"], status_code=204)
async def remove_token(token_id: TokenId, me: Me, service: Served) -> None:
    """Revoke a token, from now on."""
    await service.accounts.remove_token(me.actor, token_id)


class AuditShown(Output):
    """One line of the audit log."""

    id: int = Field(examples=[1])
    at_s: float
    actor: str = Field(examples=["user:zhao"])
    action: str = Field(examples=["customer-changed"])
    object: str = Field(examples=["customer:12"])
    details: dict[str, Any] = Field(examples=[{"name": ["Wang", "Wang Wei"]}])


@router.get("/audit", tags=["users"])
async def list_audit(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    object: Annotated[str | None, Query(max_length=256)] = None,  # noqa: A002
    actor: Annotated[str | None, Query(max_length=256)] = None,
    action: Annotated[str | None, Query(max_length=64, examples=["recording-played"])] = None,
    since_s: Epoch | None = None,
    until_s: Epoch | None = None,
) -> Page[AuditShown]:
    """Who changed what, and who listened to what, newest first."""
    lines = await service.store.ledger.lines(
        limit=limit + 1,
        before=int_cursor(cursor),
        thing=object,
        actor=actor,
        action=action,
        since_s=since_s,
        until_s=until_s,
    )
    items = [AuditShown.model_validate(line) for line in lines[:limit]]
    return Page(items=items, next=write_cursor(items[-1].id) if len(lines) > limit else None)
