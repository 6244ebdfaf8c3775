"""Whom a telephone shows that it talks to, after a transfer, a pick-up and a parked call (RFC 4916)."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from softswitch.sim.behaviour import ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office
from softswitch.sip.stack_config import StackConfig

NAMED = """
[[extension]]
number = "2001"
name = "Li Wei"
password = "secret-2001"

[[ring_group]]
number = "1100"
members = ["2001", "1003"]
"""


def office(more=""):
    return small_office(more=NAMED + more, trunks=1)


def told(phone):
    """The numbers that UPDATEs have told a telephone, in their order."""
    found = []
    for entry in phone.history.requests("UPDATE"):
        if entry.destination == phone.local:
            found.append(entry.header("P-Asserted-Identity"))
    return found


async def talking(world, caller="1001", callee="1002"):
    one = world.phones.get(caller) or await world.phone(caller)
    two = world.phones.get(callee) or await world.phone(callee)
    call = await one.call(callee)
    await call.answered()
    await asyncio.sleep(0.1)
    return call, await two.incoming()


@simulated()
async def test_nobody_is_told_what_his_telephone_shows_already():
    async with World(1, office=office()) as world:
        call, there = await talking(world)
        await asyncio.sleep(1)
        assert not list(world.trace.requests("UPDATE"))
        (answer,) = [r for r in world.phones["1001"].history.responses(200) if r.method == "INVITE"]
        assert not answer.header("P-Asserted-Identity")
        call.hang_up()
        await there.ended()
        await world.settle()


@simulated()
async def test_who_answers_for_a_group_is_named_in_the_answer():
    async with World(2, office=office()) as world:
        caller = await world.phone("1001")
        wei = await world.phone("2001")
        await world.phone("1003", behaviour=ring())
        call = await caller.call("1100")
        await call.answered()
        (answer,) = [r for r in caller.history.responses(200) if r.method == "INVITE"]
        assert answer.header("P-Asserted-Identity") == '"Li Wei" <sip:2001@office.example>'
        await asyncio.sleep(1)
        assert not told(caller)
        assert not told(wei)
        call.hang_up()
        (there,) = wei.calls.values()
        await there.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize("transferor", ["caller", "callee"])
async def test_both_who_remain_of_a_blind_transfer_are_told(transferor):
    async with World(3, office=office()) as world:
        call, there = await talking(world)
        third = await world.phone("2001")
        leaves, stays = (call, there) if transferor == "caller" else (there, call)
        stayer = "1002" if transferor == "caller" else "1001"
        leaves.refer("<sip:2001@office.example>")
        new = await third.incoming()
        assert f"sip:{stayer}@" in third.history.requests("INVITE")[-1].header("From")
        await leaves.ended()
        await asyncio.sleep(1)
        assert told(world.phones[stayer]) == ['"Li Wei" <sip:2001@office.example>']
        assert not told(third)
        stays.hang_up()
        await new.ended()
        await world.settle()


@simulated()
async def test_both_who_remain_of_an_attended_transfer_are_told():
    async with World(4, office=office()) as world:
        first, other = await talking(world)
        second, third = await talking(world, "1001", "2001")
        dialog = world.phones["1001"].stack.dialog_of(second.session)
        value = f"{dialog['call_id']};to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"
        first.refer(f"<sip:2001@office.example?Replaces={quote(value)}>")
        await first.ended()
        await asyncio.sleep(1)
        assert told(world.phones["1002"]) == ['"Li Wei" <sip:2001@office.example>']
        assert [each.rpartition("<")[2] for each in told(world.phones["2001"])] == [
            "sip:1002@office.example>"
        ]
        other.hang_up()
        await third.ended()
        await world.settle()


@simulated()
async def test_who_picks_up_and_who_is_picked_up_are_told():
    async with World(5, office=office()) as world:
        caller = await world.phone("1001")
        rung = await world.phone("1002", behaviour=ring())
        call = await caller.call("1002")
        await rung.incoming()
        picker = await world.phone("2001")
        taken = await picker.call("*81002")
        await asyncio.gather(taken.answered(), call.answered())
        await asyncio.sleep(1)
        (answer,) = [r for r in caller.history.responses(200) if r.method == "INVITE"]
        assert "sip:2001@" in answer.header("P-Asserted-Identity")
        assert [each.rpartition("<")[2] for each in told(picker)] == ["sip:1001@office.example>"]
        call.hang_up()
        await taken.ended()
        await world.settle()


async def transfer_of_which_nobody_is_told(world):
    call, there = await talking(world)
    third = await world.phone("2001")
    call.refer("<sip:2001@office.example>")
    new = await third.incoming()
    await call.ended()
    await asyncio.sleep(1)
    assert not list(world.trace.requests("UPDATE"))
    there.hang_up()
    await new.ended()
    await world.settle()


@simulated()
async def test_a_telephone_that_takes_no_update_and_a_carrier_are_not_told():
    async with World(6, office=office()) as world:
        old = StackConfig(allow=("INVITE", "ACK", "CANCEL", "BYE", "NOTIFY"))
        await world.phone("1002", config=old)
        await transfer_of_which_nobody_is_told(world)


@simulated()
async def test_it_can_be_switched_off():
    off = office().replace("[sip]\n", "[sip]\nconnected_identity = false\n")
    async with World(7, office=off) as world:
        await transfer_of_which_nobody_is_told(world)
