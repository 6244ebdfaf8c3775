"""Who may do what: one table from routes to the least role, and the scope that tokens need beside it.

A route that is not in the table cannot be built, so none can be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.responses import Response

from softswitch.api.conditional import CHANGING, Readers, is_json, passing_of, with_tag
from softswitch.api.idempotency import IDEMPOTENCY_HEADER, once
from softswitch.api.problem import Fault, Refused
from softswitch.api.sessions import COOKIE, CSRF_HEADER, Session

Role = Literal["agent", "supervisor", "admin"]
RANK: dict[str, int] = {"public": 0, "agent": 1, "supervisor": 2, "admin": 3}
PREFIX = "/api/v1"
HEAD_ONLY = "softswitch.head"
"""In the scope of what came as HEAD and is handled as GET."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Access:
    """`role` "public" needs nobody; others need that rank or a higher one. `scope`: what a token must
    have been given. `new_password`: also allowed to whoever has to choose another one first."""

    role: str
    scope: str = ""
    new_password: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. `scopes` None: all that the role may do (people); `agent_id` where he serves queues."""

    name: str
    role: str
    kind: Literal["user", "agent", "token", "local"]
    scopes: frozenset[str] | None = None
    session: Session | None = None
    must_change: bool = False
    agent_id: str = ""

    @property
    def actor(self) -> str:
        """His name in the audit log."""
        return f"{self.kind}:{self.name}"

    def at_least(self, role: str) -> bool:
        return RANK[self.role] >= RANK[role]

    def may(self, access: Access) -> bool:
        """Whether role and scopes suffice."""
        if not self.at_least(access.role):
            return False
        return self.scopes is None or access.scope in self.scopes or "*" in self.scopes


def _table(scope: str, rows: str) -> dict[str, Access]:
    """Rows of "METHOD path role"; reading needs the scope SCOPE:read, the rest SCOPE:write."""
    found = {}
    for row in rows.strip().splitlines():
        method, path, role = row.split()
        kind = "read" if method in ("GET", "WS") else "write"
        found[f"{method} {PREFIX}{path}"] = Access(role, f"{scope}:{kind}")
    return found


ACCESS: dict[str, Access] = {
    f"GET {PREFIX}/health": Access("public"),
    f"GET {PREFIX}/ready": Access("public"),
    "GET /health/live": Access("public"),
    "GET /health/ready": Access("public"),
    "GET /metrics": Access("agent", "metrics:read"),
    f"POST {PREFIX}/session": Access("public"),
    f"GET {PREFIX}/session/oidc": Access("public"),
    f"GET {PREFIX}/session/oidc/callback": Access("public"),
    f"GET {PREFIX}/session": Access("agent", "session:read", new_password=True),
    f"DELETE {PREFIX}/session": Access("agent", "session:write", new_password=True),
    f"PUT {PREFIX}/session/password": Access("agent", "session:write", new_password=True),
    **_table(
        "calls",
        """
        GET /calls agent
        GET /calls/{call_id} agent
        GET /calls/{call_id}/journal supervisor
        GET /calls/live agent
        POST /calls/live agent
        GET /calls/live/{call_id} agent
        DELETE /calls/live/{call_id} agent
        PUT /calls/live/{call_id}/hold agent
        POST /calls/live/{call_id}/transfer agent
        POST /calls/live/{call_id}/park agent
        PUT /calls/live/{call_id}/recording agent
        DELETE /calls/live/{call_id}/recording supervisor
        POST /calls/live/{call_id}/play supervisor
        POST /calls/live/{call_id}/digits agent
        POST /calls/live/{call_id}/supervise supervisor
        POST /calls/live/{call_id}/requeue supervisor
        POST /calls/live/{call_id}/assign supervisor
        PUT /calls/live/{call_id}/priority supervisor
        GET /conferences supervisor
        GET /conferences/{number} supervisor
        PATCH /conferences/{number} supervisor
        DELETE /conferences/{number} supervisor
        PATCH /conferences/{number}/participants/{call_id} supervisor
        DELETE /conferences/{number}/participants/{call_id} supervisor
        """,
    ),
    **_table(
        "recordings",
        """
        GET /calls/{call_id}/recordings/{number} agent
        GET /calls/{call_id}/recordings/{number}/peaks agent
        DELETE /calls/{call_id}/recordings/{number} admin
        GET /recordings supervisor
        GET /recording-holds supervisor
        GET /calls/{call_id}/recording-hold supervisor
        PUT /calls/{call_id}/recording-hold supervisor
        DELETE /calls/{call_id}/recording-hold admin
        """,
    ),
    **_table(
        "agents",
        """
        GET /queues agent
        GET /queues/{queue} agent
        GET /queues/{queue}/waiting supervisor
        GET /agents agent
        GET /agents/{agent_id} agent
        PUT /agents/{agent_id}/state agent
        """,
    ),
    **_table(
        "agents",
        """
        GET /skills agent
        GET /callbacks supervisor
        POST /callbacks agent
        GET /callbacks/{callback_id} supervisor
        PATCH /callbacks/{callback_id} supervisor
        DELETE /callbacks/{callback_id} supervisor
        """,
    ),
    **_table(
        "voicemails",
        """
        GET /voicemails agent
        GET /voicemails/{box} agent
        GET /voicemails/{box}/{message_id} agent
        PATCH /voicemails/{box}/{message_id} agent
        DELETE /voicemails/{box}/{message_id} agent
        """,
    ),
    **_table(
        "prompts",
        """
        GET /prompts supervisor
        GET /prompts/{language}/{name} supervisor
        PUT /prompts/{language}/{name} admin
        DELETE /prompts/{language}/{name} admin
        """,
    ),
    **_table(
        "reports",
        """
        GET /surveys supervisor
        GET /journal admin
        """,
    ),
    **_table(
        "events",
        """
        WS /events agent
        """,
    ),
    **_table(
        "webhooks",
        """
        GET /webhooks admin
        POST /webhooks admin
        GET /webhooks/{webhook_id} admin
        PATCH /webhooks/{webhook_id} admin
        DELETE /webhooks/{webhook_id} admin
        POST /webhooks/{webhook_id}/test admin
        GET /webhooks/{webhook_id}/deliveries admin
        POST /webhooks/{webhook_id}/deliveries/{delivery_id}/again admin
        """,
    ),
    **_table(
        "office",
        """
        GET /office agent
        GET /extensions supervisor
        GET /extensions/{number} agent
        PUT /extensions/{number}/line agent
        GET /trunks supervisor
        GET /trunks/{name} supervisor
        GET /hours agent
        GET /regions agent
        GET /regions/lookup agent
        GET /status supervisor
        """,
    ),
    **_table(
        "config",
        """
        GET /config admin
        POST /config/reload admin
        GET /config-schemas/{section} admin
        GET /config/{section} admin
        POST /config/{section} admin
        POST /config/{section}/check admin
        GET /config/{section}/{name} admin
        PATCH /config/{section}/{name} admin
        DELETE /config/{section}/{name} admin
        """,
    ),
    **_table(
        "customers",
        """
        GET /customers agent
        POST /customers agent
        GET /customers/lookup agent
        GET /customers/file/{phone} agent
        GET /customers/file/{phone}/timeline agent
        GET /customers/duplicates agent
        GET /customers/export supervisor
        POST /customers/import supervisor
        GET /customers/{customer_id} agent
        PATCH /customers/{customer_id} agent
        DELETE /customers/{customer_id} supervisor
        GET /customers/{customer_id}/duplicates agent
        POST /customers/{customer_id}/merge supervisor
        GET /customers/{customer_id}/merges agent
        POST /customers/{customer_id}/unmerge supervisor
        GET /customers/{customer_id}/notes agent
        POST /customers/{customer_id}/notes agent
        GET /customers/{customer_id}/notes/{note_id} agent
        DELETE /customers/{customer_id}/notes/{note_id} agent
        GET /customers/{customer_id}/timeline agent
        """,
    ),
    **_table(
        "tickets",
        """
        GET /tickets agent
        POST /tickets agent
        GET /tickets/{ticket_id} agent
        PATCH /tickets/{ticket_id} agent
        GET /tickets/{ticket_id}/comments agent
        POST /tickets/{ticket_id}/comments agent
        GET /tickets/{ticket_id}/links agent
        POST /tickets/{ticket_id}/links agent
        DELETE /tickets/{ticket_id}/links agent
        POST /tickets/{ticket_id}/merge agent
        POST /tickets/from-call agent
        POST /tickets/from-voicemail agent
        POST /tickets/from-email agent
        POST /tickets/from-template/{template_id} agent
        POST /tickets/{ticket_id}/split agent
        PUT /tickets/{ticket_id}/reminder agent
        POST /tickets/{ticket_id}/macros/{macro_id} agent
        GET /tickets/{ticket_id}/files agent
        POST /tickets/{ticket_id}/files agent
        GET /tickets/{ticket_id}/files/{file_id} agent
        DELETE /tickets/{ticket_id}/files/{file_id} supervisor
        GET /ticket-triggers agent
        POST /ticket-triggers supervisor
        GET /ticket-triggers/{setting_id} agent
        PUT /ticket-triggers/{setting_id} supervisor
        DELETE /ticket-triggers/{setting_id} supervisor
        GET /ticket-templates agent
        POST /ticket-templates supervisor
        GET /ticket-templates/{setting_id} agent
        PUT /ticket-templates/{setting_id} supervisor
        DELETE /ticket-templates/{setting_id} supervisor
        GET /ticket-macros agent
        POST /ticket-macros supervisor
        GET /ticket-macros/{setting_id} agent
        PUT /ticket-macros/{setting_id} supervisor
        DELETE /ticket-macros/{setting_id} supervisor
        GET /notices agent
        PUT /notices agent
        """,
    ),
    **_table(
        "quality",
        """
        GET /scorecards agent
        POST /scorecards supervisor
        GET /scorecards/{scorecard_id} agent
        PATCH /scorecards/{scorecard_id} supervisor
        GET /evaluations agent
        POST /evaluations supervisor
        GET /evaluations/{evaluation_id} agent
        PATCH /evaluations/{evaluation_id} supervisor
        DELETE /evaluations/{evaluation_id} supervisor
        POST /evaluations/{evaluation_id}/publish supervisor
        POST /evaluations/{evaluation_id}/acknowledge agent
        POST /evaluations/{evaluation_id}/appeal agent
        POST /evaluations/{evaluation_id}/decision supervisor
        GET /evaluations/{evaluation_id}/comments agent
        POST /evaluations/{evaluation_id}/comments agent
        GET /calibrations supervisor
        POST /calibrations supervisor
        GET /calibrations/{calibration_id} supervisor
        POST /calibrations/{calibration_id}/evaluation supervisor
        POST /calibrations/{calibration_id}/close supervisor
        GET /quality/agreement supervisor
        GET /sampling-rules supervisor
        POST /sampling-rules supervisor
        GET /sampling-rules/{rule_id} supervisor
        PATCH /sampling-rules/{rule_id} supervisor
        DELETE /sampling-rules/{rule_id} supervisor
        GET /samples supervisor
        GET /samples/{sample_id} supervisor
        POST /samples supervisor
        DELETE /samples/{sample_id} supervisor
        GET /agents/{agent_id}/coaching agent
        GET /agents/{agent_id}/coaching/{note_id} agent
        POST /agents/{agent_id}/coaching supervisor
        POST /agents/{agent_id}/coaching/{note_id}/acknowledge agent
        """,
    ),
    **_table(
        "reports",
        """
        GET /reports/queues supervisor
        GET /reports/live supervisor
        GET /reports/live/agents supervisor
        GET /reports/agents supervisor
        GET /reports/visits supervisor
        GET /reports/outcomes supervisor
        GET /reports/tickets supervisor
        GET /reports/adherence supervisor
        GET /shifts supervisor
        GET /shifts/{shift_id} supervisor
        POST /shifts supervisor
        DELETE /shifts/{shift_id} supervisor
        """,
    ),
    **_table(
        "users",
        """
        GET /users admin
        POST /users admin
        GET /users/{user_id} admin
        PATCH /users/{user_id} admin
        DELETE /users/{user_id} admin
        GET /tokens admin
        POST /tokens admin
        GET /tokens/{token_id} admin
        DELETE /tokens/{token_id} admin
        GET /audit admin
        """,
    ),
}
"""Method and path -> what it takes."""


def scopes() -> list[str]:
    """Every scope that some route asks for, in order."""
    return sorted({access.scope for access in ACCESS.values() if access.scope})


def access_of(method: str, path: str) -> Access:
    """The row of a route. Raises `KeyError` for one without."""
    return ACCESS[f"{method} {path}"]


READERS = Readers()
TAGGED_FILES = frozenset({f"{PREFIX}/prompts/{{language}}/{{name}}"})
"""Files that are changed under their names. To look at one for its tag leaves no trace."""


class GuardedRoute(APIRoute):
    """Asks the table before anything of the request's body is read. What is shown has an ETag; what is posted
    may have an idempotency key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        path = self.path_format
        rows = {method: access_of(method, path) for method in self.methods or ()}
        once_only = rows.get("POST", Access("public")).role != "public"
        passing = passing_of(self)
        if "GET" in rows and (is_json(self) or path in TAGGED_FILES):
            READERS.add(self, handle)
        compares = bool(CHANGING & rows.keys()) or once_only
        queried = frozenset(_queried(self.dependant))

        async def change(request: Request) -> Response:
            if_match = request.headers.get("If-Match") if compares else None
            about = READERS.about(path, request.method) if if_match is not None else ""
            if if_match is None or not about:
                return await handle(request)
            return await READERS.change(about, request, if_match, handle)

        async def guarded(request: Request) -> Response:
            admit(request, rows[request.method], request.method)
            if rows[request.method].role != "public":
                _require_known(request, queried)
            key = request.headers.get(IDEMPOTENCY_HEADER) if once_only else None
            if key is not None:
                return await once(request, key, change)
            if "GET" not in rows:
                return await change(request)
            response = await handle(request)
            if HEAD_ONLY in request.scope:
                request.scope["method"] = "HEAD"  # a file is not read for its size
            return with_tag(request, response, passing)

        return guarded


