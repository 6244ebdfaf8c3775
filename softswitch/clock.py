"""The one module that reads a clock. Everything else is handed `now_s`."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two time scales: `monotonic_s` for intervals and timers, `wall_s` for stamps people read."""

    def monotonic_s(self) -> float: ...

    def wall_s(self) -> float: ...


class SystemClock:
    """The machine's clocks, in seconds (monotonic since an arbitrary start, wall since the epoch)."""

    # The functions themselves, not methods round them: a call asks for the time some fifty times.
    monotonic_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)
