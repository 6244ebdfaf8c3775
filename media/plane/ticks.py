"""When the 20 ms of all streams are due: one at a time where somebody hears them, several where not.

Ticks are numbered from the start of the worker; tick n is due n times 20 ms after it. What is only written to a
disk or searched for digits need not be looked at 50 times a second: a *pace* of p lets p ticks gather and
be done in one go, with caches and branch predictors warm, for a fraction of the cost.
"""

from __future__ import annotations

from media.plane.timeline import RATE_HZ, TICK_SAMPLES

TICK_S = TICK_SAMPLES / RATE_HZ


class Ticks:
    """`done` ticks are over; `origin` is where tick 0 lies on the time axis (8,000 a second)."""

    def __init__(self, start_s: float, origin: int) -> None:
        self._start_s = start_s
        self._origin = origin
        self.done = 0

    def position(self, now_s: float) -> int:
        """Return where `now_s` lies on the time axis."""
        return self._origin + int((now_s - self._start_s) * RATE_HZ)

    def due_s(self, pace: int) -> float:
        """Return when the next ticks are due at `pace`: those up to a multiple of it, on the time axis,
        together."""
        last = self.done + (-(self._origin // TICK_SAMPLES + self.done + 1)) % pace
        return self._start_s + last * TICK_S

    def pending(self, now_s: float) -> int:
        """Return how many ticks are due and not done."""
        pending = 0
        while now_s >= self._start_s + (self.done + pending) * TICK_S:
            pending += 1
        return pending

    def skip(self, now_s: float, most: int) -> int | None:
        """Leave ticks out if more than `most` are overdue; returns the position to go on from then."""
        due = int((now_s - self._start_s) / TICK_S)
        if due - self.done <= most:
            return None
        self.done = due
        return self._origin + due * TICK_SAMPLES
