"""What skill expressions and conditions of load runs have in common: ``a | b``, ``a & b``, ``!a``, ``(a)`` over
leaves that each language reads for itself. Recursive descent over a bounded text, bounded in depth, so that
it ends for any input.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

N = TypeVar("N")
COMPARISONS = (">=", "<=", ">", "<", "=", "==", "!=")


class Parser(ABC, Generic[N]):
    """One text of one language. `read` gives its tree, or raises what `error` makes.

    A language says what its leaves are (`leaf`, which reads `symbol`, `number` and `name` and calls `step`)
    and how trees are put together. `token` matches blanks and one token; its groups are a symbol, a number,
    a name, and whatever else belongs to the number (`unit`).
    """

    token: ClassVar[re.Pattern[str]]
    depth_max: ClassVar[int]

    def __init__(self, text: str) -> None:
        self.text = text
        self.symbol = self.number = self.name = self.unit = ""
        self.start = self._at = 0
        self.step()

    # -- of each language ----------------------------------------------------------------------------

    @abstractmethod
    def leaf(self) -> N:
        """Read one leaf."""

    @abstractmethod
    def joined(self, parts: Sequence[N], any_of: bool) -> N:
        """Two or more parts, of which any or all are to hold."""

    @abstractmethod
    def negated(self, part: N) -> N:
        """What holds where `part` does not."""

    @abstractmethod
    def error(self, problem: str) -> Exception:
        """The mistake at `start`, an offset into `text`."""

    # -- of all --------------------------------------------------------------------------------------

    def read(self) -> N:
        """The whole text."""
        node = self._either(0)
        if self.symbol or self.number or self.name:
            raise self.error("end, & or | expected")
        return node

    def step(self) -> None:
        """On to the next token; none of them at the end."""
        rest = self.text[self._at :]
        if not rest.strip():
            self.start = len(self.text)
            self.symbol = self.number = self.name = self.unit = ""
            return
        self.start = self._at + len(rest) - len(rest.lstrip())
        found = self.token.match(self.text, self._at)
        if found is None:
            raise self.error("not understood")
        groups = found.groupdict(default="")
        self.symbol, self.number, self.name = groups["symbol"], groups["number"], groups["name"]
        self.unit = groups.get("unit", "")
        self._at = found.end()

    def _either(self, depth: int) -> N:
        parts = [self._all(depth)]
        while self.symbol == "|":
            self.step()
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else self.joined(parts, True)

    def _all(self, depth: int) -> N:
        parts = [self._one(depth)]
        while self.symbol == "&":
            self.step()
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else self.joined(parts, False)

    def _one(self, depth: int) -> N:
        if depth >= self.depth_max:
            raise self.error(f"nested deeper than {self.depth_max}")
        if self.symbol == "!":
            self.step()
            return self.negated(self._one(depth + 1))
        if self.symbol == "(":
            self.step()
            node = self._either(depth + 1)
            if self.symbol != ")":
                raise self.error(") expected")
            self.step()
            return node
        return self.leaf()
