"""One heap of wake-up times. An owner has at most one time that counts, its `timer_s`."""

from __future__ import annotations

import heapq
import math
from typing import Any, Protocol


class Owner(Protocol):
    """`timer_s`: when to wake it, or None; `queued_s`: the time of its entry in the heap, if any."""

    timer_s: float | None
    queued_s: float | None


SWEEP_ABOVE = 20_000


class Timers:
    """`set` replaces an owner's time. One that is put off leaves its entry where it is and moves it
    only when it comes up, so that owners have one entry each and setting costs next to nothing."""

    __slots__ = ("_count", "_dead", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0
        self._dead = 0  # entries of owners that wait for nothing any more

    def set(self, owner: Owner, due_s: float) -> None:
        """Wake `owner` at `due_s`; infinity: never."""
        if due_s == math.inf:
            self.clear(owner)
            return
        if owner.timer_s is None and owner.queued_s is not None:
            self._dead -= 1
        owner.timer_s = due_s
        if owner.queued_s is None or due_s < owner.queued_s:
            owner.queued_s = due_s
            self._count += 1
            heapq.heappush(self._heap, (due_s, self._count, owner))

    def clear(self, owner: Owner) -> None:
        if owner.timer_s is None:
            return
        owner.timer_s = None
        self._dead += 1
        if self._dead > SWEEP_ABOVE and 2 * self._dead > len(self._heap):
            self._sweep()

    def _sweep(self) -> None:
        kept = []
        for entry in self._heap:
            owner = entry[2]
            if owner.timer_s is None:
                owner.queued_s = None
            elif owner.queued_s == entry[0]:
                kept.append(entry)
        heapq.heapify(kept)
        self._heap = kept
        self._dead = 0

    def next_s(self) -> float | None:
        """The earliest time that counts."""
        heap = self._heap
        while heap:
            due_s, _, owner = heap[0]
            if owner.queued_s != due_s:
                heapq.heappop(heap)  # a nearer entry has taken its place
            elif owner.timer_s is None:
                owner.queued_s = None
                heapq.heappop(heap)
                self._dead -= 1
            elif owner.timer_s > due_s:
                owner.queued_s = owner.timer_s
                self._count += 1
                heapq.heapreplace(heap, (owner.timer_s, self._count, owner))
            else:
                return due_s
        return None

    def pop_due(self, now_s: float) -> Any | None:
        """The owner due first, at `now_s` or before; its time is cleared."""
        due_s = self.next_s()
        if due_s is None or due_s > now_s:
            return None
        owner = heapq.heappop(self._heap)[2]
        owner.timer_s = owner.queued_s = None
        return owner

    def __len__(self) -> int:
        """Entries in the heap, those that no longer count included."""
        return len(self._heap)