def _queried(dependant: Dependant) -> Iterator[str]:
    """The parameters after the path that a route and what it depends on take."""
    for field in dependant.query_params:
        yield field.alias
    for other in dependant.dependencies:
        yield from _queried(other)


def _require_known(request: Request, queried: frozenset[str]) -> None:
    """A filter that is misspelt must not show everything. Raises `Refused` (422)."""
    unknown = [name for name in request.query_params if name not in queried][:20]
    if unknown:
        there = ", ".join(sorted(queried)) or "none"
        told = f"is no parameter here; there are: {there}"
        faults = [Fault(pointer=name, detail=told) for name in unknown]
        raise Refused(422, "the request is not understood", faults=faults)


def admit(connection: HTTPConnection, access: Access, method: str) -> None:
    """Let an asker through, who is `connection.state.identity` then. Raises `Refused`."""
    connection.state.identity = None
    if access.role == "public":
        if method not in _SAFE:
            require_same_origin(connection)
        return
    identity = identify(connection)
    if identity is None:
        raise Refused(
            401, "log in, or send a token", {"WWW-Authenticate": 'Bearer realm="softswitch"'}
        )
    if identity.session is not None and method not in _SAFE:
        require_same_origin(connection)
        sessions = connection.app.state.service.sessions
        if not sessions.csrf_fits(identity.session, connection.headers.get(CSRF_HEADER, "")):
            raise Refused(403, f"the header {CSRF_HEADER} is missing or wrong")
    if identity.must_change and not access.new_password:
        raise Refused(403, "choose another password first: PUT /api/v1/session/password")
    if not identity.may(access):
        raise Refused(403, f"this takes the role {access.role}" + _scope_words(identity, access))
    connection.state.identity = identity


