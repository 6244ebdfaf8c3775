"""Both sides of a switch: callers call through it, and what it rings is ours too."""

from __future__ import annotations

from softswitch.load.lab import Caller
from softswitch.load.settings import Settings

SETTINGS: Settings = {}


async def scenario(caller: Caller) -> None:
    """Both sides of a switch: calls go through it and come back to us, and both ends listen."""
    call = caller.dial()
    await call.answered()
    await call.talk(caller.hold_s())
    call.hang_up()
    await call.ended()
