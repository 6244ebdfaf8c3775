"""What waits to be looked at, by rank: messages that have been read from the sockets while there was no time
for them. Pure: messages in, answers out, time as an argument.

A message that waits already is not kept twice, so retransmissions cost nothing but their reading. New
calls are refused while their queue stands (`Standing`); of everything else what does not fit is
dropped, the oldest of strangers, the newest of others, who will send it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from softswitch.sip.flow import Flow
from softswitch.sip.rank import Rank
from softswitch.transport.interface import OnShed, nobody_asks
from softswitch.transport.standing import Standing, StandingPolicy

WAITING_MAX = 16_384
STRANGERS_MAX = 512
OCTETS_MAX = 8 * 1024 * 1024
REMEMBERED_MAX = 16_384
_GENERATION_S = 16.0
"""Half of what a caller goes on to ask for (RFC 3261 17.1.1.2): two generations are kept."""
_SHARE = 16
_PACE_KEPT = 1 / 32

Refusal = Callable[[bytes, Flow], bytes | None]
"""The 503 to a request, or None where it cannot be refused from its octets."""

_Key = tuple[tuple[str, int], bytes]


class Turn(NamedTuple):
    """The next message. `answer`: it has waited too long, send this instead of looking at it."""

    data: bytes
    flow: Flow
    rank: Rank
    answer: bytes | None


@dataclass(slots=True)
class RankCounters:
    """What has become of the messages of one rank: `waited` were served after a wait, `repeated` waited
    already, `dropped` had no room, `refused` were answered 503."""

    waited: int = 0
    repeated: int = 0
    dropped: int = 0
    refused: int = 0


class _Memory:
    """Marks (hashes) of messages for half a minute, in two generations, bounded."""

    __slots__ = ("_most", "_old", "_since_s", "_young")

    def __init__(self, most: int) -> None:
        self._most = most
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._since_s = float("-inf")

    def add(self, mark: int, now_s: float) -> None:
        if now_s - self._since_s >= _GENERATION_S or len(self._young) >= self._most:
            self._old, self._young, self._since_s = self._young, set(), now_s
        self._young.add(mark)

    def __contains__(self, mark: int) -> bool:
        return mark in self._young or mark in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class _Queue:
    """The messages of one rank, in order of arrival."""

    __slots__ = (
        "_pace_s", "_taken_s", "counters", "entries", "octets", "rank", "standing", "turns",
    )  # fmt: skip

    def __init__(self, rank: Rank, policy: StandingPolicy) -> None:
        self.rank = rank
        self.entries: OrderedDict[_Key, tuple[Flow, float]] = OrderedDict()
        self.octets = 0
        self.turns = 0
        self._pace_s = 0.0
        self._taken_s: float | None = None
        self.standing = Standing(policy) if rank.is_call else None
        self.counters = RankCounters()

    def wait_s(self, now_s: float) -> float:
        """How long the first has waited; 0 where nobody waits."""
        for _, since_s in self.entries.values():
            return now_s - since_s
        return 0.0

    def expected_s(self, now_s: float) -> float:
        """How long somebody new would wait: as many turns as there are before him at the pace of the last
        ones. How long the first has waited tells that too late, when as many again have come."""
        return max(self.wait_s(now_s), len(self.entries) * self._pace_s)

    def turns_away(self, now_s: float) -> bool:
        """Whether somebody new is refused."""
        standing = self.standing
        return standing is not None and standing.turns_away(self.expected_s(now_s), now_s)

    def pop(self) -> tuple[_Key, Flow, float]:
        key, (flow, since_s) = self.entries.popitem(last=False)
        self.octets -= len(key[1])
        return key, flow, since_s

    def took(self, now_s: float) -> None:
        """Its turn was served now."""
        if self._taken_s is not None:
            self._pace_s += _PACE_KEPT * (now_s - self._taken_s - self._pace_s)
        self._taken_s = now_s if self.entries else None


class Intake:
    """The queues of all ranks.

    Higher ranks go first; of each rank's turns one in sixteen goes to the next below, so that nobody
    starves. `refusal` writes the answer to who is turned away. `waiting` is how many wait now.
    `on_shed(host, refused, now_s)` hears of each message that is dropped, or answered 503 (`refused`).
    """

    def __init__(
        self,
        refusal: Refusal,
        policy: StandingPolicy | None = None,
        *,
        on_shed: OnShed = nobody_asks,
        waiting_max: int = WAITING_MAX,
        strangers_max: int = STRANGERS_MAX,
        octets_max: int = OCTETS_MAX,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        chosen = policy or StandingPolicy()
        self._refusal, self._on_shed = refusal, on_shed
        self._queues = [_Queue(rank, chosen) for rank in Rank]
        self._waiting_max, self._strangers_max = waiting_max, strangers_max
        self._octets_max = octets_max
        self.waiting = 0
        self._turned_away = _Memory(remembered_max)
        self._begun = _Memory(remembered_max)

    def __len__(self) -> int:
        return self.waiting

    def passes(self, data: bytes, flow: Flow, now_s: float) -> bytes | None:
        """A message is looked at without having waited; the answer instead where it is the repetition of
        one that was refused: were it let in, a call would begin that nobody waits for any more."""
        if not data.startswith(b"INVITE "):
            return None
        key = (flow.remote, data)
        mark = hash(key)
        if mark in self._turned_away:
            return self._refuse(self._queues[Rank.TRUNK_CALL], key, flow, now_s)
        self._begun.add(mark, now_s)
        return None

    def offer(self, rank: Rank, data: bytes, flow: Flow, now_s: float) -> bytes | None:
        """A message has come that is to wait; the answer where it is turned away instead."""
        key = (flow.remote, data)
        begins = rank.is_call and data.startswith(b"INVITE ")
        mark = hash(key) if begins else 0
        if begins and mark in self._begun:
            rank, begins = Rank.GOING, False  # its transaction knows what to say
        queue = self._queues[rank]
        if key in queue.entries:
            queue.counters.repeated += 1
            return None
        if begins and (mark in self._turned_away or queue.turns_away(now_s)):
            answer = self._refuse(queue, key, flow, now_s)
            if answer is not None:
                return answer
        while self._is_full(queue, len(data)):
            if rank is not Rank.STRANGER or not queue.entries:
                return self._no_room(queue, key, flow, now_s)
            _, oldest, _ = queue.pop()
            self._drop(queue, oldest, now_s)
            self.waiting -= 1
        queue.entries[key] = flow, now_s
        queue.octets += len(data)
        self.waiting += 1
        return None

    def take(self, now_s: float) -> Turn | None:
        """The next message to look at; None where nothing waits."""
        chosen: _Queue | None = None
        for queue in self._queues:
            if queue.entries:
                chosen = queue
                queue.turns += 1
                if queue.turns % _SHARE:
                    break
        if chosen is None:
            return None
        key, flow, since_s = chosen.pop()
        chosen.took(now_s)
        self.waiting -= 1
        answer = None
        if chosen.standing is not None and key[1].startswith(b"INVITE "):
            wait_s = now_s - since_s
            chosen.standing.served(chosen.expected_s(now_s))
            if chosen.standing.gives_up(wait_s):
                answer = self._refuse(chosen, key, flow, now_s)
            if answer is None:
                self._begun.add(hash(key), now_s)
        if answer is None:
            chosen.counters.waited += 1
        return Turn(key[1], flow, chosen.rank, answer)

    def longest_wait_s(self, now_s: float) -> float:
        """How long the first of any rank has waited."""
        return max(queue.wait_s(now_s) for queue in self._queues)

    def rows(self, now_s: float) -> list[dict[str, object]]:
        """One row a rank: its title, how many wait and for how long, and the counters."""
        return [
            {
                "class": queue.rank.title,
                "waiting": len(queue.entries),
                "wait_ms": round(1000 * queue.wait_s(now_s)),
                **{name: getattr(queue.counters, name) for name in RankCounters.__slots__},
            }
            for queue in self._queues
        ]

    # -- no ----------------------------------------------------------------------------------------

    def _is_full(self, queue: _Queue, octets: int) -> bool:
        most = self._strangers_max if queue.rank is Rank.STRANGER else self._waiting_max
        return len(queue.entries) >= most or queue.octets + octets > self._octets_max

    def _no_room(self, queue: _Queue, key: _Key, flow: Flow, now_s: float) -> bytes | None:
        """Over UDP it will be sent again; over a stream, and where a call begins, silence would last
        for half a minute."""
        data = key[1]
        is_request = not data.startswith((b"SIP/2.0 ", b"ACK "))
        if is_request and (flow.reliable or data.startswith(b"INVITE ")):
            answer = self._refuse(queue, key, flow, now_s)
            if answer is not None:
                return answer
        self._drop(queue, flow, now_s)
        return None

    def _drop(self, queue: _Queue, flow: Flow, now_s: float) -> None:
        queue.counters.dropped += 1
        self._on_shed(flow.remote[0], False, now_s)

    def _refuse(self, queue: _Queue, key: _Key, flow: Flow, now_s: float) -> bytes | None:
        answer = self._refusal(key[1], flow)
        if answer is not None:
            queue.counters.refused += 1
            self._turned_away.add(hash(key), now_s)
            self._on_shed(flow.remote[0], True, now_s)
        return answer
