"""The exchange on real sockets: phones over TCP, TLS and WebSocket call each other and phones on UDP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from softswitch.sim.behaviour import answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork
from softswitch.sim.world import small_office
from softswitch.switch import Switch
from tests.real_exchange import signalling

OFFICE = small_office(
    extensions=2,
    trunks=0,
    listen=[f"{transport}://127.0.0.1:0" for transport in ("udp", "tcp", "tls", "ws")],
)


@pytest.fixture
async def switch(tmp_path: Path) -> AsyncIterator[Switch]:
    async with signalling(OFFICE, tmp_path) as exchange:
        yield exchange


@pytest.fixture
async def phone(switch: Switch, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    opened: list[VirtualPhone] = []

    async def open_(number: str, transport: Any) -> VirtualPhone:
        at = {each.name: each.local for each in switch.driver.transports}
        certificate = tmp_path / "tls" / "certificate.pem"
        made = VirtualPhone(
            RealNetwork(transport, trusted=certificate if transport == "tls" else None),
            number=number,
            password=f"secret-{number}",
            server=at[transport],
            domain="office.example",
            sound=False,
            seed=len(opened),
        )
        await made.open()
        opened.append(made)
        assert (await made.register()).status == 200
        return made

    yield open_
    for each in opened:
        await each.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("theirs", ["udp", "tcp", "tls", "ws"])
@pytest.mark.parametrize("ours", ["tcp", "tls", "ws"])
async def test_phones_call_each_other(ours: str, theirs: str, phone: Any, switch: Switch) -> None:
    caller, callee = await phone("1001", ours), await phone("1002", theirs)
    call = await caller.call("1002")
    await call.answered()
    other = await callee.incoming()
    await call.hold()
    await call.resume()
    call.hang_up()
    await other.ended()
    back = await callee.call("1001")
    await back.answered()
    (await caller.incoming()).hang_up()
    await back.ended()
    shown = {row["transport"] for row in switch.snapshot()["registrations"]}
    assert shown == {ours, theirs}


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws"])
async def test_a_closed_connection_takes_its_registration_with_it(
    transport: str, phone: Any, switch: Switch, until: Any
) -> None:
    caller, callee = await phone("1001", "tcp"), await phone("1002", transport)
    await callee.close()
    await until(lambda: len(switch.snapshot()["registrations"]) == 1)
    call = await caller.call("1002")
    await call.ended()
    assert call.status == 480


async def test_a_connection_lost_while_it_rings_ends_the_ringing(phone: Any) -> None:
    caller, callee = await phone("1001", "tcp"), await phone("1002", "tcp")
    callee.behaviour = answer(after_s=60)
    call = await caller.call("1002")
    await call.ringing()
    await callee.close()
    async with asyncio.timeout(5):
        await call.ended()
    assert call.status == 480, "it is the telephone that is gone, and not the exchange"
