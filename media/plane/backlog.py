"""Packets whose samples somebody needs, kept until the next tick and decoded together.

With few streams a batch holds few packets, and decoding twenty costs as much as decoding two hundred. What
is heard or written is looked at once a tick only, so nothing is gained by decoding sooner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.plane.hush import Hush
from media.plane.streams import Streams
from media.plane.timelines import Timelines
from media.plane.voices import Voices
from media.wire.rtp import HEADER_OCTETS

KEPT_MAX = 4_096
"""Packets that may wait."""

WIDTH = 512
"""Octets of a packet that may wait: 60 ms of G.711; what is longer is decoded at once."""

_MANY = 192
"""A batch of so many gains nothing by waiting."""


class Backlog:
    """Decodes packets into the timeline, now or at `flush`.

    `flush` must come before anything changes what the packets depend on: slots, codecs, anchors, the
    position of the timeline.
    """

    def __init__(self, streams: Streams, voices: Voices, timelines: Timelines, hush: Hush) -> None:
        self._streams = streams
        self._voices = voices
        self._timelines = timelines
        self._hush = hush
        self._count = 0
        self._octets: NDArray[np.uint8] = np.zeros((KEPT_MAX, WIDTH), np.uint8)
        self._timestamps: NDArray[np.uint32] = np.zeros(KEPT_MAX, np.uint32)
        self._lengths: NDArray[np.int32] = np.zeros(KEPT_MAX, np.int32)
        self._rows: NDArray[np.intp] = np.zeros(KEPT_MAX, np.intp)
        self._slots: NDArray[np.intp] = np.zeros(KEPT_MAX, np.intp)
        self._arrival_s: NDArray[np.float64] = np.zeros(KEPT_MAX)

    def __len__(self) -> int:
        return self._count

    def take(
        self,
        octets: NDArray[np.uint8],
        places: NDArray[np.intp] | None,
        timestamps: NDArray[np.uint32],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
        slots: NDArray[np.intp],
        now_s: float,
    ) -> None:
        """Take k packets that came at `now_s`: row `places[i]` of `octets` (None: the first k), `lengths[i]` in
        all, of the stream `rows[i]` for `slots[i]` of the timeline; all (k,)."""
        count = len(rows)
        widest = int(lengths.max())
        if count >= _MANY or widest > WIDTH:
            self.flush()
            places = np.arange(count) if places is None else places
            self._decode(octets, places, timestamps, lengths, rows, slots, now_s)
            return
        if self._count + count > KEPT_MAX:
            self.flush()
        start, end = self._count, self._count + count
        whole = slice(count) if places is None else places
        self._octets[start:end, :widest] = octets[whole, :widest]
        self._timestamps[start:end] = timestamps
        self._lengths[start:end] = lengths
        self._rows[start:end] = rows
        self._slots[start:end] = slots
        self._arrival_s[start:end] = now_s
        self._count = end

    def flush(self) -> None:
        """Decode what waits."""
        count, self._count = self._count, 0
        if count:
            self._decode(
                self._octets,
                np.arange(count),
                self._timestamps[:count],
                self._lengths[:count],
                self._rows[:count],
                self._slots[:count],
                self._arrival_s[:count],
            )

    def _decode(
        self,
        octets: NDArray[np.uint8],
        places: NDArray[np.intp],
        timestamps: NDArray[np.uint32],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
        slots: NDArray[np.intp],
        arrival_s: NDArray[np.float64] | float,
    ) -> None:
        voices = self._voices
        for part, samples in voices.decode(rows, octets, places, lengths, HEADER_OCTETS):
            own, when, came_s = slots, timestamps, arrival_s
            if len(part) != len(rows):
                own, when = slots[part], timestamps[part]
                came_s = came_s[part] if isinstance(came_s, np.ndarray) else came_s
            rate_hz, units, held = voices.scale(int(voices.kind[rows[part[0]]]))
            if self._hush.watching:
                self._hush.look(rows[part], samples, rate_hz)
            late = self._timelines.at(rate_hz).write(own, when, samples, came_s, units, held)
            if late.any():
                np.add.at(self._streams.late, rows[part][late], 1)
