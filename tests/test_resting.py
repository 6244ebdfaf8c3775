"""Turns of the loop that are kept apart: the decision on made-up time, then a real loop."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.resting import APART_S, Pace, RestingLoop, RestingSelector


class Office:
    """A loop that sleeps for `idle_s` between wakings and works for `work_s` after each."""

    def __init__(self, idle_s: float, work_s: float = 0.0001) -> None:
        self.now_s = 100.0
        self.pace = Pace(self.now_s)
        self.idle_s, self.work_s = idle_s, work_s
        self.wakings: list[float] = []

    def run(self, seconds: float) -> list[float]:
        """Return the rests of the time that passes."""
        rests: list[float] = []
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            rests.append(self.pace.rest_s(self.now_s, None))
            self.now_s += max(rests[-1], self.idle_s)
            self.pace.woken(self.now_s)
            self.wakings.append(self.now_s)
            self.now_s += self.work_s
        return rests


def test_a_quiet_loop_never_rests() -> None:
    office = Office(idle_s=1 / 290)
    assert not any(office.run(5.0))
    assert office.pace.snapshot() == {"resting": 0, "rests": 0, "wakings": len(office.wakings)}


def test_a_loop_that_is_woken_often_rests_from_one_waking_to_the_next() -> None:
    office = Office(idle_s=0.0003)
    office.run(0.1)
    assert office.pace.resting
    office.wakings.clear()
    rests = office.run(1.0)
    assert all(rests)
    assert office.pace.rests >= len(rests)
    apart = [after - before for before, after in pairwise(office.wakings)]
    assert max(apart) <= APART_S + 1e-9
    assert min(apart) >= APART_S - 1e-9


def test_rests_end_when_fewer_come() -> None:
    office = Office(idle_s=0.0003)
    office.run(0.2)
    office.idle_s = 0.02
    office.run(0.3)
    assert not office.pace.resting
    assert not any(office.run(1.0))


def test_what_rests_bring_together_does_not_end_them() -> None:
    # 400 a second one by one; with rests, fewer wakings than begin them.
    office = Office(idle_s=1 / 400)
    office.run(0.2)
    assert office.pace.resting
    office.idle_s = 1 / 150
    office.run(1.0)
    assert office.pace.resting


def test_after_a_long_turn_there_is_no_rest() -> None:
    office = Office(idle_s=0.0001)
    office.run(0.2)
    assert office.pace.resting
    office.work_s = APART_S
    assert not any(office.run(0.2)[1:])


@given(
    timeouts=st.lists(
        st.tuples(st.none() | st.floats(0.0, 0.01), st.floats(0.0, 0.005)), min_size=1
    )
)
def test_no_rest_outlasts_a_timer_or_the_pace(timeouts: list[tuple[float | None, float]]) -> None:
    office = Office(idle_s=0.0003)
    office.run(0.2)
    now_s, pace = office.now_s, office.pace
    woken_s = office.wakings[-1]
    for timeout_s, passed_s in timeouts:
        rest_s = pace.rest_s(now_s, timeout_s)
        assert 0.0 <= rest_s <= APART_S
        assert now_s + rest_s <= max(now_s, woken_s + APART_S) + 1e-9
        if timeout_s is not None:
            assert rest_s <= timeout_s
        now_s += rest_s + passed_s
        pace.woken(now_s)
        woken_s = now_s


class TestSelector:
    @pytest.fixture
    def slept(self) -> list[float]:
        return []

    @pytest.fixture
    def selector(self, slept: list[float]) -> Iterator[RestingSelector]:
        office = Office(idle_s=0.0003)
        office.run(0.2)
        office.now_s = office.wakings[-1]  # the last waking is only now

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            office.now_s += seconds

        with RestingSelector(office.pace, lambda: office.now_s, sleep) as made:
            yield made

    def test_asks_at_once_what_it_is_not_to_wait_for(
        self, selector: RestingSelector, slept: list[float]
    ) -> None:
        wakings = selector.pace.wakings
        assert selector.select(0) == []
        assert not slept
        assert selector.pace.wakings == wakings

    def test_rests_before_it_asks(self, selector: RestingSelector, slept: list[float]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            selector.register(ours, selectors.EVENT_READ)
            theirs.send(b"1")
            assert [key.fileobj for key, _ in selector.select()] == [ours]
        assert slept == [pytest.approx(APART_S)]

    def test_a_timer_is_not_late(self, selector: RestingSelector, slept: list[float]) -> None:
        assert selector.select(0.001) == []
        assert slept == [pytest.approx(0.001)]


class TestLoop:
    """What asyncio promises holds while the loop rests."""

    def run(self, main: object) -> RestingLoop:
        loop = RestingLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main)  # type: ignore[arg-type]
        return loop

    def test_messages_that_come_one_by_one_are_turns_together(self) -> None:
        async def main() -> int:
            loop = asyncio.get_running_loop()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            ours.setblocking(False)
            got = bytearray()
            turns = 0
            done = asyncio.Event()

            def read() -> None:
                nonlocal turns
                turns += 1
                try:
                    while True:
                        got.extend(ours.recv(1))
                except BlockingIOError:
                    pass
                if len(got) == 3000:
                    done.set()

            def write() -> None:
                wait = threading.Event()
                for _ in range(3000):
                    theirs.send(b"x")
                    wait.wait(0.0001)

            with ours, theirs:
                loop.add_reader(ours, read)
                await asyncio.gather(done.wait(), asyncio.to_thread(write))
                loop.remove_reader(ours)
            assert len(got) == 3000
            return turns

        loop = RestingLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            assert runner.run(main()) < 3000
        assert loop.pace.rests

    def test_signals_are_heard(self) -> None:
        async def main() -> None:
            heard = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, heard.set)
            os.kill(os.getpid(), signal.SIGUSR1)
            async with asyncio.timeout(5.0):
                await heard.wait()
            loop.remove_signal_handler(signal.SIGUSR1)

        self.run(main())


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_only_datagrams_wait_for_the_end_of_a_rest(kind: socket.SocketKind) -> None:
    """A request to the API goes through twenty steps, each of which a thread or its peer waits for."""
    pace = Pace(0.0, apart_s=2.0)
    pace.resting = True
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs, RestingSelector(pace, lambda: 0.0) as made:
        made.register(ours, selectors.EVENT_READ, "said")
        theirs.send(b"x")
        began_s = time.monotonic()
        found = made.select(0.05 if kind == socket.SOCK_DGRAM else 5.0)
        rested = time.monotonic() - began_s >= 0.05
        assert [key.data for key, _ in found] == ["said"]
        assert rested == (kind == socket.SOCK_DGRAM)
        made.unregister(ours)
        assert made.select(0.0) == []
