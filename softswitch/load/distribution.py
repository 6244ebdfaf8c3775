"""How long people talk, wait and pause: durations drawn from a distribution that one word names.

30          always 30 s                     exp:180        exponential, mean 180 s
uniform:5-10                                 normal:60,15   mean and deviation, never below 0
erlang:20,3 mean 20 s, of three phases       lognormal:120,0.8   median and sigma
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass

from softswitch.errors import ConfigError

DURATION_S_MAX = 86_400.0
ALLOWED = "30, exp:180, uniform:5-10, normal:60,15, erlang:20,3, lognormal:120,0.8"
_NUMBER = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)"
_FORMS = (
    ("fixed", re.compile(rf"(?:fixed:)?{_NUMBER}()")),
    ("exp", re.compile(rf"exp:{_NUMBER}()")),
    ("uniform", re.compile(rf"uniform:{_NUMBER}-{_NUMBER}")),
    ("normal", re.compile(rf"normal:{_NUMBER},{_NUMBER}")),
    ("erlang", re.compile(rf"erlang:{_NUMBER},([1-9][0-9]?)")),
    ("lognormal", re.compile(rf"lognormal:{_NUMBER},{_NUMBER}")),
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Seconds; `kind` is one of fixed, exp, uniform, normal, erlang, lognormal."""

    kind: str
    first: float
    second: float = 0.0

    @classmethod
    def parse(cls, text: str, key: str = "hold") -> Distribution:
        """Read one of the forms above. Raises `ConfigError` naming `key`."""
        for kind, form in _FORMS:
            found = form.fullmatch(text.strip())
            if found is None:
                continue
            first, second = float(found[1]), float(found[2] or 0.0)
            if kind == "uniform" and second < first:
                raise ConfigError(key, f"{text!r}: the range is empty", ALLOWED)
            if max(first, second) > DURATION_S_MAX:
                raise ConfigError(key, f"{text!r}: more than a day", ALLOWED)
            return cls(kind, first, second)
        raise ConfigError(key, f"{text!r} is no duration", ALLOWED)

    def draw(self, rng: random.Random) -> float:
        """One duration, 0 to a day."""
        match self.kind:
            case "exp":
                drawn = rng.expovariate(1.0 / self.first) if self.first else 0.0
            case "uniform":
                drawn = rng.uniform(self.first, self.second)
            case "normal":
                drawn = rng.normalvariate(self.first, self.second)
            case "erlang":
                drawn = rng.gammavariate(self.second, self.first / self.second)
            case "lognormal":
                drawn = rng.lognormvariate(math.log(max(self.first, 1e-9)), self.second)
            case _:
                drawn = self.first
        return min(max(drawn, 0.0), DURATION_S_MAX)

    @property
    def mean_s(self) -> float:
        """What `draw` gives on average (of normal: before it is cut at 0)."""
        match self.kind:
            case "uniform":
                return (self.first + self.second) / 2
            case "lognormal":
                return self.first * math.exp(self.second**2 / 2)
            case _:
                return self.first

    def __str__(self) -> str:
        one, two = f"{self.first:g}", f"{self.second:g}"
        match self.kind:
            case "fixed":
                return one
            case "exp":
                return f"exp:{one}"
            case "uniform":
                return f"uniform:{one}-{two}"
            case _:
                return f"{self.kind}:{one},{two}"
