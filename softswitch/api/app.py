"""The application: every route, every error, every header."""

from __future__ import annotations

import asyncio
import re
from importlib import import_module
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from softswitch import __version__
from softswitch.api import problem
from softswitch.api.access import HEAD_ONLY, PREFIX, READERS, access_of
from softswitch.api.conditional import checks_itself, is_json, passing_of
from softswitch.api.document import Document
from softswitch.api.idempotency import IDEMPOTENCY_HEADER
from softswitch.api.models import TAG_PATTERN
from softswitch.api.problem import Problem, Refused
from softswitch.api.service import Service
from softswitch.api.sessions import COOKIE, CSRF_HEADER
from softswitch.api.shapes import SHAPES, refer

ROUTES = (
    "health",
    "session",
    "live",
    "conferences",
    "calls",
    "recordings",
    "queues",
    "agents",
    "callbacks",
    "voicemails",
    "prompts",
    "journal",
    "events",
    "webhooks",
    "office",
    "places",
    "config",
    "customers",
    "ticket_intake",
    "ticket_settings",
    "ticket_files",
    "tickets",
    "scorecards",
    "evaluations",
    "inspection",
    "reports",
    "users",
)
"""Modules of `softswitch.api.routes`, in the order of the documentation."""

BODY_BYTES_MAX = 1 << 20
UPLOAD_BYTES_MAX = 64 << 20
UPLOADS = re.compile(
    f"{PREFIX}/(customers/import|tickets/from-email|tickets/[0-9]{{1,16}}/files|prompts/[^/]+/[^/]+)",
    re.ASCII,
)
"""Routes that take files."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_WITHOUT_BODY = (204, 304)
_PROBLEM = problem.MEDIA_TYPE.encode()
_IDEMPOTENCY = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "description": "A text of your own for this request: sent again, it gets the first answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
    "example": "5f0c9d0e-import-17",
}
_TAG = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": TAG_PATTERN}
_ELSE_REFUSED = "the change is refused (412) if it is no longer it."
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": f"The `ETag` that was read; {_ELSE_REFUSED}",
    "schema": _TAG,
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` that was read; 304 if it is the same still.",
    "schema": _TAG,
    "example": '"5f0c9d0e5f0c9d0e5f0c9d0e"',
}
_UNCHANGED = {"description": "As it was."}
_DESCRIPTION = """Everything a call centre remembers and does.

