"""Supervisors by telephone: listen, whisper, barge, take over; only they, and it is written down."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import answer
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, press, stream_of, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World


async def conversation(world):
    phone = await world.phone("1001", behaviour=answer(after_s=1.0))
    world.switch.agents.log_in("lilei")
    carrier = await world.trunk("carrier-1")
    customer = await carrier.call(QUEUE_NUMBER)
    await customer.answered()
    agent = await phone.incoming()
    await asyncio.sleep(15)
    assert talks_to(world, customer, agent)
    return customer, agent


def modes(world):
    return [e.data["mode"] for e in world.journal.of_kind("acd-supervised")]


@simulated()
async def test_listen_whisper_and_barge_by_digits():
    async with World(1, office=centre_office()) as world:
        customer, agent = await conversation(world)
        mary = await world.phone("1003")
        call = await mary.call("*901001")
        await call.answered()
        await asyncio.sleep(0.5)
        agents_stream = stream_of(world, agent).local.stream_id
        assert stream_of(world, call).monitor == (agents_stream, "listen")
        for key, mode in (("5", "whisper"), ("6", "barge"), ("9", "barge"), ("4", "listen")):
            press(world, call, key)
            await asyncio.sleep(0.5)
            assert stream_of(world, call).monitor == (agents_stream, mode)
        assert talks_to(world, customer, agent), "the conversation goes on"
        assert modes(world) == ["listen", "whisper", "barge", "listen"]
        customer.hang_up()
        await call.ended()
        await agent.ended()
        await asyncio.sleep(30)
        await world.settle()


@simulated()
async def test_the_supervisor_may_go_first():
    async with World(2, office=centre_office()) as world:
        customer, agent = await conversation(world)
        mary = await world.phone("1003")
        call = await mary.call("*901001")
        await call.answered()
        await asyncio.sleep(1)
        call.hang_up()
        await asyncio.sleep(1)
        assert talks_to(world, customer, agent)
        agent.hang_up()
        await customer.ended()
        await asyncio.sleep(30)
        await world.settle()


@simulated()
async def test_take_over():
    async with World(3, office=centre_office("wrap_up_s = 5")) as world:
        customer, agent = await conversation(world)
        mary = await world.phone("1003")
        world.switch.agents.log_in("mary")
        call = await mary.call("*901001")
        await call.answered()
        await asyncio.sleep(1)
        press(world, call, "7")
        await agent.ended()
        await asyncio.sleep(1)
        assert talks_to(world, customer, call)
        assert world.switch.agents.state("lilei").state == "wrap-up"
        assert world.switch.agents.state("mary").state == "on-contact"
        await asyncio.sleep(20)
        customer.hang_up()
        await call.ended()
        await asyncio.sleep(10)
        handled = [
            (e.data["agent"], e.data["outcome"]) for e in world.journal.of_kind("acd-handled")
        ]
        assert handled == [("lilei", "transferred"), ("mary", "ended")]
        assert world.switch.agents.state("mary").state == "available"
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("extension", "number"), [("1002", "*901001"), ("1005", "*901001"), ("1003", "*901002")]
)
async def test_only_supervisors_and_only_where_somebody_talks(extension, number):
    async with World(4, office=centre_office()) as world:
        customer, agent = await conversation(world)
        curious = await world.phone(extension)
        call = await curious.call(number)
        await call.answered()
        await asyncio.sleep(0.5)
        assert heard(world, call) == "unavailable"
        assert stream_of(world, call).monitor is None
        await call.ended()
        assert modes(world) == []
        customer.hang_up()
        await agent.ended()
        await asyncio.sleep(30)
        await world.settle()


@simulated()
async def test_the_extension_may_follow_by_keys():
    async with World(5, office=centre_office(more='[codes]\nlisten = "*91"\n')) as world:
        customer, agent = await conversation(world)
        mary = await world.phone("1003")
        call = await mary.call("*91")
        await call.answered()
        await asyncio.sleep(0.5)
        press(world, call, "1001#")
        await asyncio.sleep(0.5)
        assert stream_of(world, call).monitor is not None
        customer.hang_up()
        await call.ended()
        await agent.ended()
        await asyncio.sleep(30)
        await world.settle()
