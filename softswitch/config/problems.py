"""What is wrong with a configuration, said so that the user can put it right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from softswitch.errors import ConfigError

_PROBLEMS_SHOWN_MAX = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Parameters: `key_path` as the user writes it, with the index of the table in an array
    (``queue[0].overflow``); `problem` in a few words; `allowed`, what may stand there; `entry`, the
    name or number of the table; `line` of the file, 0 where it is not known.
    """

    key_path: str
    problem: str
    allowed: str = ""
    entry: str = ""
    line: int = 0

    def __str__(self) -> str:
        entry = f' ("{self.entry}")' if self.entry else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{self.key_path}{entry}: {self.problem}{allowed}"


class InvalidOffice(ConfigError):
    """A configuration is refused. `problems` holds all of them; `key_path`, `problem` and `allowed`
    are those of the first."""

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        first = problems[0]
        super().__init__(first.key_path, first.problem, first.allowed)
        self.problems = tuple(problems)
        self.source = source
        self.args = (self._text(),)

    def _text(self) -> str:
        lines = [self._line(problem) for problem in self.problems[:_PROBLEMS_SHOWN_MAX]]
        if hidden := len(self.problems) - len(lines):
            lines.append(f"and {hidden} more")
        return "\n".join(lines)

    def _line(self, problem: Problem) -> str:
        place = self.source
        if problem.line:
            place = f"{self.source or 'line '}{':' if self.source else ''}{problem.line}"
        return f"{place}: {problem}" if place else str(problem)


def refusal(problem: str, allowed: str = "") -> PydanticCustomError:
    """The error that a value's own parser raises inside a model."""
    # The texts travel as context: pydantic would take braces in a message for placeholders.
    return PydanticCustomError("refused", "{problem}", {"problem": problem, "allowed": allowed})


def nearest(name: str, names: Iterable[str]) -> str:
    """`` (did you mean "support"?)`` or nothing."""
    close = difflib.get_close_matches(name[:64], list(names), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


def quoted(names: Iterable[str], shown_max: int = 12) -> str:
    """Names for an `allowed` text, cut where an office has very many."""
    listed = list(names)
    text = ", ".join(f'"{name}"' for name in listed[:shown_max])
    return text if len(listed) <= shown_max else f"{text} and {len(listed) - shown_max} more"
