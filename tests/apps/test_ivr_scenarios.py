"""Menus as callers meet them: whole calls on virtual time, digits pressed, destinations reached."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config import InvalidOffice, parse_office
from softswitch.sim.behaviour import busy, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

MENU = """
[[inbound]]
number = "+861065551000"
to = "ivr:main"

[[ring_group]]
number = "1100"
members = ["1002", "1003"]

[[hours]]
name = "office-hours"
open = { mon-fri = ["09:00-12:00", "13:00-18:00"], sat = ["10:00-14:00"] }
holidays = ["2026-10-01"]

[[ivr]]
name = "main"
number = "7000"
greeting = "main-menu"
options = { "1" = "extension:1001", "0" = "ring_group:1100", "9" = "ivr:second", "*" = "hangup" }
dial_extension = true
invalid_max = 3
timeout_s = 6
otherwise = "extension:1003"

[[ivr]]
name = "second"
number = "7001"
options = { "1" = "ivr:main" }
dial_extension = false

[[ivr]]
name = "day"
number = "7002"
hours = "office-hours"
closed = "extension:1002"
options = { "1" = "extension:1001" }

[[ivr]]
name = "news"
number = "7003"
greeting = "closed"
dial_extension = false
otherwise = "hangup"

[[ivr]]
name = "shut"
number = "7004"
hours = "office-hours"
"""


def office(more=""):
    return small_office(extensions=4, more=MENU + more)


async def dial(world, phone, number):
    call = await phone.call(number)
    await call.answered()
    return call


def left(world):
    return [(e.data["why"], e.data["to"]) for e in world.journal.of_kind("menu-left")]


def playing(world):
    return [s.playing[1] for s in world.media.streams.values() if s.playing is not None]


@simulated()
async def test_an_option_barges_into_the_greeting_and_leads_on():
    async with World(1, office=office()) as world:
        carrier = await world.trunk("carrier-1")
        callee = await world.phone("1001")
        call = await dial(world, carrier, "+861065551000")
        await asyncio.sleep(0.5)
        assert playing(world)[0].path.endswith("en/main-menu.flac")
        world.media.press_newest("1")
        await asyncio.sleep(4)  # 1 might begin an extension
        assert (await callee.incoming()).state == "up"
        assert left(world) == [("option", "extension:1001")]
        call.hang_up()
        await call.ended()
        await world.settle()
        (end,) = world.journal.of_kind("call-ended")
        assert end.data["outcome"] == "answered"


@simulated()
async def test_an_extension_is_dialled_at_once_without_waiting():
    async with World(2, office=office()) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=ring())
        call = await dial(world, caller, "7000")
        await asyncio.sleep(0.5)
        pressed_s = world.clock.monotonic_s()
        world.media.press_newest("1002")
        other = await callee.incoming()
        assert world.clock.monotonic_s() - pressed_s < 0.2
        await asyncio.sleep(0.5)
        assert [source.name for source in playing(world)] == ["ringback"], "he hears it ring"
        other.answer()
        await asyncio.sleep(0.5)
        assert playing(world) == []
        assert len([s for s in world.media.streams.values() if s.bridged_to]) == 2
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_wrong_choices_and_silence_lead_to_otherwise():
    async with World(3, office=office()) as world:
        caller = await world.phone("1001")
        fallback = await world.phone("1003")
        call = await dial(world, caller, "7000")
        await asyncio.sleep(0.5)
        world.media.press_newest("7")
        await asyncio.sleep(0.5)
        assert playing(world)[0].path.endswith("invalid-choice.flac")
        await asyncio.sleep(2 + 2 + 6)  # the complaint, the greeting, silence
        assert playing(world)[0].path.endswith("no-choice.flac")
        world.media.press_newest("19")
        await asyncio.sleep(4)
        assert (await fallback.incoming()).state == "up"
        assert left(world) == [("otherwise", "extension:1003")]
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_menus_lead_to_menus_and_the_star_hangs_up():
    async with World(4, office=office()) as world:
        caller = await world.phone("1001")
        call = await dial(world, caller, "7000")
        await asyncio.sleep(0.5)
        world.media.press_newest("9")
        await asyncio.sleep(0.5)
        world.media.press_newest("1")
        await asyncio.sleep(0.5)
        world.media.press_newest("*")
        end = await call.ended()
        assert end.by == "remote"
        assert [to for _, to in left(world)] == ["ivr:second", "ivr:main", "hangup"]
        await world.settle()


@simulated()
async def test_an_announcement_is_heard_and_ends():
    async with World(5, office=office()) as world:
        caller = await world.phone("1001")
        call = await dial(world, caller, "7003")
        assert (await call.ended()).by == "remote"
        assert call.times["ended"] - call.times["up"] == pytest.approx(2.0, abs=0.2)
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("local", "open_"),
    [
        ("2026-01-05T09:00", True),  # a Monday, to the minute
        ("2026-01-05T08:59", False),
        ("2026-01-05T12:00", False),  # lunch
        ("2026-01-10T13:59", True),  # Saturday
        ("2026-01-11T11:00", False),  # Sunday
        ("2026-10-01T10:00", False),  # a holiday
    ],
)
async def test_hours_are_kept_in_the_office_time_zone(local, open_):
    async with World(6, office=office()) as world:
        set_clock(world, local)
        caller = await world.phone("1001")
        night = await world.phone("1002")
        call = await caller.call("7002")
        await call.answered()
        await asyncio.sleep(0.5)
        if open_:
            assert playing(world)[0].path.endswith("main-menu.flac")
        else:
            assert (await night.incoming()).state == "up"
            assert left(world) == [("closed", "extension:1002")]
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_closed_without_a_destination_is_said():
    async with World(7, office=office()) as world:
        set_clock(world, "2026-01-11T11:00")
        caller = await world.phone("1001")
        call = await dial(world, caller, "7004")
        await asyncio.sleep(0.5)
        assert playing(world)[0].path.endswith("closed.flac")
        await call.ended()
        await world.settle()


@simulated()
async def test_who_was_answered_by_a_menu_is_told_why_nobody_came():
    async with World(8, office=office()) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=busy())
        call = await dial(world, caller, "7000")
        await asyncio.sleep(0.5)
        world.media.press_newest("1002")
        await asyncio.sleep(1)
        assert playing(world)[0].path.endswith("busy.flac")
        end = await call.ended()
        assert end.cause is not None
        assert end.cause.cause == 17
        await world.settle()


def set_clock(world, local):
    wanted = datetime.fromisoformat(local).replace(tzinfo=world.office.office.zone)
    world.clock.shift_wall(wanted.timestamp() - world.clock.wall_s())


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (
            '[[ivr]]\nname="a"\notherwise="ivr:b"\n[[ivr]]\nname="b"\notherwise="ivr:a"',
            "ivr[0].otherwise",
            "circle",
        ),
        ('[[ivr]]\nname="a"\notherwise="ivr:a"', "ivr[0].otherwise", "circle"),
        (
            '[[ivr]]\nname="a"\notherwise="queue:q"\n[[queue]]\nname="q"\noverflow="ivr:a"',
            "ivr[0].otherwise",
            "circle: ivr:a -> queue:q -> ivr:a",
        ),
        (
            '[[hours]]\nname="h"\nopen={}\n[[ivr]]\nname="a"\nhours="h"\nclosed="ivr:b"\noptions={1="hangup"}\n'
            '[[ivr]]\nname="b"\notherwise="ivr:a"',
            "ivr[0].closed",
            "circle",
        ),
        (
            '[[ivr]]\nname="a"\notherwise="extension:2001"\n'
            '[[extension]]\nnumber="2001"\npassword="secret-2001"\nforward={always="ivr:a"}',
            "ivr[0].otherwise",
            "circle",
        ),
        ('[[ivr]]\nname="a"\ndial_extension=false', "ivr[0].options", "leads nowhere"),
    ],
)
def test_circles_and_dead_ends_are_refused_when_the_file_is_read(text, path, words):
    with pytest.raises(InvalidOffice) as refused:
        parse_office(text, checks=OFFICE_CHECKS)
    (problem,) = refused.value.problems
    assert problem.key_path == path
    assert words in problem.problem
