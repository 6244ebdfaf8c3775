"""A call that is over is freed by reference counts alone: the cycle collector sleeps while there is much to
do, and what it is left with stops everything for seconds when it wakes."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest

from softswitch.errors import CallEnded
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

KINDS = (
    "Call",
    "Leg",
    "Listening",
    "SessionUnit",
    "ServerTransaction",
    "ClientTransaction",
    "Dial",
)
LINGER_S = 40.0
"""Longer than any transaction waits for a repetition (RFC 3261, 64*T1)."""


def alive() -> Counter[str]:
    return Counter(name for thing in gc.get_objects() if (name := type(thing).__name__) in KINDS)


async def to_a_phone(world, caller):
    call = await caller.call("1002")
    await call.answered()
    call.hang_up()


async def given_up(world, caller):
    call = await caller.call("1002")
    await call.ringing()
    call.hang_up()


async def to_a_trunk(world, caller):
    call = await caller.call("901065551234")
    await call.answered()
    call.hang_up()


async def to_a_handler(world, caller):
    call = await caller.call("7000")
    await call.answered()
    await asyncio.sleep(1.0)
    call.hang_up()


async def to_nobody(world, caller):
    call = await caller.call("1999")
    await call.ended()


@pytest.mark.parametrize("made", [to_a_phone, given_up, to_a_trunk, to_a_handler, to_nobody])
@simulated()
async def test_what_is_over_is_freed_without_the_collector(made):
    def prepare(switch):
        @switch.extension("7000")
        async def menu(call):
            await call.answer()
            try:
                await call.hear_line("cng", timeout_s=30.0)
            except CallEnded:
                return

    async with World(9, office=small_office(trunks=1), prepare=prepare) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        await world.trunk("carrier-1")
        await made(world, caller)  # what is made once, is made
        await asyncio.sleep(LINGER_S)
        caller.past.clear()
        gc.collect()
        before = alive()
        gc.disable()
        try:
            for _ in range(3):
                await made(world, caller)
                await asyncio.sleep(LINGER_S)
            caller.past.clear()
            assert alive() - before == Counter()
        finally:
            gc.enable()
