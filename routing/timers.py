"""One heap of wake-up times. An owner has at most one time that counts, its `timer_s`."""

from __future__ import annotations

import heapq
import math
from typing import Any, Protocol


class Owner(Protocol):
    timer_s: float | None


class Timers:
    """`set` replaces an owner's time; superseded entries are skipped, and swept when they are many."""

    __slots__ = ("_count", "_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0
        self._live = 0

    def set(self, owner: Owner, due_s: float) -> None:
        """Wake `owner` at `due_s`; infinity: never."""
        if due_s == math.inf:
            self.clear(owner)
            return
        if owner.timer_s == due_s:
            return
        if owner.timer_s is None:
            self._live += 1
        owner.timer_s = due_s
        self._count += 1
        heapq.heappush(self._heap, (due_s, self._count, owner))
        if len(self._heap) > 2 * self._live + 1024:
            self._heap = [entry for entry in self._heap if entry[2].timer_s == entry[0]]
            heapq.heapify(self._heap)

    def clear(self, owner: Owner) -> None:
        if owner.timer_s is not None:
            owner.timer_s = None
            self._live -= 1

    def next_s(self) -> float | None:
        """The earliest time that counts."""
        heap = self._heap
        while heap and heap[0][2].timer_s != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now_s: float) -> Any | None:
        """The owner due first, at `now_s` or before; its time is cleared."""
        due_s = self.next_s()
        if due_s is None or due_s > now_s:
            return None
        owner = heapq.heappop(self._heap)[2]
        self.clear(owner)
        return owner

    def __len__(self) -> int:
        return self._live
