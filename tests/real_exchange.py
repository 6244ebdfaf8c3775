"""An exchange on this machine's sockets, for what only signalling is to show: no sound, no database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from softswitch.config import parse_office
from softswitch.environment import Machine
from softswitch.sim.media import SimMediaPlane
from softswitch.sim.world import MemoryJournal
from softswitch.switch import Switch


class Signalling(Machine):
    """This machine's sockets, without media workers and database."""

    def plane(self, office: Any, directory: Path, on_event: Any) -> Any:
        return SimMediaPlane(
            on_event=on_event,
            address="127.0.0.1",
            ports=office.media.ports,
            workers=1,
            recordings_dir=directory / "recordings",
        )

    async def store(self, *_: Any) -> Any:
        return MemoryJournal(), None

    def admin(self) -> bool:
        return False


@contextlib.asynccontextmanager
async def signalling(text: str, directory: Path) -> AsyncIterator[Switch]:
    """The exchange of an office file, running; nothing may have failed in it at the end."""
    office = parse_office(text)
    storage = office.storage.model_copy(update={"directory": directory})
    exchange = Switch(office.model_copy(update={"storage": storage}), environment=Signalling())
    await exchange.start()
    try:
        yield exchange
    finally:
        counters = exchange.driver.counters
        await exchange.stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert counters.exceptions == counters.stack_exceptions == 0
