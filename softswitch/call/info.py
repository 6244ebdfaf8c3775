"""DTMF in INFO requests (RFC 6086), as phones without telephone events send it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.call.wiring import Wiring

_DURATION_MS = 160
_APART_S = 0.25
_COMMA_S = 1.0
WAITING_MAX = 256

HIDDEN_DIGIT = "?"
"""What the journal has for a digit of a PIN."""


def digit_of_info(content_type: str, body: bytes) -> str:
    """The digit in an INFO of either usual type (application/dtmf-relay, application/dtmf), or ""."""
    kind = content_type.partition(";")[0].strip(" \t").lower()
    if kind == "application/dtmf":
        digit = body.strip(b" \t\r\n")
    elif kind == "application/dtmf-relay":
        digit = b""
        for line in body.split(b"\n")[:8]:
            name, _, value = line.partition(b"=")
            if name.strip(b" \t\r").lower() == b"signal":
                digit = value.strip(b" \t\r")
    else:
        return ""
    if len(digit) != 1 or digit.upper() not in b"0123456789*#ABCD":
        return ""
    return digit.decode("ascii").upper()


def info_of_digit(digit: str) -> tuple[str, bytes]:
    """Content type and body of an INFO that tells of a digit, as most telephones and gateways read it."""
    return "application/dtmf-relay", f"Signal={digit}\r\nDuration={_DURATION_MS}\r\n".encode()


class InfoKeys:
    """Keys told by INFO to those who know no other way, one after the other: of two requests on their way at
    once the second may be the first to arrive."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._due: dict[int, deque[str]] = {}

    def press(self, session: int, digits: str) -> None:
        """Tell the peer of a session of digits (0-9 * # A-D; ',' pauses); beyond 256 they are lost."""
        waiting = self._due.get(session)
        if waiting is not None:
            waiting.extend(digits[: max(0, WAITING_MAX - len(waiting))])
            return
        self._due[session] = deque(digits[:WAITING_MAX])
        self._next(session)

    def _next(self, session: int) -> None:
        waiting = self._due[session]
        if not waiting or not self._wiring.stack.call_id_of(session):
            del self._due[session]
            return
        digit = waiting.popleft()
        if digit != ",":
            kind, body = info_of_digit(digit)
            self._wiring.stack.info(session, kind, body, self._wiring.now_s())
            self._wiring.pump()
        delay_s = _COMMA_S if digit == "," else _APART_S
        asyncio.get_running_loop().call_later(delay_s, self._next, session)
