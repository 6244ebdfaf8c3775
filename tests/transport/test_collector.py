"""Python's cycle collector: looks at what is new while little goes on, at everything while no call is up."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterable, Iterator

import pytest

from softswitch import collector as collector_module
from softswitch.collector import Look, QuietCollector, is_due, look_at
from softswitch.sim.loop import VirtualLoop


class Knot:
    """Something that only the cycle collector frees."""

    def __init__(self) -> None:
        self.itself = self


class Exchange:
    """What the collector is told, second by second."""

    transactions = calls = 0
    works = False


def run(exchange: Exchange, seconds: float, turns: Iterable[None] = ()) -> bool:
    """Whether a knot tied after `start` is gone after so long. Each of `turns` is a second in which the
    exchange changes, before that."""

    async def scenario() -> bool:
        collector = QuietCollector(
            asyncio.get_running_loop(),
            lambda: exchange.transactions,
            lambda: exchange.works,
            lambda: exchange.calls,
        )
        collector.start()
        try:
            assert not gc.isenabled()
            left = weakref.ref(Knot())
            for _ in turns:
                await asyncio.sleep(1.5)
            await asyncio.sleep(seconds)
            return left() is None
        finally:
            collector.stop()
            collector.stop()

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(scenario())
    finally:
        loop.close()
        assert gc.isenabled()


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def test_a_quiet_exchange_collects_soon(exchange: Exchange) -> None:
    exchange.transactions = 499
    assert run(exchange, 17)
    assert not run(exchange, 2)


def test_and_sooner_where_there_is_more(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_module, "_NEW_OBJECTS", 0)
    assert run(exchange, 2)


@pytest.mark.parametrize("what", ["calls are set up", "a report is made", "much is loaded"])
def test_what_it_does_not_look_at_is_seen_again_when_no_call_is_up(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(collector_module, "_AGED_OBJECTS", -1_000_000)
    kept: list[list[int]] = []

    def busy() -> Iterator[None]:
        exchange.transactions = 500 * (what == "calls are set up")
        exchange.works = what == "a report is made"
        exchange.calls = 1
        if what == "much is loaded":
            kept.extend([] for _ in range(21_000))
        yield
        exchange.transactions, exchange.works = 0, False

    assert not run(exchange, 1_250, busy())  # for a call is up
    exchange.calls = 0
    assert not run(exchange, 590, busy())

    def ended() -> Iterator[None]:
        yield from busy()
        exchange.calls = 0

    assert run(exchange, 620, ended())


def test_a_thorough_look_is_taken_in_any_case_when_there_is_too_much(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.transactions, exchange.calls = 500, 9
    assert not run(exchange, 1_250)
    monkeypatch.setattr(collector_module, "_GROWN_OBJECTS", -1_000_000)
    assert run(exchange, 620)


OF_A_CALL_A_SECOND = 128
"""Transactions that one call a second keeps alive: two legs with an INVITE and a BYE each, 32 s long."""


@pytest.mark.parametrize("calls_per_s", [50, 200, 1000, 5000])
def test_what_calls_leave_for_half_a_minute_is_no_reason_to_stop_them(calls_per_s: int) -> None:
    transactions = calls_per_s * OF_A_CALL_A_SECOND
    assert not is_due(30 * transactions, transactions, calls_per_s)
    assert look_at(30 * transactions, transactions, 3_600.0) is Look.AWAY


@pytest.mark.parametrize("calls_per_s", [10, 1000])
def test_garbage_that_grows_is_collected_under_load_too(calls_per_s: int) -> None:
    transactions = calls_per_s * OF_A_CALL_A_SECOND
    most = 2_000_000 + 40 * transactions
    assert not is_due(most, transactions, calls_per_s)
    assert is_due(most + 1, transactions, calls_per_s)


def test_in_a_crowd_objects_are_counted_by_the_hour(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_module, "_GROWN_OBJECTS", -1_000_000)
    exchange.transactions, exchange.calls = 5_000, 9
    assert not run(exchange, 3_590)
    assert run(exchange, 3_610)


@pytest.mark.parametrize(
    ("new", "transactions", "since_s", "works", "look"),
    [
        (4_999, 499, 15.0, False, Look.NOT_YET),
        (5_000, 499, 0.0, False, Look.AT_NEW),
        (20_000, 499, 0.0, False, Look.AT_NEW),
        (20_001, 499, 0.0, False, Look.AWAY),
        (0, 499, 15.1, False, Look.AT_NEW),
        (0, 500, 15.1, False, Look.AWAY),
        (0, 0, 15.1, True, Look.AWAY),
    ],
)
def test_when_it_looks(
    new: int, transactions: int, since_s: float, works: bool, look: Look
) -> None:
    assert look_at(new, transactions, since_s, is_working=works) is look
