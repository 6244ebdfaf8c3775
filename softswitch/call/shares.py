"""What one telephone may have of the exchange's time while others wait. Pure.

A telephone that has proven its password goes before strangers, whatever it sends. Some go mad: they send the
same request anew thousands of times a second until they are switched off. What is beyond a share, which no sane
one needs, waits among strangers, so that nobody notices it but the telephone. Only messages that have to wait
are counted: whoever comes when there is time is served. An address and port has one share, of each kind of
message: that of a proxy with a thousand telephones behind it is theirs together, and what of it is beyond is
served when there is time, registrations before anything else of strangers.
"""

from __future__ import annotations

from softswitch.call.guard import Source
from softswitch.sip.rank import Kind

PER_S = 300
"""New calls of one source within a second, and as many messages of no call."""
WITHIN_PER_S = 1_000
"""Messages within its calls."""
_MOST = {Kind.WITHIN: WITHIN_PER_S, Kind.BEGINNING: PER_S, Kind.OTHER: PER_S}


class Shares:
    """Counts by whole seconds; what is kept is of one second, and of sources that have proven a password."""

    __slots__ = ("_counts", "_second", "exceeded")

    def __init__(self) -> None:
        self._counts: dict[tuple[Source, Kind], int] = {}
        self._second = 0
        self.exceeded = 0
        """Messages since the start that were beyond somebody's share."""

    def take(self, source: Source, kind: Kind, now_s: float) -> bool:
        """One more message of that kind is to wait; False when it is beyond the source's share."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._counts.clear()
        key = source, kind
        count = self._counts.get(key, 0)
        if count >= _MOST[kind]:
            self.exceeded += 1
            return False
        self._counts[key] = count + 1
        return True

    def __len__(self) -> int:
        return len(self._counts)
