"""Python's cycle collector, kept out of the way of calls.

A full collection walks every object there is: half a second and more with the transactions of 200
calls a second, and for so long no message is answered. What a call leaves behind is freed without it
(the machines let go of each other when they end), so a full collection can wait for a quiet moment.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

_LOOK_EVERY_S = 15.0
_AT_LATEST_S = 600.0
_BUSY_TRANSACTIONS = 500
_YOUNG = 10_000  # allocations between collections of the youngest generation
_NEVER = 1_000_000_000


class QuietCollector:
    """Full collections only while fewer than 500 transactions live, or after ten minutes.

    Parameters: `transactions` tells how many there are. What exists at `start` (modules, settings) is
    frozen: it will never be garbage.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transactions: Callable[[], int]) -> None:
        self._loop = loop
        self._transactions = transactions
        self._collected_s = 0.0
        self._before = gc.get_threshold()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, self._before[1], _NEVER)
        self._collected_s = self._loop.time()
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def stop(self) -> None:
        """Leave the collector as it was found."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            gc.set_threshold(*self._before)
            gc.unfreeze()

    def _look(self) -> None:
        now_s = self._loop.time()
        late = now_s - self._collected_s > _AT_LATEST_S
        if late or self._transactions() < _BUSY_TRANSACTIONS:
            gc.collect()
            self._collected_s = now_s
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)
