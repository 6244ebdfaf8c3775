"""Ring groups: in which order, without the caller himself, and where a call goes that nobody takes."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.call.turns import Turns
from softswitch.config import RingGroup
from softswitch.sim.behaviour import busy, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

MEMBERS = ("1001", "1002", "1003")
GROUPS = """
[[ring_group]]
number = "1100"
members = ["1002", "1003"]
ring_s = 5
otherwise = "extension:1004"

[[ring_group]]
number = "1101"
members = ["1001", "1002", "1003"]
ring = "in-turn"
ring_s = 5
"""


def group(ring_how, members=MEMBERS):
    return RingGroup(number="1100", members=members, ring=ring_how)


def test_in_turn_each_call_begins_with_the_next():
    turns = Turns(lambda: 0.5)
    firsts = [turns.members(group("in-turn"), "2000") for _ in range(4)]
    assert firsts[0] == MEMBERS
    assert firsts[1] == ("1002", "1003", "1001")
    assert firsts[3] == MEMBERS
    assert turns.members(group("in-turn", ("1001", "1003")), "") == ("1001", "1003"), "1002 left"
    assert turns.members(group("in-turn", ("1001",)), "1001") == ()


def test_random_is_everybody_in_any_order():
    draws = iter([0.9, 0.1, 0.5])
    assert Turns(lambda: next(draws)).members(group("random"), "") == ("1002", "1003", "1001")


@pytest.mark.parametrize("how", ["all", "in-order"])
def test_the_order_of_the_file_without_the_caller(how):
    assert Turns(lambda: 0.0).members(group(how), "1002") == ("1001", "1003")


@simulated()
@pytest.mark.parametrize("behaviour", [ring(), busy()])
async def test_a_call_that_nobody_of_a_group_takes_goes_on(behaviour):
    async with World(1, office=small_office(more=GROUPS)) as world:
        caller, beyond = await world.phone("1001"), await world.phone("1004")
        for number in ("1002", "1003"):
            await world.phone(number, behaviour=behaviour)
        call = await caller.call("1100")
        await call.answered()
        there = await beyond.incoming()
        reason = "user-busy" if behaviour == busy() else "no-answer"
        assert f"sip:1100@office.example>;reason={reason}" in there.invite.request.headers.get(
            "Diversion"
        )
        assert 181 in call.provisional
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_members_are_called_in_turn_and_who_calls_is_left_out():
    async with World(2, office=small_office(more=GROUPS)) as world:
        caller = await world.phone("1001")
        phones = [await world.phone(number) for number in ("1002", "1003")]
        for taken in (0, 1, 0):
            call = await caller.call("1101")
            await call.answered()
            assert (await phones[taken].incoming()).state == "up"
            call.hang_up()
            await call.ended()
        await world.settle()


FORWARDS = f"""{GROUPS}
[[extension]]
number = "3001"
password = "secret-3001"
forward = {{ busy = "1004" }}
permissions = ["internal", "national"]
"""


@simulated()
@pytest.mark.parametrize(("number", "taker"), [("1100", "1002"), ("3001", "3001")])
async def test_a_transfer_that_fails_is_no_business_of_who_was_rung_before(number, taker):
    """Neither of the group that the call came by, nor of where the extension that took it forwards."""
    async with World(3, office=small_office(more=FORWARDS)) as world:
        caller, callee = await world.phone("1001"), await world.phone(taker)
        await world.trunk("carrier-1", behaviour=busy())
        beyond = await world.phone("1004")
        call = await caller.call(number)
        await call.answered()
        there = await callee.incoming()
        there.refer("<sip:90123@office.example>")
        await asyncio.sleep(2)
        assert there.state == call.state == "up"
        assert not beyond.history.requests("INVITE")
        call.hang_up()
        await there.ended()
        await world.settle()
