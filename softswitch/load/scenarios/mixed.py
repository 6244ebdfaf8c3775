"""Several scenarios at once, by weight: `--set mix=uac-uas:6,ivr:2,conference:1,queue:1`.

What each dials is `--set dial_NAME=...` (dial_uac_uas, dial_ivr), else `--dial`.
"""

from __future__ import annotations

from importlib import import_module

from softswitch.errors import ConfigError
from softswitch.load.lab import Caller, Lab

DEFAULT = "uac-uas:6,ivr:2,conference:1,queue:1"
ALLOWED = ("uac", "uac-uas", "ivr", "conference", "queue", "transfer", "register")


def _mix(lab: Lab) -> dict[str, float]:
    found = {}
    for part in lab.plan.option("mix", DEFAULT).split(","):
        name, _, weight = part.strip().partition(":")
        if name not in ALLOWED or not weight.replace(".", "", 1).isdigit():
            raise ConfigError("mix", f"{part!r}", f"NAME:WEIGHT of {', '.join(ALLOWED)}")
        found[name] = float(weight)
    return found


def _module(name: str) -> object:
    return import_module(f"softswitch.load.scenarios.{name.replace('-', '_')}")


async def prepare(lab: Lab) -> None:
    """What each of the scenarios wants."""
    for name in _mix(lab):
        wanted = getattr(_module(name), "prepare", None)
        if wanted is not None:
            await wanted(lab)


async def finish(lab: Lab) -> None:
    """What each of the scenarios wants afterwards."""
    for name in _mix(lab):
        wanted = getattr(_module(name), "finish", None)
        if wanted is not None:
            await wanted(lab)


async def scenario(caller: Caller) -> None:
    """Several scenarios at once, by weight (--set mix=uac-uas:6,ivr:2)."""
    mix = _mix(caller.lab)
    (name,) = caller.rng.choices(list(mix), list(mix.values()))
    caller.role = name
    caller.lab.meter.count(f"mixed_{name.replace('-', '_')}", caller.lab.at_s())
    await getattr(_module(name), "scenario")(caller)  # noqa: B009 - one of ALLOWED
