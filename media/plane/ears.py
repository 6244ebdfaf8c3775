"""Who is listened to for digits sent as sound, tick by tick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.dsp.goertzel import DtmfDetector
from media.plane.stream import Stream
from media.plane.streams import SLOT, Streams
from media.plane.timelines import Timelines
from media.wire.telephone_event import DigitReports


class Ears:
    """In-band DTMF (ITU-T Q.24) of the streams that ask for it; `report` takes what was heard."""

    def __init__(
        self, streams: Streams, timelines: Timelines, report: Callable[[DigitReports], None]
    ) -> None:
        self._streams = streams
        self._timelines = timelines
        self._report = report
        self._listening: dict[Stream, None] = {}
        self._rows: NDArray[np.intp] | None = None
        self._detector: DtmfDetector | None = None

    def __len__(self) -> int:
        return len(self._listening)

    def listen(self, stream: Stream, on: bool) -> None:
        """Listen to a stream, which has a slot, or no longer."""
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
        slots = self._streams.route[self._rows, SLOT].astype(np.intp)
        rates = self._streams.rate_hz[self._rows]
        said = self._timelines.said(rates, slots)
        reports = self._detector.process(self._rows, said)
        suspects = self._detector.suspects(self._rows)
        if suspects.any():
            self._timelines.hush(rates[suspects], slots[suspects])
        if len(reports.stream):
            self._report(reports)
