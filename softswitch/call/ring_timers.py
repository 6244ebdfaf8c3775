"""Timers of which nearly all are cancelled: how long something may ring, that is answered long before.

The loop keeps its own in a heap where Python compares them, cancelled ones until they would be due: of a call
that was the dearest thing that asyncio did. These are a dict for each duration, in order, with one timer of the
loop for its first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EARLY_S = 0.001
"""By so much the loop may be early."""


def _nothing() -> None: ...


class RingTimer:
    """One that runs; `cancel` may be called twice, and when it is over."""

    __slots__ = ("_lane", "due_s", "expire")

    def __init__(self, lane: _Lane, due_s: float, expire: Callable[[], None]) -> None:
        self._lane = lane
        self.due_s = due_s
        self.expire = expire

    def cancel(self) -> None:
        """It does not expire."""
        self._lane.waiting.pop(self, None)
        self.expire = (
            _nothing  # what it would have done may know it: both are freed without the collector
        )


class _Lane:
    """Those that run for the same time: who began first is due first. The timer of the loop stays for who was
    first when it began; when it fires it looks who is now."""

    __slots__ = ("_handle", "_loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.waiting: dict[RingTimer, None] = {}
        self._handle: asyncio.TimerHandle | None = None

    def start(self, due_s: float, expire: Callable[[], None]) -> RingTimer:
        timer = RingTimer(self, due_s, expire)
        self.waiting[timer] = None
        if self._handle is None:
            self._handle = self._loop.call_at(due_s, self._fire)
        return timer

    def _fire(self) -> None:
        self._handle = None
        now_s = self._loop.time() + _EARLY_S
        for timer in self.waiting:
            if timer.due_s > now_s:
                self._handle = self._loop.call_at(timer.due_s, self._fire)
                break
            self._loop.call_soon(self._expire, timer)

    def _expire(self, timer: RingTimer) -> None:
        if self.waiting.pop(timer, timer) is None:  # not cancelled by another that was due as well
            expire, timer.expire = timer.expire, _nothing
            expire()

    @property
    def is_idle(self) -> bool:
        """Nobody runs, and the loop does not come back to it."""
        return self._handle is None and not self.waiting


LANES_MAX = 64
"""Durations; beyond them those that nobody uses are forgotten."""


class RingTimers:
    """All that ring, of one loop."""

    def __init__(self) -> None:
        self._lanes: dict[float, _Lane] = {}

    def start(self, after_s: float, expire: Callable[[], None]) -> RingTimer:
        """Call `expire()` from the loop after so many seconds, unless it is cancelled."""
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(after_s)
        if lane is None:
            if len(self._lanes) >= LANES_MAX:
                self._lanes = {s: lane for s, lane in self._lanes.items() if not lane.is_idle}
            lane = self._lanes[after_s] = _Lane(loop)
        return lane.start(loop.time() + after_s, expire)

    def __len__(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())
