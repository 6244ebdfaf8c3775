"""Pick-up, directed and in a group: whoever dials the code talks to the caller who rang elsewhere."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

GROUP = """
[[ring_group]]
number = "1100"
members = ["1002", "1003"]
"""


async def ringing(world, number="1002"):
    """(caller, his call, the call at the phone that rings)."""
    caller = await world.phone("1001")
    callee = await world.phone(number, behaviour=ring())
    call = await caller.call(number)
    return caller, call, await callee.incoming()


def bridged(world):
    return [s for s in world.media.streams.values() if s.bridged_to is not None]


@simulated()
async def test_directed_pick_up():
    async with World(1) as world:
        _, call, rang = await ringing(world)
        picker = await world.phone("1004")
        taken = await picker.call("*81002")
        await asyncio.gather(taken.answered(), call.answered())
        end = await rang.ended()
        assert end.by == "cancelled"
        assert end.cause.cause == 200, "no missed call is shown"
        await asyncio.sleep(1)
        assert len(bridged(world)) == 2
        taken.hang_up()
        await call.ended()
        await world.settle()
        (entry,) = world.journal.of_kind("transfer")
        assert (entry.data["how"], entry.data["by"]) == ("pick-up", "extension:1004")


@simulated()
async def test_the_caller_may_hang_up_first():
    async with World(2) as world:
        _, call, _ = await ringing(world)
        picker = await world.phone("1004")
        taken = await picker.call("*81002")
        await asyncio.gather(taken.answered(), call.answered())
        await call.hold()
        await call.resume()
        call.hang_up()
        await taken.ended()
        await world.settle()


@simulated()
async def test_group_pick_up_is_for_members():
    async with World(3, office=small_office(more=GROUP)) as world:
        _, call, _ = await ringing(world)
        stranger = await world.phone("1004")
        refused = await stranger.call("*8")
        await refused.ended()
        assert refused.status == 480
        member = await world.phone("1003")
        taken = await member.call("*8")
        await asyncio.gather(taken.answered(), call.answered())
        taken.hang_up()
        await call.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("policy", "picker", "code", "taken"),
    [
        ("all", "1004", "*82001", True),
        ("group", "1003", "*82001", True),
        ("group", "1003", "*8", True),
        ("group", "1004", "*82001", False),
        ("none", "1003", "*82001", False),
        ("none", "1003", "*8", False),
        ("none", "2001", "*82001", True),
    ],
)
async def test_an_extension_says_who_may_take_its_calls(policy, picker, code, taken):
    more = f"""
[[extension]]
number = "2001"
password = "secret-2001"
pick_up = "{policy}"

[[ring_group]]
number = "1100"
members = ["2001", "1003"]
"""
    async with World(3, office=small_office(more=more)) as world:
        _, call, _ = await ringing(world, "2001")
        other = await world.phone(picker)
        attempt = await other.call(code)
        if taken:
            await asyncio.gather(attempt.answered(), call.answered())
        else:
            await attempt.ended()
            assert attempt.status == 480
            assert call.state == "ringing"
        call.hang_up()
        await attempt.ended()
        await world.settle()


@simulated()
async def test_nothing_rings_or_it_has_been_answered():
    async with World(4) as world:
        _, call, rang = await ringing(world)
        picker = await world.phone("1004")
        nothing = await picker.call("*81003")
        await nothing.ended()
        assert nothing.status == 480
        rang.answer()
        await call.answered()
        late = await picker.call("*81002")
        await late.ended()
        assert late.status == 480
        assert call.state == "up"
        unknown = await picker.call("*89999")
        await unknown.ended()
        assert unknown.status == 404
        call.hang_up()
        await world.settle()


@simulated()
async def test_carriers_cannot_pick_up():
    async with World(5) as world:
        _, call, _ = await ringing(world)
        carrier = await world.trunk("carrier-1")
        for number in ("*8", "*81002"):
            tried = await carrier.call(number)
            await tried.ended()
            assert tried.status == 404
        call.hang_up()
        await world.settle()
