"""Callers call a number that the target answers by itself: an echo test, an announcement, a UAS."""

from __future__ import annotations

from softswitch.load.lab import Caller
from softswitch.load.settings import Settings

SETTINGS: Settings = {}


async def scenario(caller: Caller) -> None:
    """Callers call a number that the target answers: set-up, sound, hang-up."""
    caller.own_sound_is_right = True  # of an echo test
    call = caller.dial()
    await call.answered()
    await call.talk(caller.hold_s())
    call.hang_up()
    await call.ended()
