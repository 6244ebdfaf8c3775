"""Skill expressions: ``lang.zh >= 3 & (billing | sales >= 2)``.

Grammar, loosest first: ``a | b``, ``a & b``, ``!a``, ``(a)``, ``name``, ``name >= level`` (also
``<= > < = == !=``). A bare name means level 1 or more; a skill an agent lacks has level 0. The empty
expression admits everybody. Negations are pushed down to the levels while parsing, so an expression
is a tree of alternatives and conjunctions over comparisons and relaxing it can only widen it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from routing.errors import ExpressionError
from routing.grammar import COMPARISONS, Parser
from routing.model import Relaxation

LENGTH_MAX = 1000
DEPTH_MAX = 32
ATOMS_MAX = 64
LEVEL_MAX = 1_000_000

_NEGATED = {">=": "<", "<": ">=", "<=": ">", ">": "<=", "=": "!=", "!=": "="}


@dataclass(frozen=True, slots=True)
class Atom:
    """One comparison of one skill's level."""

    name: str
    operator: str
    level: int

    def admits(self, skills: Mapping[str, int]) -> bool:
        have = skills.get(self.name, 0)
        match self.operator:
            case ">=":
                return have >= self.level
            case "<":
                return have < self.level
            case "<=":
                return have <= self.level
            case ">":
                return have > self.level
            case "=":
                return have == self.level
            case _:
                return have != self.level

    def lacking(self, skills: Mapping[str, int]) -> str:
        return f"{self} (has {skills.get(self.name, 0)})"

    def negated(self) -> Node:
        return Atom(self.name, _NEGATED[self.operator], self.level)

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.level}"


@dataclass(frozen=True, slots=True)
class All:
    """Every part must hold; no part at all always holds."""

    parts: tuple[Node, ...]

    def admits(self, skills: Mapping[str, int]) -> bool:
        return all(part.admits(skills) for part in self.parts)

    def lacking(self, skills: Mapping[str, int]) -> str:
        return next((p.lacking(skills) for p in self.parts if not p.admits(skills)), "")

    def negated(self) -> Node:
        return Either(tuple(part.negated() for part in self.parts))

    def __str__(self) -> str:
        return " & ".join(f"({p})" if isinstance(p, Either) else str(p) for p in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part must hold."""

    parts: tuple[Node, ...]

    def admits(self, skills: Mapping[str, int]) -> bool:
        return any(part.admits(skills) for part in self.parts)

    def lacking(self, skills: Mapping[str, int]) -> str:
        return " and ".join(part.lacking(skills) for part in self.parts)

    def negated(self) -> Node:
        return All(tuple(part.negated() for part in self.parts))

    def __str__(self) -> str:
        return " | ".join(str(part) for part in self.parts)


Node = Atom | All | Either
ANYBODY = All(())


def parse_skill(text: str) -> Node:
    """Parse; raises ExpressionError with the place of the first mistake, for any input."""
    if len(text) > LENGTH_MAX:
        raise ExpressionError(text, LENGTH_MAX, f"longer than {LENGTH_MAX} characters")
    if not text.strip():
        return ANYBODY
    return _Parser(text).read()


class _Parser(Parser[Node]):
    """Levels of skills are the leaves."""

    token = re.compile(
        r"\s*(?:(?P<symbol>>=|<=|!=|==|[=<>&|!()])|(?P<number>\d+)|(?P<name>[^\W\d][\w.\-]*))"
    )
    depth_max = DEPTH_MAX
    _atoms = 0

    def error(self, problem: str) -> ExpressionError:
        return ExpressionError(self.text, self.start, problem)

    def joined(self, parts: Sequence[Node], any_of: bool) -> Node:
        return Either(tuple(parts)) if any_of else All(tuple(parts))

    def negated(self, part: Node) -> Node:
        return part.negated()

    def leaf(self) -> Node:
        name = self.name
        if not name:
            raise self.error("a skill's name expected")
        self._atoms += 1
        if self._atoms > ATOMS_MAX:
            raise self.error(f"more than {ATOMS_MAX} skills")
        self.step()
        operator = self.symbol
        if operator not in COMPARISONS:
            return Atom(name, ">=", 1)
        self.step()
        if not self.number:
            raise self.error("a level (a whole number) expected")
        if len(self.number) > 7 or int(self.number) > LEVEL_MAX:
            raise self.error(f"level above {LEVEL_MAX}")
        level = int(self.number)
        self.step()
        return Atom(name, "=" if operator == "==" else operator, level)


def both(first: Node, second: Node) -> Node:
    """What demands both."""
    parts = [
        part
        for node in (first, second)
        for part in (node.parts if isinstance(node, All) else [node])
    ]
    unique = tuple(dict.fromkeys(parts))
    return unique[0] if len(unique) == 1 else All(unique)


def dropped(node: Node, names: tuple[str, ...]) -> Node:
    """`node` without its demands on the skills named; an alternative that loses a demand on one of
    them wholly is open to everybody, and so is what it stood in."""
    match node:
        case Atom():
            return ANYBODY if node.name in names else node
        case All():
            left = [dropped(part, names) for part in node.parts]
            left = [part for part in left if part != ANYBODY]
            return left[0] if len(left) == 1 else All(tuple(left))
        case Either():
            left = [dropped(part, names) for part in node.parts]
            return ANYBODY if ANYBODY in left else Either(tuple(left))


def relaxed(node: Node, step: Relaxation) -> Node:
    """`node` after one step: replaced, dropped, widened, narrowed, in this order."""
    if step.skill is not None:
        node = parse_skill(step.skill)
    if step.drop:
        node = dropped(node, step.drop)
    if step.also:
        node = ANYBODY if node == ANYBODY else Either((node, parse_skill(step.also)))
    if step.require:
        node = both(node, parse_skill(step.require))
    return node


def level_sum(node: Node, skills: Mapping[str, int]) -> int:
    """How well skilled: the levels of all skills the expression asks to have, added up."""
    match node:
        case Atom():
            return skills.get(node.name, 0) if node.operator in (">=", ">", "=") else 0
        case All() | Either():
            return sum(level_sum(part, skills) for part in node.parts)
