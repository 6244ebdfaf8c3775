"""Callers and agents of a call centre, whole calls on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import answer, busy, reject, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

CENTRE = """
[[inbound]]
number = "+861065551001"
to = "queue:support"

[[queue]]
name = "support"
number = "5000"
route = ["priority", "longest-idle"]
ring_s = 15
wrap_up_s = 20
announce = { position = true, wait = true, every_s = 45 }

[[agent]]
id = "lilei"
name = "Li Lei"
extension = "1001"
password = "console-secret-lilei"
queues = ["support"]

[[agent]]
id = "mary"
name = "Mary Smith"
extension = "1002"
password = "console-secret-mary"
role = "supervisor"
queues = ["support"]
"""


def office(more="", **options):
    return small_office(extensions=4, more=CENTRE + more, **options)


def playing(world):
    return [s.playing[1] for s in world.media.streams.values() if s.playing is not None]


@simulated()
async def test_a_caller_reaches_an_agent():
    async with World(1, office=office()) as world:
        carrier = await world.trunk("carrier-1")
        agent = await world.phone("1001", behaviour=answer(after_s=2.0))
        world.switch.agents.log_in("lilei")
        call = await carrier.call("+861065551001", from_user="01055550001")
        await call.answered()
        rung = await agent.incoming()
        assert rung.number == "01055550001"
        await asyncio.sleep(20)
        assert rung.state == "up"
        bridged = [s for s in world.media.streams.values() if s.bridged_to is not None]
        assert len(bridged) == 2
        assert world.switch.agents.state("lilei").state == "on-contact"
        call.hang_up()
        await call.ended()
        await rung.ended()
        await asyncio.sleep(1)
        assert world.switch.agents.state("lilei").state == "wrap-up"
        await asyncio.sleep(20)
        assert world.switch.agents.state("lilei").state == "available"
        await world.settle()
