"""Recordings: what two streams say, side by side in a WAV file that is valid at every moment.

Pieces of 0.6 seconds are copied out of the timeline and written by a disk thread; after each piece the
header says how much there is. What fails (full disk, slow disk) stops the recording, never the call.
A paused recording goes on with silence, so that its time stays the call's; marks say from where to
where. They stand behind the samples once the file is complete. A file has the rate of the better of
its two sides: a wideband call is kept as it was heard.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711, wav
from media.dsp.resample import Polyphase
from media.errors import BadName
from media.plane.disk import Disk
from media.plane.timeline import AHEAD, DELAY, HISTORY, LATE, RATE_HZ, TICK_SAMPLES
from media.plane.timelines import RATES_HZ, Timelines
from media.protocol import RecordingStopped, StartRecording

PIECE = 4_800
"""Samples written at once; with `LATE` it bounds what a killed worker can lose."""

_TURNS = PIECE // TICK_SAMPLES
_PACES = ((300, 10), (600, 5), (1_000, 3), (1_500, 2))
"""(recordings, ticks): with up to so many, pieces are written in ticks whose number is a multiple of this.
Those of some go to the disk together, and the engine may let as many ticks gather; those of all at once
would keep packets waiting meanwhile. All divide `_TURNS`. `HISTORY` must hold a piece, `LATE`, and the few
samples before it that a converter needs."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MODE = 0o640
_DATA_OCTETS_MAX = (1 << 32) - 4096
_GAP_S_MAX = 3_600.0
PAUSED, RESUMED = "paused", "resumed"
_CUT = 8_192
"""Octets of samples given up where a full disk has no room to say that it is full."""
_ULAW_SILENCE = b"\xff"
_MARKS_MAX = 1_000
_RATE_AT = 24
"""Where the header of a WAV file has its sampling rate."""


def _pace(recordings: int) -> int:
    return next((ticks for most, ticks in _PACES if recordings <= most), 1)


