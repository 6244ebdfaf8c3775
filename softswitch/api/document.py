"""The OpenAPI document, made by a process of its own when it is first asked for: making it takes a second and
leaves 16 MB behind, which no office needs that nobody programs against.

    python -m softswitch.api.document > openapi.json
"""

from __future__ import annotations

import asyncio
import sys

from starlette.requests import Request
from starlette.responses import Response

from softswitch.api.problem import Refused
from softswitch.api.reference import POLICY

_MAKE_S = 60.0


class Document:
    """Makes the document, and the page of it, once each, and keeps them as text."""

    def __init__(self) -> None:
        self._made: dict[str, bytes] = {}
        self._lock = asyncio.Lock()

    async def serve(self, _: Request) -> Response:
        """The document."""
        return Response(await self._get("json"), media_type="application/json")

    async def page(self, _: Request) -> Response:
        """The document as a page for a browser."""
        headers = {"Content-Security-Policy": POLICY}
        return Response(await self._get("page"), media_type="text/html", headers=headers)

    async def _get(self, form: str) -> bytes:
        async with self._lock:
            if form not in self._made:
                self._made[form] = await _make(form)
        return self._made[form]


async def _make(form: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "softswitch.api.document", form, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_MAKE_S):
            made, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        made = b""
    if process.returncode or not made:
        raise Refused(503, "the document could not be made now", {"Retry-After": "5"})
    return made


def main(form: str = "json") -> None:
    """Write the document to standard output, as JSON or as a page."""
    import json

    from softswitch.api.app import build_app, document
    from softswitch.api.reference import page

    made = document(build_app(None))
    as_json = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.buffer.write((page(made) if form == "page" else as_json).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
