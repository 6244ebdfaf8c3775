"""A media plane without audio: it keeps the books of streams, ports and bridges, and can fail.

The one sound it knows is a hum, in the files of recordings of one party (messages, greetings): their
owners do something with the files.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media.client import LocalStream
from media.dsp import wav
from media.errors import BadName, MediaError, NoCapacity, NotSupported, UnknownStream
from media.protocol import (
    MONITOR_MODES,
    DigitReceived,
    DigitsDue,
    File,
    MediaEvent,
    MediaTimedOut,
    PlayFinished,
    ProgressHeard,
    Prompts,
    RecordingStopped,
    Source,
    StreamClosed,
    StreamLatched,
    StreamParams,
    StreamStats,
    WorkerDied,
    WorkerReplaced,
)
from softswitch.sim.loop import SimulationError

SAMPLES_PER_S = 8000

_HUM = struct.pack("<20h", *([2000] * 10 + [-2000] * 10))
"""One period of a 400 Hz square wave."""


def _hum(frames: int) -> bytes:
    """A WAV file of `frames` samples."""
    data = (_HUM * (frames // 20 + 1))[: 2 * frames]
    return wav.header(wav.WavFormat(SAMPLES_PER_S, 1), len(data)) + data


@dataclass(slots=True)
class SimStream:
    """What the control plane has asked of one stream so far."""

    local: LocalStream
    group: int
    signalled_host: str | None
    params: StreamParams | None = None
    history: list[StreamParams] = field(default_factory=list)
    echo: bool = False
    bridged_to: int | None = None
    room: int | None = None
    monitor: tuple[int, str] | None = None
    progress: str | None = None
    room_sound: tuple[bool, bool, float] = (False, False, 1.0)
    """In its room: muted, deaf, how loud."""
    playing: tuple[int, Source, bool] | None = None
    resumed: bool = False
    """What is played was to go on where it was left off."""
    digits_sent: str = ""
    opened_at_s: float = 0.0


@dataclass(slots=True)
class SimRecording:
    """One recording; `stopped_at_s` is None while it runs."""

    recording_id: int
    left: int
    right: int | None
    name: str
    started_at_s: float
    stopped_at_s: float | None = None
    paused: bool = False


class SimMediaPlane:
    """Stands for `media.client.MediaClient` in a simulated world: same methods, no sound.

    Every stream gets a port of its own, so that the checkers can tell two owners of one; ports come
    back when their stream is released. Events are delivered in the next turn of the loop, never
    from inside a command, as the real client does. Files last `file_s` seconds when played.

    What would be mistakes of the control plane (configuring a stream that was released, bridging
    two groups) raise as the real client does and are listed in `violations`.
    """

    def __init__(
        self,
        *,
        on_event: Callable[[MediaEvent], None],
        address: str = "10.0.0.1",
        ports: tuple[int, int] = (20_000, 29_999),
        workers: int = 1,
        recordings_dir: Path = Path("recordings"),
        file_s: float = 2.0,
        rtp_timeout_s: float = 30.0,
    ) -> None:
        self.streams: dict[int, SimStream] = {}
        self.accounts: dict[int, StreamStats] = {}
        """What streams are to have met at their end; nothing where none is given."""
        self.recordings: dict[int, SimRecording] = {}
        self.finished: list[SimRecording] = []
        self.violations: list[str] = []
        self.released = 0
        self.rtp_timeout_s = rtp_timeout_s
        self._on_event = on_event
        self._address = address
        self._free_ports = list(range(ports[0] + ports[0] % 2, ports[1], 2))[::-1]
        self._ports_total = len(self._free_ports)
        self._workers = workers
        self._dead: set[int] = set()
        self.draining: set[int] = set()
        self._recordings_dir = recordings_dir
        self._file_s = file_s
        self._next_stream = 1
        self._started = False

    async def start(self) -> None:
        """Ready at once."""
        self._started = True

    async def stop(self) -> None:
        """End recordings and streams."""
        for recording_id in list(self.recordings):
            self.stop_recording(recording_id)
        for stream_id in list(self.streams):
            self.release(stream_id)
        self._started = False

    # -- the method set of MediaClient -----------------------------------------------------------

    def flush(self) -> None:
        """Nothing waits here."""

    def reserve(self, *, group: int, signalled_host: str | None) -> LocalStream:
        """A new stream on a port of its own. Raises `NoCapacity`."""
        if not self._free_ports:
            raise NoCapacity("no port is free")
        worker = group % self._workers
        local = LocalStream(self._next_stream, self._address, self._free_ports.pop(), worker)
        self._next_stream += 1
        self.streams[local.stream_id] = SimStream(
            local, group, signalled_host, opened_at_s=self._now_s()
        )
        return local

    def configure(self, stream_id: int, params: StreamParams) -> None:
        """Remember `params`; raises `UnknownStream`."""
        stream = self._stream(stream_id, "configure")
        stream.params = params
        stream.history.append(params)

    def connect(self, a: int, b: int) -> None:
        """Bridge two streams of one worker; raises `UnknownStream`."""
        first, second = self._stream(a, "connect"), self._stream(b, "connect")
        if first.local.worker != second.local.worker:
            self.violations.append(
                f"connect {a} {b}: on workers {first.local.worker} and {second.local.worker}"
            )
        self._unbridge(first)
        self._unbridge(second)
        first.bridged_to, second.bridged_to = b, a
        first.monitor = second.monitor = None

    def disconnect(self, a: int, b: int) -> None:
        """End the bridge between `a` and `b`, if there is one."""
        first = self.streams.get(a)
        if first is not None and first.bridged_to == b:
            self._unbridge(first)

    def echo(self, stream_id: int, on: bool) -> None:
        """Switch the echo; raises `UnknownStream`."""
        self._stream(stream_id, "echo").echo = on

    def join_room(
        self,
        room: int,
        stream_id: int,
        *,
        mute: bool = False,
        deaf: bool = False,
        gain: float = 1.0,
    ) -> None:
        """Put a stream into a conference; raises `UnknownStream`."""
        stream = self._stream(stream_id, "join_room")
        stream.room, stream.monitor = room, None
        stream.room_sound = (mute, deaf, gain)

    def leave_room(self, stream_id: int) -> None:
        """Take a stream out of its conference, if it is in one."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.room = None

    def monitor(self, stream_id: int, target: int, *, mode: str = "listen") -> None:
        """Let a stream hear the call of another; raises `UnknownStream`, `NotSupported`."""
        if mode not in MONITOR_MODES:
            raise NotSupported(mode)
        stream, other = self._stream(stream_id, "monitor"), self._stream(target, "monitor")
        if stream.local.worker != other.local.worker:
            self.violations.append(
                f"monitor {stream_id} {target}: on workers "
                f"{stream.local.worker} and {other.local.worker}"
            )
        self._unbridge(stream)
        stream.room, stream.monitor = None, (target, mode)

    def stop_monitor(self, stream_id: int) -> None:
        """The stream leaves the call it hears, if it hears one."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.monitor = None

    def play(
        self,
        stream_id: int,
        source: Source,
        *,
        play_id: int,
        repeat: bool = False,
        mix: bool = False,
        resume: bool = False,
    ) -> None:
        """Play; files that are not repeated take `file_s` each. Raises `UnknownStream`."""
        stream = self._stream(stream_id, "play")
        self._end_play(stream, "replaced")
        stream.playing = (play_id, source, repeat)
        stream.resumed = resume
        parts = source.parts if isinstance(source, Prompts) else (source,)
        files = sum(isinstance(part, File) for part in parts)
        if not repeat and files:
            self._loop().call_later(files * self._file_s, self._play_over, stream_id, play_id)

    def stop_play(self, stream_id: int) -> None:
        """Stop what is played, if anything is."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._end_play(stream, "stopped")

    def hear_progress(self, stream_id: int, country: str | None, *, answered: bool = False) -> None:
        """Remember that the line is listened to; raises `UnknownStream`."""
        self._stream(stream_id, "hear_progress").progress = country

    def send_digits(self, stream_id: int, digits: str) -> None:
        """Remember the digits; raises `UnknownStream`."""
        stream = self._stream(stream_id, "send_digits")
        if stream.params is not None and stream.params.dtmf_by_info:
            self._emit(DigitsDue(stream_id, digits))
            return
        stream.digits_sent += digits

    def start_recording(
        self,
        recording_id: int,
        *,
        left: int,
        right: int | None,
        name: str,
        ulaw: bool = False,
        beep: bool = False,
    ) -> None:
        """Open the books of a recording; raises `UnknownStream`, `BadName`."""
        if not name or "/" in name or "\\" in name or name.startswith("."):
            raise BadName(name)
        self._stream(left, "start_recording")
        if right is not None:
            self._stream(right, "start_recording")
        if recording_id in self.recordings:
            self.violations.append(f"recording {recording_id} started twice")
        self.recordings[recording_id] = SimRecording(recording_id, left, right, name, self._now_s())

    def pause_recording(self, recording_id: int) -> None:
        """Note that nothing is written now. Idempotent."""
        if recording_id in self.recordings:
            self.recordings[recording_id].paused = True

    def resume_recording(self, recording_id: int) -> None:
        """Note that it is written again. Idempotent."""
        if recording_id in self.recordings:
            self.recordings[recording_id].paused = False

    def stop_recording(self, recording_id: int) -> None:
        """End a recording; `RecordingStopped` follows. Idempotent."""
        self._end_recording(recording_id, "stopped")

    def fill_disk(self) -> None:
        """The disk is full: all recordings end with what they have."""
        for recording_id in list(self.recordings):
            self._end_recording(recording_id, "disk: No space left on device")

    def release(self, stream_id: int) -> None:
        """Give the stream and its port back; `StreamClosed` follows. Idempotent."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        self._unbridge(stream)
        self._end_play(stream, "released")
        for recording in list(self.recordings.values()):
            # The real plane records on, with silence in this half, until both have gone.
            if not {recording.left, recording.right} & (set(self.streams) - {stream_id}):
                self._end_recording(recording.recording_id, "released")
        del self.streams[stream_id]
        for other in self.streams.values():
            if other.monitor is not None and other.monitor[0] == stream_id:
                other.monitor = None
        self._free_ports.append(stream.local.port)
        self.released += 1
        self._emit(StreamClosed(stream_id, self.accounts.pop(stream_id, StreamStats())))

    def drain(self, worker: int, *, on: bool = True) -> None:
        """Note that a worker is to be emptied; calls are placed as ever."""
        if not 0 <= worker < self._workers:
            raise MediaError(f"no media worker {worker}; there are 0 to {self._workers - 1}")
        (self.draining.add if on else self.draining.discard)(worker)

    def snapshot(self) -> dict[str, Any]:
        """`streams`, `bridges`, `recordings`, `plays` and `ports_used`, all 0 at rest."""
        streams = self.streams.values()
        return {
            "workers": self._workers - len(self._dead),
            "streams": len(self.streams),
            "bridges": sum(1 for stream in streams if stream.bridged_to is not None) // 2,
            "recordings": len(self.recordings),
            "plays": sum(1 for stream in streams if stream.playing is not None),
            "ports_used": self._ports_total - len(self._free_ports),
        }

    # -- what a scenario makes happen ------------------------------------------------------------

    def stream_at(self, port: int) -> SimStream:
        """The stream that owns `port`; raises `SimulationError`."""
        for stream in self.streams.values():
            if stream.local.port == port:
                return stream
        raise SimulationError(f"no stream has port {port}")

    def press(self, stream_id: int, digits: str, duration_ms: int = 100) -> None:
        """The peer of a stream presses digits."""
        for digit in digits:
            self._emit(DigitReceived(stream_id, digit, duration_ms))

    def press_newest(self, digits: str) -> None:
        """The same at the newest stream: of a caller who has just come, his own."""
        self.press(max(self.streams), digits)

    def hear(self, stream_id: int, what: str) -> None:
        """The line of a stream says something; unheard unless it is listened to."""
        if self.streams[stream_id].progress is not None:
            self._emit(ProgressHeard(stream_id, what))

    def latch(self, stream_id: int, remote: tuple[str, int]) -> None:
        """Media of a stream has begun to come from `remote`."""
        self._emit(StreamLatched(stream_id, remote))

    def fall_silent(self, stream_id: int) -> None:
        """Nothing has come on the stream for the configured time."""
        self._emit(MediaTimedOut(stream_id))

    def kill_worker(self, worker: int = 0, *, replaced_after_s: float | None = 0.5) -> None:
        """A worker dies; with `replaced_after_s` a new one takes over its streams."""
        self._dead.add(worker)
        streams = [
            number for number, stream in self.streams.items() if stream.local.worker == worker
        ]
        recordings = [
            number for number, recording in self.recordings.items() if recording.left in streams
        ]
        self._emit(WorkerDied(worker, streams, recordings))
        if replaced_after_s is not None:
            self._loop().call_later(replaced_after_s, self._replace, worker)

    # -- inside ------------------------------------------------------------------------------------

    def _replace(self, worker: int) -> None:
        self._dead.discard(worker)
        self._on_event(WorkerReplaced(worker))

    def _stream(self, stream_id: int, command: str) -> SimStream:
        stream = self.streams.get(stream_id)
        if stream is None:
            self.violations.append(f"{command}: stream {stream_id} does not exist")
            raise UnknownStream(stream_id)
        return stream

    def _unbridge(self, stream: SimStream) -> None:
        other = self.streams.get(stream.bridged_to) if stream.bridged_to is not None else None
        stream.bridged_to = None
        if other is not None:
            other.bridged_to = None

    def _play_over(self, stream_id: int, play_id: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None and stream.playing is not None and stream.playing[0] == play_id:
            self._end_play(stream, "end")

    def _end_play(self, stream: SimStream, reason: str) -> None:
        if stream.playing is not None:
            play_id, stream.playing = stream.playing[0], None
            self._emit(PlayFinished(stream.local.stream_id, play_id, reason))

    def _end_recording(self, recording_id: int, reason: str) -> None:
        recording = self.recordings.pop(recording_id, None)
        if recording is None:
            return
        recording.stopped_at_s = self._now_s()
        self.finished.append(recording)
        frames = round((recording.stopped_at_s - recording.started_at_s) * SAMPLES_PER_S)
        path = self._recordings_dir / recording.name
        if recording.right is None and self._recordings_dir.is_dir():
            path.write_bytes(_hum(frames))
        self._emit(RecordingStopped(recording_id, str(path), frames, reason))

    def _emit(self, event: MediaEvent) -> None:
        self._loop().call_soon(self._on_event, event)

    @staticmethod
    def _loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _now_s(self) -> float:
        return self._loop().time()
