"""How far behind we are: how late the loop's timers come, and how long what is read now has waited for us.

A busy loop reads a few dozen datagrams a turn, so its timers come nearly in time while thousands wait in
the socket: only both together count everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EVERY_S = 0.1


class LagSensor:
    """Tells `measured` ten times a second by how many seconds we are behind: its own timer was late, or
    `waited()` says that messages have waited."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        measured: Callable[[float], None],
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._loop = loop
        self._measured = measured
        self._waited = waited
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._due_s = self._loop.time() + _EVERY_S
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def stop(self) -> None:
        """May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._measured(max(self._loop.time() - self._due_s, self._waited()))
        self.start()
