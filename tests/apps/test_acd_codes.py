"""Agents by telephone and by program: log in and out, pause with a reason, end wrap-up."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.errors import CallError, QueueUnavailable
from softswitch.sim.behaviour import answer
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, press, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World


async def dial(world, phone, code):
    call = await phone.call(code)
    await call.answered()
    await asyncio.sleep(0.5)
    return call


@simulated()
async def test_agent_log_in_out():
    async with World(1, office=centre_office()) as world:
        agents = world.switch.agents
        phone = await world.phone("1001")
        assert agents.state("lilei").state == "logged-out"
        call = await dial(world, phone, "*22")
        assert heard(world, call) == "agent-logged-in"
        assert agents.state("lilei").state == "on-contact", "not rung while he still listens"
        await call.ended()
        await asyncio.sleep(0.5)
        assert agents.state("lilei").state == "available"
        call = await dial(world, phone, "*22")
        assert heard(world, call) == "agent-logged-out"
        await call.ended()
        await asyncio.sleep(0.5)
        assert agents.state("lilei").state == "logged-out"
        await world.settle()


@simulated()
async def test_agent_pause_with_and_without_a_reason():
    async with World(2, office=centre_office()) as world:
        agents = world.switch.agents
        phone = await world.phone("1001")
        call = await dial(world, phone, "*23")
        assert heard(world, call) == "agent-logged-out", "nobody pauses who is not at work"
        await call.ended()
        agents.log_in("lilei")
        call = await dial(world, phone, "*23")
        assert heard(world, call) == "agent-paused"
        press(world, call, "2")
        await call.ended()
        await asyncio.sleep(0.5)
        status = agents.state("lilei")
        assert (status.state, status.reason) == ("unavailable", "meal")
        call = await dial(world, phone, "*23")
        assert heard(world, call) == "agent-available"
        await call.ended()
        await asyncio.sleep(0.5)
        assert agents.state("lilei").state == "available"
        call = await dial(world, phone, "*23")
        await call.ended()
        await asyncio.sleep(0.5)
        status = agents.state("lilei")
        assert (status.state, status.reason) == ("unavailable", "")
        await world.settle()


@simulated()
async def test_the_pause_code_ends_wrap_up():
    async with World(3, office=centre_office("wrap_up_s = 300")) as world:
        agents = world.switch.agents
        phone = await world.phone("1001")
        agents.log_in("lilei")
        carrier = await world.trunk("carrier-1")
        customer = await carrier.call(QUEUE_NUMBER)
        rung = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, customer, rung)
        customer.hang_up()
        await rung.ended()
        await asyncio.sleep(1)
        assert agents.state("lilei").state == "wrap-up"
        call = await dial(world, phone, "*23")
        assert heard(world, call) == "agent-available"
        await call.ended()
        await asyncio.sleep(0.5)
        assert agents.state("lilei").state == "available"
        await world.settle()


@simulated()
async def test_who_is_no_agent_is_told_so():
    async with World(4, office=centre_office()) as world:
        phone = await world.phone("1005")
        for code in ("*22", "*23"):
            call = await dial(world, phone, code)
            assert heard(world, call) == "unavailable"
            await call.ended()
        await world.settle()


@simulated()
async def test_codes_of_the_office():
    more = '[codes]\nagent_log_in_out = "*55"\nagent_pause = "*56"\n'
    async with World(5, office=centre_office(more=more)) as world:
        phone = await world.phone("1001")
        call = await dial(world, phone, "*55")
        assert heard(world, call) == "agent-logged-in"
        await call.ended()
        call = await dial(world, phone, "*56")
        assert heard(world, call) == "agent-paused"
        await call.ended()
        await world.settle()


@simulated()
async def test_the_same_by_program():
    async with World(6, office=centre_office("wrap_up_s = 60")) as world:
        agents = world.switch.agents
        agents.log_in("lilei", available=False, reason="coming")
        assert (agents.state("lilei").state, agents.state("lilei").reason) == (
            "unavailable",
            "coming",
        )
        agents.resume("lilei")
        agents.pause("lilei", "training", by="mary")
        assert agents.state("lilei").reason == "training"
        agents.log_out("lilei")
        with pytest.raises(CallError, match="logged out"):
            agents.pause("lilei")
        with pytest.raises(CallError, match="no agent"):
            agents.log_in("nobody")
        assert not agents.end_wrap_up("lilei")
        assert [status.agent for status in agents.states()] == ["lilei", "hanmeimei", "mary"]
        await world.settle()


@simulated()
async def test_wrap_up_is_extended_and_ended():
    async with World(7, office=centre_office("wrap_up_s = 20")) as world:
        agents = world.switch.agents
        phone = await world.phone("1001")
        agents.log_in("lilei")
        carrier = await world.trunk("carrier-1")
        customer = await carrier.call(QUEUE_NUMBER)
        await phone.incoming()
        await asyncio.sleep(15)
        customer.hang_up()
        await asyncio.sleep(1)
        assert agents.extend_wrap_up("lilei", 100.0)
        await asyncio.sleep(60)
        assert agents.state("lilei").state == "wrap-up"
        assert agents.end_wrap_up("lilei")
        assert agents.state("lilei").state == "available"
        await world.settle()


@simulated()
async def test_supervisors_requeue_withdraw_and_assign():
    more = '[[queue]]\nname = "billing"\nnumber = "5001"\n'
    agents = {"lilei": 'queues = ["billing"]', "hanmeimei": "", "mary": 'role = "supervisor"'}
    async with World(8, office=centre_office(agents=agents, more=more)) as world:
        queues = world.switch.queues
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        second = await world.phone("1002", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        carrier = await world.trunk("carrier-1")
        customer = await carrier.call(QUEUE_NUMBER)
        await customer.answered()
        await asyncio.sleep(20)
        (live,) = world.switch.control.calls
        queues.requeue(live.call_id, "billing", by="mary")
        rung = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, customer, rung)

        queues.requeue(live.call_id, "support", by="mary")
        await asyncio.sleep(0.5)
        assert rung.state == "ended", "taken from the agent's hands"
        assert heard(world, customer) == "music:default"
        assert world.switch.agents.state("lilei").state == "wrap-up"
        await asyncio.sleep(30)
        queues.assign(live.call_id, "lilei", by="mary")
        again = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, customer, again), "past every rule"
        again.hang_up()
        await customer.ended()

        other = await carrier.call(QUEUE_NUMBER)
        await other.answered()
        await asyncio.sleep(5)
        live = world.switch.control.calls[-1]
        queues.withdraw(live.call_id, "extension:1002", by="mary")
        taken = await second.incoming()
        await asyncio.sleep(2)
        assert talks_to(world, other, taken)
        other.hang_up()
        await taken.ended()
        with pytest.raises(CallError, match="in no queue"):
            queues.requeue("c0-0")
        with pytest.raises(QueueUnavailable):
            queues.requeue(live.call_id, "nowhere")
        await asyncio.sleep(30)
        await world.settle()


@simulated()
async def test_priority_set_by_a_supervisor():
    async with World(9, office=centre_office('route = ["priority", "longest-idle"]')) as world:
        carrier = await world.trunk("carrier-1")
        calls = []
        for number in ("01065550001", "01065550002"):
            calls.append(await carrier.call(QUEUE_NUMBER, from_user=number))
            await calls[-1].answered()
            await asyncio.sleep(3)
        second = world.switch.control.calls[-1]
        world.switch.queues.set_priority(second.call_id, 9.0)
        phone = await world.phone("1001")
        world.switch.agents.log_in("lilei")
        assert (await phone.incoming()).number == "01065550002"
        for call in calls:
            call.hang_up()
        await asyncio.sleep(30)
        await world.settle()
