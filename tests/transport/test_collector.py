"""Python's cycle collector: off while calls are set up, at work when it is quiet."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from softswitch.collector import QuietCollector, is_due
from softswitch.sim.loop import VirtualLoop


class Knot:
    """Something that only the cycle collector frees."""

    def __init__(self) -> None:
        self.itself = self


def run(transactions: int, seconds: float, *, works: bool = False) -> bool:
    """Whether a knot tied after `start` is gone after so long with so many transactions, and with a long report
    under way."""

    async def scenario() -> bool:
        collector = QuietCollector(asyncio.get_running_loop(), lambda: transactions, lambda: works)
        collector.start()
        try:
            assert not gc.isenabled()
            left = weakref.ref(Knot())
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


def test_a_quiet_exchange_collects_at_once() -> None:
    assert run(transactions=499, seconds=16)


def test_a_busy_exchange_waits() -> None:
    assert not run(transactions=500, seconds=590)


def test_a_long_report_is_not_walked_while_it_is_made() -> None:
    assert not run(transactions=0, seconds=590, works=True)
    assert run(transactions=0, seconds=620, works=True)


def test_but_not_for_ever() -> None:
    assert run(transactions=500, seconds=620)


OF_A_CALL_A_SECOND = 128
"""Transactions that one call a second keeps alive: two legs with an INVITE and a BYE each, 32 s long."""


def test_but_for_ever_where_a_stop_would_be_long() -> None:
    assert not run(transactions=5000, seconds=7200)


@pytest.mark.parametrize("calls_per_s", [50, 200, 1000, 5000])
def test_what_calls_leave_for_half_a_minute_is_no_reason_to_stop_them(calls_per_s: int) -> None:
    transactions = calls_per_s * OF_A_CALL_A_SECOND
    assert not is_due(30 * transactions, transactions, 3600.0)


@pytest.mark.parametrize("calls_per_s", [10, 1000])
def test_garbage_that_grows_is_collected_under_load_too(calls_per_s: int) -> None:
    transactions = calls_per_s * OF_A_CALL_A_SECOND
    most = 2_000_000 + 40 * transactions
    assert not is_due(most, transactions, 60.0)
    assert is_due(most + 1, transactions, 60.0)
