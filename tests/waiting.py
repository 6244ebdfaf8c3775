"""Waiting on a real loop for what is to happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_S = 8.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, for eight seconds at most."""
    async with asyncio.timeout(PATIENCE_S):
        for _ in iter(condition, True):
            await asyncio.sleep(0.001)
