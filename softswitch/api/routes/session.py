"""Logging in and out, and one's own password."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field

from softswitch.api import problem
from softswitch.api.access import PREFIX, RANK, GuardedRoute, Identity, Me, Role
from softswitch.api.accounts import PASSWORD_MAX
from softswitch.api.attempts import asker
from softswitch.api.models import Input, Output, Text, among
from softswitch.api.oidc import STATE_COOKIE, STATE_LASTS_S, Issuer
from softswitch.api.problem import Refused
from softswitch.api.service import Served, Service
from softswitch.api.sessions import COOKIE
from softswitch.config.office import Oidc
from softswitch.sources import source_of

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["session"])


DEVICE_COOKIE = "softswitch_device"
"""Goes along with a try to log in: who has logged in with this browser before is not held up by others."""
_DEVICE_LASTS_S = 180 * 86_400
_CALLBACK = f"{PREFIX}/session/oidc/callback"


class Credentials(Input):
    """Name and password of a user, or id and password of an agent."""

    name: Text = Field(max_length=128, examples=["mary"])
    password: Text = Field(max_length=PASSWORD_MAX, examples=["console-secret-mary"])


class NewPassword(Input):
    """Another password for oneself."""

    old: Text = Field(max_length=PASSWORD_MAX, examples=["correct-horse-1"])
    new: Text = Field(min_length=10, max_length=PASSWORD_MAX, examples=["correct-horse-2"])


class SessionState(Output):
    """Who is logged in. Requests that change something must carry `csrf_token` as `X-CSRF-Token`."""

    name: str = Field(examples=["mary"])
    role: str = Field(examples=["supervisor"], json_schema_extra=among(get_args(Role)))
    kind: str = Field(
        description='"agent": of the office file; "local": a command.',
        json_schema_extra=among(("user", "agent", "token", "local")),
    )
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
    source = _source(request, service)
    known = request.cookies.get(DEVICE_COOKIE, "")
    identity, cookie = await service.accounts.log_in(
        source, credentials.name, credentials.password, known
    )
    # TLS ends at a proxy before us: the page's own address tells, and it has been compared with the host.
    secure = request.headers.get("origin", "").lower().startswith("https:")
    _set_session(service, response, cookie, secure=secure)
    response.set_cookie(
        DEVICE_COOKIE,
        service.accounts.device_cookie(credentials.name),
        max_age=_DEVICE_LASTS_S,
        path=f"{PREFIX}/session",
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    service.noted(identity, "logged-in", f"session:{identity.name}", source=source)
    return _state(service, identity)


_MOVED: dict[int | str, dict[str, Any]] = {
    302: {"description": "To the issuer, or back to the console."},
    404: problem.RESPONSES[404],
}


@router.get("/session/oidc", status_code=302, response_class=RedirectResponse, responses=_MOVED)
async def begin_oidc(service: Served) -> RedirectResponse:
    """Log in at the issuer of `[oidc]`: sends the browser there."""
    issuer = _issuer(service)
    begun = await service.in_thread(issuer.begin, _back(service), service.clock.wall_s())
    response = RedirectResponse(begun.url, 302)
    # Lax: it is to come along when the issuer sends the browser back.
    response.set_cookie(
        STATE_COOKIE,
        begun.cookie,
        max_age=int(STATE_LASTS_S),
        path=_CALLBACK,
        httponly=True,
        samesite="lax",
        secure=_public_url(service).startswith("https:"),
    )
    return response


@router.get(
    "/session/oidc/callback", status_code=302, response_class=RedirectResponse, responses=_MOVED
)
async def finish_oidc(
    request: Request,
    service: Served,
    code: Annotated[str, Query(max_length=4_096)] = "",
    state: Annotated[str, Query(max_length=256)] = "",
    error: Annotated[str, Query(max_length=256)] = "",
    iss: Annotated[str, Query(max_length=1_024)] = "",
) -> RedirectResponse:
    """The browser is back from the issuer: begins a session and sends it to the console."""
    issuer = _issuer(service)
    if iss and iss != issuer.config.issuer:  # RFC 9207 2.4
        raise Refused(400, "this is the answer of another issuer: begin again")
    if error or not code:
        raise Refused(400, f"the issuer did not let him in: {error or 'no code'}"[:200])
    source = _source(request, service)
    held = request.cookies.get(STATE_COOKIE, "")
    service.accounts.require_tries(source)
    person = await service.in_thread(
        issuer.finish, code, state, held, _back(service), service.clock.wall_s()
    )
    roles = _oidc(service).roles
    found = [roles[group] for group in person.groups if group in roles]
    role = max(found, key=RANK.__getitem__, default=None)
    identity, cookie = await service.accounts.log_in_as(person.name, person.full_name, role)
    service.noted(
        identity,
        "logged-in",
        f"session:{identity.name}",
        source=source,
        issuer=_oidc(service).issuer,
    )
    response = RedirectResponse("/", 302)
    secure = _public_url(service).startswith("https:")
    _set_session(service, response, cookie, secure=secure)
    response.delete_cookie(STATE_COOKIE, path=_CALLBACK, httponly=True, samesite="lax")
    return response


def _source(request: Request, service: Service) -> str:
    """Whose tries are counted together: of IPv6 one subscriber has a whole /64."""
    peer = request.client.host if request.client is not None else ""
    said = request.headers.getlist("x-forwarded-for")
    return source_of(asker(peer, said, service.office.http.proxies))


def _oidc(service: Service) -> Oidc:
    oidc = service.office.oidc
    if oidc is None:
        raise Refused(404, "no issuer is configured: see [oidc]")
    return oidc


def _issuer(service: Service) -> Issuer:
    oidc = _oidc(service)
    if service.issuer is None or service.issuer.config != oidc:
        service.issuer = Issuer(oidc, service.sessions)
    return service.issuer


def _public_url(service: Service) -> str:
    return _oidc(service).public_url


def _back(service: Service) -> str:
    return f"{_public_url(service)}{_CALLBACK}"


def _set_session(service: Service, response: Response, cookie: str, *, secure: bool) -> None:
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(service.sessions.lasts_s),
        httponly=True,
        samesite="strict",
        secure=secure,
    )


@router.get("/session")
async def show_session(me: Me, service: Served) -> SessionState:
    """Who I am."""
    return _state(service, me)


@router.delete("/session", status_code=204)
async def log_out(response: Response, me: Me, service: Served) -> None:
    """Log out: the browser forgets its cookie, which is worth nothing any more."""
    told = {}
    if me.session is not None:
        service.accounts.log_out(me.session)
        told = {"session": me.session.nonce}
    service.noted(me, "logged-out", f"session:{me.name}", **told)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


@router.put("/session/password", status_code=204)
async def choose_password(passwords: NewPassword, me: Me, service: Served) -> None:
    """Choose another password. All sessions of this user end."""
    await service.accounts.choose_password(me, passwords.old, passwords.new)
