"""Callers of queues who are transferred: into a queue with their context, to other agents, outside, and
back when it fails; Python handlers that put callers into queues."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.errors import QueueUnavailable
from softswitch.sim.behaviour import answer, busy
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, press, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

AGENTS = {
    "lilei": "",
    "hanmeimei": 'queues = ["billing"]',
    "mary": 'queues = ["support", "billing"]',
}
BILLING = '[[queue]]\nname = "billing"\nnumber = "5001"\nroute = ["priority", "longest-idle"]\n'


def office(keys="wrap_up_s = 5", more=BILLING):
    return centre_office(keys, agents=AGENTS, more=more)


async def conversation(world, number="01065550001"):
    """A customer talks to lilei."""
    phone = await world.phone("1001", behaviour=answer(after_s=1.0))
    world.switch.agents.log_in("lilei")
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    customer = await carrier.call(QUEUE_NUMBER, from_user=number)
    await customer.answered()
    agent = await phone.incoming()
    await asyncio.sleep(15)
    assert talks_to(world, customer, agent)
    return phone, customer, agent


def of_kind(world, kind):
    return [entry.data for entry in world.journal.of_kind(kind)]


@simulated()
async def test_a_transfer_into_a_queue_keeps_customer_and_place():
    async with World(1, office=office()) as world:
        _, customer, agent = await conversation(world)
        carrier = world.trunks["carrier-1"]
        waiting = await carrier.call("5001", from_user="01065550002")
        await waiting.ended()
        other = await world.phone("1005")
        waiting = await other.call("5001")
        await waiting.answered()
        agent.refer("sip:5001@office.example")
        await agent.ended()
        await asyncio.sleep(2)
        assert heard(world, customer) in ("music:default", "you-are-next")
        assert world.switch.agents.state("lilei").state == "wrap-up"
        second = await world.phone("1002", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("hanmeimei")
        rung = await second.incoming()
        assert rung.number == "01065550001", "he was there first"
        await asyncio.sleep(15)
        assert talks_to(world, customer, rung)
        (moved,) = of_kind(world, "acd-moved")
        assert (moved["from_queue"], moved["to_queue"]) == ("support", "billing")
        rung.hang_up()
        await customer.ended()
        waiting.hang_up()
        await asyncio.sleep(30)
        handled = [(h["agent"], h["outcome"]) for h in of_kind(world, "acd-handled")]
        assert handled == [("lilei", "requeued"), ("hanmeimei", "ended")]
        await world.settle()


@simulated()
async def test_a_transfer_to_another_agent_makes_it_his_conversation():
    async with World(2, office=office()) as world:
        _, customer, agent = await conversation(world)
        second = await world.phone("1002", behaviour=answer(after_s=2.0))
        world.switch.agents.log_in("hanmeimei")
        agent.refer("sip:1002@office.example")
        rung = await second.incoming()
        await agent.ended()
        await asyncio.sleep(1)
        assert talks_to(world, customer, rung)
        assert world.switch.agents.state("lilei").state == "wrap-up"
        assert world.switch.agents.state("hanmeimei").state == "on-contact"
        await asyncio.sleep(60)
        customer.hang_up()
        await rung.ended()
        await asyncio.sleep(30)
        handled = {h["agent"]: h for h in of_kind(world, "acd-handled")}
        assert handled["lilei"]["outcome"] == "transferred"
        assert handled["hanmeimei"]["talk_s"] == pytest.approx(61.0, abs=2.0)
        assert handled["lilei"]["talk_s"] == pytest.approx(16.0, abs=2.0)
        await world.settle()


@simulated()
async def test_a_transfer_to_somebody_else_frees_the_agent():
    async with World(3, office=office()) as world:
        _, customer, agent = await conversation(world)
        friend = await world.phone("1005")
        agent.refer("sip:1005@office.example")
        rung = await friend.incoming()
        await agent.ended()
        await asyncio.sleep(10)
        assert talks_to(world, customer, rung)
        assert world.switch.agents.state("lilei").state == "available"
        (end,) = of_kind(world, "acd-closed")
        assert (end["outcome"], end["reason"]) == ("answered", "transferred")
        rung.hang_up()
        await customer.ended()
        await world.settle()


@simulated()
async def test_a_transfer_that_fails_gives_the_caller_back():
    async with World(4, office=office()) as world:
        _, customer, agent = await conversation(world)
        await world.phone("1005", behaviour=busy())
        agent.refer("sip:1005@office.example")
        await asyncio.sleep(2)
        assert agent.state == "up"
        assert talks_to(world, customer, agent)
        assert world.switch.agents.state("lilei").state == "on-contact"
        agent.hang_up()
        await customer.ended()
        await asyncio.sleep(10)
        assert world.switch.agents.state("lilei").state == "available"
        assert [c["reason"] for c in of_kind(world, "acd-closed")] == ["agent"]
        await world.settle()


@simulated()
async def test_a_customer_who_transfers_his_agent():
    async with World(5, office=office()) as world:
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        colleague, friend = await world.phone("1005"), await world.phone("1006")
        customer = await colleague.call("5000")
        await customer.answered()
        agent = await phone.incoming()
        await asyncio.sleep(15)
        customer.refer("sip:1006@office.example")
        rung = await friend.incoming()
        await customer.ended()
        await asyncio.sleep(1)
        assert talks_to(world, agent, rung)
        assert world.switch.agents.state("lilei").state == "on-contact", "he still telephones"
        agent.hang_up()
        await rung.ended()
        await asyncio.sleep(10)
        assert world.switch.agents.state("lilei").state == "available"
        await world.settle()


@simulated()
async def test_handlers_put_callers_into_queues_and_go_on_after():
    seen = []

    def prepare(switch):
        @switch.extension("7000")
        async def desk(call):
            await call.answer()
            outcome = await call.enqueue("support", max_wait_s=20.0)
            seen.append((outcome.answered, outcome.result))
            outcome = await call.enqueue("billing", priority=5)
            seen.append((outcome.answered, outcome.by))
            await call.play("goodbye")
            with pytest.raises(QueueUnavailable):
                await call.enqueue("nowhere")

    async with World(6, office=office(), prepare=prepare) as world:
        second = await world.phone("1002", behaviour=answer(after_s=1.0))
        caller = await world.phone("1005")
        call = await caller.call("7000")
        await call.answered()
        await asyncio.sleep(25)
        assert seen == [(False, "max-wait")]
        world.switch.agents.log_in("hanmeimei")
        rung = await second.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        rung.hang_up()
        await asyncio.sleep(1)
        assert heard(world, call) == "goodbye"
        await call.ended()
        assert seen[1] == (True, "callee")
        await asyncio.sleep(10)
        await world.settle()
        assert [c["contact"].partition("/")[2] for c in of_kind(world, "acd-closed")] == ["", "2"]


@simulated()
async def test_early_media_keeps_the_caller_unanswered_until_an_agent_has_him():
    def prepare(switch):
        @switch.extension("7000")
        async def desk(call):
            await switch.centre.wait_in(call, "support", answer=False)

    async with World(7, office=office(), prepare=prepare) as world:
        phone = await world.phone("1001", behaviour=answer(after_s=3.0))
        caller = await world.phone("1005")
        call = await caller.call("7000")
        await asyncio.sleep(2)
        assert (call.state, call.provisional[-1]) == ("ringing", 183)
        assert heard(world, call) in ("music:default", "you-are-next")
        world.switch.agents.log_in("lilei")
        rung = await phone.incoming()
        await asyncio.sleep(15)
        assert call.state == "up"
        assert talks_to(world, call, rung)
        call.hang_up()
        await rung.ended()
        await asyncio.sleep(10)
        await world.settle()


@simulated()
async def test_a_menu_sets_the_way_into_the_queue():
    more = (
        BILLING + '[[ivr]]\nname = "main"\nnumber = "7000"\noptions = { "2" = "queue:billing" }\n'
    )
    async with World(8, office=office(more=more)) as world:
        second = await world.phone("1002", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("hanmeimei")
        caller = await world.phone("1005")
        call = await caller.call("7000")
        await call.answered()
        await asyncio.sleep(0.5)
        press(world, call, "2")
        rung = await second.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        call.hang_up()
        await rung.ended()
        await asyncio.sleep(30)
        await world.settle()
