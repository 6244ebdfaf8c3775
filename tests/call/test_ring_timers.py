"""Timers of which nearly all are cancelled: a lane for each duration, one timer of the loop for its first."""

from __future__ import annotations

import asyncio

from softswitch.call import ring_timers
from softswitch.call.ring_timers import RingTimers
from softswitch.sim.loop import simulated, virtual_loop


def _timers_of_the_loop(at_s: list[float]) -> None:
    """Note when the loop is asked for a timer."""
    loop = virtual_loop()
    asked = loop.call_at

    def call_at(when: float, *args: object, **more: object) -> asyncio.TimerHandle:
        at_s.append(when)
        return asked(when, *args, **more)  # type: ignore[arg-type]

    loop.call_at = call_at  # type: ignore[method-assign,assignment]


@simulated()
async def test_each_expires_after_its_own_time_in_order():
    timers, began_s = RingTimers(), asyncio.get_running_loop().time()
    expired: list[tuple[str, float]] = []

    def start(name: str, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        timers.start(after_s, lambda: expired.append((name, round(loop.time() - began_s, 3))))

    start("long", 30.0)
    start("short", 5.0)
    await asyncio.sleep(2.0)
    start("second", 30.0)
    start("third", 30.0)
    await asyncio.sleep(40.0)
    assert expired == [("short", 5.0), ("long", 30.0), ("second", 32.0), ("third", 32.0)]
    assert len(timers) == 0


@simulated()
async def test_of_a_thousand_that_are_cancelled_nothing_is_left_and_the_loop_had_one_timer():
    timers = RingTimers()
    asked: list[float] = []
    _timers_of_the_loop(asked)
    began = [timers.start(30.0, lambda: None) for _ in range(1000)]
    assert (len(timers), len(asked)) == (1000, 1)
    for timer in began:
        timer.cancel()
        timer.cancel()
    assert len(timers) == 0
    await asyncio.sleep(31.0)
    assert len([at_s for at_s in asked if at_s != asked[0]]) <= 1  # the sleep's own


@simulated()
async def test_who_begins_while_the_loop_waits_for_one_that_was_cancelled_is_not_late():
    timers, loop = RingTimers(), asyncio.get_running_loop()
    expired: list[float] = []
    timers.start(30.0, lambda: expired.append(-1.0)).cancel()
    await asyncio.sleep(20.0)
    began_s = loop.time()
    timers.start(30.0, lambda: expired.append(loop.time() - began_s))
    await asyncio.sleep(31.0)
    assert [round(each, 3) for each in expired] == [30.0]


@simulated()
async def test_one_that_is_due_can_cancel_another_that_is():
    timers = RingTimers()
    expired: list[str] = []
    first = timers.start(1.0, lambda: (expired.append("first"), second.cancel()))
    second = timers.start(1.0, lambda: expired.append("second"))
    await asyncio.sleep(2.0)
    first.cancel()
    assert expired == ["first"]


@simulated()
async def test_durations_that_nobody_uses_any_more_are_forgotten():
    timers = RingTimers()
    for number in range(ring_timers.LANES_MAX):
        timers.start(1.0 + number / 1000, lambda: None)
    await asyncio.sleep(2.0)
    assert len(timers._lanes) == ring_timers.LANES_MAX
    timers.start(7.0, lambda: None)
    assert len(timers._lanes) == 1
