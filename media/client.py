"""The control plane's hold on the media plane: reserve, configure, bridge, play, record, release.

Every method but `start` and `stop` is synchronous and never waits: it changes the state kept here
and queues one command to the worker that has the stream; they leave together at the end of the loop's
turn, or with `flush`. That state is all there is to know about a
worker, so a dead one is replaced with the same ports and everything is sent again.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from media.agreement import checked, is_ipv6, numeric
from media.doors import Doors
from media.errors import MediaError, NoCapacity, NotSupported, UnknownStream
from media.ledger import RecordingState, StreamState, told_again
from media.orphans import Orphans
from media.plane.recorder import checked_path
from media.protocol import (
    MONITOR_MODES,
    ConfigureStream,
    Connect,
    Disconnect,
    DropPort,
    HearProgress,
    JoinRoom,
    LeaveRoom,
    MediaEvent,
    Monitor,
    PauseRecording,
    PlayFinished,
    RecordingStopped,
    ReleaseStream,
    ResumeRecording,
    SendDigits,
    SetEcho,
    Setup,
    Source,
    StartPlay,
    StartRecording,
    StopMonitor,
    StopPlay,
    StopRecording,
    StreamClosed,
    StreamLatched,
    StreamParams,
    StreamStats,
    WorkerDied,
    WorkerReplaced,
)
from media.rota import Rota
from media.supervisor import Introduction, Supervisor

_SSRCS = struct.Struct("=64I")


class LocalStream(msgspec.Struct, frozen=True):
    """Our end of a stream: its id and the address to write into SDP.

    `ssrc` is what we send with: as `a=ssrc:` (RFC 5576) it lets a peer of our own kind, which takes
    many streams on one port, tell ours apart before the first packet.
    """

    stream_id: int
    host: str
    port: int
    worker: int
    ssrc: int = 0


class MediaClient:
    """Client and supervisor of a few media workers; lives on one asyncio loop.

    Parameters: `address` to bind and to announce; `other_address` the same of the other family, for
    peers that signal by it (the first serves all peers else); `ports` first and last UDP port to use (even
    ports RTP, the next odd one RTCP); `workers` processes; `recordings_dir` is created when
    missing; `on_event` is called on the loop's thread for each `MediaEvent`; `one_port_per_stream`
    for middleboxes that insist on a port of its own for each stream; `rtp_timeout_s` until
    `MediaTimedOut`; `announced_address` instead of `address` in `LocalStream` (behind a router);
    `spare` keeps one process more ready to replace a worker at once; `back_end` "mmsg" or
    "portable"; `orphan_s`: if this process dies, the sound of calls goes on for so long, carried by
    workers that the next client finds in `orphan_dir`, a folder that is only ours.
    """

    def __init__(
        self,
        *,
        address: str,
        ports: tuple[int, int],
        workers: int,
        recordings_dir: Path,
        on_event: Callable[[MediaEvent], None],
        one_port_per_stream: bool = False,
        rtp_timeout_s: float = 30.0,
        announced_address: str | None = None,
        other_address: str | None = None,
        spare: bool = True,
        back_end: str = "mmsg",
        streams_max: int = 8192,
        orphan_s: float = 0.0,
        orphan_dir: Path | None = None,
    ) -> None:
        if other_address is not None and is_ipv6(other_address) == is_ipv6(address):
            raise ValueError(f"{address} and {other_address} are of one family")
        if workers < 1:
            raise ValueError("at least one media worker")
        self._recordings_dir = recordings_dir
        self._on_event = on_event
        self._rtp_timeout_s = rtp_timeout_s
        self._back_end = back_end
        self._streams_max = streams_max
        self._orphan_s = 0.0 if orphan_dir is None else orphan_s
        self._orphan_dir = orphan_dir
        self._orphans = None if orphan_dir is None else Orphans(orphan_dir)
        self._doors = Doors(
            (address,) if other_address is None else (address, other_address),
            announced_address,
            ports,
            workers,
            one_each=one_port_per_stream,
        )
        self._supervisor = Supervisor(
            workers,
            spare=spare,
            introduce=self._introduce,
            on_event=self._on_worker_event,
            on_death=self._on_worker_death,
            on_replaced=lambda worker: on_event(WorkerReplaced(worker)),
        )
        self._send, self._senders = self._supervisor.send, self._supervisor.senders
        self._streams: dict[int, StreamState] = {}
        self._recordings: dict[int, RecordingState] = {}
        self._rota = Rota(workers)
        self._next_stream_id = 1
        self._ssrcs = _random_ssrcs()
        self._running = False
        self._loop: asyncio.AbstractEventLoop

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind the first sockets, spawn the workers; raises `MediaError` if that cannot be done."""
        self._loop = asyncio.get_running_loop()
        try:
            self._recordings_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"recordings directory: {error}") from error
        if self._orphans is not None:
            self._orphans.find()
        self._doors.open_first()
        try:
            await self._supervisor.start()
        except MediaError:
            self._doors.close()
            raise
        self._running = True

    async def stop(self) -> None:
        """Finish the recordings, end the workers, close every socket. Idempotent."""
        self._running = False
        if self._orphans is not None:
            await self._orphans.end()
        await self._supervisor.stop()
        self._doors.close()

    def flush(self) -> None:
        """Tell the workers now what this turn of the loop has brought so far, rather than at its end: call
        it before the peer hears where to send. What opens or releases streams and nothing else waits."""
        self._supervisor.flush()

    def _introduce(self, worker: int) -> Introduction:
        """All that a new process of `worker` must know."""
        yield (
            Setup(
                worker=worker,
                recordings_dir=str(self._recordings_dir.resolve()),
                rtp_timeout_s=self._rtp_timeout_s,
                streams_max=self._streams_max,
                back_end=self._back_end,
                orphan_s=self._orphan_s,
                orphan_dir="" if self._orphan_dir is None else str(self._orphan_dir.resolve()),
            ),
            (),
        )
        for door in self._doors:
            yield from door.ports_of(worker)
        streams = [self._streams[stream_id] for stream_id in sorted(self._rota.streams[worker])]
        for stream in streams:
            stream.succeed()
        recordings = [state for state in self._recordings.values() if state.worker == worker]
        for command in told_again(streams, recordings, self._loop.time()):
            yield command, ()

    # --- what workers say and how they end ----------------------------------------------------

    def _on_worker_event(self, worker: int, event: MediaEvent) -> None:
        if type(event) is StreamClosed:  # two a call, and of many calls nothing else comes
            self._rota.closing[worker].discard(event.stream_id)
            self._doors.parted(event.stream_id)
            self._on_event(event)
            if self._rota.draining:
                self._renew_drained(worker)
            return
        match event:
            case StreamLatched(stream_id=stream_id, remote=remote):
                stream = self._streams.get(stream_id)
                if stream is not None:
                    stream.latched = remote
                    self._doors[stream.door].allocator.latched(stream_id, remote)
            case PlayFinished(stream_id=stream_id, play_id=play_id):
                stream = self._streams.get(stream_id)
                play = None if stream is None else stream.play
                if stream is not None and play is not None and play.play_id == play_id:
                    stream.play = None
            case RecordingStopped(recording_id=recording_id):
                if self._recordings.pop(recording_id, None) is None:
                    return
        self._on_event(event)

    def _on_worker_death(self, worker: int) -> None:
        recordings = [
            recording_id
            for recording_id, recording in self._recordings.items()
            if recording.worker == worker
        ]
        for stream_id in self._rota.streams[worker]:
            self._streams[stream_id].hold_digits(self._loop.time())
        self._on_event(WorkerDied(worker, sorted(self._rota.streams[worker]), recordings))
        for stream_id in sorted(self._rota.closing[worker]):
            # The account went with the worker; who waits for it gets an empty one.
            self._doors.parted(stream_id)
            self._on_event(StreamClosed(stream_id, StreamStats()))
        self._rota.closing[worker].clear()

    # --- streams ------------------------------------------------------------------------------

    def reserve(self, *, group: int, signalled_host: str | None) -> LocalStream:
        """A new stream; streams of one `group` (call) share a worker, as bridges demand.

        `signalled_host`: the address the peer's signalling comes from (behind NAT the only host
        that may send us media), None if it is not known yet. Raises `NoCapacity`.
        """
        if not self._running:
            raise MediaError("the media plane is not running")
        host = None if signalled_host is None else numeric(signalled_host)
        worker = self._rota.place(group, self._supervisor.alive, self._supervisor.load_of)
        if len(self._rota.streams[worker]) >= self._streams_max:
            raise NoCapacity(f"{self._streams_max} streams are open on worker {worker}")
        stream_id = self._next_stream_id
        number = self._doors.number_for(host)
        door = self._doors.all[number]
        placement, lent = door.reserve(stream_id, worker, host)
        if lent is not None:
            self._send(worker, *lent)
        self._next_stream_id += 1
        ssrc = next(self._ssrcs)
        self._streams[stream_id] = StreamState(
            stream_id, worker, group, placement.port_id, ssrc, host, number
        )
        self._rota.add(group, worker, stream_id)
        # Before it is configured a stream hears nothing: its worker hears of it then.
        return LocalStream(stream_id, door.announced, placement.port, worker, ssrc)

    def drain(self, worker: int, *, on: bool = True) -> None:
        """Give a worker no new calls; once its last call is over a fresh process takes its place and calls
        again. `on` False: let it be. Raises `MediaError` for a number that no worker has."""
        if not 0 <= worker < len(self._rota.streams):
            last = len(self._rota.streams) - 1
            raise MediaError(f"no media worker {worker}; there are 0 to {last}")
        if on:
            self._rota.draining.add(worker)
            self._renew_drained(worker)
        else:
            self._rota.draining.discard(worker)

    def _renew_drained(self, worker: int) -> None:
        if self._rota.drained(worker):
            self._rota.draining.discard(worker)
            self._supervisor.renew(worker)

    def configure(self, stream_id: int, params: StreamParams) -> None:
        """What SDP has agreed, again at every change. Idempotent. Raises `UnknownStream`,
        `NotSupported` (codec, direction, an address that is none), `SrtpError` (a key)."""
        stream = self._get(stream_id)
        params = checked(params)
        before = stream.params
        if before == params:
            return
        host = params.signalled_host or stream.signalled_host
        learns = (
            before is None
            or host != stream.signalled_host
            or before.nat != params.nat
            or (before.remote != params.remote and params.remote != stream.latched)
        )
        stream.params, stream.signalled_host = params, host
        if learns:
            stream.latched = None
            # Until it is latched no other stream of its port shall wait for the same host: what
            # that host sends first could be for either.
            expected = host if params.nat else None
            if expected is None and params.remote is not None:
                expected = params.remote[0]
            self._doors.all[stream.door].allocator.expect(stream_id, expected, params.remote)
        self._senders[stream.worker](
            ConfigureStream(stream_id, params) if stream.opened else stream.open()
        )

    def release(self, stream_id: int) -> None:
        """Give a stream back; its bridges, plays and recordings end, `StreamClosed` follows.
        Idempotent."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return
        if stream.partner is not None:
            self._leave_partner(stream)
        worker = stream.worker
        self._rota.remove(stream.group, worker, stream_id)
        if self._recordings:
            self._forget_recordings(stream_id)
        unused = self._doors.all[stream.door].release(stream_id)
        if unused is not None:
            self._send(worker, DropPort(unused), patient=True)
            # The port is free for others when the worker has let go of it: its account says so.
            self._open(stream)
        if stream.opened and self._supervisor.is_alive(worker):
            self._senders[worker](ReleaseStream(stream_id), patient=True)
            self._rota.closing[worker].add(stream_id)
        else:
            self._doors.parted(stream_id)
            self._loop.call_soon(self._closed, worker, StreamClosed(stream_id, StreamStats()))

    def _closed(self, worker: int, event: StreamClosed) -> None:
        self._on_event(event)
        self._renew_drained(worker)

    def _forget_recordings(self, stream_id: int) -> None:
        """A recording without streams ends with the last of them; the worker does the same."""
        for recording in self._recordings.values():
            command = recording.command
            sides = [command.left] if command.right is None else [command.left, command.right]
            if stream_id in sides and not any(side in self._streams for side in sides):
                recording.stopping = True

    def _get(self, stream_id: int) -> StreamState:
        stream = self._streams.get(stream_id)
        if stream is None:
            raise UnknownStream(f"stream {stream_id}")
        return stream

    def _opened(self, stream_id: int) -> StreamState:
        """A stream that its worker has heard of."""
        stream = self._get(stream_id)
        self._open(stream)
        return stream

    def _open(self, stream: StreamState) -> None:
        if not stream.opened:
            self._send(stream.worker, stream.open())

    def _same_worker(self, a: int, b: int) -> int:
        first, second = self._get(a), self._get(b)
        for stream in (first, second):
            if not stream.opened:
                self._open(stream)
        if first.worker != second.worker:
            raise MediaError(f"streams {a} and {b} are on different workers: use one group")
        return first.worker

    # --- what streams do ------------------------------------------------------------------------

    def connect(self, a: int, b: int) -> None:
        """A two-party bridge between streams of one group; ends any bridge they were in before."""
        worker = self._same_worker(a, b)
        for stream_id, other in ((a, b), (b, a)):
            stream = self._streams[stream_id]
            if stream.partner is not None:
                self._leave_partner(stream)
            stream.echo, stream.room, stream.monitor = False, None, None
            stream.partner = other
        self._senders[worker](Connect(a, b))

    def _part(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.partner is not None:
            self._leave_partner(stream)

    def _leave_partner(self, stream: StreamState) -> None:
        other = self._streams.get(stream.partner) if stream.partner is not None else None
        if other is not None:
            other.partner = None
        stream.partner = None

    def disconnect(self, a: int, b: int) -> None:
        """End the bridge between `a` and `b`, if there is one."""
        stream = self._streams.get(a)
        if stream is not None and stream.partner == b:
            self._part(a)
            self._send(stream.worker, Disconnect(a, b))

    def echo(self, stream_id: int, on: bool) -> None:
        """Send a stream its own audio back."""
        stream = self._opened(stream_id)
        stream.echo = on
        self._send(stream.worker, SetEcho(stream_id, on))

    def join_room(
        self,
        room: int,
        stream_id: int,
        *,
        mute: bool = False,
        deaf: bool = False,
        gain: float = 1.0,
    ) -> None:
        """Put a stream into an N-party conference, or change its `mute`, `deaf`, `gain` there.

        All streams of a room must be of one worker: reserve them with the room's `group`.
        """
        stream = self._opened(stream_id)
        for other in self._streams.values():
            if other.room is not None and other.room.room == room:
                if other.worker != stream.worker:
                    raise MediaError(f"room {room} is on another worker: use one group")
                break
        self._part(stream_id)
        stream.echo, stream.monitor = False, None
        stream.room = JoinRoom(room, stream_id, mute=mute, deaf=deaf, gain=gain)
        self._send(stream.worker, stream.room)

    def leave_room(self, stream_id: int) -> None:
        """Take a stream out of its room; nothing happens if it is in none."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.room is not None:
            stream.room = None
            self._send(stream.worker, LeaveRoom(stream_id))

    def monitor(self, stream_id: int, target: int, *, mode: str = "listen") -> None:
        """Let a supervisor's stream hear the call of `target`, wherever that call goes.

        `mode`: "listen", nobody hears the supervisor; "whisper", `target` alone does; "barge", all
        do. Again with another mode at any time. Both streams of one group; what bridge or room the
        supervisor was in ends. It lasts until `stop_monitor`, `connect`, `join_room` or the end of
        either stream. Raises `NotSupported` for an unknown mode.
        """
        if mode not in MONITOR_MODES:
            raise NotSupported(f"monitor mode {mode!r}; allowed: {', '.join(MONITOR_MODES)}")
        if stream_id == target:
            raise MediaError("nobody supervises himself")
        worker = self._same_worker(stream_id, target)
        self._part(stream_id)
        stream = self._streams[stream_id]
        stream.echo, stream.room = False, None
        stream.monitor = Monitor(stream_id, target, mode)
        self._send(worker, stream.monitor)

    def stop_monitor(self, stream_id: int) -> None:
        """The supervisor's stream leaves the call it hears; nothing happens if there is none."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.monitor is not None:
            stream.monitor = None
            self._send(stream.worker, StopMonitor(stream_id))

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
        """Send a tone, a file or a row of both to the peer, from now on; with `resume` from where it was left
        off, if it is what was repeated last in this stream (music, after an announcement).

        Instead of what its bridge carries; with `mix` over it, and it is 12 dB softer meanwhile.
        Replaces what was played before. `PlayFinished` follows at the end, at `stop_play`, or when
        another source takes over.
        """
        stream = self._opened(stream_id)
        play = StartPlay(stream_id, play_id, source, repeat, mix=mix)
        play = stream.start_play(play, self._loop.time(), resume=resume)
        self._send(stream.worker, play)

    def stop_play(self, stream_id: int) -> None:
        """Stop what is played; the bridge is heard again."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.play is not None:
            stream.stop_play(self._loop.time())
            self._send(stream.worker, StopPlay(stream_id))

    def hear_progress(self, stream_id: int, country: str | None, *, answered: bool = False) -> None:
        """Report by `ProgressHeard` what the line of a stream says, by the tones of `country`.

        None: no longer. `answered`: the call is answered at this moment; whether a man or a machine
        speaks is reported once. A country that is not known has the tones of most of Europe.
        """
        stream = self._opened(stream_id)
        stream.progress = country
        self._send(stream.worker, HearProgress(stream_id, country, answered))

    def send_digits(self, stream_id: int, digits: str) -> None:
        """Send DTMF digits (0-9 * # A-D; ',' pauses) one after the other: as telephone events, or
        as sound where the peer has not agreed to them."""
        stream = self._opened(stream_id)
        stream.send_digits(digits, self._loop.time())
        self._send(stream.worker, SendDigits(stream_id, digits))

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
        """Record what `left` and `right` say into one stereo WAV `recordings_dir/name`.

        `right` None records `left` alone (mono). `name`: a bare file name. `ulaw`: half the size of
        PCM16; `beep`: both hear each 15 s that they are recorded. Raises `BadName`.
        """
        worker = self._opened(left).worker if right is None else self._same_worker(left, right)
        checked_path(str(self._recordings_dir), name)
        if recording_id in self._recordings:
            return
        command = StartRecording(recording_id, left, right, name, ulaw=ulaw, beep=beep)
        self._recordings[recording_id] = RecordingState(command, worker, self._loop.time())
        self._send(worker, command)

    def pause_recording(self, recording_id: int) -> None:
        """Keep what is said out of the file (a card number), from now on. Idempotent.

        The file goes on with silence, so that its time stays the call's; marks "paused" and
        "resumed" (a `cue ` chunk with labels) say from where to where once it is complete.
        """
        recording = self._recordings.get(recording_id)
        if recording is not None and not recording.paused and not recording.stopping:
            recording.paused = True
            self._send(recording.worker, PauseRecording(recording_id))

    def resume_recording(self, recording_id: int) -> None:
        """Record again what is said, 0.2 s after this at the latest. Idempotent."""
        recording = self._recordings.get(recording_id)
        if recording is not None and recording.paused and not recording.stopping:
            recording.paused = False
            self._send(recording.worker, ResumeRecording(recording_id))

    def stop_recording(self, recording_id: int) -> None:
        """End a recording; `RecordingStopped` follows when the file is complete. Idempotent."""
        recording = self._recordings.get(recording_id)
        if recording is not None and not recording.stopping:
            recording.stopping = True
            self._send(recording.worker, StopRecording(recording_id))

    def snapshot(self) -> dict[str, Any]:
        """Workers (pid, streams, cpu, restarts), streams, ports: for display and for tests."""
        return {
            "workers": [
                worker
                | {
                    "streams": len(self._rota.streams[worker["worker"]]),
                    "draining": worker["worker"] in self._rota.draining,
                }
                for worker in self._supervisor.snapshot()
            ],
            "spare": self._supervisor.spare_pid,
            "orphans": [] if self._orphans is None else self._orphans.snapshot(),
            "streams": len(self._streams),
            "closing": sum(len(streams) for streams in self._rota.closing),
            "recordings": len(self._recordings),
            "groups": self._rota.groups,
            **self._doors.snapshot(),
        }


def _random_ssrcs() -> Iterator[int]:
    """Yield random numbers of 32 bits; the system is asked for many at a time."""
    while True:
        yield from _SSRCS.unpack(secrets.token_bytes(_SSRCS.size))
