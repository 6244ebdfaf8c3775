"""Recording pressed during a conversation."""

from __future__ import annotations

import asyncio

from softswitch.sim.behaviour import answer
from softswitch.sim.loop import simulated
from softswitch.sim.world import World


async def talking(world):
    caller = await world.phone("1001")
    await world.phone("1002", behaviour=answer())
    call = await caller.call("1002")
    await call.answered()
    await asyncio.sleep(1)
    (live,) = world.switch.control.calls
    return call, live


@simulated()
async def test_an_extension_records_on_demand_and_keeps_a_card_number_out():
    async with World(1) as world:
        call, live = await talking(world)
        media = world.media

        def press(keys):
            media.press(live.partner.stream.stream_id, keys)

        assert not media.recordings
        press("*76")
        await asyncio.sleep(1)
        (recording,) = media.recordings.values()
        press("*77")
        await asyncio.sleep(1)
        assert recording.paused
        press("*77")
        await asyncio.sleep(1)
        assert not recording.paused
        press("*76")
        await asyncio.sleep(1)
        assert not media.recordings
        press("*76")
        await asyncio.sleep(1)
        (again,) = media.recordings.values()
        assert again.name != recording.name
        call.hang_up()
        await world.settle()
        assert len(world.journal.of_kind("recording-stopped")) == 2
