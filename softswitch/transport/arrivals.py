"""Who has been accepted and waits to be let in: those of sources that have few come first. Pure.

To accept a connection costs little, to make one of it ten times as much. When thousands arrive at once
from a few hundred addresses, a telephone that comes last must not wait for all of theirs.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Arrivals(Generic[_Item]):
    """A queue in the order of how many connections the source of each had when it came; among equals the
    first is the first."""

    __slots__ = ("_heap", "_number")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _Item]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, item: _Item, held: int) -> None:
        """`held`: connections its source has already, those that wait here included."""
        self._number += 1
        heapq.heappush(self._heap, (held, self._number, item))

    def next(self) -> _Item:
        """Take out whose turn it is; there must be one."""
        return heapq.heappop(self._heap)[2]
