"""What strangers may make the stream transports hold, and for how long; shared by TCP, TLS, WS, WSS."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from softswitch.sip.parser import DEFAULT_LIMITS, Limits

CONNECTIONS_MAX = 4096
CONNECTIONS_PER_SOURCE_MAX = 64
CONNECTIONS_PER_SOURCE_PER_S = 4.0
SOURCES_MAX = 8192
CROWD = 4
"""Connections from where a source is no single telephone: when all places are taken, nobody gives way to it."""
_KNOWN_S = 3600.0
_KNOWN_TIMES = 16.0
"""So many times the rate for an address from where somebody has shown who he is."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Deadlines and sizes of one connection; octets and seconds.

    `message_s`: a message once begun, and the first one of a connection to us (with the handshakes
    before it), must be complete in this time. `idle_s`: a connection of a stranger on which nothing
    whole comes is closed (a ping is enough). `proven_idle_s`: the same for one whose sender has shown
    who he is; phones that register for an hour and send no pings in between must stay reachable, and
    the kernel's keep-alives find those that have vanished. `connect_s`: to connect and shake hands.
    `unsent`: what a peer that does not read may leave in our memory; `waiting`: messages kept while
    a connection is being made; `outgoing`: connections that we open.
    """

    message_s: float = 10.0
    idle_s: float = 120.0
    proven_idle_s: float = 3900.0
    connect_s: float = 4.0
    unsent: int = 1024 * 1024
    waiting: int = 64
    outgoing: int = 1024
    messages_a_turn: int = 32
    accept_pause_s: float = 0.5
    messages: Limits = DEFAULT_LIMITS


DEFAULT_STREAM_LIMITS = StreamLimits()

_Value = TypeVar("_Value")


@dataclass(slots=True)
class StreamCounters:
    """`refused`: beyond a source's limits; `displaced`: strangers' connections closed to make room;
    `late`: closed by a deadline; `malformed`: closed because the stream could not be cut into
    messages; `handshakes_failed`: TLS or WebSocket; `pings` that we have answered and `pongs` that we have
    heard (RFC 5626); `exceptions` must stay 0."""

    received: int = 0
    sent: int = 0
    accepted: int = 0
    connected: int = 0
    connect_failed: int = 0
    handshakes_failed: int = 0
    refused: int = 0
    displaced: int = 0
    late: int = 0
    malformed: int = 0
    unsendable: int = 0
    pings: int = 0
    pongs: int = 0
    accept_pauses: int = 0
    exceptions: int = 0


class Guest(Protocol):
    """A connection somebody has made to us."""

    @property
    def source(self) -> str:
        """Whose it is for the limit, see `source_of`."""

    def displace(self) -> None:
        """Close at once: the place is needed. `give_back` follows."""


class ConnectionQuota:
    """Counts connections made to us, over all transports that share it.

    Parameters: `total` at once, `per_source` of them from one address, and `per_s` new ones a second from one
    address once `per_source` have come: who is closed and comes back at once costs hardly more than
    his SYN. When all places are taken,
    the oldest connection whose sender has not shown who he is gives way to a new one, so that
    strangers who hold many cannot keep phones out; when all are proven, accepting pauses.
    """

    def __init__(
        self,
        total: int = CONNECTIONS_MAX,
        per_source: int = CONNECTIONS_PER_SOURCE_MAX,
        per_s: float = CONNECTIONS_PER_SOURCE_PER_S,
    ) -> None:
        self._total = total
        self._per_source, self._per_s = per_source, per_s
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._known_s: OrderedDict[str, float] = OrderedDict()
        self._guests: set[Guest] = set()
        self._strangers: dict[Guest, None] = {}  # in order of arrival
        self._by_source: Counter[str] = Counter()
        self._arrived = 0
        self._waiting: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def remembered(self) -> int:
        """Addresses whose rate is remembered."""
        return len(self._levels)

    @property
    def sources(self) -> int:
        """How many addresses the connections come from."""
        return len(self._by_source)

    def has_room(self) -> bool:
        """Whether one more may come in, in the place of a stranger if need be."""
        return self._places() > 0 or bool(self._strangers)

    def _places(self) -> int:
        return self._total - len(self._guests) - self._arrived

    def allows(self, source: str, now_s: float) -> bool:
        """Whether `source` may have one more; asked once for each connection that is made."""
        known = now_s - self._known_s.get(source, float("-inf")) < _KNOWN_S
        rate = self._per_s * (_KNOWN_TIMES if known else 1.0)
        most = float(self._per_source)
        level, since_s = self._levels.pop(source, (most, now_s))
        level = min(most, level + (now_s - since_s) * rate)
        held = self._by_source.get(source, 0)
        allowed = level >= 1.0 and held < self._per_source
        if held >= CROWD and not known and self._places() <= 0:
            allowed = False
        _remember(self._levels, source, (level - 1.0 if allowed else level, now_s))
        return allowed

    def arrive(self, source: str) -> tuple[int, bool]:
        """Keep a place for who has been accepted; how many his source had before, and whether another had
        to go for him. `take` or `turn_back` follows."""
        displaced = self._places() <= 0
        if displaced:
            self._displace()
        self._arrived += 1
        self._by_source[source] += 1
        return self._by_source[source] - 1, displaced

    def turn_back(self, source: str) -> None:
        """Who has arrived is not let in."""
        self._arrived -= 1
        self._leave(source)

    def _displace(self) -> None:
        oldest = next(iter(self._strangers))
        self.give_back(oldest)
        oldest.displace()

    def take(self, guest: Guest) -> None:
        """Count a connection, for which a place is kept."""
        self._arrived -= 1
        self._guests.add(guest)
        self._strangers[guest] = None
        self._resume()  # there is somebody to give way now

    def prove(self, guest: Guest, now_s: float) -> None:
        """Its sender has shown who he is: it gives way to nobody any more."""
        self._strangers.pop(guest, None)
        self._known_s.pop(guest.source, None)
        _remember(self._known_s, guest.source, now_s)

    def give_back(self, guest: Guest) -> None:
        """A connection is over. May be called twice."""
        if guest not in self._guests:
            return
        self._guests.discard(guest)
        self._strangers.pop(guest, None)
        self._leave(guest.source)

    def _leave(self, source: str) -> None:
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]
        self._resume()

    def _resume(self) -> None:
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()

    def wait(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, when a place has become free."""
        self._waiting.append(resume)


def _remember(table: OrderedDict[str, _Value], source: str, value: _Value) -> None:
    """At the end of the table, whose first goes when it is full."""
    table[source] = value
    if len(table) > SOURCES_MAX:
        table.popitem(last=False)
