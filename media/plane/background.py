"""Comfort noise (RFC 3389) of peers that say nothing while they are silent, where their sound is mixed.

A relay passes its packets on; here they are made to sound, tick by tick, until the peer speaks again.
"""

from __future__ import annotations

import numpy as np

from media.dsp import comfort_noise
from media.plane.stream import Stream
from media.plane.streams import NONE, Streams
from media.plane.timelines import Timelines


class Background:
    """The noise of up to `streams` streams, one row each; nearly always of none."""

    def __init__(self, streams: Streams, timelines: Timelines) -> None:
        self._streams = streams
        self._timelines = timelines
        self._source: comfort_noise.NoiseSource | None = None
        self._sounding: dict[Stream, int] = {}

    def __len__(self) -> int:
        return len(self._sounding)

    def hear(self, stream: Stream, payload: bytes, timestamp: int) -> None:
        """A noise packet of `stream` has come; `timestamp` is that of its header."""
        if int(self._streams.slot[stream.row]) == NONE or not payload:
            return
        if self._source is None:
            self._source = comfort_noise.NoiseSource(self._streams.capacity)
        octets = np.frombuffer(payload[: comfort_noise.ORDER_MAX + 1], np.uint8)[None]
        columns = comfort_noise.parse(octets, np.array([octets.shape[1]]))
        row = np.array([stream.row], np.intp)
        self._source.configure(row, columns.level_dbov, columns.reflection)
        self._sounding[stream] = timestamp

    def forget(self, stream: Stream) -> None:
        """The stream is gone."""
        self._sounding.pop(stream, None)

    def tick(self) -> None:
        """Before a tick: fill what nothing has come for."""
        if self._source is None or not self._sounding:
            return
        streams = list(self._sounding)
        rows = np.array([stream.row for stream in streams], np.intp)
        slots = self._streams.slot[rows]
        heard = slots != NONE
        lacking = np.zeros(len(rows), np.bool_)
        lacking[heard] = self._timelines.narrow.lacks(slots[heard])
        for place, stream in enumerate(streams):
            # It lasts until sound that was sent after it is played.
            talks = int(self._streams.timestamp[stream.row]) != self._sounding[stream]
            if not heard[place] or (talks and not lacking[place]):
                del self._sounding[stream]
        if lacking.any():
            sound = self._source.generate(rows[lacking], self._timelines.narrow.tick_samples)
            self._timelines.narrow.fill(slots[lacking], sound)
