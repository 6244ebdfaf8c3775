"""Python's cycle collector, kept out of the way of calls.

A full collection walks every object there is: half a second and more with the transactions of 200
calls a second, seven with those of 700, and for so long no message is answered. What a call leaves behind is
freed without it (the machines let go of each other when they end), so collecting can wait for a quiet moment.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK_EVERY_S = 15.0
_AT_LATEST_S = 600.0
_BUSY_TRANSACTIONS = 500
_CROWDED_TRANSACTIONS = 5_000
"""Of some forty calls a second: to walk what they leave takes a quarter of a second."""
_OBJECTS_OF_A_TRANSACTION = 40
"""Those of its call included; 20 to 30 were counted, each of which lingers for half a minute."""
_GROWN_OBJECTS = 2_000_000
"""More than that since the last time, beside what lingers, is garbage."""


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Around the life of an exchange that is a process: what is loaded at its start is kept, and looking
    through it again and again was an eighth of the time until calls are taken. `QuietCollector` looks once."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def is_due(
    new_objects: int, transactions: int, since_s: float, *, is_working: bool = False
) -> bool:
    """Whether to collect now, so long after the last time: where it is quiet, after ten minutes where it is
    not, and where more has come than calls leave for as long as their transactions linger. Where there are
    many, time alone is no reason: nothing would be found, and a stop of seconds makes everybody ask again."""
    if transactions < _BUSY_TRANSACTIONS and not is_working:
        return True
    if transactions < _CROWDED_TRANSACTIONS and since_s > _AT_LATEST_S:
        return True
    return new_objects > _GROWN_OBJECTS + _OBJECTS_OF_A_TRANSACTION * transactions


class QuietCollector:
    """Collects while it is quiet (`is_due`), or where garbage grows nevertheless.

    Parameters: `transactions` tells how many there are; `is_working`, whether something long is under way (a
    report of a year has half a million objects, none of them garbage). What exists at `start` (modules,
    settings) is frozen: it will never be garbage.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transactions: Callable[[], int],
        is_working: Callable[[], bool] = lambda: False,
    ) -> None:
        self._loop = loop
        self._transactions = transactions
        self._is_working = is_working
        self._collected_s = 0.0
        self._was_enabled = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take over from Python's own schedule."""
        gc.collect()
        gc.freeze()
        self._was_enabled = gc.isenabled()
        gc.disable()
        self._collected_s = self._loop.time()
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def stop(self) -> None:
        """Leave the collector as it was found. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            gc.unfreeze()
            if self._was_enabled:
                gc.enable()

    def _look(self) -> None:
        now_s = self._loop.time()
        new_objects, since_s = gc.get_count()[0], now_s - self._collected_s
        if is_due(new_objects, self._transactions(), since_s, is_working=self._is_working()):
            gc.collect()
            _give_back()
            self._collected_s = now_s
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)


def _give_back() -> None:
    """Return freed memory to the system where the C library can (glibc keeps it otherwise): the
    high-water mark of a busy hour is not to stay for the night."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
