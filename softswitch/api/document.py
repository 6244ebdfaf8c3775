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

_MAKE_S = 60.0


class Document:
    """Makes the document once and keeps it as text."""

    def __init__(self) -> None:
        self._made: bytes = b""
        self._lock = asyncio.Lock()

    async def serve(self, _: Request) -> Response:
        """The document."""
        async with self._lock:
            if not self._made:
                self._made = await _make()
        return Response(self._made, media_type="application/json")


async def _make() -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "softswitch.api.document", stdout=asyncio.subprocess.PIPE
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


def main() -> None:
    """Write the document to standard output."""
    import json

    from softswitch.api.app import build_app, document

    json.dump(document(build_app(None)), sys.stdout, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
