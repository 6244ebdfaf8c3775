"""Waiting for the first of two things."""

from __future__ import annotations

import asyncio


def either(first: asyncio.Future[None], second: asyncio.Future[None]) -> asyncio.Future[None]:
    """Done when one of the two is."""
    both: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(_: object) -> None:
        first.remove_done_callback(settle)
        second.remove_done_callback(settle)
        if not both.done():
            both.set_result(None)

    first.add_done_callback(settle)
    second.add_done_callback(settle)
    return both
