"""The last SIP messages that passed, kept so that a call's ladder can be drawn while it lives.

A message costs one tuple in a bounded ring; nothing is parsed until somebody asks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from softswitch.hep import Passed
from softswitch.sip.flow import Flow
from softswitch.transport.interface import Passing, Tap

MESSAGES = 2_048
"""Kept unless ``[trace] messages`` says otherwise."""

_FOLLOWERS_MAX = 8
_FOLLOW_QUEUE_MAX = 1_024


@dataclass(frozen=True, slots=True)
class TracedMessage:
    """One message as it was on the wire. `received` tells the direction; `at_s` is monotonic."""

    at_s: float
    received: bool
    flow: Flow
    data: bytes

    @property
    def first_line(self) -> str:
        line, _, _ = self.data.partition(b"\r\n")
        return line[:200].decode("ascii", "replace")

    @property
    def call_id(self) -> str:
        """The Call-ID, or "" where there is none."""
        for line in self.data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
            name, colon, value = line.partition(b":")
            if colon and name.strip(b" \t").lower() in (b"call-id", b"i"):
                return value.strip(b" \t").decode("utf-8", "replace")
        return ""

    @property
    def cseq(self) -> str:
        for line in self.data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
            name, colon, value = line.partition(b":")
            if colon and name.strip(b" \t").lower() == b"cseq":
                return value.strip(b" \t").decode("ascii", "replace")
        return ""


def passed(message: TracedMessage, wall_s: float) -> Passed:
    """The message as captures have it, at the wall time given."""
    flow = message.flow
    source, destination = flow.local, flow.remote
    if message.received:
        source, destination = destination, source
    return Passed(source, destination, flow.transport, wall_s, message.data)


class Trace:
    """A ring of the last messages, and live followers of it.

    `tap` is the driver's: while nobody follows, the ring's own `append`. `tap_changed` hears when it is
    another.
    """

    def __init__(self, messages_max: int = MESSAGES) -> None:
        self._ring: deque[Passing] = deque(maxlen=messages_max)
        self._followers: set[asyncio.Queue[TracedMessage]] = set()
        self.tap: Tap = self._ring.append
        self.tap_changed: Callable[[], None] = lambda: None

    def _choose_tap(self) -> None:
        self.tap = self._tell if self._followers else self._ring.append
        self.tap_changed()

    def _tell(self, passing: Passing) -> None:
        self._ring.append(passing)
        message = TracedMessage(*passing)
        for follower in self._followers:
            if not follower.full():  # a slow reader misses messages, the exchange does not wait
                follower.put_nowait(message)

    def keep(self, messages_max: int) -> None:
        """Keep so many from now on; what is kept stays, as far as there is room."""
        if messages_max != self._ring.maxlen:
            self._ring = deque(self._ring, messages_max)
            self._choose_tap()

    @property
    def kept_since_s(self) -> float:
        """Before this messages have been forgotten (monotonic); minus infinity where none has been."""
        return self._ring[0][0] if len(self._ring) == self._ring.maxlen else float("-inf")

    def messages(self, call_ids: frozenset[str] | None = None) -> list[TracedMessage]:
        """What is kept, oldest first; only of these SIP Call-IDs when given."""
        kept = [TracedMessage(*entry) for entry in self._ring]
        return kept if call_ids is None else [m for m in kept if m.call_id in call_ids]

    async def follow(self) -> AsyncIterator[TracedMessage]:
        """Messages as they pass, until the consumer stops; at most eight followers."""
        if len(self._followers) >= _FOLLOWERS_MAX:
            return
        queue: asyncio.Queue[TracedMessage] = asyncio.Queue(_FOLLOW_QUEUE_MAX)
        self._followers.add(queue)
        self._choose_tap()
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)
            self._choose_tap()

    def snapshot(self) -> dict[str, int]:
        return {"messages": len(self._ring), "followers": len(self._followers)}
