"""Digits by INFO (RFC 6086) reach the other side of a call, and an application, whatever the type says."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.call.info import digit_of_info
from softswitch.sim.behaviour import answer
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

RELAY = "application/dtmf-relay"


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        (RELAY, b"Signal=5\r\nDuration=160\r\n", "5"),
        (RELAY, b"Duration= 100\nSignal= *\n", "*"),
        ("Application/DTMF-Relay; charset=utf-8", b"signal=d\r\n", "D"),
        ("application/dtmf", b"7", "7"),
        ("application/dtmf", b" #\r\n", "#"),
        (RELAY, b"Signal=55\r\n", ""),
        (RELAY, b"", ""),
        ("application/dtmf", b"Signal=5", ""),
        ("text/plain", b"5", ""),
    ],
)
def test_both_types_are_read(kind, body, digit):
    assert digit_of_info(kind, body) == digit


@simulated()
async def test_a_digit_by_info_reaches_the_other_side():
    async with World(1) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=answer())
        call = await caller.call("1002")
        await call.answered()
        await asyncio.sleep(1)
        (live,) = world.switch.control.calls
        for kind, body in ((RELAY, b"Signal=5\r\nDuration=160\r\n"), ("application/dtmf", b"#")):
            call.send_info(kind, body)
            await asyncio.sleep(0.2)
        sent = {
            leg: world.media.streams[leg.stream.stream_id].digits_sent
            for leg in (live.caller, live.partner)
        }
        assert sent == {live.caller: "", live.partner: "5#"}
        call.hang_up()
        await world.settle()
