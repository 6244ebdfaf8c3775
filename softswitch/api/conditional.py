"""ETags of answers that have no version: what was shown, so that a reader need not fetch the same again and a
change is refused where something else has changed it meanwhile (RFC 9110, section 13)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

import msgspec
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from softswitch.api.paging import Page
from softswitch.api.problem import Refused
from softswitch.store.ledger import Missing

Handler = Callable[[Request], Awaitable[Response]]
CHANGING = frozenset({"PUT", "PATCH", "DELETE"})
_OF_NO_LENGTH = ("content-length", "content-type")
_LAST_PART = re.compile(r"/[^/]+$")
_ONE = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS = re.compile(rf"\*|{_ONE}(?:[ \t]*,[ \t]*{_ONE})*")
"""``If-Match`` (RFC 9110, section 13.1.1): ``*``, or ETags in quotes."""
_NOT_A_CHANGE = ("/check", "/test")


def with_tag(
    request: Request, response: Response, passing: frozenset[str] = frozenset()
) -> Response:
    """A JSON answer with the ETag of its octets, where it has none of its own (a version); 304 to a reader who
    has exactly that. `passing`: fields that pass with the time and are left out of the tag; who reads such a
    thing is always shown it."""
    if response.status_code != 200 or response.media_type != "application/json":
        return response
    body = getattr(response, "body", None)
    if not isinstance(body, bytes):
        return response
    found = response.headers.get("etag") or tag_of(_lasting(body, passing) if passing else body)
    response.headers["etag"] = found
    if passing or not _names(request.headers.get("if-none-match"), found):
        return response
    kept = {k: v for k, v in response.headers.items() if k not in _OF_NO_LENGTH}
    return Response(status_code=304, headers=kept)


def tag_of(body: bytes) -> str:
    """The ETag of an answer."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _lasting(body: bytes, passing: frozenset[str]) -> bytes:
    """What is shown without what only passes."""
    shown = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({k: v for k, v in shown.items() if k not in passing})


def _names(header: str | None, found: str) -> bool:
    """Whether one of the tags of a header is the one found, or it is ``*``."""
    if header is None:
        return False
    given = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in given or found in given


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one resource is shown."""

    handle: Handler
    passing: frozenset[str]


class Readers:
    """How resources are shown, by path: what a change with ``If-Match`` is compared to."""

    def __init__(self) -> None:
        self._by_path: dict[str, _Reader] = {}
        self._pages: set[str] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def add(self, route: APIRoute, handle: Handler) -> None:
        """`route` shows what is at its path, by `handle`."""
        self._by_path[route.path_format] = _Reader(handle, passing_of(route))
        if _is_page(route):
            self._pages.add(route.path_format)

    def about(self, path: str, method: str) -> str:
        """The path of what a change at `path` is compared to: what is shown there, else the thing that it is
        done to (``/agents/{agent_id}`` of ``/agents/{agent_id}/state``). "" where something is only added, or
        there is nothing to compare to."""
        if path.endswith(_NOT_A_CHANGE) or (method == "POST" and path in self._by_path):
            return ""
        if path in self._by_path:
            return path
        while path := _LAST_PART.sub("", path):
            if path in self._by_path:
                return path if path.endswith("}") and path not in self._pages else ""
        return ""

    async def change(self, path: str, request: Request, if_match: str, handle: Handler) -> Response:
        """Let `handle` change a thing where what is there now is what was read. Those who say what they have
        read are served one after the other: of two who have read the same, the second is refused. Raises
        `Refused` (412; 400 for what names no ETag)."""
        if not _TAGS.fullmatch(if_match.strip(" \t")):
            raise Refused(400, 'If-Match is * or the ETag that was read, in its quotes, as in "3"')
        await whole_body(request)
        turn = self._turns.setdefault(path.format_map(request.path_params), asyncio.Lock())
        async with turn:
            await self._require(path, request, if_match)
            return await handle(request)

    async def _require(self, path: str, request: Request, if_match: str) -> None:
        reader = self._by_path[path]
        try:
            shown = await reader.handle(Request({**request.scope, "method": "GET"}))
        except Missing:
            if if_match.strip() != "*":
                raise
            raise Refused(412, "there is nothing yet") from None
        if isinstance(shown, FileResponse):
            shown.set_stat_headers(await asyncio.to_thread(os.stat, shown.path))
        tagged = with_tag(request, shown, reader.passing)
        if not _names(if_match, tagged.headers.get("etag", "")):
            raise Refused(412, "it was changed meanwhile: read it again")


async def whole_body(request: Request) -> bytes:
    """The body of a request, before anything is held up for it. Raises `Refused` for one that breaks off."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise Refused(400, "the body broke off") from None


def passing_of(route: APIRoute) -> frozenset[str]:
    """Fields of what a route shows that pass with the time: how long, how often today."""
    found: frozenset[str] = getattr(route.response_model, "passing", frozenset())
    return found


def _is_page(route: APIRoute) -> bool:
    model = route.response_model
    return isinstance(model, type) and issubclass(model, Page)


def is_json(route: APIRoute) -> bool:
    """Whether a route shows JSON, no file."""
    return route.response_model is not None


def checks_itself(route: APIRoute) -> bool:
    """Whether a route takes ``If-Match`` in its own parameters, and compares versions."""
    return any(field.alias == "If-Match" for field in route.dependant.header_params)
