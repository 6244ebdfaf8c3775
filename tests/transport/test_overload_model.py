"""Twice the capacity on virtual time: a server that needs time for each message, driven by `Intake` as the
driver drives it, and callers who offer more than it can do.

Costs are those measured on the machine of `bench/overload.py` on 27 November 2026, rounded: what is tested
is the decision, so only their ratios matter.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.call.shares import Shares
from softswitch.sip.flow import Flow
from softswitch.sip.rank import Kind, Rank
from softswitch.transport.intake import Intake

READ_S, REFUSE_S, BEGIN_S, WITHIN_S, REGISTER_S = 4e-6, 2e-5, 3.4e-4, 1.06e-4, 2e-4
WITHIN = 6
"""Messages that come to us for each call after its INVITE."""
CALL_S = BEGIN_S + WITHIN * (WITHIN_S + READ_S) + READ_S
CAPACITY_PER_S = 1.0 / CALL_S
BINS_PER_S = 4
"""What oscillates does so within a second."""
TURN_S, ROUND_TRIP_S, T1_S = 0.008, 0.001, 0.5
FLOW = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 5060))


@dataclass
class Exchange:
    """`arrivals`: (when, order, rank, octets). Counts the calls completed by the quarter of a second."""

    arrivals: list[tuple[float, int, Rank, bytes]]
    now_s: float = 0.0
    completed: Counter[int] = field(default_factory=Counter)
    refused: set[bytes] = field(default_factory=set)
    wait_s: list[tuple[float, float]] = field(default_factory=list)
    """(when, how long) of each call that was let in."""
    registered_s: dict[bytes, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._order = itertools.count(len(self.arrivals))
        heapq.heapify(self.arrivals)
        self._came_s: dict[bytes, float] = {}
        self.intake = Intake(lambda data, flow: b"503")

    def run(self, until_s: float) -> None:
        while self.now_s < until_s and (self.arrivals or self.intake):
            if not self.intake and self.arrivals:
                self.now_s = max(self.now_s, self.arrivals[0][0])
            self._read()
            turn_ends_s = self.now_s + TURN_S
            while self.now_s < turn_ends_s and (turn := self.intake.take(self.now_s)):
                if turn.answer is not None:
                    self._refuse(turn.data)
                else:
                    self._work(turn.data)

    def _read(self) -> None:
        while self.arrivals and self.arrivals[0][0] <= self.now_s:
            came_s, _, rank, data = heapq.heappop(self.arrivals)
            if data.startswith(b"INVITE ") and data not in self._came_s:
                self._came_s[data] = came_s
                self._send(came_s + T1_S, rank, data)  # unless it is answered by then, see `_send`
            elif data in self.refused or (data in self._came_s and data not in self._waiting()):
                continue  # answered: the caller has stopped to ask
            self.now_s += READ_S
            if self.intake.offer(rank, data, FLOW, self.now_s) is not None:
                self._refuse(data)

    def _waiting(self) -> set[bytes]:
        return {data for _, data in self.intake._queues[Rank.TRUNK_CALL].entries}

    def _refuse(self, data: bytes) -> None:
        assert data not in self.refused
        self.refused.add(data)
        self.now_s += REFUSE_S

    def _work(self, data: bytes) -> None:
        method, _, rest = data.partition(b" ")
        if method == b"REGISTER":
            self.now_s += REGISTER_S
            self.registered_s[data] = self.now_s
            return
        if method == b"INVITE":
            self.wait_s.append((self.now_s, self.now_s - self._came_s[data]))
            self.now_s += BEGIN_S
            step = 0
        else:
            self.now_s += WITHIN_S
            step = int(method)
        if step == WITHIN:
            self.completed[int(self.now_s * BINS_PER_S)] += 1
        else:
            self._send(self.now_s + ROUND_TRIP_S, Rank.GOING, b"%d %s" % (step + 1, rest))

    def _send(self, at_s: float, rank: Rank, data: bytes) -> None:
        heapq.heappush(self.arrivals, (at_s, next(self._order), rank, data))


def calls(
    rate: float, seconds: float, seed: int, since_s: float = 0.0, first: int = 0
) -> list[tuple[float, int, Rank, bytes]]:
    """Poisson arrivals of trunk calls."""
    rng = random.Random(seed)
    at_s = since_s
    made: list[tuple[float, int, Rank, bytes]] = []
    while at_s < since_s + seconds:
        at_s += rng.expovariate(rate)
        number = first + len(made)
        made.append((at_s, number, Rank.TRUNK_CALL, b"INVITE %d" % number))
    return made


def what_refusals_leave(times: float) -> float:
    """Part of the capacity."""
    return 1.0 - (times - 1.0) * CAPACITY_PER_S * (REFUSE_S + READ_S)


@pytest.mark.parametrize("times", [1.2, 2.0, 5.0, 10.0])
def test_beyond_the_capacity_nearly_all_of_it_is_left_in_every_quarter_of_a_second(
    times: float,
) -> None:
    exchange = Exchange(calls(times * CAPACITY_PER_S, 5.0, 36))
    exchange.run(5.0)
    steady = [exchange.completed[each] for each in range(BINS_PER_S, 5 * BINS_PER_S)]
    expected = what_refusals_leave(times) * CAPACITY_PER_S / BINS_PER_S
    assert min(steady) >= 0.92 * expected, "neither collapse nor oscillation"
    assert sum(steady) >= 0.95 * expected * len(steady)
    waits = [wait_s for at_s, wait_s in exchange.wait_s if at_s >= 1.0]
    assert max(waits) < 0.1, "and who is let in has not waited long"


def test_a_rush_that_comes_and_goes_is_answered_anew_each_time_and_leaves_nothing_behind() -> None:
    arrivals: list[tuple[float, int, Rank, bytes]] = []
    for turn in range(3):
        for times, since_s in ((0.5, 4.0 * turn), (5.0, 4.0 * turn + 2.0)):
            arrivals += calls(times * CAPACITY_PER_S, 2.0, turn, since_s, len(arrivals))
    offered_s = {data: at_s for at_s, _, _, data in arrivals}
    exchange = Exchange(arrivals)
    exchange.run(12.0)
    rush = what_refusals_leave(5.0) * CAPACITY_PER_S / BINS_PER_S
    quiet = 0.5 * CAPACITY_PER_S / BINS_PER_S
    for turn in range(3):
        first = 4 * turn * BINS_PER_S
        settled = range(first + 1, first + 2 * BINS_PER_S)
        assert min(exchange.completed[each] for each in settled) >= 0.75 * quiet
        rushing = range(first + 2 * BINS_PER_S + 1, first + 4 * BINS_PER_S)
        assert min(exchange.completed[each] for each in rushing) >= 0.92 * rush
    refused_at_s = [offered_s[data] % 4.0 for data in exchange.refused]
    assert all(at_s < 0.1 or at_s >= 2.0 for at_s in refused_at_s), "nobody when it is over"
    begins = [wait_s for at_s, wait_s in exchange.wait_s if 2.0 <= at_s % 4.0 < 2.5]
    assert max(begins) < 0.35, "nobody waits until he would ask again"
    rest = [wait_s for at_s, wait_s in exchange.wait_s if at_s % 4.0 >= 2.5]
    assert max(rest) < 0.1


@pytest.mark.parametrize("times", [0.5, 0.9])
def test_below_the_capacity_nobody_is_refused(times: float) -> None:
    exchange = Exchange(calls(times * CAPACITY_PER_S, 8.0, 36))
    exchange.run(9.0)
    assert not exchange.refused


@settings(max_examples=20, deadline=None)
@given(
    st.floats(0.5, 5.0),
    st.integers(0, 2**32),
    st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(1, 400)), max_size=3),
)
def test_whoever_is_let_in_is_finished(
    times: float, seed: int, bursts: list[tuple[float, int]]
) -> None:
    arrivals = calls(times * CAPACITY_PER_S, 2.0, seed)
    for at_s, count in bursts:
        first = len(arrivals)
        arrivals += [
            (at_s, first + n, Rank.TRUNK_CALL, b"INVITE %d" % (first + n)) for n in range(count)
        ]
    offered = len(arrivals)
    exchange = Exchange(arrivals)
    exchange.run(60.0)
    assert sum(exchange.completed.values()) + len(exchange.refused) == offered
    assert max(wait_s for _, wait_s in exchange.wait_s) < T1_S, "nobody has to ask twice"


def test_a_storm_of_registrations_is_not_felt_by_calls() -> None:
    arrivals = calls(0.2 * CAPACITY_PER_S, 6.0, 37)
    first = len(arrivals)
    for number in range(10_000):
        for at_s in (1.0 + number / 10_000, 1.5 + number / 10_000):  # and once again, unanswered
            arrivals.append((at_s, first, Rank.WELL_MEANT, b"REGISTER %d" % number))
            first += 1
    exchange = Exchange(arrivals)
    exchange.run(20.0)
    assert not exchange.refused
    assert max(wait_s for _, wait_s in exchange.wait_s) < 0.03
    assert len(exchange.registered_s) >= 10_000


@pytest.mark.parametrize("kind", [Kind.WITHIN, Kind.OTHER])
def test_a_telephone_gone_mad_is_not_felt_by_the_others(kind: Kind) -> None:
    """It is registered, and sends 20,000 requests a second for three seconds. Others register, and call."""
    ranks = {Kind.WITHIN: Rank.GOING, Kind.OTHER: Rank.PHONE}
    arrivals = calls(0.2 * CAPACITY_PER_S, 5.0, 37)
    first, shares, came_s = len(arrivals), Shares(), {}
    for number in range(60_000):
        at_s = 1.0 + number / 20_000
        rank = ranks[kind] if shares.take(("192.0.2.9", 5060), kind, at_s) else Rank.WELL_MEANT
        arrivals.append((at_s, first + number, rank, b"REGISTER mad %d" % number))
    for number in range(100):
        came_s[b"REGISTER %d" % number] = at_s = 0.5 + number / 25
        arrivals.append((at_s, first + 60_000 + number, Rank.PHONE, b"REGISTER %d" % number))
    exchange = Exchange(arrivals)
    exchange.run(20.0)
    assert not exchange.refused
    assert max(wait_s for _, wait_s in exchange.wait_s) < 0.06
    during = [exchange.completed[each] for each in range(BINS_PER_S, 4 * BINS_PER_S)]
    assert sum(during) > 0.9 * 0.2 * CAPACITY_PER_S / BINS_PER_S * len(during)
    assert max(exchange.registered_s[data] - at_s for data, at_s in came_s.items()) < 0.1
