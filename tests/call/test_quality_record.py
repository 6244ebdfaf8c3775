"""How a call was heard, in its record: each leg, each direction."""

from __future__ import annotations

import asyncio

from media.protocol import StreamStats
from softswitch.sim.behaviour import answer
from softswitch.sim.loop import simulated
from softswitch.sim.world import World


@simulated()
async def test_each_leg_has_its_quality_both_ways():
    async with World(1) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=answer())
        call = await caller.call("1002")
        await call.answered()
        await asyncio.sleep(5)
        (live,) = world.switch.control.calls
        legs = (live.caller, live.partner)
        numbers = [leg.leg_id for leg in legs]
        for leg, mos, remote in zip(legs, (4.37, 2.914), (3.5, None), strict=True):
            world.media.accounts[leg.stream.stream_id] = StreamStats(
                packets_in=250, packets_out=249, lost=3, mos=mos, remote_mos=remote, remote_lost=7
            )
        call.hang_up()
        await world.settle()
        found = {entry.data["leg"]: entry.data for entry in world.journal.of_kind("leg-quality")}
        assert sorted(found) == sorted(numbers)
        first, second = (found[number] for number in numbers)
        assert (first["mos"], first["remote_mos"], first["remote_lost"]) == (4.37, 3.5, 7)
        assert (second["mos"], second["remote_mos"]) == (2.91, None)
        assert first["packets_in"] == 250