Log in with `POST /api/v1/session` (a cookie; requests that change something then carry `X-CSRF-Token`), or
send a token as `Authorization: Bearer sst_...`. Errors are problems (RFC 9457). Lists are pages:
follow `next`. What is shown has an `ETag`; send it back as `If-Match` with a change (also of what is done to
it: a transfer takes the call's), as `If-None-Match` to be told that nothing has changed. What is posted takes
an `Idempotency-Key`: the same key and body within a day get the first answer again. Times are seconds since
1970, durations are seconds.
"""


def build_app(service: Service | None) -> FastAPI:
    """The application of one exchange."""
    app = FastAPI(
        title="Softswitch",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.state.routes = routes()
    for name in ROUTES:
        app.include_router(_router(name), responses=problem.RESPONSES)
    app.include_router(_outside(), responses=problem.RESPONSES)
    made = Document()
    app.add_route(f"{PREFIX}/openapi.json", made.serve, include_in_schema=False)
    app.add_route("/", made.page, include_in_schema=False)
    problem.install(app)
    app.add_middleware(Envelope)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def _router(name: str) -> APIRouter:
    router: APIRouter = import_module(f"softswitch.api.routes.{name}").router
    return router


def _outside() -> APIRouter:
    """What is served at the root, for programs that expect it there."""
    router: APIRouter = import_module("softswitch.api.routes.health").outside
    return router


def routes() -> list[BaseRoute]:
    """Every route of the API."""
    own = [route for name in ROUTES for route in _router(name).routes]
    return [*own, *_outside().routes]


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with what each operation takes to be allowed."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    shapes: tuple[type[BaseModel], ...] = (Problem, *SHAPES)
    _, own = models_json_schema(
        [(each, "serialization") for each in shapes],
        ref_template="#/components/schemas/{model}",
    )
    schemas.update(own["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER},
    }
    for route in routes():
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = schema["paths"][route.path_format][method.lower()]
                _describe(operation, method, route)
    refer(schema)
    app.openapi_schema = schema
    return schema


def _describe(operation: dict[str, Any], method: str, route: APIRoute) -> None:
    access = access_of(method, route.path_format)
    operation["responses"]["422"] = problem.RESPONSES[422]
    operation["x-role"] = access.role
    if access.role == "public":
        return
    operation["x-scope"] = access.scope
    cookie: dict[str, list[str]] = {"session": []}
    if method != "GET":
        cookie["csrf"] = []
    operation["security"] = [{"token": []}, cookie]
    parameters = operation.setdefault("parameters", [])
    if method == "GET":
        if is_json(route):
            if not passing_of(route):
                parameters.append(_IF_NONE_MATCH)
                operation["responses"]["304"] = _UNCHANGED
            headers = operation["responses"]["200"].setdefault("headers", {})
            headers["ETag"] = {"schema": {"type": "string"}}
        return
    if method == "POST":
        parameters.append(_IDEMPOTENCY)
    about = READERS.about(route.path_format, method)
    if about and not checks_itself(route):
        same = about == route.path_format
        parameters.append(_IF_MATCH if same else _if_match_of(about))


def _if_match_of(about: str) -> dict[str, Any]:
    told = f"The `ETag` that `GET {about.removeprefix(PREFIX)}` gave; {_ELSE_REFUSED}"
    return {**_IF_MATCH, "description": told}


def _is_problem(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(k == b"content-type" and v.startswith(_PROBLEM) for k, v in headers)


def _as_problem(status: int, headers: list[tuple[bytes, bytes]], asked: str | None) -> JSONResponse:
    """A library's error as ours are; what it says of ranges stays. `asked`: the range that was asked for."""
    kept = {k.decode(): v.decode("latin-1") for k, v in headers if k == b"content-range"}
    detail = ""
    if status == 416:
        detail = (
            f"it ends before that: {kept.get('content-range', '').removeprefix('bytes */')} octets"
        )
    elif status == 400 and asked is not None:
        detail = "a Range is bytes=FIRST-LAST, as in bytes=0-499"
    return problem.problem(status, detail, headers=kept)


def _range_of(scope: Scope) -> tuple[Scope, str | None]:
    """A request and the range that it asks for; one of another unit than ours is not heard (RFC 9110, 14.2)."""
    asked = next((v for k, v in scope["headers"] if k == b"range"), None)
    if asked is not None and not asked.strip().lower().startswith(b"bytes"):
        scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}
        asked = None
    return scope, None if asked is None else asked.decode("latin-1")


class Envelope:
    """Around every answer: headers that keep browsers from guessing, and a problem where a library has
    answered an error in its own words; before every request: its size, whatever its head says. What may be
    got may be asked for by HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def _count(self, scope: Scope, status: int, began_s: float) -> None:
        service = getattr(scope["app"].state, "service", None)
        if service is not None:
            route = getattr(scope.get("route"), "path_format", "none")
            took_s = asyncio.get_running_loop().time() - began_s
            service.counted.request(scope["method"], route, status, took_s)
            telemetry = service.switch.telemetry
            if telemetry is not None:
                ended_s = service.clock.wall_s()
                telemetry.request(
                    scope["method"],
                    route,
                    status,
                    began_s=ended_s - took_s,
                    ended_s=ended_s,
                    headers={k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]},
                )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope = {**scope, "method": "GET", HEAD_ONLY: True}
        scope, asked = _range_of(scope)
        started = replaced = False
        began_s = asyncio.get_running_loop().time()
        limit = UPLOAD_BYTES_MAX if UPLOADS.fullmatch(scope["path"]) else BODY_BYTES_MAX
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > limit:
                    raise Refused(413, f"the body is larger than {limit} octets")
            return message

        async def decorated(message: Message) -> None:
            nonlocal started, replaced
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if message["status"] >= 400 and not _is_problem(headers):
                    replaced = True
                    own = _as_problem(message["status"], headers, asked)
                    headers = own.raw_headers
                    message = {**message, "headers": headers}
                if message["status"] in _WITHOUT_BODY:
                    headers = [pair for pair in headers if pair[0] != b"content-type"]
                present = {name for name, _ in headers}
                headers += [pair for pair in _HEADERS if pair[0] not in present]
                message = {**message, "headers": headers}
                started = True
                self._count(scope, message["status"], began_s)
                await send(message)
                if replaced:
                    body = b"" if is_head else bytes(own.body)
                    await send({"type": "http.response.body", "body": body})
                return
            if replaced:
                return
            if is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, bounded, decorated)
        except Exception as error:
            response = problem.broken(scope["method"], scope["path"], error)
            if not started:
                await response(scope, receive, decorated)
