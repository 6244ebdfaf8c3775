"""Which streams are tapped for which recording, from its start to the end of its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from media.errors import BadName
from media.plane.recorder import Recorder, Side
from media.plane.stream import Stream
from media.plane.wiring import Wiring
from media.protocol import MediaEvent, RecordingStopped, StartRecording


def sides_of(command: StartRecording) -> list[int]:
    """The ids of the streams that are to be recorded: the left one and, if there is one, the right."""
    return [command.left] if command.right is None else [command.left, command.right]


class Taping:
    """Starts and stops recordings. Parameters: `recorder` writes them; `wiring` taps the streams; `emit` hears
    of files that are finished."""

    def __init__(
        self, recorder: Recorder, wiring: Wiring, emit: Callable[[MediaEvent], None]
    ) -> None:
        self._recorder = recorder
        self._wiring = wiring
        self._emit = emit
        self._taped: dict[int, list[Stream]] = {}

    def start(self, command: StartRecording, streams: Sequence[Stream], since_ms: int) -> None:
        """Record `streams`. `since_ms`: how long ago that was asked for. Raises `BadName`."""
        sides = [
            Side(stream.stream_id, stream.rate_hz, self._wiring.tap(stream)) for stream in streams
        ]
        try:
            self._recorder.start(command, sides, since_ms)
        except BadName:
            for stream in streams:
                self._wiring.untap(stream)
            raise
        self._taped[command.recording_id] = list(streams)

    def stop(self, recording_id: int, reason: str) -> None:
        """End a recording."""
        self._recorder.stop(recording_id, reason)
        self._untap(recording_id)

    def finished(self, event: RecordingStopped) -> None:
        """Its file is complete."""
        self._untap(event.recording_id)
        self._emit(event)

    def finish(self) -> None:
        """End every recording, as the process is about to end."""
        for recording_id in list(self._taped):
            self.stop(recording_id, "worker")

    def _untap(self, recording_id: int) -> None:
        for stream in self._taped.pop(recording_id, ()):
            if stream.taps:  # else it has been released
                self._wiring.untap(stream)
