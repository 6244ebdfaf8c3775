"""INVITE with Replaces (RFC 3891): pick-up by a busy lamp's key, and a call that changes the device."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office


def dialog_at(phone_call):
    """Call-ID and tags of an incoming call as its phone knows them: (id, its own, the exchange's)."""
    invite = phone_call.invite.request
    dialog = phone_call._agent.stack.dialog_of(phone_call.session)
    return invite.call_id, dialog["local_tag"], dialog["remote_tag"]


def replaces(ids, suffix=""):
    call_id, phone, exchange = ids
    return (("Replaces", f"{call_id};to-tag={exchange};from-tag={phone}{suffix}"),)


def bridged(world):
    return [s for s in world.media.streams.values() if s.bridged_to is not None]


@simulated()
@pytest.mark.parametrize("as_who_is_rung", [False, True])
async def test_a_call_that_rings_is_taken_by_another_phone(as_who_is_rung):
    """By tags of either side: there are telephones that take those of who is rung for the called one's."""
    async with World(1) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=ring())
        call = await caller.call("1002")
        rang = await callee.incoming()
        await asyncio.sleep(0.1)
        other = await world.phone("1003")
        call_id, phone, exchange = dialog_at(rang)
        ids = (call_id, exchange, phone) if as_who_is_rung else (call_id, phone, exchange)
        taken = await other.call("1002", headers=replaces(ids, ";early-only"))
        await asyncio.gather(taken.answered(), call.answered())
        assert (await rang.ended()).by == "cancelled"
        await asyncio.sleep(1)
        assert len(bridged(world)) == 2
        call.hang_up()
        await taken.ended()
        await world.settle()


@simulated()
async def test_a_call_that_others_may_not_take_is_left_to_who_is_rung():
    more = '[[extension]]\nnumber = "2001"\npassword = "secret-2001"\npick_up = "none"\n'
    async with World(1, office=small_office(more=more)) as world:
        caller = await world.phone("1001")
        callee = await world.phone("2001", behaviour=ring())
        call = await caller.call("2001")
        rang = await callee.incoming()
        await asyncio.sleep(0.1)
        other = await world.phone("1003")
        refused = await other.call("2001", headers=replaces(dialog_at(rang)))
        await refused.ended()
        assert refused.status == 403
        rang.answer()
        await call.answered()
        call.hang_up()
        await rang.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_a_call_that_is_up_moves_to_another_device_of_its_extension(who):
    async with World(2) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        there = await callee.incoming()
        if who == "callee":
            old, stays, number, ids = there, call, "1002", dialog_at(there)
        else:
            dialog = caller.stack.dialog_of(call.session)
            old, stays, number = call, there, "1001"
            ids = (dialog["call_id"], dialog["local_tag"], dialog["remote_tag"])
        second = await world.phone(number, register=False)
        new = await second.call(number, headers=replaces(ids))
        await new.answered()
        assert (await old.ended()).by == "remote"
        await asyncio.sleep(1)
        assert stays.state == new.state == "up"
        assert len(bridged(world)) == 2
        new.hang_up()
        await stays.ended()
        await world.settle()


@simulated()
async def test_what_is_refused():
    async with World(3) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        thief = await world.phone("1003")
        carrier = await world.trunk("carrier-1")
        call = await caller.call("1002")
        await call.answered()
        ids = dialog_at(await callee.incoming())
        second = await world.phone("1002", register=False)
        for phone, header, status in (
            (thief, replaces(ids), 403),
            (carrier, replaces(ids), 403),
            (thief, replaces(("other", "a", "b")), 481),
            (thief, (("Replaces", "nonsense"),), 400),
            (second, replaces(ids, ";early-only"), 486),
            (second, replaces((ids[0], ids[2], ids[1])), 481),
        ):
            tried = await phone.call("1002", headers=header)
            await tried.ended()
            assert tried.status == status
        assert call.state == "up"
        call.hang_up()
        await call.ended()
        await asyncio.sleep(1)
        tried = await second.call("1002", headers=replaces(ids))  # it has just ended
        await tried.ended()
        assert tried.status == 481
        await world.settle()
