"""When a socket is looked at again, on a clock of the test's own; then on real sockets, what a rest does."""

from __future__ import annotations

import asyncio
import random
import socket
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable

import pytest

from softswitch.transport.gathering import BUSY_PER_S, CALM_PER_S, REST_S, TOGETHER, Gathering
from softswitch.transport.udp import UdpTransport
from tests.transport.inbox import Inbox
from tests.waiting import until


def read(
    gathering: Gathering, arrivals_s: list[float], work_s: float = 0.0
) -> list[tuple[float, int]]:
    """Each reading of these messages, each of which takes `work_s`: when, and how many. As the socket does it:
    a rest that brings nobody is followed by no reading."""
    readings: list[tuple[float, int]] = []
    first, now_s = 0, 0.0
    while first < len(arrivals_s):
        now_s = max(now_s, arrivals_s[first])
        count = bisect_right(arrivals_s, now_s) - first
        first += count
        readings.append((now_s, count))
        now_s += max(gathering.rest_s(count, now_s), count * work_s)
    return readings


def waits_s(arrivals_s: list[float], readings: list[tuple[float, int]]) -> list[float]:
    """How long each message has waited."""
    read_s = [at for at, count in readings for _ in range(count)]
    return [at - came for came, at in zip(arrivals_s, read_s, strict=True)]


def poisson(per_s: float, seconds: float = 5.0, seed: int = 1) -> list[float]:
    draw = random.Random(seed)
    found, now_s = [], 0.0
    while (now_s := now_s + draw.expovariate(per_s)) < seconds:
        found.append(now_s)
    return found


@pytest.mark.parametrize("per_s", [10.0, 100.0, 350.0])
def test_where_few_come_nobody_waits(per_s: float) -> None:
    arrivals_s = poisson(per_s)
    assert max(waits_s(arrivals_s, read(Gathering(), arrivals_s))) == 0.0


@pytest.mark.parametrize(
    ("per_s", "at_least"), [(800.0, 2.5), (1200.0, 4.0), (2700.0, 5.0), (9000.0, 5.0)]
)
def test_where_many_come_several_are_read_together_and_none_waits_longer_than_a_rest(
    per_s: float, at_least: float
) -> None:
    arrivals_s = poisson(per_s)
    readings = read(Gathering(), arrivals_s)
    assert max(waits_s(arrivals_s, readings)) <= REST_S
    assert len(arrivals_s) / len(readings) >= at_least


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_work_is_part_of_the_rest_so_that_a_busy_loop_puts_nobody_into_line(load: float) -> None:
    arrivals_s, work_s = poisson(6000.0), load / 6000.0
    counts = [count for _, count in read(Gathering(), arrivals_s, work_s)]
    assert sum(count >= 2 * TOGETHER for count in counts) < len(counts) / 50


def test_the_rest_begins_and_ends_by_itself() -> None:
    rush_s = [10.0 + number / 2000 for number in range(8000)]
    alone_s = [number * 0.5 for number in range(60)]
    arrivals_s = sorted([*rush_s, *alone_s])
    waited = dict(zip(arrivals_s, waits_s(arrivals_s, read(Gathering(), arrivals_s)), strict=True))
    assert sum(waited[at] > 0 for at in rush_s) > 6000
    assert all(waited[at] == 0 for at in alone_s if not 10.0 <= at <= 15.0)


def test_who_comes_after_a_rest_that_brought_nobody_is_read_at_once() -> None:
    gathering = Gathering()
    for number in range(2000):  # a thousand a second
        gathering.rest_s(1, number / 1000)
    assert gathering.rest_s(1, 2.0) == REST_S
    assert gathering.rest_s(0, 2.0 + REST_S) == 0.0


def test_so_many_at_once_wait_for_nobody() -> None:
    gathering = Gathering()
    for number in range(2000):
        gathering.rest_s(1, number / 1000)
    assert gathering.rest_s(2 * TOGETHER - 1, 2.001) == REST_S
    assert gathering.rest_s(2 * TOGETHER, 2.002) == 0.0


