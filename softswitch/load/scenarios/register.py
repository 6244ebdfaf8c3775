"""Telephones register, all in a storm or again and again.

Settings: `mode=storm` (each arrival registers one account once) or `mode=refresh` (it registers and
refreshes for `--hold` seconds, as often as `every` says, by default half of `--expires`).
"""

from __future__ import annotations

import asyncio

from softswitch.load.lab import Caller
from softswitch.load.settings import one_of, seconds

SETTINGS = {"mode": one_of("storm", "refresh"), "every": seconds("half of --expires")}


async def scenario(caller: Caller) -> None:
    """Telephones register in a storm, or register and refresh (--set mode=refresh)."""
    await _register(caller, caller.intended_s)
    if caller.lab.plan.option("mode", "storm") != "refresh":
        return
    every_s = float(caller.lab.plan.option("every", str(caller.lab.plan.expires_s / 2)))
    until_s = caller.lab.now_s() + caller.hold_s()
    due_s = caller.lab.now_s() + every_s
    while due_s < until_s:
        await asyncio.sleep(max(0.0, due_s - caller.lab.now_s()))
        await _register(caller, due_s)
        due_s += every_s


async def _register(caller: Caller, due_s: float) -> None:
    lab = caller.lab
    response = await lab.callers.register(caller.account, lab.plan.expires_s)
    if response.status != 200:
        caller.fail(f"{response.status} {response.reason}")
    lab.meter.time("register", 1e6 * (lab.now_s() - due_s), lab.at_s())
    lab.meter.count("registered", lab.at_s())
