"""The settings that a scenario has of its own (`--set name=value`), and whether one is right. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from softswitch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Setting:
    """`default` in words, the `form` of a value as a regular expression, and `allowed` in words."""

    default: str
    form: str = r".*"
    allowed: str = "any text"


def one_of(*values: str, default: str = "") -> Setting:
    """Some words; the first is the default unless another is given."""
    form = "|".join(map(re.escape, values))
    return Setting(default or values[0], form, ", ".join(values))


def seconds(default: str) -> Setting:
    """A time."""
    return Setting(default, r"[0-9]{1,6}(\.[0-9]{1,6})?", "seconds")


def whole(default: str) -> Setting:
    """A number from 1 on."""
    return Setting(default, r"[1-9][0-9]{0,8}", "a number from 1 on")


Settings = Mapping[str, Setting]


def check_settings(scenario: str, known: Settings, given: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a setting that `scenario` has not, or a value that it cannot have."""
    for name, value in given.items():
        setting = known.get(name)
        if setting is None:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                "set", f"{scenario} has no setting {name}{hint}", ", ".join(known) or "none"
            )
        if not re.fullmatch(setting.form, value):
            raise ConfigError("set", f"{name}={value}", setting.allowed)
