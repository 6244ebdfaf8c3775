"""Row 51: the wall clock jumps, by an hour, by ten years, over a leap second, into summer time. Calls, their
records and what is timed go by another clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from routing.calendar import Calendar
from softswitch.sim.behaviour import answer
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, talks_to
from softswitch.sim.link import Link
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

SIGNALLED_S = 2 * Link().delay_s
"""The 200 to the caller and his BYE back: so much longer a call lasts here than for him."""
YEAR_S = 365.25 * 86_400
JUMPS = {
    "nothing": 0.0,
    "+1 h": 3_600.0,
    "-1 h": -3_600.0,
    "-10 years": -10 * YEAR_S,
    "+10 years": 10 * YEAR_S,
    "leap second": -1.0,
    "slew": 0.05,
}


@pytest.mark.parametrize("name", JUMPS)
@simulated()
async def test_calls_records_and_queues_go_on(name, row):
    by_s = JUMPS[name]
    office = centre_office('ring_s = 10\nmax_wait_s = 60\noverflow = "hangup"')
    async with World(51, office=office) as world:
        agent = await world.phone("1001", behaviour=answer(after_s=1.0))
        one = await world.phone("1004")
        other = await world.phone("1005", behaviour=answer())
        call = await one.call("1005")
        await call.answered()
        began_s = world.clock.monotonic_s()
        reached = await other.incoming()
        carrier = await world.trunk("carrier-1")
        waiting = await carrier.call(QUEUE_NUMBER, from_user="01055550001")
        await waiting.answered()
        await asyncio.sleep(10)
        world.environment.virtual_clock.shift_wall(by_s)
        await asyncio.sleep(10)
        assert talks_to(world, call, reached), "the conversation goes on"
        assert waiting.state == "up", "nobody has waited longer or shorter by it"
        world.switch.agents.log_in("lilei")
        rung = await agent.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, waiting, rung)
        # A nonce from before is not too old, and not from the future: a phone comes in as always.
        assert (await one.register()).status == 200
        again = await one.call("1002")
        await asyncio.sleep(1)
        assert again.state != "calling"
        true_s = world.clock.monotonic_s() - began_s + SIGNALLED_S
        for each in (call, waiting, again):
            each.hang_up()
        await asyncio.sleep(40)
        await world.settle()
        ended = {e.call_id: e.data["duration_s"] for e in world.journal.of_kind("call-ended")}
        talk_s = ended[world.journal.of_kind("call-started")[0].call_id]
        (handled,) = world.journal.of_kind("acd-handled")
        # Beside what is rounded away: records count whole milliseconds.
        error_ms = max(0.0, round(abs(talk_s - true_s) * 1000 - 0.5, 3))
        row(51, f"the wall clock jumps by {name}", seed=51, dropped=0, billing_error_ms=error_ms)
        assert error_ms == 0
        assert 10.0 < handled.data["talk_s"] < 20.0
        (queued,) = world.journal.of_kind("acd-connected")
        assert queued.data["waited_s"] == pytest.approx(22.0, abs=1.0)


@pytest.mark.parametrize(
    ("zone", "begin", "lost"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC), 1),  # 2 o'clock does not come
        ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC), -1),  # and comes twice
        ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC), 1),
        ("Asia/Shanghai", datetime(2026, 3, 28, tzinfo=UTC), 0),
    ],
)
def test_schedules_fire_once_on_the_nights_of_summer_time(zone, begin, lost, row):
    """Open from 01:30 to 03:30 and from 09:00: each opens and closes once a day, whatever the night does."""
    hours = Calendar.of({"mon-sun": ["01:30-03:30", "09:00-17:00"]}, timezone=ZoneInfo(zone))
    open_now, turns, open_minutes = None, {}, 0
    local = ZoneInfo(zone)
    for minute in range(4 * 24 * 60):
        at = begin + timedelta(minutes=minute)
        now = hours.is_open(at.timestamp())
        day = at.astimezone(local).date()
        open_minutes += now and day.day == (begin + timedelta(days=1)).day
        if open_now is not None and now != open_now:
            turns.setdefault(day, []).append(now)
        open_now = now
    whole = sorted(turns)[1:-1]
    assert all(turns[day] == [True, False, True, False] for day in whole), turns
    assert open_minutes == (2 + 8) * 60 - lost * 60
    where = f"opening hours in {zone}, {begin:%d %b}"
    row(51, where, days=len(whole), fired_twice=0, open_minutes_of_that_day=open_minutes)


HOURS = """
[[hours]]
name = "day"
open = { mon-fri = ["09:00-18:00"] }
"""


@simulated()
async def test_opening_hours_follow_a_clock_that_is_set(row):
    """It is Friday, 11:04 in Shanghai; then somebody sets the clock to 20:04, and back."""
    text = centre_office('hours = "day"\noverflow = "extension:1005"', more=HOURS)
    async with World(52, office=text) as world:
        elsewhere = await world.phone("1005", behaviour=answer())
        carrier = await world.trunk("carrier-1")
        (queue,) = world.switch.queues.states()
        assert queue.open
        found = []
        for by_s in (0.0, 9 * 3_600.0, -9 * 3_600.0):
            world.environment.virtual_clock.shift_wall(by_s)
            call = await carrier.call(QUEUE_NUMBER, from_user="01055550001")
            await call.answered()
            await asyncio.sleep(3)
            (state,) = world.switch.queues.states()
            found.append((state.open, state.waiting))
            call.hang_up()
            await asyncio.sleep(2)
        assert found == [(True, 1), (False, 0), (True, 1)]
        assert (await elsewhere.incoming()).number
        await world.settle()
    row(51, "opening hours after the clock was set", open_as_the_clock_says="3 of 3")
