"""One timer heap for the whole stack: cancelling is lazy, asking for the next is cheap."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Protocol

from msgspec import Struct

_COMPACT_AT = 256
_LANE_PAUSE_S = 0.1


class TimerOwner(Protocol):
    """Whoever armed a timer; gets it back by name."""

    def on_timer(self, name: str, now_s: float) -> None: ...


class Lingering(Protocol):
    """Who stays for a while and then goes."""

    def expire(self) -> None:
        """The time is over; it may have gone before."""


class Timer(Struct, eq=False):
    """One armed timer. `owner` becomes None when it is cancelled or has fired."""

    owner: TimerOwner | None
    name: str


class TimerHeap:
    """Timers in order of time, then of arming, so that runs on virtual time repeat exactly.

    A cancelled timer stays in the heap until it comes up or until the dead outnumber the living;
    the heap never holds more than twice the living plus a constant.
    """

    __slots__ = ("_dead", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = 0
        self._dead = 0

    def __len__(self) -> int:
        """How many timers are armed."""
        return len(self._heap) - self._dead

    def arm(self, at_s: float, owner: TimerOwner, name: str) -> Timer:
        """Arm a timer for `at_s` (monotonic seconds)."""
        order = self._order = self._order + 1
        timer = Timer(owner, name)
        heappush(self._heap, (at_s, order, timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """Disarm; cancelling twice or after firing does nothing."""
        if timer.owner is None:
            return
        timer.owner = None
        dead = self._dead = self._dead + 1
        if dead > _COMPACT_AT and dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].owner is not None]
            heapify(self._heap)
            self._dead = 0

    def set(self, timers: dict[str, Timer], name: str, at_s: float, owner: TimerOwner) -> None:
        """Arm the timer `name` of an owner who keeps his in `timers`, in the place of one of the same name."""
        old = timers.get(name)
        if old is not None:
            self.cancel(old)
        order = self._order = self._order + 1
        timers[name] = timer = Timer(owner, name)
        heappush(self._heap, (at_s, order, timer))

    def clear(self, timers: dict[str, Timer], name: str) -> None:
        """Disarm the timer `name` of `timers`, if it is armed."""
        timer = timers.pop(name, None)
        if timer is not None:
            self.cancel(timer)

    def clear_all(self, timers: dict[str, Timer]) -> None:
        """Disarm every timer of `timers`."""
        if timers:
            for timer in timers.values():
                self.cancel(timer)
            timers.clear()

    def next_at(self) -> float | None:
        """When the earliest armed timer is due, or None."""
        heap = self._heap
        while heap:
            if heap[0][2].owner is not None:
                return heap[0][0]
            heappop(heap)
            self._dead -= 1
        return None

    def pop_due(self, now_s: float) -> tuple[TimerOwner, str] | None:
        """Take the earliest timer due at `now_s`, or None."""
        heap = self._heap
        while heap and heap[0][0] <= now_s:
            timer = heappop(heap)[2]
            owner = timer.owner
            if owner is not None:
                timer.owner = None
                return owner, timer.name
            self._dead -= 1
        return None


class Lane:
    """Those who all stay for the same `after_s`: who comes first goes first, so that a queue and one timer
    for all of them will do. That one fires ten times a second at most."""

    __slots__ = ("_after_s", "_armed", "_heap", "_queue")

    def __init__(self, heap: TimerHeap, after_s: float) -> None:
        self._heap = heap
        self._after_s = after_s
        self._queue: deque[tuple[float, Lingering]] = deque()
        self._armed = False

    def add(self, owner: Lingering, now_s: float) -> None:
        """From now on `owner` lingers."""
        at_s = now_s + self._after_s
        self._queue.append((at_s, owner))
        if not self._armed:
            self._armed = True
            self._heap.arm(at_s, self, "lane")

    def on_timer(self, name: str, now_s: float) -> None:
        queue = self._queue
        while queue and queue[0][0] <= now_s:
            queue.popleft()[1].expire()
        self._armed = bool(queue)
        if queue:
            self._heap.arm(max(queue[0][0], now_s + _LANE_PAUSE_S), self, name)
