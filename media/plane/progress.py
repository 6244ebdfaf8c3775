"""What called lines say, for the streams that are asked about: tones, fax, beeps, man or machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.dsp.levels import VoiceActivity
from media.dsp.progress import AnswerClassifier, ProgressDetector
from media.plane.stream import Stream
from media.plane.streams import NONE, Streams
from media.plane.timelines import Timelines

_COUNTRIES_MAX = 16


class Progress:
    """One detector for each country; `heard(stream, what)` takes what they say.

    A stream has a slot of the timeline while it listens here.
    """

    def __init__(
        self, streams: Streams, timelines: Timelines, heard: Callable[[Stream, str], None]
    ) -> None:
        self._streams = streams
        self._timelines = timelines
        self._heard = heard
        self._listening: dict[str, dict[int, Stream]] = {}
        self._answering: dict[int, Stream] = {}
        self._detectors: dict[str, ProgressDetector] = {}
        self._classifier: AnswerClassifier | None = None
        self._activity: VoiceActivity | None = None

    def __len__(self) -> int:
        return sum(map(len, self._listening.values()))

    def listen(self, stream: Stream, country: str, *, answered: bool) -> None:
        """Begin with a stream, or go on with it; `answered`: a man or a machine speaks from now on.

        Raises `ValueError` when too many countries are asked for.
        """
        if stream.progress != country:
            self._begin(stream, country)
        if answered:
            if self._classifier is None or self._activity is None:
                self._classifier = AnswerClassifier(self._streams.capacity)
                self._activity = VoiceActivity(self._streams.capacity)
            self._classifier.reset(stream.row)
            self._activity.reset(stream.row)
            self._answering[stream.row] = stream

    def _begin(self, stream: Stream, country: str) -> None:
        if country not in self._detectors:
            if len(self._detectors) >= _COUNTRIES_MAX:
                raise ValueError(f"more than {_COUNTRIES_MAX} countries")
            self._detectors[country] = ProgressDetector(self._streams.capacity, country)
        self.forget(stream)
        self._detectors[country].reset(stream.row)
        self._listening.setdefault(country, {})[stream.row] = stream
        stream.progress = country

    def forget(self, stream: Stream) -> None:
        """Listen to a stream no longer."""
        if stream.progress is not None:
            self._listening[stream.progress].pop(stream.row, None)
            self._answering.pop(stream.row, None)
            stream.progress = None

    def tick(self) -> None:
        """Hear what is played in this tick."""
        for country, listening in self._listening.items():
            if listening:
                rows, said = self._said(listening)
                for told in self._detectors[country].process(rows, said):
                    self._heard(listening[told.row], told.what)
        if self._answering and self._classifier is not None and self._activity is not None:
            rows, said = self._said(self._answering)
            speaking = self._activity.process(rows, said)
            for row, verdict in self._classifier.process(rows, speaking):
                self._heard(self._answering.pop(row), verdict)

    def _said(self, listening: dict[int, Stream]) -> tuple[NDArray[np.intp], NDArray[np.int16]]:
        rows = np.fromiter(listening, np.intp, len(listening))
        slots = self._streams.slot[rows]
        silent = slots == NONE
        slots[silent] = 0
        said = self._timelines.said(self._streams.rate_hz[rows], slots)
        said[silent] = 0
        return rows, said