def admit_socket(connection: HTTPConnection, access: Access) -> Identity:
    """Who opens a WebSocket. A browser sends its user's cookie along whatever page asks, and no header
    can be added: the page must be ours, of this very port, or of an origin that ``[http] origins`` allows.
    Raises `Refused`.
    """
    origin = connection.headers.get("origin")
    allowed = connection.app.state.service.switch.office.http.origins
    if origin is not None and not _may_listen(origin, connection.headers.get("host", ""), allowed):
        raise Refused(403, "pages of this origin may not listen: see [http] origins")
    identity = identify(connection)
    if identity is None:
        raise Refused(
            401, "log in, or send a token", {"WWW-Authenticate": 'Bearer realm="softswitch"'}
        )
    if identity.must_change:
        raise Refused(403, "choose another password first: PUT /api/v1/session/password")
    if not identity.may(access):
        raise Refused(403, f"this takes the role {access.role}" + _scope_words(identity, access))
    return identity


def _may_listen(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    if "*" in allowed or origin.lower() in {each.lower().rstrip("/") for each in allowed}:
        return True
    return same_origin(origin, host)


def _scope_words(identity: Identity, access: Access) -> str:
    return "" if identity.scopes is None else f" and the scope {access.scope}"


def identify(connection: HTTPConnection) -> Identity | None:
    """Whoever the request's token or cookie belongs to. A token that is sent and is no good is not made
    up for by a cookie."""
    accounts = connection.app.state.service.accounts
    authorization = connection.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        found: Identity | None = None
        if scheme.lower() == "bearer":
            found = accounts.of_token(token.strip(" "))
        return found
    cookie = connection.cookies.get(COOKIE)
    return accounts.of_cookie(cookie) if cookie else None


def require_same_origin(connection: HTTPConnection) -> None:
    """Refuse what a page of another site has sent on behalf of its visitor."""
    origin = connection.headers.get("origin")
    if origin is not None and not same_origin(origin, connection.headers.get("host", "")):
        raise Refused(403, "this request comes from another site")


def same_origin(origin: str, host: str) -> bool:
    """Whether `origin` ("https://pbx:8080") is the host that was asked."""
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


async def _me(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity


Me = Annotated[Identity, Depends(_me)]
"""Parameter of a route: who asks."""
