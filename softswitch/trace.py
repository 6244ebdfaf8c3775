"""The last SIP messages that passed, kept so that a call's ladder can be drawn while it lives.

A message costs one tuple in a bounded ring; nothing of it is read but its Call-ID, when it is no longer one of
the newest.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from heapq import merge

from softswitch.hep import Passed
from softswitch.sip.flow import Flow
from softswitch.transport.interface import Passing

MESSAGES = 2_048
"""Kept unless ``[trace] messages`` says otherwise."""

NEWEST_SHARE = 4
"""Of those kept, one in so many is among the newest, whosever they are; the others are of calls as far as calls
have so many."""

OTHERS_OCTETS_MAX = 4_096
"""Kept of a message that is of no call, when it is no longer among the newest."""

_FOLLOWERS_MAX = 8
_FOLLOW_QUEUE_MAX = 1_024
_CALL_ID = b"\r\nCall-ID: "
_AFTER_NAME = len(_CALL_ID)
_ANY_CALL_ID = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


def call_id_in(data: bytes) -> bytes:
    """The Call-ID of a message, empty where there is none."""
    begin = data.find(_CALL_ID)
    if begin >= 0:  # as nearly everybody writes it
        begin += _AFTER_NAME
        return data[begin : data.find(b"\r\n", begin)].strip(b" \t")
    match = _ANY_CALL_ID.search(data)
    return match[1].strip(b" \t") if match is not None else b""


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
        head, _, _ = self.data.partition(b"\r\n\r\n")
        return call_id_in(head + b"\r\n").decode("utf-8", "replace")

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


def _newest_of(messages_max: int) -> int:
    return max(1, messages_max // NEWEST_SHARE)


class Trace:
    """The last messages, and live followers of them.

    The newest are kept whosever they are: a quarter of the room, and all that nothing of calls is in. What is
    no longer among them is kept by what it belongs to: messages of calls stay until newer ones of calls need
    their place. So a flood of strangers, or ten thousand telephones that register, pushes out what is of no
    call, and never what is.

    Parameters: `of_a_call(call_id)` says whether a call has this SIP Call-ID. It is asked when
    a message leaves the newest, by when its call has begun.
    """

    def __init__(
        self, messages_max: int = MESSAGES, of_a_call: Callable[[bytes], bool] = lambda _: False
    ) -> None:
        self.of_a_call = of_a_call
        self._max = messages_max
        self._newest_max = _newest_of(messages_max)
        self._newest: deque[Passing] = deque()
        self._calls: deque[Passing] = deque()
        self._others: deque[Passing] = deque()
        self._forgotten = False
        self._followers: dict[asyncio.Queue[TracedMessage], Callable[[str], bool] | None] = {}

    def tap(self, passing: Passing) -> None:
        """The driver's, called for every message; cheap."""
        newest = self._newest
        newest.append(passing)
        if len(newest) > self._newest_max:
            self._sort()
        if self._followers:
            self._tell(TracedMessage(*passing))

    def _sort(self) -> None:
        """An eighth of the newest at once are not among them any more."""
        newest, calls, of_a_call = self._newest, self._calls, self.of_a_call
        count = max(len(newest) - self._newest_max, self._newest_max // 8)
        for _ in range(count):
            passing = newest.popleft()
            data = passing[3]
            begin = data.find(_CALL_ID) + _AFTER_NAME
            # Most are of calls, and write it so; who does not is looked at again.
            if of_a_call(data[begin : data.find(b"\r\n", begin)]) or of_a_call(call_id_in(data)):
                calls.append(passing)
            elif len(data) > OTHERS_OCTETS_MAX:
                self._others.append((*passing[:3], data[:OTHERS_OCTETS_MAX]))
            else:
                self._others.append(passing)
        self._make_room()

    def _make_room(self) -> None:
        calls, others = self._calls, self._others
        excess = len(calls) + len(others) - (self._max - self._newest_max)
        of_others = min(excess, len(others))
        for _ in range(of_others):
            others.popleft()
        if excess > of_others:
            self._forgotten = True
            for _ in range(excess - of_others):
                calls.popleft()

    def _tell(self, message: TracedMessage) -> None:
        call_id: str | None = None
        for follower, wanted in self._followers.items():
            if wanted is not None:
                call_id = message.call_id if call_id is None else call_id
                if not wanted(call_id):
                    continue
            if not follower.full():  # a slow reader misses messages, the exchange does not wait
                follower.put_nowait(message)

    def keep(self, messages_max: int) -> None:
        """Keep so many from now on; what is kept stays, as far as there is room."""
        self._max, self._newest_max = messages_max, _newest_of(messages_max)
        if len(self._newest) > self._newest_max:
            self._sort()
        self._make_room()

    @property
    def kept_since_s(self) -> float:
        """Before this messages of calls have been forgotten (monotonic); minus infinity where none has been."""
        if not self._forgotten:
            return float("-inf")
        return (self._calls or self._newest)[0][0]

    def messages(self, call_ids: frozenset[str] | None = None) -> list[TracedMessage]:
        """What is kept, oldest first; only of these SIP Call-IDs when given."""
        older = merge(self._calls, self._others, key=lambda passing: passing[0])
        kept = [TracedMessage(*passing) for passing in (*older, *self._newest)]
        return kept if call_ids is None else [m for m in kept if m.call_id in call_ids]

    async def follow(
        self, wanted: Callable[[str], bool] | None = None
    ) -> AsyncIterator[TracedMessage]:
        """Messages as they pass, until the consumer stops, only those of Call-IDs that are `wanted` when
        given; at most eight followers."""
        if len(self._followers) >= _FOLLOWERS_MAX:
            return
        queue: asyncio.Queue[TracedMessage] = asyncio.Queue(_FOLLOW_QUEUE_MAX)
        self._followers[queue] = wanted
        try:
            while True:
                yield await queue.get()
        finally:
            del self._followers[queue]

    def snapshot(self) -> dict[str, int]:
        """How many are kept, and how many of them are known to be calls'."""
        return {
            "messages": len(self._newest) + len(self._calls) + len(self._others),
            "of_calls": len(self._calls),
            "followers": len(self._followers),
        }
