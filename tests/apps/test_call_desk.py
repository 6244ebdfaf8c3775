"""What programs do with calls, on virtual time: who hears what, and who is still there."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.call.audio import SILENCE
from softswitch.errors import CallError
from softswitch.sim.behaviour import answer, busy, ring
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

MENU = """
[[ivr]]
name = "main"
number = "7000"
greeting = "main-menu"
timeout_s = 60
otherwise = "hangup"
"""


async def conversation(world, one="1001", other="1002"):
    """Two phones that talk; their calls, and the exchange's."""
    phones = [await world.phone(number, behaviour=answer()) for number in (one, other)]
    first = await phones[0].call(other)
    await first.answered()
    second = await phones[1].incoming()
    await asyncio.sleep(1)
    assert talks_to(world, first, second)
    (call,) = world.switch.control.calls
    return first, second, call


@simulated()
async def test_a_program_begins_a_call_with_the_rights_of_its_extension():
    async with World(1, office=small_office(extensions=3)) as world:
        own = await world.phone("1001", behaviour=answer(after_s=1.0))
        other = await world.phone("1002", behaviour=answer(after_s=1.0))
        desk = world.switch.call_desk
        call = desk.originate("1001", "1002", caller_name="Wang Wei")
        rung = await own.incoming()
        assert rung.invite.request.from_.display_name == "Wang Wei"
        reached = await other.incoming()
        assert reached.number == "1001"
        await asyncio.sleep(3)
        assert talks_to(world, rung, reached)
        desk.hang_up(call, by="user:zhao")
        await rung.ended()
        for extension, number, words in (
            ("1001", "00861", "may not call"),
            ("1003", "1001", "no phone of extension 1003"),
            ("1001", "", "may not call"),
        ):
            with pytest.raises(CallError, match=words):
                desk.originate(extension, number)
        await world.settle()
        ended = world.journal.of_kind("call-ended")
        assert [entry.data["by"] for entry in ended] == ["user:zhao"]


@simulated()
async def test_a_call_that_nobody_begins_is_over():
    async with World(2, office=small_office(extensions=2)) as world:
        await world.phone("1001", behaviour=busy())
        world.switch.call_desk.originate("1001", "1002")
        await asyncio.sleep(2)
        assert world.switch.control.calls == []
        await world.settle()


@simulated()
async def test_hold_and_resume_by_program():
    async with World(3, office=small_office(extensions=2)) as world:
        first, second, call = await conversation(world)
        desk = world.switch.call_desk
        desk.hold(call)
        await asyncio.sleep(1)
        assert heard(world, first) == "music:default", "the one who was called holds"
        assert heard(world, second) == SILENCE, "and hears that the line is not dead"
        assert not talks_to(world, first, second)
        with pytest.raises(CallError, match="already"):
            desk.hold(call)
        desk.resume(call)
        await asyncio.sleep(1)
        assert talks_to(world, first, second)
        desk.hold(call, by="caller")
        await asyncio.sleep(1)
        assert heard(world, second) == "music:default"
        second.hang_up()
        await first.ended()
        await world.settle()
        kinds = [e.kind for e in world.journal.entries if "held" in e.kind or "resumed" in e.kind]
        assert kinds == ["call-held", "call-resumed", "call-held"]


@simulated()
@pytest.mark.parametrize("party", ["caller", "callee"])
async def test_either_party_is_sent_on_and_the_other_let_go(party):
    async with World(4, office=small_office(extensions=3)) as world:
        first, second, call = await conversation(world)
        third = await world.phone("1003", behaviour=answer(after_s=2.0))
        world.switch.call_desk.transfer(call, "extension:1003", party=party)
        reached = await third.incoming()
        stays, leaves = (first, second) if party == "caller" else (second, first)
        await leaves.ended()
        await asyncio.sleep(2)
        assert talks_to(world, stays, reached)
        stays.hang_up()
        await reached.ended()
        await world.settle()


