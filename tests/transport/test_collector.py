"""Python's cycle collector: off while calls are set up, at work when it is quiet."""

from __future__ import annotations

import asyncio
import gc
import weakref

from softswitch.collector import QuietCollector
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
