"""Python's cycle collector, kept out of the way of calls.

A full collection walks every object there is: half a second and more with the transactions of 200
calls a second, and for so long no message is answered. What a call leaves behind is freed without it
(the machines let go of each other when they end), so that it need only look at what is new, and that only while
little is: a few milliseconds each. What it has looked at, or will not look at, is put out of its sight, which
costs nothing (`gc.freeze`), and is seen again when no call is up.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto

_LOOK_EVERY_S = 1.0
_RARELY_S = 15.0
_COUNT_EVERY_S, _COUNT_CROWDS_EVERY_S = 600.0, 3_600.0
"""All objects are counted: some milliseconds, and tens of them for those of a thousand calls a second."""
_BUSY_TRANSACTIONS = 500
_CROWDED_TRANSACTIONS = 5_000
_OBJECTS_OF_A_TRANSACTION = 40
"""Those of its call included; 20 to 30 were counted, each of which lingers for half a minute."""
_NEW_OBJECTS = 5_000
"""So many new ones are looked at without waiting for more: a millisecond or two."""
_MANY_OBJECTS = 20_000
"""So many are not looked at: something is being loaded, or calls come in crowds."""
_AGED_OBJECTS = 100_000
"""So many more than after the last thorough look are worth another while no call is up."""
_GROWN_OBJECTS = 2_000_000
"""And so many in any case, beside what lingers: that is garbage."""


class Look(Enum):
    """What the collector is to do now."""

    NOT_YET = auto()
    AWAY = auto()
    AT_NEW = auto()


def look_at(
    new_objects: int, transactions: int, since_s: float, *, is_working: bool = False
) -> Look:
    """What to do so long after the last look: look away where what is new is in use (calls are set up, a long
    report is made) or too much to be looked at."""
    if transactions >= _BUSY_TRANSACTIONS or is_working or new_objects > _MANY_OBJECTS:
        return Look.AWAY
    if new_objects >= _NEW_OBJECTS or since_s > _RARELY_S:
        return Look.AT_NEW
    return Look.NOT_YET


def is_due(grown: int, transactions: int, calls: int, *, is_working: bool = False) -> bool:
    """Whether to look at everything, which has grown by so many objects: a stop of a tenth of a second where
    no call is up, of seconds under load. There only more than calls leave for as long as their transactions
    linger is a reason."""
    if calls == 0 and transactions < _BUSY_TRANSACTIONS and not is_working:
        return grown > _AGED_OBJECTS
    return grown > _GROWN_OBJECTS + _OBJECTS_OF_A_TRANSACTION * transactions


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


class QuietCollector:
    """Looks at new objects (`look_at`), and seldom at all of them (`is_due`).

    Parameters: `transactions` and `calls` tell how many there are; `is_working`, whether something long is
    under way (a report of a year has half a million objects, none of them garbage). What exists at `start`
    (modules, settings) is never garbage.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transactions: Callable[[], int],
        is_working: Callable[[], bool] = lambda: False,
        calls: Callable[[], int] = lambda: 0,
    ) -> None:
        self._loop = loop
        self._transactions = transactions
        self._is_working = is_working
        self._calls = calls
        self._looked_s = self._counted_s = 0.0
        self._kept = 0
        self._was_enabled = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take over from Python's own schedule."""
        gc.collect()
        gc.freeze()
        self._was_enabled = gc.isenabled()
        gc.disable()
        self._looked_s = self._counted_s = self._loop.time()
        self._kept = gc.get_freeze_count()
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
        transactions, is_working = self._transactions(), self._is_working()
        since_s = now_s - self._looked_s
        if self._is_due(now_s, transactions, is_working):
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._kept = gc.get_freeze_count()
            self._looked_s = now_s
            _give_back()
        else:
            look = look_at(gc.get_count()[0], transactions, since_s, is_working=is_working)
            if look is Look.AT_NEW:
                gc.collect(0)
                self._looked_s = now_s
                if since_s > _RARELY_S:
                    _give_back()
            if look is not Look.NOT_YET:
                gc.freeze()
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _is_due(self, now_s: float, transactions: int, is_working: bool) -> bool:
        is_crowded = transactions >= _CROWDED_TRANSACTIONS
        if now_s - self._counted_s <= (_COUNT_CROWDS_EVERY_S if is_crowded else _COUNT_EVERY_S):
            return False
        self._counted_s = now_s
        grown = gc.get_freeze_count() - self._kept
        return is_due(grown, transactions, self._calls(), is_working=is_working)


def _find_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found


_trim = _find_trim()


def _give_back() -> None:
    """Return freed memory to the system where the C library can (glibc keeps it otherwise): the
    high-water mark of a busy hour is not to stay for the night."""
    if _trim is not None:
        _trim(0)
