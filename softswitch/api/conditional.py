"""ETags of answers that have no version: what was shown, so that a reader need not fetch the same again and a
change is refused where something else has changed it meanwhile (RFC 9110, section 13)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from softswitch.api.problem import Refused

Handler = Callable[[Request], Awaitable[Response]]
CHANGING = frozenset({"PUT", "PATCH", "DELETE"})
_OF_NO_LENGTH = ("content-length", "content-type")


def with_tag(request: Request, response: Response) -> Response:
    """A JSON answer with the ETag of its octets, where it has none of its own; 304 to a reader who has
    exactly that."""
    if response.status_code != 200 or response.media_type != "application/json":
        return response
    body = getattr(response, "body", None)
    if not isinstance(body, bytes) or "etag" in response.headers:
        return response
    found = response.headers["etag"] = tag_of(body)
    if not _names(request.headers.get("if-none-match"), found):
        return response
    kept = {k: v for k, v in response.headers.items() if k not in _OF_NO_LENGTH}
    return Response(status_code=304, headers=kept)


def tag_of(body: bytes) -> str:
    """The ETag of an answer."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _names(header: str | None, found: str) -> bool:
    """Whether one of the tags of a header is the one found, or it is ``*``."""
    if header is None:
        return False
    given = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in given or found in given


class Readers:
    """How resources are shown, by path: what a change with ``If-Match`` is compared to."""

    def __init__(self) -> None:
        self._by_path: dict[str, Handler] = {}

    def add(self, path: str, handler: Handler) -> None:
        self._by_path[path] = handler

    def knows(self, path: str) -> bool:
        """Whether something is shown there."""
        return path in self._by_path

    async def require(self, path: str, request: Request, if_match: str) -> None:
        """Let a change pass where what is there now is what was read. Raises `Refused` (412)."""
        read = self._by_path[path]
        shown = await read(Request({**request.scope, "method": "GET"}))
        if not _names(if_match, with_tag(request, shown).headers.get("etag", "")):
            raise Refused(412, "it was changed meanwhile: read it again")


def is_json(route: APIRoute) -> bool:
    """Whether a route shows JSON, no file."""
    return route.response_model is not None


def checks_itself(route: APIRoute) -> bool:
    """Whether a route takes ``If-Match`` in its own parameters, and compares versions."""
    return any(field.alias == "If-Match" for field in route.dependant.header_params)
