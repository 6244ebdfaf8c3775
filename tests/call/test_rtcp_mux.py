"""RTCP on the port of the media (RFC 5761) for whoever asks for it."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from softswitch.sim import phone_call
from softswitch.sim.behaviour import answer
from softswitch.sim.loop import simulated
from softswitch.sim.world import World


@simulated()
@pytest.mark.parametrize("asked", [True, False])
async def test_who_asks_for_it_gets_it_and_nobody_else(asked, monkeypatch):
    async with World(1) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=answer())
        with monkeypatch.context() as patch:
            patch.setattr(phone_call, "make_offer", partial(phone_call.make_offer, rtcp_mux=asked))
            call = await caller.call("1002")
            await call.answered()
            await asyncio.sleep(1)
            (live,) = world.switch.control.calls
            media = world.media.streams
            assert media[live.caller.stream.stream_id].params.rtcp_mux is asked
            assert media[live.partner.stream.stream_id].params.rtcp_mux is False
            await call.hold()
            await call.resume()
            await asyncio.sleep(1)
            assert media[live.caller.stream.stream_id].params.rtcp_mux is asked
        (there,) = callee.calls.values()
        assert b"rtcp-mux" not in there.invite.sdp, "we ask nobody"
        call.hang_up()
        await world.settle()
