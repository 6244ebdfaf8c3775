"""Digits by INFO (RFC 6086) reach the other side of a call, and an application, whatever the type says."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.call.info import digit_of_info, info_of_digit
from softswitch.sim.behaviour import answer
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

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


@simulated()
@pytest.mark.parametrize("dtmf", ["info", "auto"])
async def test_whoever_knows_no_other_way_is_told_by_info_one_after_the_other(dtmf):
    office = small_office(extensions=2)
    office = office.replace('number = "1002"', f'number = "1002"\ndtmf = "{dtmf}"')
    async with World(1, office=office) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=answer())
        call = await caller.call("1002")
        await call.answered()
        await asyncio.sleep(1)
        (live,) = world.switch.control.calls
        for digit in "42#":
            call.send_info(RELAY, f"Signal={digit}\r\nDuration=160\r\n".encode())
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        (there,) = callee.calls.values()
        told = [digit_of_info(kind, body) for kind, body in there.infos]
        assert told == (["4", "2"] if dtmf == "info" else []), "a quarter of a second apart"
        await asyncio.sleep(2)
        told = [digit_of_info(kind, body) for kind, body in there.infos]
        assert told == (["4", "2", "#"] if dtmf == "info" else [])
        by_media = world.media.streams[live.partner.stream.stream_id].digits_sent
        assert by_media == ("" if dtmf == "info" else "42#")
        assert call.infos == []
        for _ in range(20):
            call.send_info(RELAY, b"Signal=1\r\n")
        await asyncio.sleep(0.5)
        call.hang_up()
        await asyncio.sleep(5)
        await world.settle()


@pytest.mark.parametrize("digit", "09*#AD")
def test_what_is_told_is_read_again(digit):
    assert digit_of_info(*info_of_digit(digit)) == digit
