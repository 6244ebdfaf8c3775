"""The one module that reads a clock. Everything else is handed `now_s`."""

from __future__ import annotations

import logging
import time
from typing import Protocol

_SET_S = 12 * 3_600.0
_DOUBT_S = 24 * 3_600.0
_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Two time scales: `monotonic_s` for intervals and timers, `wall_s` for stamps people read."""

    def monotonic_s(self) -> float: ...

    def wall_s(self) -> float: ...


class SystemClock:
    """The machine's clocks, in seconds (monotonic since an arbitrary start, wall since the epoch)."""

    # The functions themselves, not methods round them: a call asks for the time some fifty times.
    monotonic_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)


class Believed:
    """Whether the wall clock is to be believed by what deletes for good: not for a day after it has been set by
    more than half a day. By a mistake of ten years everything is too old; within a day it is seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = clock.wall_s() - clock.monotonic_s()
        self._set_at_s = -_DOUBT_S + clock.monotonic_s()

    def __call__(self) -> bool:
        now_s = self._clock.monotonic_s()
        before_s, self._ahead_s = self._ahead_s, self._clock.wall_s() - now_s
        by_s = self._ahead_s - before_s
        if abs(by_s) > _SET_S:
            self._set_at_s = now_s
            _log.warning(
                "the wall clock was set by %+.1f days: nothing is deleted for its age for a day",
                by_s / 86_400,
            )
        return now_s - self._set_at_s >= _DOUBT_S
