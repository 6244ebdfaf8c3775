"""How late the loop's timers come: everything else than messages that wait in the `Intake`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EVERY_S = 0.1


class LagSensor:
    """Tells `measured` ten times a second by how many seconds its own timer was late."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        measured: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._measured = measured
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
        self._measured(self._loop.time() - self._due_s)
        self.start()
