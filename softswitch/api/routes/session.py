"""Logging in and out, and one's own password."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.accounts import PASSWORD_MAX
from softswitch.api.models import Input, Output, Text
from softswitch.api.service import Served
from softswitch.api.sessions import COOKIE

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["session"])


class Credentials(Input):
    """Name and password of a user, or id and password of an agent."""

    name: Text = Field(max_length=128, examples=["mary"])
    password: Text = Field(max_length=PASSWORD_MAX, examples=["console-secret-mary"])


class NewPassword(Input):
    """Another password for oneself."""

    old: Text = Field(max_length=PASSWORD_MAX)
    new: Text = Field(min_length=10, max_length=PASSWORD_MAX)


class SessionState(Output):
    """Who is logged in. Requests that change something must carry `csrf_token` as `X-CSRF-Token`."""

    name: str = Field(examples=["mary"])
    role: str = Field(examples=["supervisor"])
    kind: str = Field(description='"agent" of the office file, "user" or "token".')
    agent_id: str = Field(default="", description="Set where he serves queues.")
    must_change: bool = Field(default=False, description="Another password is to be chosen first.")
    scopes: list[str] | None = Field(default=None, description="Of a token; null is everything.")
    csrf_token: str | None = None


def _state(service: Served, identity: Identity) -> SessionState:
    session = identity.session
    return SessionState(
        name=identity.name,
        role=identity.role,
        kind=identity.kind,
        agent_id=identity.agent_id,
        must_change=identity.must_change,
        scopes=None if identity.scopes is None else sorted(identity.scopes),
        csrf_token=None if session is None else service.sessions.csrf_token(session),
    )


@router.post("/session", status_code=201)
async def log_in(
    credentials: Credentials, request: Request, response: Response, service: Served
) -> SessionState:
    """Log in; the answer sets a cookie."""
    source = request.client.host if request.client is not None else ""
    identity, cookie = await service.accounts.log_in(source, credentials.name, credentials.password)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(service.sessions.lasts_s),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return _state(service, identity)


@router.get("/session")
async def show_session(me: Me, service: Served) -> SessionState:
    """Who I am."""
    return _state(service, me)


@router.delete("/session", status_code=204)
async def log_out(response: Response, me: Me) -> None:
    """Log out: the browser forgets its cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


@router.put("/session/password", status_code=204)
async def choose_password(passwords: NewPassword, me: Me, service: Served) -> None:
    """Choose another password. All sessions of this user end."""
    await service.accounts.choose_password(me, passwords.old, passwords.new)
