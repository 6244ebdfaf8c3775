"""Telephones and carriers on loopback, for tests of what the API does to a running exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from softswitch.sim.behaviour import Behaviour, answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork
from softswitch.sim.trunk import VirtualTrunk


@asynccontextmanager
async def phones(
    api: Any, *numbers: str, behaviour: Behaviour | None = None, register: int = 200
) -> AsyncIterator[list[VirtualPhone]]:
    """Telephones that answer at once; `register` is what the exchange is to say to each."""
    (transport,) = api.switch.driver.transports
    found = []
    try:
        for number in numbers:
            phone = VirtualPhone(
                RealNetwork(),
                number=number,
                password=f"a-long-secret-{number}",
                server=transport.local,
                domain=api.switch.office.office.domain,
                behaviour=behaviour or answer(after_s=0.02),
                sound=False,
            )
            found.append(phone)
            await phone.open()
            assert (await phone.register()).status == register
        yield found
    finally:
        for phone in found:
            await phone.close()


@asynccontextmanager
async def carrier(api: Any, port: int) -> AsyncIterator[VirtualTrunk]:
    """The far end of a trunk at `port`."""
    (transport,) = api.switch.driver.transports
    trunk = VirtualTrunk(
        RealNetwork(),
        name="carrier",
        server=transport.local,
        port=port,
        behaviour=answer(after_s=0.02),
        sound=False,
    )
    await trunk.open()
    try:
        yield trunk
    finally:
        await trunk.close()


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` finds, as soon as it is something."""
    for _ in range(500):
        if found := await look():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def live(client: Any, state: str) -> Any:
    """The first live call in that state."""

    async def look() -> Any:
        items = (await client.get("/calls/live"))["items"]
        return next((call for call in items if call["state"] == state), None)

    return await until(look)
