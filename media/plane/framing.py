"""Packet times other than a tick: samples wait here until a packet of the agreed length is full."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from media.plane.timeline import RATE_HZ, TICK_SAMPLES

_SHORTEST, _LONGEST = 1, 6
"""Packet times in tens of milliseconds."""

_OPUS = (1, 2, 4, 6)


def frame_samples(codec: str, ptime_ms: int, rate_hz: int = RATE_HZ) -> int:
    """Return how many samples at `rate_hz` a packet of about `ptime_ms` holds: 10 to 60 ms.

    Opus has no frames of 30 and 50 ms (RFC 6716 2.1.4): the next shorter one is taken.
    """
    steps = min(max(round(ptime_ms / 10), _SHORTEST), _LONGEST)
    if codec == "opus":
        steps = max(each for each in _OPUS if each <= steps)
    return steps * rate_hz // 100


def split(
    samples: NDArray[np.int16], codec: str, ptime_ms: int, rate_hz: int = RATE_HZ
) -> Iterator[NDArray[np.int16]]:
    """Yield (m,) int16 pieces of (n,) samples: packets of about `ptime_ms`, and of what is left shorter ones;
    less than 10 ms is left out."""
    longest = frame_samples(codec, ptime_ms, rate_hz)
    at = 0
    while left_ms := (len(samples) - at) * 100 // rate_hz * 10:
        size = min(longest, frame_samples(codec, left_ms, rate_hz))
        yield samples[at : at + size]
        at += size


class Framer:
    """Rows 0..`capacity`-1, each with what did not fill a packet yet."""

    def __init__(self, capacity: int, rate_hz: int = RATE_HZ) -> None:
        self._tick = TICK_SAMPLES * rate_hz // RATE_HZ
        self._room = _LONGEST * rate_hz // 100 + self._tick
        # Never touched, never in memory: hardly a row has anything here.
        self._waiting: NDArray[np.int16] = np.zeros((capacity, self._room), np.int16)
        self._filled: NDArray[np.int64] = np.zeros(capacity, np.int64)

    def reset(self, rows: NDArray[np.intp]) -> None:
        """Forget what waits."""
        self._filled[rows] = 0

    def take(self, row: int) -> NDArray[np.int16]:
        """Take out (n,) int16 what waits of a row."""
        waiting = self._waiting[row, : self._filled[row]].copy()
        self._filled[row] = 0
        return waiting

    def push(
        self,
        rows: NDArray[np.intp],
        sizes: NDArray[np.int64],
        samples: NDArray[np.int16],
        last: NDArray[np.bool_],
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int16]]]:
        """Add a tick of (k, n) int16; yield what is due as places in `rows` and (j, m) int16.

        `sizes` (k,): samples of a packet of each row; where `last`, the rest goes too, with silence
        behind it.
        """
        at = self._filled[rows]
        columns = at[:, None] + np.arange(self._tick)
        self._waiting[rows[:, None], columns] = samples
        at += self._tick
        for place in last.nonzero()[0].tolist():
            missing = int(-at[place] % sizes[place])
            self._waiting[rows[place], at[place] : at[place] + missing] = 0
            at[place] += missing
        while True:
            due = (at >= sizes).nonzero()[0]
            if not len(due):
                break
            for size in np.unique(sizes[due]).tolist():
                part = due[sizes[due] == size]
                waiting = self._waiting[rows[part]]
                self._waiting[rows[part], : self._room - size] = waiting[:, size:]
                at[part] -= size
                yield part, waiting[:, :size]
        self._filled[rows] = at
