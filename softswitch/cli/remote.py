"""The API of the running server, for commands: the admin socket says where it is and gives a token. From
another machine `SOFTSWITCH_URL` and `SOFTSWITCH_TOKEN` do; then no office file is read.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from softswitch.errors import SoftswitchError

URL, TOKEN = "SOFTSWITCH_URL", "SOFTSWITCH_TOKEN"
_TIMEOUT_S = 60.0


class Remote:
    """Asks one server. Raises `SoftswitchError` with the API's own words for what it refuses."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url.rstrip('/')}/api/v1"
        self._token = token

    @classmethod
    def of(cls, place: Path) -> Remote:
        """The server that the environment names, or that runs at `place` (the office file or the storage
        directory). Raises `ServerNotRunning`, `SoftswitchError`."""
        url = os.environ.get(URL)
        if url:
            if not url.startswith(("http://", "https://")):
                raise SoftswitchError(f"{URL} is no address, as in http://127.0.0.1:8080")
            token = os.environ.get(TOKEN, "")
            if not token.isascii() or not token:
                raise SoftswitchError(
                    f"{URL} is set, {TOKEN} is not: `softswitch token add NAME --scope ...` makes one"
                )
            return cls(url, token)
        found = cls._local(place)
        if found is None:
            raise SoftswitchError("the API is not served: add a table [http] to the office file")
        return found

    @classmethod
    def found(cls, place: Path) -> Remote | None:
        """As `of`; None where no server runs, or one without the API: commands that only read then read
        the database."""
        from softswitch.api.admin import ServerNotRunning

        if os.environ.get(URL):
            return cls.of(place)
        try:
            return cls._local(place)
        except ServerNotRunning:
            return None

    @classmethod
    def _local(cls, place: Path) -> Remote | None:
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        answer = next(ask(storage_directory(place), "api"))
        return cls(answer["url"], answer["token"]) if answer["url"] else None

    def ask(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **query: Any
    ) -> Any:
        """The answer's JSON, its octets where it is none, None for no content. Of `query` those that are
        None are left out."""
        given = {key: value for key, value in query.items() if value is not None}
        url = f"{self._url}{path}"
        if given:
            url += "?" + urllib.parse.urlencode(given, doseq=True)
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, data, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        if data is not None:
            kind = "application/octet-stream" if raw is not None else "application/json"
            request.add_header("Content-Type", kind)
        # No proxy: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                content, kind = answer.read(), answer.headers.get_content_type()
        except urllib.error.HTTPError as error:
            with error:
                words = _words(error)
            if error.code == 401:
                words = f"{self._url} does not know this token: it is mistyped, revoked or too old"
            raise SoftswitchError(words) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise SoftswitchError(f"the API at {self._url} does not answer: {why}") from None
        if not content:
            return None
        return json.loads(content) if kind.endswith("json") else content

    def pages(self, path: str, limit: int, **query: Any) -> Iterator[dict[str, Any]]:
        """Items of a list, at most `limit`."""
        cursor: str | None = None
        while limit > 0:
            page = self.ask("GET", path, limit=min(limit, 200), cursor=cursor, **query)
            yield from page["items"]
            limit -= len(page["items"])
            cursor = page["next"]
            if cursor is None:
                return


def status_of(place: Path) -> dict[str, Any]:
    """What the server does now. Raises as `Remote.of`; needs no ``[http]`` on this machine."""
    if os.environ.get(URL):
        return dict(Remote.of(place).ask("GET", "/status"))
    from softswitch.api.admin import ask
    from softswitch.cli.place import storage_directory

    return next(ask(storage_directory(place), "status"))


def _words(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read())
    except ValueError:
        return f"the API answered {error.code}"
    faults = "; ".join(f"{f['pointer']}: {f['detail']}" for f in found.get("errors", ()))
    return ": ".join(part for part in (found.get("detail") or found.get("title"), faults) if part)