def checked_path(directory: str, name: str) -> str:
    """Return `directory`/`name`; raises `BadName` unless `name` is a bare, harmless file name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise BadName(f"{name!r} is not a bare file name of letters, digits, dot, dash, underscore")
    root = os.path.realpath(directory)
    path = os.path.join(root, name)
    if os.path.dirname(os.path.realpath(path)) != root:
        raise BadName(f"{name!r} leads out of the recordings directory")
    return path


class RecordingFile:
    """The file of one recording; its methods run on the disk thread, in order.

    `failed` holds the reason of the first error; later calls do nothing.
    """

    __slots__ = ("_descriptor", "_format", "_given_hz", "_octets", "failed", "path")

    def __init__(
        self, path: str, parties: int, *, ulaw: bool = False, rate_hz: int = RATE_HZ
    ) -> None:
        self.path = path
        self.failed = ""
        self._given_hz = rate_hz
        self._format = wav.WavFormat(rate_hz, parties, wav.ULAW if ulaw else wav.PCM)
        self._descriptor = -1
        self._octets = 0

    @property
    def frames(self) -> int:
        """Samples of each party that are in the file."""
        return self._octets // self._format.octets_per_frame

    @property
    def rate_hz(self) -> int:
        """Samples a second of each party in the file."""
        return self._format.rate_hz

    def open(self, resumed_at_s: float) -> None:
        """Create the file, or with `resumed_at_s` > 0 go on in it, silence up to that moment."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self.path, flags | (0 if resumed_at_s else os.O_EXCL), _MODE)
            self._octets = self._found() if resumed_at_s else 0
            # Half a frame that the other worker left must not shine through the silence.
            os.ftruncate(self._descriptor, self._format.header_octets + self._octets)
            resumed_at = round(resumed_at_s * self.rate_hz)
            missing = min(resumed_at - self.frames, int(_GAP_S_MAX * self.rate_hz))
            if missing > 0:
                self._fill(missing * self._format.octets_per_frame)
            self._write_header()
        except OSError as error:
            self._fail(error)

    def _fill(self, octets: int) -> None:
        """Append silence. In PCM it is zeros, and a hole in a file reads as zeros."""
        if self._format.code == wav.ULAW:
            self._append(memoryview(_ULAW_SILENCE * octets))
            return
        self._octets += octets
        os.ftruncate(self._descriptor, self._format.header_octets + self._octets)

    def _append(self, data: memoryview) -> None:
        while data:
            at = self._format.header_octets + self._octets
            written = os.pwrite(self._descriptor, data, at)
            self._octets += written
            data = data[written:]

    def _found(self) -> int:
        """Return how many octets of samples are in the file; it keeps the rate it was begun with."""
        stored = os.pread(self._descriptor, 4, _RATE_AT)
        rate_hz = int.from_bytes(stored, "little")
        if rate_hz in RATES_HZ:
            self._format = wav.WavFormat(rate_hz, self._format.parties, self._format.code)
        size = os.fstat(self._descriptor).st_size - self._format.header_octets
        return max(0, size - size % self._format.octets_per_frame)

    def _write_header(self) -> None:
        os.pwrite(self._descriptor, wav.header(self._format, self._octets), 0)

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append (n, parties) int16 at the rate that was asked for."""
        if self.failed or self._descriptor < 0:
            return
        if self._given_hz != self.rate_hz:
            samples = Polyphase(self._given_hz, self.rate_hz).whole(samples.T).T
        stored = g711.encode_ulaw(samples) if self._format.code == wav.ULAW else samples
        kind = "u1" if self._format.code == wav.ULAW else "<i2"
        try:
            self._append(memoryview(np.ascontiguousarray(stored, kind).data).cast("B"))
            self._write_header()
        except OSError as error:
            self._octets -= self._octets % self._format.octets_per_frame
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failed = f"disk: {error.strerror}"

    def close(self, marks: Sequence[wav.Mark] = ()) -> None:
        """Cut off half a frame, add the marks, one more where the disk has failed, say how long it
        is, close."""
        if self._descriptor < 0:
            return
        failed = self.failed
        if not self._complete(marks) and self._octets > _CUT:
            # The mark that says why the recording ends is worth more than its last moment.
            self._octets -= _CUT - _CUT % self._format.octets_per_frame
            self._complete(marks)
        self.failed = failed or self.failed
        os.close(self._descriptor)
        self._descriptor = -1

    def _complete(self, marks: Sequence[wav.Mark]) -> bool:
        """Write what stands behind the samples; False where it does not fit."""
        end, last = self._format.header_octets + self._octets, self.frames
        kept = [wav.Mark(min(mark.frame, last), mark.label) for mark in marks]
        if self.failed:
            kept = [*kept[: _MARKS_MAX - 1], wav.Mark(last, self.failed)]
        trailer = wav.marks(kept)
        behind = b"\0" * (self._octets & 1) + trailer
        try:
            os.ftruncate(self._descriptor, end)
            if behind and os.pwrite(self._descriptor, behind, end) < len(behind):
                os.ftruncate(self._descriptor, end)
                self.failed = self.failed or "disk: no room for the marks"
                return False
            os.pwrite(self._descriptor, wav.header(self._format, self._octets, len(trailer)), 0)
        except OSError as error:
            self._fail(error)
            return False
        return True


@dataclass(slots=True)
class Side:
    """One party of a recording: its stream and where its samples are; `slot` None: it is silent."""

    stream_id: int
    rate_hz: int
    slot: int | None


@dataclass(slots=True)
class _Recording:
    recording_id: int
    file: RecordingFile
    sides: list[Side]
    start: int
    done: int
    rate_hz: int
    turn: int
    """In which tick of each `_TURNS` it is written."""
    resumed_s: float = 0.0
    beep: bool = False
    pauses: list[tuple[int, int | None]] = field(default_factory=list)
    """Stretches of the timeline that are not written, the last one maybe without an end."""
    marks: list[wav.Mark] = field(default_factory=list)

    @property
    def scale(self) -> int:
        """Samples of the file for each at 8,000 a second, in which positions are counted."""
        return self.rate_hz // RATE_HZ

    @property
    def paused(self) -> bool:
        return bool(self.pauses) and self.pauses[-1][1] is None


class Recorder:
    """All recordings of a worker; `take_finished` has the events of those that have ended."""

    def __init__(self, timelines: Timelines, disk: Disk, directory: str) -> None:
        self._timelines = timelines
        self._disk = disk
        self._directory = directory
        self._recordings: dict[int, _Recording] = {}
        self._due: dict[int, list[int]] = {}
        self._started = 0
        self.pace = _pace(0)
        """How many ticks may gather if nobody but us waits for them; by it pieces are spread over the ticks."""
        self._finished: deque[RecordingStopped] = deque()
        self.closing = 0
        """Files that are being finished, or are and have not been taken."""

    def __len__(self) -> int:
        return len(self._recordings)

    def __contains__(self, recording_id: int) -> bool:
        return recording_id in self._recordings

    def start(self, command: StartRecording, sides: list[Side], since_ms: int = 0) -> None:
        """Record `sides` (one or two, left and right) from now on; raises `BadName`.

        `since_ms` have passed since the command was given.
        """
        recording_id = command.recording_id
        path = checked_path(self._directory, command.name)
        rate_hz = command.rate_hz or max(side.rate_hz for side in sides)
        file = RecordingFile(path, len(sides), ulaw=command.ulaw, rate_hz=rate_hz)
        resumed_s = (command.elapsed_ms + since_ms) / 1000 if command.elapsed_ms else 0.0
        start = self._timelines.arrival
        recording = _Recording(
            recording_id, file, sides, start, start, rate_hz, self._started, resumed_s, command.beep
        )
        self._started = (self._started + 1) % _TURNS
        self._recordings[recording_id] = recording
        self.pace = _pace(len(self._recordings))
        self._disk.submit(lambda: file.open(resumed_s))
        self._schedule(recording, self._timelines.now)

    def pause(self, recording_id: int) -> None:
        """Write silence instead of what is said from now on. Idempotent."""
        recording = self._recordings.get(recording_id)
        if recording is None or recording.paused:
            return
        # Rather a packet too many unheard than one of a card number kept: what comes now may be
        # laid as early as this.
        start = max(self._timelines.arrival - DELAY, recording.done)
        recording.pauses.append((start, None))
        self._mark(recording, start, PAUSED)

    def resume(self, recording_id: int) -> None:
        """Write what is said again. Idempotent."""
        recording = self._recordings.get(recording_id)
        if recording is None or not recording.paused:
            return
        # A stream with much jitter is laid this much later.
        end = self._timelines.arrival + LATE
        recording.pauses[-1] = (recording.pauses[-1][0], end)
        self._mark(recording, end, RESUMED)

    @staticmethod
    def _mark(recording: _Recording, position: int, label: str) -> None:
        if len(recording.marks) < _MARKS_MAX:
            frame = max(0, position - recording.start) * recording.scale
            frame += round(recording.resumed_s * recording.rate_hz)
            recording.marks.append(wav.Mark(frame, label))

    @staticmethod
    def _blot_out(recording: _Recording, piece: NDArray[np.int16], start: int) -> None:
        """Silence what of `piece`, which begins at `start`, was said during a pause."""
        scale = recording.scale
        end = start + len(piece) // scale
        for first, last in recording.pauses:
            until = max((end if last is None else last) - start, 0)
            piece[max(first - start, 0) * scale : until * scale] = 0
        recording.pauses = [each for each in recording.pauses if each[1] is None or each[1] > end]

    def beeping(self) -> list[int]:
        """Return the streams that are to hear that they are recorded, now."""
        return [
            side.stream_id
            for recording in self._recordings.values()
            if recording.beep and not recording.paused
            for side in recording.sides
            if side.slot is not None
        ]

    def _schedule(self, recording: _Recording, now: int) -> None:
        """Have the next piece written when it is the recording's turn after `now`."""
        tick = now // TICK_SAMPLES
        turn = recording.turn - recording.turn % self.pace
        tick += (turn - tick) % _TURNS or _TURNS
        self._due.setdefault(tick, []).append(recording.recording_id)

    def tick(self) -> None:
        """Write the pieces that are complete; call after each advance of the timeline."""
        due = self._due.pop(self._timelines.now // TICK_SAMPLES, None)
        if due is None:
            return
        recordings = [self._recordings[each] for each in due if each in self._recordings]
        for recording in recordings:
            if recording.file.failed:
                self._finish(recording, recording.file.failed)
        self._copy_out(self._still(recordings), self._timelines.now - LATE)
        for recording in self._still(recordings):
            self._schedule(recording, self._timelines.now)

    def _still(self, recordings: list[_Recording]) -> list[_Recording]:
        return [each for each in recordings if each.recording_id in self._recordings]

    def skip_to(self, position: int) -> None:
        """The timeline is about to jump: fetch what it would forget, and plan the pieces anew."""
        end = min(position - LATE, self._timelines.now + AHEAD)
        self._copy_out(list(self._recordings.values()), end - end % TICK_SAMPLES)
        self._due.clear()
        for recording in self._recordings.values():
            self._schedule(recording, position)

    def _pad(self, recording: _Recording, samples: int) -> None:
        frames = min(samples, int(_GAP_S_MAX) * RATE_HZ) * recording.scale
        silence = np.zeros((frames, len(recording.sides)), "<i2")
        file = recording.file
        self._disk.submit(lambda: file.write(silence), silence.nbytes)

    def _copy_out(self, recordings: list[_Recording], end: int) -> None:
        """Write these up to `end`; those whose pieces are of one shape in one go."""
        groups: dict[tuple[int, int, int], list[_Recording]] = {}
        for recording in recordings:
            start = recording.done
            if end <= start:
                continue
            oldest = self._timelines.now - HISTORY
            if start < oldest:
                # The process stood still for longer than the ring remembers.
                self._pad(recording, oldest - start)
                start = oldest
            shape = (start, recording.rate_hz, len(recording.sides))
            groups.setdefault(shape, []).append(recording)
        for (start, rate_hz, parties), alike in groups.items():
            self._copy_alike(alike, start, end, rate_hz, parties)

    def _copy_alike(
        self, recordings: list[_Recording], start: int, end: int, rate_hz: int, parties: int
    ) -> None:
        samples = (end - start) * rate_hz // RATE_HZ
        pieces = np.zeros((len(recordings), samples, parties), "<i2")
        places: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        for number, recording in enumerate(recordings):
            recording.done = end
            for party, side in enumerate(recording.sides):
                if side.slot is not None:
                    numbers, slots = places.setdefault((party, side.rate_hz), ([], []))
                    numbers.append(number)
                    slots.append(side.slot)
        for (party, side_hz), (numbers, slots) in places.items():
            pieces[numbers, :, party] = self._timelines.read(side_hz, slots, start, end, rate_hz)
        for recording, piece in zip(recordings, pieces, strict=True):
            if recording.pauses:
                self._blot_out(recording, piece, start)
        self._write(recordings, pieces)

    def _write(self, recordings: list[_Recording], pieces: NDArray[np.int16]) -> None:
        files = [recording.file for recording in recordings]

        def write() -> None:
            for file, piece in zip(files, pieces, strict=True):
                file.write(piece)

        taken = self._disk.submit(write, pieces.nbytes)
        for recording in recordings:
            frame_octets = pieces.itemsize * len(recording.sides) * recording.scale
            if (recording.done - recording.start) * frame_octets > _DATA_OCTETS_MAX:
                self._finish(recording, "limit")
            elif not taken:
                self._finish(recording, "disk: too slow")

    def stop(self, recording_id: int, reason: str = "stopped") -> None:
        """End a recording with what has come so far."""
        recording = self._recordings.get(recording_id)
        if recording is None:
            return
        self._copy_out([recording], self._timelines.arrival)
        if recording_id in self._recordings:
            self._finish(recording, reason)

    def leave(self, stream_id: int) -> list[int]:
        """A stream is gone: its side is silent; returns recordings that have no side left."""
        if not self._recordings:
            return []
        return [
            recording.recording_id
            for recording in self.part(stream_id)
            if all(side.slot is None for side in recording.sides)
        ]

    def part(self, stream_id: int) -> list[_Recording]:
        """What a stream says next is not where it was: fetch what is there. See `move`."""
        touched = []
        for recording in list(self._recordings.values()):
            mine = [side for side in recording.sides if side.stream_id == stream_id]
            if any(side.slot is not None for side in mine):
                self._copy_out([recording], self._timelines.arrival)
                touched.append(recording)
            for side in mine:
                side.slot = None
        return touched

    def move(self, stream_id: int, rate_hz: int, slot: int | None) -> None:
        """What a stream says is in this slot now."""
        for recording in self._recordings.values():
            for side in recording.sides:
                if side.stream_id == stream_id:
                    side.rate_hz, side.slot = rate_hz, slot

    def take_finished(self) -> list[RecordingStopped]:
        """Return the events of files that have been finished since the last time."""
        taken = []
        while self._finished:
            taken.append(self._finished.popleft())
        self.closing -= len(taken)
        return taken

    def _finish(self, recording: _Recording, reason: str) -> None:
        del self._recordings[recording.recording_id]
        self.pace = _pace(len(self._recordings))
        file, finished = recording.file, self._finished
        self.closing += 1

        def complete() -> None:
            file.close(recording.marks)
            finished.append(
                RecordingStopped(
                    recording.recording_id,
                    file.path,
                    file.frames,
                    file.failed or reason,
                    file.rate_hz,
                )
            )

        self._disk.submit(complete)
