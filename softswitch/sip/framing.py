"""Messages out of a byte stream (RFC 3261 18.3, keep-alives of RFC 5626 4.4.1)."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from softswitch.sip.parser import DEFAULT_LIMITS, Limits, ParseError, refuse_head

_CONTENT_LENGTH: Final = re.compile(
    rb"\r\n(?:content-length|l)[ \t]*+:((?:[^\r\n]|\r\n[ \t])*+)", re.IGNORECASE
)
_NUMBER: Final = re.compile(rb"[0-9]{1,10}")
_LINE_WHITE: Final = b" \t\r\n"


class KeepAlive(Enum):
    """What came between two messages: PING (CRLF CRLF, answer one CRLF) or PONG (one CRLF)."""

    PING = "ping"
    PONG = "pong"


class StreamFramer:
    """Cuts one connection's octets into messages; holds at most one head and one body.

    `feed` gives the same items however the octets are cut. Sizes are judged before anything is
    kept: a head beyond `limits.head`, a body beyond `limits.body`, a missing, repeated or malformed
    Content-Length end the framing: `error` is then set (its `request` and `status_hint` say what to
    answer) and the connection is to be closed, for what follows cannot be told apart any more.

    With `client` True (we opened the connection) every CRLF between messages is a PONG at once;
    otherwise a CRLF waits for the next octets, because it may be half of a PING.
    """

    __slots__ = ("_body", "_buffer", "_client", "_head", "_limits", "_searched", "error")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, client: bool = False) -> None:
        self._limits = limits
        self._client = client
        self._buffer = bytearray()
        self._searched = 0  # where the search for the end of the head goes on
        self._head = -1  # octets up to and with the empty line, once it has been seen
        self._body = 0
        self.error: ParseError | None = None

    @property
    def pending(self) -> int:
        """Octets of an unfinished message: above 0, the head deadline of the connection runs."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes | KeepAlive]:
        """Take octets, give what they complete; after an error nothing is taken any more."""
        items: list[bytes | KeepAlive] = []
        if self.error is not None:
            return items
        self._buffer += data
        while self._step(items):
            pass
        return items

    def _step(self, items: list[bytes | KeepAlive]) -> bool:
        """One item or the discovery that more octets are needed."""
        if self._head < 0:
            if self._buffer[:2] == b"\r\n":
                return self._keep_alive(items)
            return self._find_head()
        total = self._head + self._body
        if len(self._buffer) < total:
            return False
        items.append(bytes(self._buffer[:total]))
        self._drop(total)
        self._head = -1
        return bool(self._buffer)

    def _keep_alive(self, items: list[bytes | KeepAlive]) -> bool:
        if self._client:
            items.append(KeepAlive.PONG)
            self._drop(2)
        elif self._buffer[2:4] == b"\r\n":
            items.append(KeepAlive.PING)
            self._drop(4)
        elif len(self._buffer) == 2 or self._buffer[2:] == b"\r":
            return False
        else:
            items.append(KeepAlive.PONG)
            self._drop(2)
        return bool(self._buffer)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0

    def _find_head(self) -> bool:
        limit = self._limits.head
        end = self._buffer.find(b"\r\n\r\n", self._searched, limit + 4)
        if end < 0:
            if len(self._buffer) > limit + 3:
                head = bytes(self._buffer[:limit])
                self._stop(refuse_head(head, self._limits, "head too large", 513))
            self._searched = max(0, len(self._buffer) - 3)
            return False
        self._head = end + 4
        head = bytes(self._buffer[:end])
        lengths: list[bytes] = _CONTENT_LENGTH.findall(head)
        length = lengths[0].strip(_LINE_WHITE) if lengths else b""
        if len(lengths) != 1:
            why, status = "not exactly one Content-Length", 400
        elif _NUMBER.fullmatch(length) is None:
            why, status = "malformed Content-Length", 400
        elif int(length) > self._limits.body:
            why, status = "body too large", 413
        else:
            self._body = int(length)
            return True
        self._stop(refuse_head(head, self._limits, why, status))
        return False

    def _stop(self, error: ParseError) -> None:
        self.error = error
        self._buffer.clear()
