"""All rings of a worker, one for each rate in use, moving together in ticks of 20 ms.

Where nobody speaks a wideband codec there is one ring, at 8,000 samples a second, and nothing here
costs anything. A stream lies where its own codec puts it; who needs it at another rate converts what
he reads, with the samples before it at hand: no converter has a state of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from media.dsp.resample import Polyphase
from media.plane.timeline import RATE_HZ, Timeline

RATES_HZ = (8_000, 16_000, 24_000, 48_000)


class Timelines:
    """Rings by rate. Positions and times are those of the ring at 8,000 a second, `narrow`."""

    def __init__(self) -> None:
        self.narrow = Timeline()
        self._by_rate: dict[int, Timeline] = {RATE_HZ: self.narrow}
        self._all: tuple[Timeline, ...] = (self.narrow,)
        self._filters: dict[tuple[int, int], Polyphase] = {}
        self.hushed: dict[int, NDArray[np.intp]] = {}
        """By rate the slots in which a digit sounds in this tick: it is not mixed, nor heard elsewhere."""
        self._noted = self.narrow.now, 0.0
        self.active = 0
        """Slots in use."""
        self.wide = 0
        """Those of them that are not at 8,000."""

    def hush(self, rates: NDArray[np.integer], slots: NDArray[np.intp]) -> None:
        """Say in which slots a digit sounds in this tick."""
        self.hushed = {rate_hz: slots[rates == rate_hz] for rate_hz in np.unique(rates).tolist()}

    def at(self, rate_hz: int) -> Timeline:
        """Return the ring of a rate; raises `ValueError` for a rate that has none."""
        found = self._by_rate.get(rate_hz)
        return self._begin(rate_hz) if found is None else found

    def _begin(self, rate_hz: int) -> Timeline:
        if rate_hz not in RATES_HZ:
            raise ValueError(f"{rate_hz} Hz; allowed: {', '.join(map(str, RATES_HZ))}")
        made = Timeline(8, rate_hz=rate_hz)
        made.now = self.narrow.now * made.scale
        made.note_time(*self._noted)
        made.gathers, made.learns = self.narrow.gathers, self.narrow.learns
        self._by_rate[rate_hz] = made
        self._all = tuple(self._by_rate.values())
        return made

    def filter(self, in_hz: int, out_hz: int) -> Polyphase:
        """Return the converter between two rates."""
        found = self._filters.get((in_hz, out_hz))
        if found is None:
            found = self._filters[in_hz, out_hz] = Polyphase(in_hz, out_hz)
        return found

    def take(self, rate_hz: int) -> int:
        """Return a silent slot of the ring of `rate_hz`."""
        slot = self.at(rate_hz).take()
        self.active += 1
        self.wide += rate_hz != RATE_HZ
        return slot

    def give_back(self, rate_hz: int, slot: int) -> None:
        """End the use of a slot."""
        self.at(rate_hz).give_back(slot)
        self.active -= 1
        self.wide -= rate_hz != RATE_HZ

    @property
    def now(self) -> int:
        """The position that is played next."""
        return self.narrow.now

    @property
    def arrival(self) -> int:
        """Where a stream's first packet is laid if it arrives at this moment."""
        return self.narrow.arrival

    def note_time(self, position: int, now_s: float) -> None:
        """At `now_s` it is `position` on the time axis."""
        self._noted = position, now_s
        for timeline in self._all:
            timeline.note_time(position, now_s)

    def gather(self, gathers: bool) -> None:
        """See `Timeline.gathers`."""
        for timeline in self._all:
            timeline.gathers = gathers

    def learn(self, learns: bool) -> None:
        """See `Timeline.learns`."""
        for timeline in self._all:
            timeline.learns = learns

    def conceal(self) -> None:
        """Before a tick: see `Timeline.conceal`."""
        for timeline in self._all:
            timeline.conceal()

    def advance(self) -> None:
        """One tick has been played."""
        for timeline in self._all:
            timeline.advance()

    def skip_to(self, position: int) -> None:
        """Move on by several ticks at once."""
        for timeline in self._all:
            timeline.skip_to(position)

    def adapt(self) -> None:
        """Once a second: see `Timeline.adapt`."""
        for timeline in self._all:
            timeline.adapt()

    def said(self, rates: NDArray[np.integer], slots: NDArray[np.integer]) -> NDArray[np.int16]:
        """Return (k, 160) int16 at 8,000 a second: what slots of any rates say in this tick."""
        if not self.wide:
            return self.heard(RATE_HZ, slots, RATE_HZ)
        out = np.empty((len(slots), self.narrow.tick_samples), np.int16)
        for rate_hz in np.unique(rates).tolist():
            some = (rates == rate_hz).nonzero()[0]
            out[some] = self.heard(rate_hz, slots[some], RATE_HZ)
        return out

    def heard(self, in_hz: int, slots: NDArray[np.integer], out_hz: int) -> NDArray[np.int16]:
        """Return (k, a tick at `out_hz`) int16: what slots of the ring of `in_hz` say in this tick."""
        timeline = self.at(in_hz)
        if in_hz == out_hz:
            said: NDArray[np.int16] = timeline.slice().take(slots, axis=0, mode="clip")
            return said
        converter = self.filter(in_hz, out_hz)
        return converter.convert(timeline.window(slots, 2 * converter.half))

    def read(
        self,
        rate_hz: int,
        slots: Sequence[int] | NDArray[np.integer],
        start: int,
        end: int,
        out_hz: int,
    ) -> NDArray[np.int16]:
        """Return (k, n) int16: slots of one ring from `start` to `end` (8,000 a second) as samples at
        `out_hz`, in place."""
        timeline = self.at(rate_hz)
        first, last = start * timeline.scale, end * timeline.scale
        if rate_hz == out_hz:
            return timeline.read(slots, first, last)
        converter = self.filter(rate_hz, out_hz)
        half = converter.half
        return converter.convert(timeline.read(slots, first - half, last + half))
