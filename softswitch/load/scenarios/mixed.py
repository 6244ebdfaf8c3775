"""Several scenarios at once, by weight: `--set mix=uac-uas:6,ivr:2,conference:1,queue:1`.

What each dials is `--set dial_NAME=...` (dial_uac_uas, dial_ivr), else `--dial`.
"""

from __future__ import annotations

from importlib import import_module

from softswitch.errors import ConfigError
from softswitch.load.lab import Caller, Lab
from softswitch.load.plan import Plan
from softswitch.load.settings import Setting, Settings

DEFAULT = "uac-uas:6,ivr:2,conference:1,queue:1"
ALLOWED = ("uac", "uac-uas", "ivr", "conference", "queue", "transfer", "register")


def _module(name: str) -> object:
    return import_module(f"softswitch.load.scenarios.{name.replace('-', '_')}")


SETTINGS: Settings = {
    "mix": Setting(DEFAULT),
    **{f"dial_{name.replace('-', '_')}": Setting("--dial") for name in ALLOWED},
    **{key: one for name in ALLOWED for key, one in getattr(_module(name), "SETTINGS").items()},  # noqa: B009
}


def mix_of(plan: Plan) -> dict[str, float]:
    """The weights of scenarios. Raises `ConfigError`."""
    found = {}
    for part in plan.option("mix", DEFAULT).split(","):
        name, _, weight = part.strip().partition(":")
        if name not in ALLOWED or not weight.replace(".", "", 1).isdigit():
            raise ConfigError("mix", f"{part!r}", f"NAME:WEIGHT of {', '.join(ALLOWED)}")
        found[name] = float(weight)
    if not sum(found.values()):
        raise ConfigError("mix", "all weights are 0")
    return found


async def prepare(lab: Lab) -> None:
    """What each of the scenarios wants."""
    for name in mix_of(lab.plan):
        wanted = getattr(_module(name), "prepare", None)
        if wanted is not None:
            await wanted(lab)


async def finish(lab: Lab) -> None:
    """What each of the scenarios wants afterwards."""
    for name in mix_of(lab.plan):
        wanted = getattr(_module(name), "finish", None)
        if wanted is not None:
            await wanted(lab)


async def scenario(caller: Caller) -> None:
    """Several scenarios at once, by weight (--set mix=uac-uas:6,ivr:2)."""
    mix = mix_of(caller.lab.plan)
    (name,) = caller.rng.choices(list(mix), list(mix.values()))
    caller.role = name
    caller.lab.meter.count(f"mixed_{name.replace('-', '_')}", caller.lab.at_s())
    await getattr(_module(name), "scenario")(caller)  # noqa: B009 - one of ALLOWED
