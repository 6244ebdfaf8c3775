"""RTCP on the port of the media (RFC 5761) or on one that SDP names (RFC 3605), for whoever asks for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from msgspec.structs import replace as change

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


def naming(port):
    """`make_offer` with ``a=rtcp:port``."""
    make_offer = phone_call.make_offer

    def offer(*arguments, **options):
        said = make_offer(*arguments, **options)
        (audio,) = said.media
        attributes = (*audio.attributes, ("rtcp", str(port)))
        return change(said, media=(replace(audio, attributes=attributes),))

    return offer


@simulated()
async def test_a_port_that_the_offer_names_is_told_to_the_media_plane(monkeypatch):
    async with World(1) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=answer())
        with monkeypatch.context() as patch:
            patch.setattr(phone_call, "make_offer", naming(4444))
            call = await caller.call("1002")
            await call.answered()
            await asyncio.sleep(1)
            (live,) = world.switch.control.calls
            media = world.media.streams
            assert media[live.caller.stream.stream_id].params.rtcp_port == 4444
            assert media[live.partner.stream.stream_id].params.rtcp_port is None
        call.hang_up()
        await world.settle()


@simulated()
async def test_our_own_ports_are_nobodys_for_reports_either(monkeypatch):
    """A phone on the machine of the exchange may have its address, but neither its media nor its RTCP there."""
    async with World(1) as world:
        host, first = world.switch.office.media.address, world.switch.office.media.ports[0]
        caller = await world.phone("1001", host=host, port=5090)
        await world.phone("1002", behaviour=answer())
        with monkeypatch.context() as patch:
            patch.setattr(phone_call, "make_offer", naming(first + 1))
            call = await caller.call("1002")
            assert (await call.ended()).status == 488
        await world.settle()
