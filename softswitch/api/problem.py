"""Errors of the API as RFC 9457 problems, and one table from our exceptions to statuses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match

from softswitch.errors import (
    CallError,
    ConfigError,
    MediaUnavailable,
    QueueUnavailable,
    SoftswitchError,
    StoreError,
    Unreachable,
)
from softswitch.office_book import BadEntry
from softswitch.store.attachments import TooLarge, WrongType
from softswitch.store.ledger import Conflict, Missing, Stale

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_ERRORS_MAX = 50

STATUS_OF: Mapping[type[SoftswitchError], int] = {
    Missing: 404,
    Stale: 412,
    TooLarge: 413,
    WrongType: 415,
    Conflict: 409,
    CallError: 409,
    QueueUnavailable: 409,
    ConfigError: 409,
    MediaUnavailable: 503,
    Unreachable: 503,
    StoreError: 503,
}
"""The first that fits, in this order."""


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="Where it is: a JSON pointer, or the parameter's name.")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(default="", examples=["there is no customer 7"])
    errors: list[Fault] = Field(default_factory=list, description="Each fault of the request.")


class Refused(HTTPException):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        faults: Sequence[Fault] = (),
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.faults = faults

    def answer(self) -> JSONResponse:
        """The problem itself, where nobody catches."""
        errors = [fault.model_dump() for fault in self.faults[:_ERRORS_MAX]]
        return problem(self.status_code, self.detail, errors=errors, headers=self.headers)


def problem(
    status: int,
    detail: str = "",
    *,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": errors or [],
    }
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in (400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 503)
}
"""What any operation may answer."""


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem."""
    app.add_exception_handler(SoftswitchError, _ours)
    app.add_exception_handler(BadEntry, _bad_entry)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _http)


async def _ours(_: Request, error: Exception) -> JSONResponse:
    status = next((s for kind, s in STATUS_OF.items() if isinstance(error, kind)), 500)
    headers = {"Retry-After": "5"} if status == 503 else {}
    return problem(status, str(error), headers=headers)


async def _bad_entry(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BadEntry)
    errors = []
    for fault in error.problems[:_ERRORS_MAX]:
        allowed = f"; allowed: {fault.allowed}" if fault.allowed else ""
        path = fault.key_path.replace("[", ".").replace("]", "")
        pointer = "".join(f"/{part}" for part in path.split(".") if part)
        errors.append({"pointer": f"/values{pointer}", "detail": f"{fault.problem}{allowed}"})
    return problem(422, "the entry is not usable", errors=errors)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        at, why = first["loc"][-1], first.get("ctx", {}).get("error", "")
        return problem(400, f"the body is no JSON, at character {at}: {why}")
    if first["loc"] == ("body",) and first["type"] != "missing" and not _says_json(request):
        return problem(415, "send JSON, with the header Content-Type: application/json")
    errors = [
        {"pointer": _pointer(fault["loc"]), "detail": _said(fault)}
        for fault in error.errors()[:_ERRORS_MAX]
    ]
    return problem(422, "the request is not understood", errors=errors)


def _said(fault: Mapping[str, Any]) -> str:
    """What is wrong, without the library's own words before ours."""
    return str(fault["msg"]).removeprefix("Value error, ")


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _pointer(location: tuple[int | str, ...]) -> str:
    where, *path = location
    if where == "body":
        parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
        return "".join(f"/{part}" for part in parts)
    # Behind a parameter's name come the places in a list, and what a choice of types calls itself.
    return ".".join(str(p) for n, p in enumerate(path) if n == 0 or isinstance(p, int))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    if isinstance(error, Refused):
        return error.answer()
    if error.status_code == 405:  # the route that was found first knows its own methods only
        allowed = {
            method
            for route in request.app.state.routes
            if route.matches(request.scope)[0] is not Match.NONE
            for method in getattr(route, "methods", None) or ()
        }
        if "GET" in allowed:
            allowed.add("HEAD")
        return problem(405, headers={"Allow": ", ".join(sorted(allowed))})
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    return problem(error.status_code, detail, headers=error.headers)


def broken(method: str, path: str, error: BaseException) -> JSONResponse:
    """The answer to what must not have happened. No word of the error goes out: it may hold what the
    asker must not see."""
    _log.error("%s %s failed", method, path, exc_info=error)
    return problem(500, "this is a bug; the server's log says more")
