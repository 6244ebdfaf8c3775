"""Packets whose samples somebody needs, kept until the next tick and decoded together.

With few streams a batch holds few packets, and decoding twenty costs as much as decoding two hundred. What
is heard or written is looked at once a tick only, so nothing is gained by decoding sooner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.plane.streams import NONE, Sizes, Streams, each_of, together
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

    def __init__(self, streams: Streams, voices: Voices, timelines: Timelines) -> None:
        self._streams = streams
        self._voices = voices
        self._timelines = timelines
        self._count = 0
        self._octets: NDArray[np.uint8] = np.zeros((KEPT_MAX, WIDTH), np.uint8)
        # What a batch brings along is kept as it is: each copy into a place of its own would cost as
        # much as a packet's whole way.
        self._rows: list[NDArray[np.intp]] = []
        self._sizes: list[Sizes] = []
        self._arrivals_s: list[float] = []

    def __len__(self) -> int:
        return self._count

    def take(
        self,
        octets: NDArray[np.uint8],
        places: NDArray[np.intp] | None,
        sizes: Sizes,
        rows: NDArray[np.intp],
        now_s: float,
    ) -> None:
        """Take k packets that came at `now_s`: row `places[i]` of `octets` (None: the first k), `sizes` each,
        of the stream `rows[i]`, which has a slot; nobody changes `sizes` or `rows` (k,) afterwards."""
        count = len(rows)
        widest = sizes if isinstance(sizes, int) else int(np.maximum.reduce(sizes))
        if count >= _MANY or widest > WIDTH:
            self.flush()
            places = np.arange(count) if places is None else places
            self._decode(octets, places, each_of(sizes, count), rows, now_s)
            return
        if self._count + count > KEPT_MAX:
            self.flush()
        start, end = self._count, self._count + count
        kept = octets[:count, :widest] if places is None else octets[places, :widest]
        self._octets[start:end, :widest] = kept
        self._rows.append(rows)
        self._sizes.append(sizes)
        self._arrivals_s.append(now_s)
        self._count = end

    def flush(self) -> None:
        """Decode what waits."""
        count, self._count = self._count, 0
        if not count:
            return
        rows, lengths = (
            np.concatenate(self._rows),
            each_of(together(self._sizes, self._rows), count),
        )
        arrival_s = np.repeat(self._arrivals_s, [len(part) for part in self._rows])
        for waiting in (self._rows, self._sizes, self._arrivals_s):
            waiting.clear()
        self._decode(self._octets, np.arange(count), lengths, rows, arrival_s)

    def _decode(
        self,
        octets: NDArray[np.uint8],
        places: NDArray[np.intp],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
        arrival_s: NDArray[np.float64] | float,
    ) -> None:
        voices = self._voices
        slots = self._streams.slot.take(rows)
        if np.count_nonzero(slots == NONE):
            kept = (slots != NONE).nonzero()[0]  # nobody listens any more
            places, lengths, rows, slots = places[kept], lengths[kept], rows[kept], slots[kept]
            arrival_s = arrival_s[kept] if isinstance(arrival_s, np.ndarray) else arrival_s
        timestamps: NDArray[np.uint32] = octets.view(">u4")[places, 1].astype(np.uint32)
        heard = voices.decode(rows, octets, places, lengths, HEADER_OCTETS, timestamps)
        for part, samples, lost in heard:
            own, when, came_s = slots, timestamps, arrival_s
            if len(part) != len(rows):
                own, when = slots[part], timestamps[part]
                came_s = came_s[part] if isinstance(came_s, np.ndarray) else came_s
            rate_hz, units, held = voices.scale(int(voices.kind[rows[part[0]]]))
            if lost:
                self._timelines.at(rate_hz).mend(own, when, samples, units, held)
                continue
            late = self._timelines.at(rate_hz).write(own, when, samples, came_s, units, held)
            if late.any():
                np.add.at(self._streams.late, rows[part][late], 1)
