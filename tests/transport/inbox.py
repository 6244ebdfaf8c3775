"""What a transport reports, and waiting for a condition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from softswitch.sip.flow import Flow


class Inbox:
    """Collects what a transport reports."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Flow]] = []
        self.gone: list[Flow] = []

    def receive(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))

    def unreachable(self, flow: Flow) -> None:
        self.gone.append(flow)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, for eight seconds at most."""
    async with asyncio.timeout(8):
        for _ in iter(condition, True):
            await asyncio.sleep(0.001)
