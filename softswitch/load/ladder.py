"""What was said on the wire, by call, for as long as it may be needed: the ladders of failed calls,
retransmissions, and how long a BYE took. Reads two header lines of each message and no more."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from softswitch.transport.interface import Passing

_CALL_ID = re.compile(rb"\r\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_CSEQ = re.compile(rb"\r\ncseq[ \t]*:[ \t]*([0-9]+)[ \t]+([A-Z]+)", re.IGNORECASE)
CALLS_MAX = 20_000
MESSAGES_MAX = 60


class _Entry:
    __slots__ = ("bye_s", "done", "dropped", "messages")

    def __init__(self) -> None:
        self.messages: list[tuple[float, str, str, int]] = []
        self.dropped = 0
        self.done = False
        self.bye_s: float | None = None


class Ladders:
    """A `tap` of `Driver`. `on_bye(call_id, seconds, status)` hears of each answered BYE."""

    def __init__(self, on_bye: Callable[[str, float, int], None] | None = None) -> None:
        self.resent = 0
        self.received_again = 0
        self.messages_in = 0
        self.messages_out = 0
        self.said_s: dict[str, float] = {}
        """When the last message has passed "in" and "out"."""
        self.methods: dict[str, int] = {}
        self.on_bye = on_bye
        self._calls: OrderedDict[bytes, _Entry] = OrderedDict()

    def tap_flow(self, passing: Passing) -> None:
        """One message has passed."""
        now_s, received, _, data = passing
        direction = "in" if received else "out"
        self.said_s[direction] = now_s
        if direction == "in":
            self.messages_in += 1
        else:
            self.messages_out += 1
        found = _CALL_ID.search(data)
        if found is None:
            return
        entry = self._calls.get(found[1])
        if entry is None:
            if len(self._calls) >= CALLS_MAX:
                self._calls.popitem(last=False)
            entry = self._calls[found[1]] = _Entry()
        line = data[: data.find(b"\r\n")].decode("latin-1")
        fingerprint = hash(data)
        if any(said[1] == direction and said[3] == fingerprint for said in entry.messages):
            if direction == "in":
                self.received_again += 1
            else:
                self.resent += 1
        elif direction == "out" and not line.startswith("SIP/2.0"):
            method = line.partition(" ")[0]
            self.methods[method] = self.methods.get(method, 0) + 1
        if line.startswith("SIP/2.0 "):
            cseq = _CSEQ.search(data)
            if cseq is not None:
                line += f"  ({cseq[2].decode('latin-1')})"
                if cseq[2] == b"BYE" and direction == "in" and line[8:9] != "1":
                    self._bye_answered(found[1], entry, now_s, int(line[8:11]))
        elif line.startswith("BYE ") and direction == "out" and entry.bye_s is None:
            entry.bye_s = now_s
        if len(entry.messages) < MESSAGES_MAX:
            entry.messages.append((now_s, direction, line, fingerprint))
        else:
            entry.dropped += 1

    def _bye_answered(self, key: bytes, entry: _Entry, now_s: float, status: int) -> None:
        if entry.bye_s is None:
            return
        if self.on_bye is not None:
            call_id = key.decode("utf-8", "surrogateescape").strip()
            self.on_bye(call_id, now_s - entry.bye_s, status)
        entry.bye_s = None
        if entry.done:
            del self._calls[key]

    def of(self, call_id: str) -> list[dict[str, Any]]:
        """The messages of a call: `at_ms` since its first, `way` in or out, `line`."""
        entry = self._calls.get(call_id.encode("utf-8", "surrogateescape"))
        if entry is None or not entry.messages:
            return []
        first_s = entry.messages[0][0]
        return [
            {"at_ms": round(1000 * (at_s - first_s), 1), "way": way, "line": line}
            for at_s, way, line, _ in entry.messages
        ]

    def last_out_s(self, call_id: str) -> float:
        """When we have last said something in a call; minus infinity for never."""
        entry = self._calls.get(call_id.encode("utf-8", "surrogateescape"))
        if entry is None:
            return -math.inf
        return max((said[0] for said in entry.messages if said[1] == "out"), default=-math.inf)

    def unanswered_byes(self, now_s: float) -> list[float]:
        """Seconds for which each BYE without an answer has waited."""
        return [now_s - entry.bye_s for entry in self._calls.values() if entry.bye_s is not None]

    def forget(self, call_id: str) -> None:
        """The call went well, nobody will ask; a BYE still to be answered is kept."""
        key = call_id.encode("utf-8", "surrogateescape")
        entry = self._calls.get(key)
        if entry is None:
            return
        entry.done = True
        if entry.bye_s is None:
            del self._calls[key]
