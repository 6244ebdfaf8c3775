"""`--fail-if`: conditions on the figures of a run, in a small language that always ends.

    setup_p99_ms > 200        loss > 0.5% | mos_p5 < 3.5        failed > 0 & !(seconds < 10)

Loosest first: `a | b`, `a & b`, `!a`, `(a)`, comparisons (`> < >= <= = !=`) of names and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from routing.grammar import COMPARISONS, Parser
from softswitch.errors import ConfigError

LENGTH_MAX = 500
DEPTH_MAX = 16


class Unmeasured(Exception):
    """A figure that the run does not have."""


@dataclass(frozen=True, slots=True)
class _Value:
    name: str
    number: float

    def of(self, figures: Mapping[str, float]) -> float:
        if not self.name:
            return self.number
        if self.name not in figures:
            raise Unmeasured(self.name)
        return figures[self.name]


@dataclass(frozen=True, slots=True)
class _Comparison:
    left: _Value
    operator: str
    right: _Value

    def holds(self, figures: Mapping[str, float]) -> bool:
        a, b = self.left.of(figures), self.right.of(figures)
        match self.operator:
            case ">":
                return a > b
            case "<":
                return a < b
            case ">=":
                return a >= b
            case "<=":
                return a <= b
            case "!=":
                return a != b
            case _:
                return a == b


@dataclass(frozen=True, slots=True)
class _Not:
    part: _Node

    def holds(self, figures: Mapping[str, float]) -> bool:
        return not self.part.holds(figures)


@dataclass(frozen=True, slots=True)
class _Both:
    parts: tuple[_Node, ...]
    any: bool

    def holds(self, figures: Mapping[str, float]) -> bool:
        found = [part.holds(figures) for part in self.parts]  # all, so that a misspelt name is seen
        return any(found) if self.any else all(found)


_Node = _Comparison | _Not | _Both


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition; when it holds the run has failed."""

    text: str
    _node: _Node
    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read a condition. Raises `ConfigError` with the place of the first mistake."""
        if len(text) > LENGTH_MAX:
            raise ConfigError("fail-if", f"longer than {LENGTH_MAX} characters")
        parser = _Parser(text)
        return cls(text, parser.read(), frozenset(parser.names))

    def check(self, known: set[str]) -> None:
        """Raise `ConfigError` for a name that no run can have."""
        for name in sorted(self.names - known):
            near = get_close_matches(name, sorted(known), 3)
            near = near or [other for other in sorted(known) if other.startswith(name)][:3]
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError("fail-if", f"there is no figure {name}{hint}")

    def judge(self, figures: Mapping[str, float]) -> dict[str, object]:
        """`failed`, the `text`, and the `values` of the names. What was not measured has failed."""
        values = {name: figures.get(name) for name in sorted(self.names)}
        try:
            failed = self._node.holds(figures)
        except Unmeasured as error:
            return {
                "text": f"{self.text} ({error} was not measured)",
                "failed": True,
                "values": values,
            }
        told = ", ".join(
            f"{name} is {value:g}" for name, value in values.items() if value is not None
        )
        return {"text": f"{self.text} ({told})", "failed": failed, "values": values}


class _Parser(Parser[_Node]):
    """Comparisons of figures and numbers are the leaves."""

    token = re.compile(
        r"\s*(?:(?P<symbol>>=|<=|!=|==|[=<>&|!()])"
        r"|(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>%?)|(?P<name>[A-Za-z_]\w*))"
    )
    depth_max = DEPTH_MAX

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        super().__init__(text)

    def error(self, problem: str) -> ConfigError:
        return ConfigError("fail-if", f"{self.text!r}, at character {self.start + 1}: {problem}")

    def joined(self, parts: Sequence[_Node], any_of: bool) -> _Node:
        return _Both(tuple(parts), any_of)

    def negated(self, part: _Node) -> _Node:
        return _Not(part)

    def leaf(self) -> _Node:
        left = self._value()
        operator = self.symbol
        if operator not in COMPARISONS:
            raise self.error("a comparison expected: > < >= <= = !=")
        self.step()
        return _Comparison(left, operator, self._value())

    def _value(self) -> _Value:
        if self.number:
            number = float(self.number) * (0.01 if self.unit else 1.0)
            self.step()
            return _Value("", number)
        if not self.name:
            raise self.error("a figure's name or a number expected")
        name = self.name
        self.names.add(name)
        self.step()
        return _Value(name, 0.0)
