"""Who is listened to for digits sent as sound, tick by tick.

Of a codec whose packets can be looked at one by one (`Hush`) only those are who say something like a digit,
and for half a second after; the others always.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.dsp.goertzel import DtmfDetector
from media.plane.stream import Stream
from media.plane.streams import Streams
from media.plane.timelines import Timelines
from media.wire.telephone_event import DigitReports

_CALM_TICKS = 15
"""Without a suspicion for so long, nobody need listen any more: more than the longest play-out delay, 200 ms,
and the end of a digit, 30 ms."""


class Ears:
    """In-band DTMF (ITU-T Q.24) of the streams that ask for it; `report` takes what was heard, `calm` a
    stream that says nothing like a digit any more."""

    def __init__(
        self,
        streams: Streams,
        timelines: Timelines,
        report: Callable[[DigitReports], None],
        calm: Callable[[Stream], None],
    ) -> None:
        self._streams = streams
        self._timelines = timelines
        self._report = report
        self._calm = calm
        self._listening: dict[Stream, None] = {}
        self._suspected: dict[Stream, int] = {}
        self._rows: NDArray[np.intp] | None = None
        self._detector: DtmfDetector | None = None

    def __len__(self) -> int:
        return len(self._listening)

    def suspect(self, stream: Stream) -> bool:
        """`stream` says something like a digit; True if that is news, and it is to `listen`."""
        news = stream not in self._suspected
        self._suspected[stream] = _CALM_TICKS
        return news

    def suspects(self, stream: Stream) -> bool:
        """Whether it did so lately."""
        return stream in self._suspected

    def listen(self, stream: Stream, on: bool) -> None:
        """Listen to a stream, which has a slot, or no longer."""
        if not on:
            self._suspected.pop(stream, None)
        if on == (stream in self._listening):
            return
        self._rows = None
        if not on:
            del self._listening[stream]
            return
        if self._detector is None:
            self._detector = DtmfDetector(self._streams.capacity)
        self._detector.reset(stream.row)
        self._listening[stream] = None

    def tick(self) -> None:
        """Hear what is about to be played in this tick; a digit in it is kept from the mix."""
        self._timelines.hushed = {}
        if self._detector is None or not self._listening:
            return
        if self._rows is None:
            self._rows = np.array([stream.row for stream in self._listening], np.intp)
        slots = self._streams.slot.take(self._rows)
        rates = self._streams.rate_hz[self._rows]
        said = self._timelines.said(rates, slots)
        reports = self._detector.process(self._rows, said)
        suspects = self._detector.suspects(self._rows)
        if suspects.any():
            self._timelines.hush(rates[suspects], slots[suspects])
        if len(reports.stream):
            self._report(reports)
        if self._suspected:
            self._calm_down(self._detector)

    def _calm_down(self, detector: DtmfDetector) -> None:
        for stream, ticks in list(self._suspected.items()):
            self._suspected[stream] = ticks - 1
            if ticks <= 0 and not detector.active[stream.row]:
                del self._suspected[stream]
                self._calm(stream)
