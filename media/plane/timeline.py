"""The rings of samples: every decoded stream laid out on one common time axis.

A slot is one stream's row of the ring. A packet's samples are put where their RTP timestamp says, so
that reordering and duplicates need no further code, and what every consumer reads is the same slice
of columns. `now` is the position that is played next; samples may still arrive for `LATE` positions
behind it (a recording waits that long), and consumers may read back `HISTORY` positions.

There is one ring for each rate in use, and a stream lies in the one of its codec. All positions that
are told from outside count samples at 8,000 a second; a ring of another rate scales them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from media.dsp import plc
from media.wire.jitter import PlayoutDelay

TICK_SAMPLES = 160
RATE_HZ = 8000
RING = 16_000
LATE = 1_600
HISTORY = 7_040
DELAY = 320
"""Play-out delay that a stream begins with: two packets of 20 ms."""

_DELAY_MAX = 1_600
_DELAY_STEP = 160
AHEAD = RING - HISTORY - 4 * TICK_SAMPLES
_ASTRAY_MAX = 3
_HEARD = 320
_SAMPLED_FROM = 16
_GAP_MAX = 480
_BLENDED = 40
"""Samples in which a concealed gap turns into what comes after it: 5 ms."""
_COLUMNS = (
    "ring",
    "_base_timestamp",
    "_base",
    "_anchored",
    "_astray",
    "_delay",
    "_earliest",
    "_played",
    "_learning",
    "_begun",
    "_latest",
    "_gap",
    "_filled",
)
_FAR = 1 << 40
_NOBODY: NDArray[np.intp] = np.zeros(0, np.intp)


class Timeline:
    """Slots of int16 samples at `rate_hz`, a multiple of 8,000; grows by doubling.

    `now` counts samples of this rate since the worker's start and is a multiple of `tick_samples`.
    """

    def __init__(self, slots: int = 64, *, rate_hz: int = RATE_HZ) -> None:
        self.rate_hz = rate_hz
        self.scale = rate_hz // RATE_HZ
        self.tick_samples = TICK_SAMPLES * self.scale
        self._size = RING * self.scale
        self._behind, self._kept = LATE * self.scale, HISTORY * self.scale
        self._lead, self._ahead = DELAY * self.scale, AHEAD * self.scale
        self._gap_max = _GAP_MAX * self.scale
        self.ring: NDArray[np.int16] = np.zeros((slots, self._size), np.int16)
        self.now = self._kept + self._behind  # positions are never negative
        self.arrival = self.now + self._lead
        """Where a stream's first packet is laid if it arrives at this moment."""
        self._noted = HISTORY + LATE
        self._noted_s = 0.0
        self.active = 0
        self._base_timestamp: NDArray[np.uint32] = np.zeros(slots, np.uint32)
        self._base: NDArray[np.int64] = np.zeros(slots, np.int64)
        self._anchored: NDArray[np.bool_] = np.zeros(slots, np.bool_)
        self._astray: NDArray[np.int32] = np.zeros(slots, np.int32)
        self._delay: NDArray[np.int64] = np.full(slots, self._lead, np.int64)
        self._earliest: NDArray[np.int64] = np.full(slots, -_FAR, np.int64)
        self._played: NDArray[np.bool_] = np.zeros(slots, np.bool_)
        self._begun: NDArray[np.bool_] = np.zeros(slots, np.bool_)
        self._latest: NDArray[np.int64] = np.full(slots, -self._behind, np.int64)
        self._gap: NDArray[np.int64] = np.zeros(slots, np.int64)
        self._filled: NDArray[np.bool_] = np.zeros((slots, RING // TICK_SAMPLES), np.bool_)
        self._learning: NDArray[np.bool_] = np.zeros(slots, np.bool_)
        self._any_played = False
        self.gathers = False
        """Ticks gather, and are done some at a time: what has come meanwhile is judged as if they had not."""
        self.learns = True
        """It is known when packets come, so that their pace can be learned from them."""
        self._lot = 1
        self._playout = self._measures(slots)
        self._free = list(range(slots - 1, -1, -1))

    def _measures(self, slots: int) -> PlayoutDelay:
        playout = PlayoutDelay(slots)
        playout.clock_hz[:] = self.rate_hz
        return playout

    def take(self) -> int:
        """Return a silent slot."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.ring[slot] = 0
        self._anchored[slot] = False
        self._astray[slot] = 0
        self._delay[slot] = self._lead
        self._earliest[slot] = -_FAR
        self._latest[slot] = -self._behind
        self._begun[slot] = False
        self._gap[slot] = 0
        self._filled[slot] = False
        self.active += 1
        return slot

    def give_back(self, slot: int) -> None:
        """End the use of a slot."""
        self.play(slot, False)
        self._free.append(slot)
        self.active -= 1

    def wait(self, slot: int, samples: int) -> None:
        """Lay what comes first in this slot so much later than it comes, rather than `DELAY`."""
        self._delay[slot] = min(samples * self.scale, _DELAY_MAX * self.scale)

    def forget_anchor(self, slot: int) -> None:
        """The next packet of this slot starts a new time scale (another SSRC)."""
        self._anchored[slot] = False

    def anchor_of(self, slot: int) -> tuple[int, int]:
        """Return the timestamp of a packet of this slot, and the position that it was laid at."""
        return int(self._base_timestamp[slot]), int(self._base[slot])

    def end_of(self, slot: int) -> int:
        """Return the position behind the newest packet of this slot, in whole ticks; 0: there is none."""
        if not self._anchored[slot]:
            return 0
        at = int(self._base[slot])
        at -= at % self.tick_samples
        end = at
        while end - at < self._ahead and self._filled[slot, end % self._size // self.tick_samples]:
            end += self.tick_samples
        return end

    def speaks(self, slot: int) -> bool:
        """Whether something has come that is played in this tick."""
        return bool(self._filled[slot, self.now % self._size // self.tick_samples])

    def _grow(self) -> None:
        old = len(self.ring)
        for name in _COLUMNS:
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
        # What the jitter of live slots was is learned anew within a second.
        self._playout = self._measures(2 * old)
        self._free = list(range(2 * old - 1, old - 1, -1))

    def write(
        self,
        slots: NDArray[np.integer],
        timestamps: NDArray[np.uint32],
        samples: NDArray[np.int16],
        now_s: NDArray[np.float64] | float,
        units: int = 1,
        held: int = 1,
    ) -> NDArray[np.bool_]:
        """Lay `samples` (k, m) of k packets at their `timestamps` (k,), of which `units` are `held`
        samples; `now_s`: when they came, one time for all or (k,).

        Returns (k,) bools: True where a packet came too late (of a live slot: to be played, it may
        still be recorded) or lies outside the ring. Later packets overwrite earlier ones.
        """
        late, again = self._lay(slots, timestamps, samples, now_s, units, held)
        if len(again):
            # What waited together with the packets that gave a jump away has its place now.
            came_s = now_s[again] if isinstance(now_s, np.ndarray) else now_s
            late[again], _ = self._lay(
                slots[again], timestamps[again], samples[again], came_s, units, held
            )
        return late

    def mend(
        self,
        slots: NDArray[np.integer],
        timestamps: NDArray[np.uint32],
        samples: NDArray[np.int16],
        units: int,
        held: int,
    ) -> None:
        """Lay (k, m) int16 that were lost straight before packets with `timestamps` (k,), where nothing has
        come and they can still be played or recorded. Nothing is learned from them."""
        span = samples.shape[1]
        elapsed = (timestamps - self._base_timestamp[slots]).view(np.int32).astype(np.int64)
        at = self._base[slots] + elapsed * held // units - span
        margin = at - self.now
        fits = (margin >= np.where(self._played[slots], 0, -self._behind)) & self._anchored[slots]
        fits &= margin <= self._ahead - span
        fits &= ~self._filled[slots, at % self._size // self.tick_samples]
        if fits.any():
            self._scatter(slots[fits], at[fits], samples[fits])

    def _lay(
        self,
        slots: NDArray[np.integer],
        timestamps: NDArray[np.uint32],
        samples: NDArray[np.int16],
        now_s: NDArray[np.float64] | float,
        units: int,
        held: int,
    ) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Lay packets; returns which came too late, and the places of those to be laid once more."""
        fresh = np.flatnonzero(~self._anchored[slots])
        if len(fresh):
            self._anchor(slots, timestamps, fresh, now_s)
        elapsed = (timestamps - self._base_timestamp[slots]).view(np.int32)
        if units != held:
            elapsed = elapsed.astype(np.int64) * held // units
        at = self._base[slots] + elapsed
        margin = at - self.now
        early = margin - self._gathered(now_s) if self._any_played and self.gathers else margin
        late: NDArray[np.bool_] = early < self._latest[slots]
        again = _NOBODY
        if late.any() or int(margin.max()) > self._ahead - samples.shape[1]:
            inside = (margin >= -self._behind) & (margin <= self._ahead - samples.shape[1])
            late |= ~inside
            again = self._note_astray(slots, late)
            inside[again] = False
            slots, timestamps, samples = slots[inside], timestamps[inside], samples[inside]
            at, early = at[inside], early[inside]
            now_s = now_s[inside] if isinstance(now_s, np.ndarray) else now_s
            if not len(slots):
                return late, again
        else:
            self._astray[slots] = 0
        self._base_timestamp[slots] = timestamps
        self._base[slots] = at
        if self._any_played and self.learns:
            self._measure(slots, at, early, now_s)
        self._scatter(slots, at, samples)
        return late, again

    def _gathered(self, now_s: NDArray[np.float64] | float) -> NDArray[np.int64]:
        """Return the samples of ticks that would have been over when a packet came, had they not
        gathered."""
        ticks = -(-self._position_of(now_s) // TICK_SAMPLES)
        return np.asarray(np.maximum(ticks * self.tick_samples - self.now, 0))

    def _measure(
        self,
        slots: NDArray[np.integer],
        at: NDArray[np.int64],
        early: NDArray[np.int64],
        now_s: NDArray[np.float64] | float,
    ) -> None:
        if len(slots) > _SAMPLED_FROM:
            # Of many streams one packet in three tells as much. By lot, not by turns: a stream
            # always falls into the same of the batches that a tick is made of.
            self._lot = (self._lot * 1_103_515_245 + 12_345) & 0x7FFFFFFF
            if (self._lot >> 16) % 3:
                return
        chosen = self._learning[slots].nonzero()[0]
        if len(chosen):
            came_s = now_s[chosen] if isinstance(now_s, np.ndarray) else now_s
            np.maximum.at(self._earliest, slots[chosen], early[chosen])
            self._playout.receive(slots[chosen], at[chosen], came_s)

    def _scatter(
        self, slots: NDArray[np.integer], at: NDArray[np.int64], samples: NDArray[np.int16]
    ) -> None:
        span = samples.shape[1]
        place = at % self._size
        if self._size % span == 0 and not (place % span).any():
            # Packets that fall on the grid of their own length, nearly all do, are whole rows.
            self.ring.reshape(len(self.ring), -1, span)[slots, place // span] = samples
            self._filled[slots, place // self.tick_samples] = True
            if span > self.tick_samples:
                self._fill_more(slots, place, span)
            return
        columns = place[:, None] + np.arange(span)
        columns[columns >= self._size] -= self._size
        self.ring[np.asarray(slots)[:, None], columns] = samples
        self._filled[slots, place // self.tick_samples] = True
        self._fill_more(slots, place, span)

    def _fill_more(self, slots: NDArray[np.integer], place: NDArray[np.int64], span: int) -> None:
        """Mark the further ticks that a packet reaches into."""
        for offset in (*range(self.tick_samples, span, self.tick_samples), span - 1):
            self._filled[slots, (place + offset) % self._size // self.tick_samples] = True

    def _anchor(
        self,
        slots: NDArray[np.integer],
        timestamps: NDArray[np.uint32],
        fresh: NDArray[np.intp],
        now_s: NDArray[np.float64] | float,
    ) -> None:
        for index in fresh.tolist():
            slot = int(slots[index])
            if self._anchored[slot]:
                continue
            self._anchored[slot] = True
            self._base_timestamp[slot] = timestamps[index]
            came_s = now_s[index] if isinstance(now_s, np.ndarray) else self._noted_s
            arrival = self._arrival_of(float(came_s))
            self._base[slot] = arrival + int(self._delay[slot]) - self._lead

    def _arrival_of(self, came_s: float) -> int:
        """Return where a first packet is laid that came then and has waited since."""
        return self._first_at(int(self._position_of(came_s)))

    def _first_at(self, position: int) -> int:
        return (position - position % TICK_SAMPLES + DELAY) * self.scale

    def _position_of(self, came_s: NDArray[np.float64] | float) -> NDArray[np.int64]:
        """Return where on the time axis, at 8,000 a second, it was then; never later than now."""
        ago = np.rint((self._noted_s - np.asarray(came_s)) * RATE_HZ).astype(np.int64)
        return np.asarray(self._noted - np.maximum(ago, 0))

    def _note_astray(
        self, slots: NDArray[np.integer], astray: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """Several packets in a row off the window: the sender's clock jumped, or the delay grew.

        Returns the places of the packets that came after those.
        """
        self._astray[slots[~astray]] = 0
        before = self._astray[slots]
        np.add.at(self._astray, slots[astray], 1)
        again = []
        for slot in np.unique(slots[astray][self._astray[slots[astray]] >= _ASTRAY_MAX]).tolist():
            places = (astray & (slots == slot)).nonzero()[0]
            again.append(places[_ASTRAY_MAX - int(before[places[0]]) :])
            self._anchored[slot] = False
            self._astray[slot] = 0
            self._delay[slot] = min(
                int(self._delay[slot]) + _DELAY_STEP * self.scale, _DELAY_MAX * self.scale
            )
        return np.concatenate(again) if again else _NOBODY

    def play(self, slot: int, played: bool, *, learning: bool = True) -> None:
        """Say whether a slot is listened to live: then its delay is kept as short as its jitter
        allows, unless it is not `learning`, and what is lost is concealed. A slot that is only recorded needs
        neither."""
        learning = learning and played
        if learning and not self._learning[slot]:
            self._playout.reset(slot, self.rate_hz)
            self._earliest[slot] = -_FAR
        self._learning[slot] = learning
        if bool(self._played[slot]) == played:
            return
        self._played[slot] = played
        self._gap[slot] = 0
        self._latest[slot] = 0 if played else -self._behind
        self._any_played = bool(self._played.any())

    def adapt(self) -> None:
        """Once a second: bring the delay of each live slot to what its jitter asks for, drift too."""
        wanted = np.rint(self._playout.target_s * self.rate_hz).astype(np.int64) + self.tick_samples
        known = self._learning & self._anchored & (self._earliest > -_FAR)
        excess = self._earliest - wanted
        jumped = np.flatnonzero(known & (excess > _DELAY_MAX * self.scale))
        if len(jumped):
            # No network is early: the sender's clock has jumped, and what was learned means nothing.
            self._playout.reset(jumped, self.rate_hz)
            excess[jumped] = self._earliest[jumped] - self._lead
        # Down only by what is worth a jump: a shift is a repeated or a left-out piece of sound.
        for slot in np.flatnonzero(
            known & ((excess < -self.tick_samples) | (excess > 3 * self.tick_samples))
        ):
            shift = int(excess[slot]) // self.tick_samples * self.tick_samples
            self._base[slot] -= shift
        self._earliest[:] = -_FAR

    def lacks(self, slots: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return (k,) bools: a slot is listened to live, and nothing has come for this tick."""
        filled = self._filled[slots, self.now % self._size // self.tick_samples]
        lacking: NDArray[np.bool_] = self._played[slots] & self._anchored[slots] & ~filled
        return lacking

    def fill(self, slots: NDArray[np.integer], samples: NDArray[np.int16]) -> None:
        """Let `slots` (k,) say (k, `tick_samples`) int16 in this tick, as if it had come."""
        place = self.now % self._size
        self.ring[slots, place : place + self.tick_samples] = samples
        self._filled[slots, place // self.tick_samples] = True
        self._gap[slots] = 0

    def conceal(self) -> None:
        """Before a tick: continue live slots whose packet for it has not come, and let those whose
        packet has come again turn into it smoothly."""
        if not self._any_played:
            return
        filled = self._filled[:, self.now % self._size // self.tick_samples]
        place = self.now % self._size
        back = (filled & (self._gap > 0)).nonzero()[0]
        blended = _BLENDED * self.scale
        if len(back):
            sound = plc.conceal(self._heard(back), self._gap[back], blended, self.rate_hz)
            # What begins anew begins as it is.
            loud = sound.any(axis=1) | (self._gap[back] >= self._gap_max)
            self._gap[back] = 0
            back, sound = back[loud], sound[loud]
            real = self.ring[back, place : place + blended]
            self.ring[back, place : place + blended] = plc.blend(sound, real)
        # Before its first packet is played there is nothing to go on with.
        self._begun |= filled
        lost = self._played & self._begun & self._anchored & ~filled
        lost &= self._gap < self._gap_max
        slots = lost.nonzero()[0]
        if not len(slots):
            return
        sound = plc.conceal(self._heard(slots), self._gap[slots], self.tick_samples, self.rate_hz)
        self.ring[slots, place : place + self.tick_samples] = sound
        self._gap[slots] += self.tick_samples

    def _heard(self, slots: NDArray[np.intp]) -> NDArray[np.int16]:
        """Return (k, 40 ms) int16: what these slots said last."""
        columns = np.arange(self.now - _HEARD * self.scale, self.now) % self._size
        return self.ring[slots[:, None], columns]

    def note_time(self, position: int, now_s: float) -> None:
        """At `now_s` it is `position` (8,000 a second) on the time axis: what arrives now is laid a
        delay after it."""
        # At each batch of packets: plain numbers only.
        self._noted, self._noted_s = position, now_s
        self.arrival = self._first_at(position)

    def slice(self) -> NDArray[np.int16]:
        """Return (slots, `tick_samples`) int16, a view: what all slots say in this tick."""
        place = self.now % self._size
        return self.ring[:, place : place + self.tick_samples]

    def window(self, slots: NDArray[np.integer], before: int) -> NDArray[np.int16]:
        """Return (k, before + `tick_samples`) int16: this tick of these slots, and what they said
        before it."""
        place = self.now % self._size
        if place >= before:
            part = self.ring[:, place - before : place + self.tick_samples]
            taken: NDArray[np.int16] = part.take(slots, axis=0)
            return taken
        columns = np.arange(place - before, place + self.tick_samples)
        # Negative columns are the end of the ring.
        parts: NDArray[np.int16] = self.ring[slots[:, None], columns]
        return parts

    def read(
        self, slots: Sequence[int] | NDArray[np.integer], start: int, end: int
    ) -> NDArray[np.int16]:
        """Return (k, end - start) int16 of these slots, a copy; within `HISTORY` behind `now`."""
        first, last = start % self._size, end % self._size
        rows = np.asarray(slots, np.intp)
        if first < last:
            return np.asarray(self.ring[rows, first:last])
        return np.concatenate([self.ring[rows, first:], self.ring[rows, :last]], axis=1)

    def advance(self) -> None:
        """One tick has been played: move on, and silence what nobody can read any more."""
        self.now += self.tick_samples
        place = (self.now - self._kept - self.tick_samples) % self._size
        self.ring[:, place : place + self.tick_samples] = 0
        self._filled[:, place // self.tick_samples] = False

    def skip_to(self, position: int) -> None:
        """Move on to `position` (8,000 a second); after a pause as long as the ring all is silent."""
        position *= self.scale
        if position - self.now >= self._size:
            self.ring[:] = 0
            self._filled[:] = False
            self.now = position
        while self.now < position:
            self.advance()
