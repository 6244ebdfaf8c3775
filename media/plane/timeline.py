"""The ring of samples: every decoded stream laid out on one common time axis.

A slot is one stream's row of the ring. A packet's samples are put where their RTP timestamp says, so
that reordering and duplicates need no further code, and what every consumer reads is the same slice
of columns. `now` is the position that is played next; samples may still arrive for `LATE` positions
behind it (a recording waits that long), and consumers may read back `HISTORY` positions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TICK_SAMPLES = 160
RATE_HZ = 8000
RING = 16_000
LATE = 1_600
HISTORY = 5_920
DELAY = 320
"""Play-out delay that a stream begins with: two packets of 20 ms."""

_DELAY_MAX = 1_600
_DELAY_STEP = 160
_AHEAD = RING - HISTORY - 4 * TICK_SAMPLES
_ASTRAY_MAX = 3
_SLACK = 480
_FAR = 1 << 40


class Timeline:
    """Slots of int16 samples at 8,000 a second; grows by doubling.

    `now` counts samples since the worker's start and is a multiple of `TICK_SAMPLES`.
    """

    def __init__(self, slots: int = 64) -> None:
        self.ring: NDArray[np.int16] = np.zeros((slots, RING), np.int16)
        self.now = HISTORY + LATE  # positions are never negative
        self.arrival = self.now + DELAY
        """Where a stream's first packet is laid if it arrives at this moment."""
        self.active = 0
        self._base_timestamp: NDArray[np.uint32] = np.zeros(slots, np.uint32)
        self._base: NDArray[np.int64] = np.zeros(slots, np.int64)
        self._anchored: NDArray[np.bool_] = np.zeros(slots, np.bool_)
        self._astray: NDArray[np.int32] = np.zeros(slots, np.int32)
        self._delay: NDArray[np.int64] = np.full(slots, DELAY, np.int64)
        self._margin: NDArray[np.int64] = np.full(slots, _FAR, np.int64)
        self._free = list(range(slots - 1, -1, -1))

    def take(self) -> int:
        """Return a silent slot."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.ring[slot] = 0
        self._anchored[slot] = False
        self._astray[slot] = 0
        self._delay[slot] = DELAY
        self._margin[slot] = _FAR
        self.active += 1
        return slot

    def give_back(self, slot: int) -> None:
        """End the use of a slot."""
        self._free.append(slot)
        self.active -= 1

    def forget_anchor(self, slot: int) -> None:
        """The next packet of this slot starts a new time scale (another SSRC)."""
        self._anchored[slot] = False

    def _grow(self) -> None:
        old = len(self.ring)
        for name in ("ring", "_base_timestamp", "_base", "_anchored", "_astray"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
        self._delay = np.concatenate([self._delay, np.full(old, DELAY, np.int64)])
        self._margin = np.concatenate([self._margin, np.full(old, _FAR, np.int64)])
        self._free = list(range(2 * old - 1, old - 1, -1))

    def write(
        self,
        slots: NDArray[np.integer],
        timestamps: NDArray[np.uint32],
        samples: NDArray[np.int16],
    ) -> NDArray[np.bool_]:
        """Lay `samples` (k, m) of k packets at their `timestamps` (k,).

        Returns (k,) bools: True where a packet came too late to be played (it may still be recorded)
        or lies outside the ring. Later packets overwrite earlier ones at the same place.
        """
        fresh = np.flatnonzero(~self._anchored[slots])
        if len(fresh):
            self._anchor(slots, timestamps, fresh)
        elapsed = (timestamps - self._base_timestamp[slots]).view(np.int32)
        at = self._base[slots] + elapsed
        margin = at - self.now
        late: NDArray[np.bool_] = margin < 0
        usual = not late.any()
        if not usual or int(margin.max()) > _AHEAD:
            inside = (margin >= -LATE) & (margin <= _AHEAD - samples.shape[1])
            self._note_astray(slots, late | ~inside)
            late |= ~inside
            slots, timestamps, samples = slots[inside], timestamps[inside], samples[inside]
            at, margin = at[inside], margin[inside]
            if not len(slots):
                return late
        else:
            self._astray[slots] = 0
        self._base_timestamp[slots] = timestamps
        self._base[slots] = at
        np.minimum.at(self._margin, slots, margin)
        self._scatter(slots, at, samples)
        return late

    def _scatter(
        self, slots: NDArray[np.integer], at: NDArray[np.int64], samples: NDArray[np.int16]
    ) -> None:
        octave = samples.shape[1]
        place = at % RING
        if RING % octave == 0 and not (place % octave).any():
            # Packets that fall on the grid of their own length, nearly all do, are whole rows.
            self.ring.reshape(len(self.ring), -1, octave)[slots, place // octave] = samples
            return
        columns = place[:, None] + np.arange(octave)
        columns[columns >= RING] -= RING
        self.ring[np.asarray(slots)[:, None], columns] = samples

    def _anchor(
        self,
        slots: NDArray[np.integer],
        timestamps: NDArray[np.uint32],
        fresh: NDArray[np.intp],
    ) -> None:
        for index in fresh.tolist():
            slot = int(slots[index])
            if self._anchored[slot]:
                continue
            self._anchored[slot] = True
            self._base_timestamp[slot] = timestamps[index]
            self._base[slot] = self.arrival + int(self._delay[slot]) - DELAY
            self._margin[slot] = _FAR

    def _note_astray(self, slots: NDArray[np.integer], astray: NDArray[np.bool_]) -> None:
        """Several packets in a row off the window: the sender's clock jumped, or the delay grew."""
        self._astray[slots[~astray]] = 0
        np.add.at(self._astray, slots[astray], 1)
        for slot in np.unique(slots[astray][self._astray[slots[astray]] >= _ASTRAY_MAX]).tolist():
            self._anchored[slot] = False
            self._astray[slot] = 0
            self._delay[slot] = min(int(self._delay[slot]) + _DELAY_STEP, _DELAY_MAX)

    def trim(self) -> None:
        """Once in some seconds: take out delay that no packet of that time has needed (drift)."""
        slack = self._margin - self._delay
        for slot in np.flatnonzero((self._margin < _FAR) & (slack > _SLACK)).tolist():
            shift = (int(slack[slot]) // TICK_SAMPLES) * TICK_SAMPLES
            self._base[slot] -= shift
        self._margin[:] = _FAR

    def note_time(self, position: int) -> None:
        """It is `position` samples on the time axis: what arrives now is laid a delay after it."""
        self.arrival = position - position % TICK_SAMPLES + DELAY

    def slice(self) -> NDArray[np.int16]:
        """Return (slots, `TICK_SAMPLES`) int16, a view: what all slots say in this tick."""
        place = self.now % RING
        return self.ring[:, place : place + TICK_SAMPLES]

    def read(self, slot: int, start: int, end: int) -> NDArray[np.int16]:
        """Return (end - start,) int16 of one slot, a copy; within `HISTORY` behind `now`."""
        first, last = start % RING, end % RING
        if first < last:
            return self.ring[slot, first:last].copy()
        return np.concatenate([self.ring[slot, first:], self.ring[slot, :last]])

    def advance(self) -> None:
        """One tick has been played: move on, and silence what nobody can read any more."""
        self.now += TICK_SAMPLES
        place = (self.now - HISTORY - TICK_SAMPLES) % RING
        self.ring[:, place : place + TICK_SAMPLES] = 0

    def skip_to(self, position: int) -> None:
        """Move on by several ticks at once; after a pause as long as the ring all is silent."""
        if position - self.now >= RING:
            self.ring[:] = 0
            self.now = position
        while self.now < position:
            self.advance()