@simulated()
async def test_a_transfer_that_fails_gives_the_call_back():
    async with World(5, office=small_office(extensions=3)) as world:
        first, second, call = await conversation(world)
        await world.phone("1003", behaviour=busy())
        world.switch.call_desk.transfer(call, "extension:1003")
        await asyncio.sleep(3)
        assert talks_to(world, first, second)
        with pytest.raises(CallError, match="nowhere"):
            world.switch.call_desk.transfer(call, "extension:1999")
        first.hang_up()
        await second.ended()
        await world.settle()


@simulated()
async def test_a_caller_is_taken_out_of_a_menu_and_out_of_a_queue():
    office = centre_office(more=MENU)
    async with World(6, office=office) as world:
        caller = await world.phone("1004")
        target = await world.phone("1005", behaviour=answer())
        for number in ("7000", "5000"):
            call = await caller.call(number)
            await call.answered()
            await asyncio.sleep(2)
            (live,) = world.switch.control.calls
            world.switch.call_desk.transfer(live, "extension:1005", by="zhao")
            reached = await target.incoming()
            await asyncio.sleep(2)
            assert talks_to(world, call, reached)
            call.hang_up()
            await reached.ended()
        await world.settle()
        (closed,) = world.journal.of_kind("acd-closed")
        assert closed.data["outcome"] != "abandoned"


@simulated()
async def test_a_call_that_only_rings_cannot_be_sent_on():
    async with World(7, office=small_office(extensions=2)) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=ring())
        call = await caller.call("1002")
        await asyncio.sleep(1)
        (live,) = world.switch.control.calls
        desk = world.switch.call_desk
        for refused in (
            lambda: desk.transfer(live, "extension:1002"),
            lambda: desk.hold(live),
            lambda: desk.park(live, "*68"),
            lambda: desk.record(live),
            lambda: desk.resume(live),
        ):
            with pytest.raises(CallError):
                refused()
        desk.hang_up(live)
        await call.ended()
        await world.settle()


@simulated()
async def test_park_by_program_and_fetch_by_telephone():
    async with World(8, office=small_office(extensions=3)) as world:
        first, second, call = await conversation(world)
        world.switch.call_desk.park(call, "*68")
        await second.ended()
        await asyncio.sleep(1)
        assert heard(world, first) == "music:default"
        fetcher = await world.phone("1003")
        fetched = await fetcher.call("*681")
        await fetched.answered()
        await asyncio.sleep(1)
        assert talks_to(world, first, fetched)
        first.hang_up()
        await fetched.ended()
        await world.settle()


@simulated()
async def test_words_and_digits_into_a_call():
    async with World(9, office=small_office(extensions=2)) as world:
        first, second, call = await conversation(world)
        desk = world.switch.call_desk
        await desk.play(call, "goodbye", to="callee")
        await asyncio.sleep(0.2)
        assert heard(world, second) == "goodbye"
        assert heard(world, first) == ""
        with pytest.raises(CallError):
            await desk.play(call, "no-such-prompt")
        desk.send_digits(call, "12#")
        first.hang_up()
        await second.ended()
        with pytest.raises(CallError):
            desk.find(call.call_id)
        await world.settle()


@simulated()
async def test_a_supervisor_listens_by_program_and_changes_his_mind():
    async with World(10, office=centre_office()) as world:
        agent = await world.phone("1001", behaviour=answer())
        boss = await world.phone("1003", behaviour=answer())
        world.switch.agents.log_in("lilei")
        carrier = await world.trunk("carrier-1")
        customer = await carrier.call(QUEUE_NUMBER, from_user="01055550001")
        await customer.answered()
        await agent.incoming()
        await asyncio.sleep(15)
        (call,) = world.switch.control.calls
        supervision = world.switch.centre.supervision
        supervision.begin("1003", call, "listen", by="mary")
        ear = await boss.incoming()
        await asyncio.sleep(2)
        assert ear.state == "up"
        assert supervision.change(call, "1003", "barge")
        assert not supervision.change(call, "1002", "barge")
        await asyncio.sleep(1)
        with pytest.raises(CallError):
            supervision.change(call, "1003", "sing")
        modes = [e.data["mode"] for e in world.journal.of_kind("acd-supervised")]
        assert modes == ["listen", "barge"]
        customer.hang_up()
        await ear.ended()
        await world.settle()
        assert world.switch.snapshot()["acd"]["supervised"] == 0
