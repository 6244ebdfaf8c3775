"""The API of the running server, for commands: the admin socket says where it is and gives a token."""

from __future__ import annotations

import getpass
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from softswitch.errors import SoftswitchError

_TIMEOUT_S = 60.0


class Remote:
    """Asks the server on a storage directory. Raises `ServerNotRunning`, and `SoftswitchError` with the API's
    own words for what it refuses."""

    def __init__(self, directory: Path) -> None:
        from softswitch.api.admin import ask

        answer = next(ask(directory, "api", who=f"{_user()} by command line"))
        self._url = f"{answer['url']}/api/v1"
        self._token = answer["token"]

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
            raise SoftswitchError(_words(error)) from None
        except OSError as error:
            raise SoftswitchError(f"the API at {self._url} does not answer: {error}") from None
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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def _words(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read())
    except ValueError:
        return f"the API answered {error.code}"
    faults = "; ".join(f"{f['pointer']}: {f['detail']}" for f in found.get("errors", ()))
    return ": ".join(part for part in (found.get("detail") or found.get("title"), faults) if part)
