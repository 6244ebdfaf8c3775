"""Announcing into a call and keeping a card number out of its recording."""

from __future__ import annotations

import asyncio

import pytest

from media.protocol import Prompts
from softswitch import Call
from softswitch.errors import CallError
from softswitch.sim.behaviour import answer
from softswitch.sim.loop import simulated
from softswitch.sim.world import World


@simulated()
async def test_announcements_and_rows_of_prompts_from_a_handler():
    seen = []

    def prepare(switch):
        @switch.extension("7000")
        async def desk(call: Call) -> None:
            audio = switch.control.audio
            with pytest.raises(CallError):
                audio.play_row(call, ["goodbye"])
            await call.answer()
            audio.play(call, "goodbye", repeat=True, mix=True)
            await call.sleep(1)
            await audio.play_row(call, ["goodbye", "tone:busy", "goodbye"])
            seen.append("over")
            await call.sleep(3600)

    async with World(32, prepare=prepare) as world:
        caller = await world.phone("1001")
        call = await caller.call("7000")
        await call.answered()
        await asyncio.sleep(1.5)
        (stream,) = world.media.streams.values()
        row = stream.playing[1]
        assert isinstance(row, Prompts)
        assert len(row.parts) == 3
        await asyncio.sleep(10)
        assert seen == ["over"]
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_recording_pauses_and_goes_on():
    async with World(33) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=answer(after_s=1.0))
        talk = await caller.call("1002")
        await talk.answered()
        await asyncio.sleep(1)
        (call,) = world.switch.control.calls
        audio = world.switch.control.audio
        audio.start_recording(call)
        (recording,) = world.media.recordings.values()
        assert audio.pause_recording(call)
        assert recording.paused
        assert audio.resume_recording(call)
        assert not recording.paused
        audio.stop_recording(call)
        assert not audio.pause_recording(call)
        assert not audio.resume_recording(call)
        talk.hang_up()
        await talk.ended()
        await world.settle()