def test_between_two_rates_it_stays_as_it_is() -> None:
    between = (BUSY_PER_S + CALM_PER_S) / 2
    calm = Gathering()
    arrivals_s = [number / between for number in range(3000)]
    assert max(waits_s(arrivals_s, read(calm, arrivals_s))) == 0.0
    busy = Gathering()
    for number in range(2000):
        busy.rest_s(1, number / 1000 - 2.0)
    assert all(busy.rest_s(1, at) == REST_S for at in arrivals_s)


class Told(Gathering):
    """Rests after the readings that it is told to."""

    def __init__(self, rests_s: list[float]) -> None:
        super().__init__()
        self.rests_s = rests_s
        self.counts: list[int] = []

    def rest_s(self, count: int, now_s: float) -> float:
        self.counts.append(count)
        return self.rests_s.pop(0) if self.rests_s else 0.0


@pytest.fixture
async def udp() -> AsyncIterator[tuple[UdpTransport, Inbox]]:
    transport, inbox = UdpTransport.bind("127.0.0.1", 0), Inbox()
    transport.start(inbox.receive, inbox.unreachable)
    yield transport, inbox
    transport.close()


async def test_what_comes_in_a_rest_is_read_together_after_it(
    udp: tuple[UdpTransport, Inbox],
) -> None:
    transport, inbox = udp
    transport.gathering = told = Told([0.05, 0.05])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"0", transport.local)
        await until(lambda: len(inbox.messages) == 1)
        for number in range(1, 4):
            peer.sendto(b"%d" % number, transport.local)
            for _ in range(3):
                await asyncio.sleep(0)  # a reader would have its turn
        await until(lambda: len(inbox.messages) == 4)
        assert told.counts == [1, 3]
        await until(lambda: transport._rest is None)  # the second brought nobody
        peer.sendto(b"4", transport.local)
        await until(lambda: len(inbox.messages) == 5)
    assert [data for data, _ in inbox.messages] == [b"%d" % number for number in range(5)]
    assert told.counts == [1, 3, 1]


async def test_a_socket_that_rests_is_closed(udp: tuple[UdpTransport, Inbox]) -> None:
    transport, inbox = udp
    transport.gathering = Told([0.01])
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: unhandled.append(context)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"0", transport.local)
        await until(lambda: len(inbox.messages) == 1)
        peer.sendto(b"1", transport.local)
    transport.close()
    await asyncio.sleep(0.05)
    assert not unhandled
    assert len(inbox.messages) == 1


async def test_a_dead_port_is_heard_of_after_a_rest(udp: tuple[UdpTransport, Inbox]) -> None:
    transport, inbox = udp
    transport.gathering = told = Told([0.02])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        address = dead.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"0", transport.local)
        await until(lambda: len(inbox.messages) == 1)
    transport.send(b"lost", transport._flow(address))
    await until(lambda: bool(inbox.gone))
    assert inbox.gone[0].remote == address
    assert told.counts[:2] == [1, 0]


class LoopOfTheTest:
    """What a UDP transport asks of its loop; `now_s` is the test's."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.reader: Callable[[], None] | None = None
        self.looks: list[float] = []

    def time(self) -> float:
        return self.now_s

    def add_reader(self, number: int, read: Callable[[], None]) -> None:
        self.reader = read

    def remove_reader(self, number: int) -> None:
        self.reader = None

    def remove_writer(self, number: int) -> None: ...

    def call_at(self, at_s: float, look: Callable[[], None]) -> asyncio.TimerHandle:
        self.looks.append(at_s)
        return asyncio.get_running_loop().call_later(3600.0, look)


async def test_the_work_of_a_reading_is_part_of_its_rest() -> None:
    loop = LoopOfTheTest()
    transport = UdpTransport.bind("127.0.0.1", 0, loop=loop)  # type: ignore[arg-type]
    transport.gathering = Told([0.004])

    def work(data: bytes, flow: object) -> None:
        loop.now_s += 0.003

    transport.start(work, lambda flow: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"0", transport.local)
        assert loop.reader is not None
        loop.reader()
    assert loop.looks == [100.004]
    assert loop.reader is None
    transport.close()
