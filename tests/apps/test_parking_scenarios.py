"""Park and retrieve, by blind and by attended transfer, and what becomes of a call that nobody fetches."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from softswitch.sim.behaviour import ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office


async def talking(world):
    caller, callee = await world.phone("1001"), await world.phone("1002")
    call = await caller.call("1002")
    await call.answered()
    return caller, call, callee, await callee.incoming()


def bridged(world):
    return [s for s in world.media.streams.values() if s.bridged_to is not None]


@simulated()
async def test_parked_by_blind_transfer_and_retrieved_elsewhere():
    async with World(1) as world:
        _, call, _, there = await talking(world)
        there.refer("<sip:*68@office.example>")
        await there.ended()
        await asyncio.sleep(5)
        assert call.state == "up"
        assert world.switch.snapshot()["apps"]["parking"]["parked"] == 1
        third = await world.phone("1003")
        fetched = await third.call("*681")
        await fetched.answered()
        await asyncio.sleep(2)
        assert len(bridged(world)) == 2
        assert world.switch.snapshot()["apps"]["parking"]["parked"] == 0
        fetched.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_who_asks_for_a_slot_first_gets_that_one():
    async with World(2) as world:
        _, call, callee, there = await talking(world)
        await there.hold()
        consultation = await callee.call("*68")
        await consultation.answered()
        await asyncio.sleep(1)
        dialog = callee.stack.dialog_of(consultation.session)
        replaces = (
            f"{dialog['call_id']};to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"
        )
        there.refer(f"<sip:*68@office.example?Replaces={quote(replaces, safe='')}>")
        await asyncio.gather(there.ended(), consultation.ended())
        await asyncio.sleep(1)
        assert world.switch.snapshot()["apps"]["parking"]["parked"] == 1
        fetched = await callee.call("*681")
        await fetched.answered()
        await asyncio.sleep(2)
        call.hang_up()
        await fetched.ended()
        await world.settle()


@simulated()
async def test_a_call_that_nobody_fetches_goes_back():
    async with World(3) as world:
        _, call, callee, there = await talking(world)
        there.refer("<sip:*68@office.example>")
        await there.ended()
        back = await callee.incoming()
        await asyncio.sleep(1)
        assert back.state == call.state == "up"
        assert len(bridged(world)) == 2
        back.hang_up()
        await call.ended()
        await world.settle()


BACK = """
[parking]
patience_s = 15
back_to = "extension:1003"
"""


@simulated()
@pytest.mark.parametrize("takes_it", [True, False])
async def test_the_office_says_how_long_a_call_waits_and_who_has_it_then(takes_it):
    async with World(5, office=small_office(more=BACK)) as world:
        _, call, callee, there = await talking(world)
        third = await world.phone("1003")
        parked_at_s = there.times["up"]
        callee.behaviour = ring() if not takes_it else callee.behaviour
        there.refer("<sip:*68@office.example>")
        back = await callee.incoming()
        assert 14 < back.times["ringing"] - parked_at_s < 17
        if takes_it:
            await asyncio.sleep(1)
            assert back.state == "up"
            back.hang_up()
        else:
            taken = await third.incoming()
            assert 29 < taken.times["ringing"] - back.times["ringing"] < 32
            await asyncio.sleep(1)
            assert len(bridged(world)) == 2
            taken.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_empty_slots_and_parked_callers_who_leave():
    async with World(4) as world:
        _, call, callee, there = await talking(world)
        nobody = await callee.call("*687")
        await nobody.ended()
        assert nobody.status == 480
        there.refer("<sip:*68@office.example>")
        await there.ended()
        await asyncio.sleep(1)
        call.hang_up()
        await asyncio.sleep(1)
        assert world.switch.snapshot()["apps"]["parking"]["parked"] == 0
        gone = await callee.call("*681")
        await gone.ended()
        assert gone.status == 480
        await world.settle()
