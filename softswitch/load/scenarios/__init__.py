"""The scenarios that come with the lab, and the loading of others."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from softswitch.errors import ConfigError
from softswitch.load.lab import Lab, Scenario
from softswitch.load.settings import Settings
from softswitch.load.sipp_player import SETTINGS as SIPP_SETTINGS
from softswitch.load.sipp_player import scenario_of

BUILT_IN = (
    "uac",
    "uac-uas",
    "register",
    "queue",
    "ivr",
    "conference",
    "transfer",
    "flood",
    "mixed",
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario ready to run: its coroutine, what it does beforehand and afterwards, and its first line of
    help."""

    name: str
    run: Scenario
    prepare: Callable[[Lab], Awaitable[None]] | None
    about: str
    finish: Callable[[Lab], Awaitable[None]] | None = None
    settings: Settings | None = None
    """What `--set` may say; None: anything."""


def load(name: str) -> Loaded:
    """A built-in scenario, or a Python file with `async def scenario(caller)`.

    Raises `ConfigError`.
    """
    if name in BUILT_IN:
        return _of_module(name, import_module(f"{__name__}.{name.replace('-', '_')}"))
    path = Path(name)
    if path.suffix == ".py":
        return _of_module(path.stem, _imported(path))
    if path.suffix == ".xml":
        script, run, prepare = scenario_of(path)
        about = f"SIPp scenario {script.name}"
        return Loaded(script.name, run, prepare, about, settings=SIPP_SETTINGS)
    raise ConfigError("scenario", f"{name!r}", f"{', '.join(BUILT_IN)}, a .py or a SIPp .xml file")


def _of_module(name: str, module: object) -> Loaded:
    run = getattr(module, "scenario", None)
    if not inspect.iscoroutinefunction(run):
        raise ConfigError("scenario", f"{name} has no `async def scenario(caller)`")
    prepare = getattr(module, "prepare", None)
    about = (inspect.getdoc(run) or inspect.getdoc(module) or name).partition("\n")[0]
    finish, settings = getattr(module, "finish", None), getattr(module, "SETTINGS", None)
    return Loaded(name, run, prepare, about, finish, settings)


def _imported(path: Path) -> object:
    if not path.is_file():
        raise ConfigError("scenario", f"{path}: there is no such file")
    module = ModuleType(f"load_scenario_{path.stem}")
    module.__file__ = str(path)
    try:
        # Read each time: what Python keeps of a module may be older than a file that was just changed, and a
        # folder of somebody's scripts is no place for it.
        exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except Exception as error:
        raise ConfigError("scenario", f"{path}: {type(error).__name__}: {error}") from error
    return module
