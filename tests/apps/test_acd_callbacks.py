"""Callbacks: the place is kept, the customer is called once, and not at all when he calls again first."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.errors import CallError
from softswitch.sim.behaviour import answer, busy, ring
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, press, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

CUSTOMER = "+8613800000001"


def office(callback="offer_after_s = 10", **options):
    return centre_office(f"callback = {{ {callback} }}\nwrap_up_s = 0", **options)


async def ask_for_callback(world, number=CUSTOMER, key="1"):
    """A customer waits, presses the key, and is gone."""
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    call = await carrier.call(QUEUE_NUMBER, from_user=number)
    await call.answered()
    for _ in range(200):
        if heard(world, call) == "callback-offer":
            break
        await asyncio.sleep(0.25)
    press(world, call, key)
    await asyncio.sleep(0.5)
    assert heard(world, call) == "callback-accepted"
    await call.ended()
    return call


def closed(world):
    return [(e.data["outcome"], e.data["reason"]) for e in world.journal.of_kind("acd-closed")]


def ended(world, call_id):
    (entry,) = (e for e in world.journal.of_kind("call-ended") if e.call_id == call_id)
    return entry.data["outcome"]


def dialled(world):
    return world.journal.of_kind("acd-callback-dialled")


@simulated()
async def test_offer_after_s_and_key():
    async with World(1, office=office('offer_after_s = 20, key = "5"')) as world:
        carrier = await world.trunk("carrier-1")
        call = await carrier.call(QUEUE_NUMBER, from_user=CUSTOMER)
        await call.answered()
        await asyncio.sleep(15)
        press(world, call, "5")
        await asyncio.sleep(1)
        assert call.state == "up", "not offered yet"
        await asyncio.sleep(6)
        press(world, call, "1")
        await asyncio.sleep(1)
        assert call.state == "up", "another key"
        press(world, call, "5")
        await call.ended()
        await world.settle()
        assert world.switch.queues.states()[0].waiting == 1, "his place is kept"


@simulated()
async def test_agent_first_he_is_told_then_the_customer_is_called():
    async with World(2, office=office()) as world:
        asked = await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        carrier.behaviour = answer(after_s=3.0)
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        agent = await phone.incoming()
        assert agent.number == CUSTOMER
        await asyncio.sleep(2)
        assert heard(world, agent) == "agent-call-from"
        customer = await carrier.incoming()
        assert customer.invite.request.request_uri.username == CUSTOMER
        await asyncio.sleep(1)
        assert heard(world, agent) == "tone:ringback"
        await asyncio.sleep(3)
        assert talks_to(world, customer, agent)
        assert world.switch.agents.state("lilei").state == "on-contact"
        agent.hang_up()
        await customer.ended()
        await world.settle()
        assert closed(world) == [("callback-done", "agent")]
        assert asked.end is not None
        (entry,) = dialled(world)
        assert entry.data["attempt"] == 1
        starts = [e.data["direction"] for e in world.journal.of_kind("call-started")]
        assert starts == ["inbound", "outbound"]


@simulated()
async def test_customer_first_he_waits_at_his_place():
    async with World(3, office=office('offer_after_s = 10, first = "customer"')) as world:
        await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        carrier.behaviour = answer(after_s=2.0)
        phone = await world.phone("1001", behaviour=answer(after_s=8.0))
        world.switch.agents.log_in("lilei")
        customer = await carrier.incoming()
        await asyncio.sleep(3)
        assert customer.state == "up"
        assert heard(world, customer) == "callback-calling"
        agent = await phone.incoming()
        await asyncio.sleep(2)
        assert heard(world, customer) == "music:default"
        await asyncio.sleep(20)
        assert talks_to(world, customer, agent)
        customer.hang_up()
        await agent.ended()
        await world.settle()
        assert closed(world) == [("callback-done", "caller")]


@simulated()
async def test_customer_first_who_does_not_wait():
    async with World(4, office=office('offer_after_s = 10, first = "customer"')) as world:
        await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        carrier.behaviour = answer(after_s=1.0, hang_up_after_s=4.0)
        phone = await world.phone("1001", behaviour=ring())
        world.switch.agents.log_in("lilei")
        rung = await phone.incoming()
        end = await rung.ended()
        assert end.by == "cancelled", "no ghost rings on"
        await world.settle()
        assert world.switch.agents.state("lilei").state == "available"


@simulated()
async def test_attempts_and_retry_after_s():
    async with World(
        5, office=office("offer_after_s = 10, attempts = 2, retry_after_s = 100")
    ) as world:
        await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        carrier.behaviour = busy()
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        await carrier.incoming()
        await asyncio.sleep(10)
        assert world.switch.agents.state("lilei").state == "available"
        await carrier.incoming()
        await asyncio.sleep(300)
        attempts = dialled(world)
        assert [e.data["attempt"] for e in attempts] == [1, 2]
        assert attempts[1].at_s - attempts[0].at_s == pytest.approx(100.0, abs=20.0)
        assert closed(world) == [("callback-failed", "busy")]
        assert phone.calls == {}
        await world.settle()
        assert [ended(world, e.call_id) for e in attempts] == ["busy", "busy"]


@simulated()
async def test_where_no_agent_answers_the_customer_was_not_called():
    async with World(15, office=office("offer_after_s = 10")) as world:
        await ask_for_callback(world)
        await world.phone("1001", behaviour=ring())
        world.switch.agents.log_in("lilei")
        await asyncio.sleep(60)
        await world.settle()
        assert dialled(world) == []
        made = [e for e in world.journal.of_kind("call-started") if e.data.get("queue")]
        assert [ended(world, e.call_id) for e in made] == ["cancelled"]


@simulated()
async def test_the_customer_calls_again_first_and_has_his_place():
    async with World(6, office=office()) as world:
        await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        second = await carrier.call(QUEUE_NUMBER, from_user="01065550002")
        await second.answered()
        await asyncio.sleep(5)
        again = await carrier.call(QUEUE_NUMBER, from_user="13800000001")
        await again.answered()
        await asyncio.sleep(2)
        assert heard(world, again) == "you-are-next", "written another way, the same man"
        phone = await world.phone("1001")
        world.switch.agents.log_in("lilei")
        rung = await phone.incoming()
        assert rung.number == "13800000001"
        await asyncio.sleep(15)
        again.hang_up()
        second.hang_up()
        await asyncio.sleep(60)
        assert dialled(world) == [], "nobody is called who has been served"
        assert ("callback-cancelled", "called-again") in closed(world)
        await world.settle()


@simulated()
async def test_dialled_once_even_if_asked_for_twice():
    async with World(7, office=office()) as world:
        await ask_for_callback(world)
        callbacks = world.switch.callbacks
        with pytest.raises(CallError, match="is to be called back by support already"):
            callbacks.request(CUSTOMER, "support")
        carrier = world.trunks["carrier-1"]
        carrier.behaviour = answer(hang_up_after_s=30.0)
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        await world.phone("1002", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        world.switch.agents.log_in("hanmeimei")
        await asyncio.sleep(120)
        assert len(dialled(world)) == 1
        assert len([c for c in carrier.past if not c.outgoing]) == 1
        await phone.incoming()
        await world.settle()


@simulated()
async def test_while_he_is_calling_in_he_is_not_called():
    more = (
        '[[ivr]]\nname = "long"\nnumber = "7000"\ntimeout_s = 60\n'
        '[[inbound]]\nnumber = "+861065551009"\nto = "ivr:long"\n'
    )
    async with World(8, office=office(more=more)) as world:
        await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        menu = await carrier.call("+861065551009", from_user=CUSTOMER)
        await menu.answered()
        await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        await asyncio.sleep(20)
        assert dialled(world) == [], "his line is busy: with us"
        menu.hang_up()
        customer = await carrier.incoming()
        await asyncio.sleep(15)
        customer.hang_up()
        await world.settle()


@simulated()
async def test_an_agent_who_hangs_up_before_the_customer_answers():
    async with World(9, office=office("offer_after_s = 10, retry_after_s = 60")) as world:
        await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        carrier.behaviour = ring()
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        agent = await phone.incoming()
        customer = await carrier.incoming()
        agent.hang_up()
        assert (await customer.ended()).by == "cancelled"
        carrier.behaviour = answer(after_s=1.0)
        second = await carrier.incoming()
        await asyncio.sleep(5)
        second.hang_up()
        await world.settle()
        assert [e.data["attempt"] for e in dialled(world)] == [1, 2]


@simulated()
async def test_by_program_scheduled_and_cancelled():
    async with World(10, office=office()) as world:
        callbacks = world.switch.callbacks
        carrier = await world.trunk("carrier-1", behaviour=answer(hang_up_after_s=20.0))
        await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        due_s = world.clock.wall_s() + 600
        callbacks.request(CUSTOMER, "support", not_before_s=due_s, name="Wang Wei")
        gone = callbacks.request("+8613800000003", "support", not_before_s=due_s)
        callbacks.cancel(gone, by="mary")
        customer = await carrier.incoming()
        assert world.clock.wall_s() - due_s == pytest.approx(5.0, abs=10.0)
        await customer.ended()
        await asyncio.sleep(60)
        assert len(dialled(world)) == 1
        for number in ("+14155550100", "anonymous", "110"):
            with pytest.raises(CallError, match="not called back"):
                callbacks.request(number, "support")
        await world.settle()


@simulated()
async def test_a_foreign_or_hidden_caller_is_not_offered_one():
    async with World(11, office=office()) as world:
        carrier = await world.trunk("carrier-1")
        for number in ("+14155550100", "anonymous"):
            call = await carrier.call(QUEUE_NUMBER, from_user=number)
            await call.answered()
            await asyncio.sleep(11)
            assert heard(world, call) != "callback-offer"
            press(world, call, "1")
            await asyncio.sleep(5)
            assert call.state == "up"
            call.hang_up()
            await call.ended()
        await world.settle()


@simulated()
async def test_a_colleague_is_called_back_at_his_extension():
    async with World(12, office=office()) as world:
        caller = await world.phone("1005")
        call = await caller.call("5000")
        await call.answered()
        await asyncio.sleep(11)
        assert heard(world, call) == "callback-offer"
        press(world, call, "1")
        await call.ended()
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        agent = await phone.incoming()
        back = await caller.incoming()
        await asyncio.sleep(5)
        assert talks_to(world, agent, back)
        back.hang_up()
        await agent.ended()
        await world.settle()


@simulated()
async def test_recording_and_survey_of_a_callback():
    keys = 'callback = { offer_after_s = 10 }\nwrap_up_s = 0\nsurvey = "satisfaction"'
    async with World(13, office=centre_office(keys, recording="queue")) as world:
        await ask_for_callback(world)
        carrier = world.trunks["carrier-1"]
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        agent, customer = await phone.incoming(), await carrier.incoming()
        await asyncio.sleep(5)
        (recording,) = world.media.recordings.values()
        assert world.media.streams[recording.left].params.remote == customer.local_media
        agent.hang_up()
        await asyncio.sleep(1)
        assert heard(world, customer) == "survey-question"
        press(world, customer, "4")
        await customer.ended()
        assert world.journal.of_kind("survey")[0].data["score"] == 4
        await world.settle()
