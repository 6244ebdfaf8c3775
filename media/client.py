"""The control plane's hold on the media plane: reserve, configure, bridge, play, record, release.

Every method but `start` and `stop` is synchronous and never waits: it changes the state kept here
and queues one command to the worker that has the stream. That state is all there is to know about a
worker, so a dead one is replaced with the same ports and everything is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from media.errors import MediaError, NoCapacity, NotSupported, UnknownStream
from media.plane.allocator import Placement, PortAllocator
from media.plane.packet_io import packed_host
from media.plane.recorder import checked_path
from media.protocol import (
    DIRECTIONS,
    AddPort,
    Address,
    Command,
    ConfigureStream,
    Connect,
    Disconnect,
    DropPort,
    JoinRoom,
    LeaveRoom,
    MediaEvent,
    OpenStream,
    PlayFinished,
    RecordingStopped,
    ReleaseStream,
    SendDigits,
    SetEcho,
    Setup,
    Source,
    StartPlay,
    StartRecording,
    Stop,
    StopPlay,
    StopRecording,
    StreamClosed,
    StreamLatched,
    StreamParams,
    StreamStats,
    WorkerDied,
    WorkerLoad,
    WorkerReplaced,
)
from media.supervisor import WorkerProcess

CODECS = ("PCMU", "PCMA", "G722", "opus", "L16")

_RECEIVE_BUFFER_OCTETS = 4 << 20
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32
_READY_S = 15.0
_STOP_S = 5.0
_WATCH_S = 1.0
_DEAF_S = 10.0
_RETRY_S = (0.0, 0.1, 0.5, 2.0, 5.0)
_HEALTHY_S = 10.0
_UNSPECIFIED = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class LocalStream:
    """Our end of a stream: its id and the address to write into SDP."""

    stream_id: int
    host: str
    port: int
    worker: int


@dataclass(slots=True)
class _StreamState:
    """All that a worker must know of a stream, to be said again to its replacement."""

    stream_id: int
    worker: int
    group: int
    port_id: int
    signalled_host: str | None
    params: StreamParams | None = None
    latched: Address | None = None
    partner: int | None = None
    echo: bool = False
    room: JoinRoom | None = None
    play: StartPlay | None = None
    play_since_s: float = 0.0
    play_stopped: bool = False


@dataclass(slots=True)
class _RecordingState:
    command: StartRecording
    worker: int
    since_s: float
    stopping: bool = False


@dataclass(slots=True)
class _WorkerState:
    worker: int
    process: WorkerProcess | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    since_s: float = 0.0
    heard_s: float = 0.0
    deaths: int = 0
    deaths_in_a_row: int = 0
    streams: set[int] = field(default_factory=set)
    closing: set[int] = field(default_factory=set)
    """Streams that were released and whose account has not come yet."""
    load: WorkerLoad | None = None
    retry: asyncio.TimerHandle | None = None


_Pair = tuple[socket.socket, socket.socket]
"""The RTP and the RTCP socket of a port."""


class MediaClient:
    """Client and supervisor of a few media workers; lives on one asyncio loop.

    Parameters: `address` to bind and to announce; `ports` first and last UDP port to use (even
    ports RTP, the next odd one RTCP); `workers` processes; `recordings_dir` is created when
    missing; `on_event` is called on the loop's thread for each `MediaEvent`; `one_port_per_stream`
    for middleboxes that insist on a port of its own for each stream; `rtp_timeout_s` until
    `MediaTimedOut`; `announced_address` instead of `address` in `LocalStream` (behind a router);
    `spare` keeps one process more ready to replace a worker at once; `back_end` "mmsg" or
    "portable".
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
        spare: bool = True,
        back_end: str = "mmsg",
        streams_max: int = 8192,
    ) -> None:
        packed_host(address)
        if workers < 1:
            raise ValueError("at least one media worker")
        self._address = address
        self._announced = announced_address or address
        self._recordings_dir = recordings_dir
        self._on_event = on_event
        self._rtp_timeout_s = rtp_timeout_s
        self._spare_wanted = spare
        self._back_end = back_end
        self._streams_max = streams_max
        self._allocator = PortAllocator(ports[0], ports[1], one_each=one_port_per_stream)
        self._sockets: dict[int, _Pair] = {}
        self._parting: dict[int, tuple[int, _Pair]] = {}
        self._workers = [_WorkerState(number) for number in range(workers)]
        self._streams: dict[int, _StreamState] = {}
        self._recordings: dict[int, _RecordingState] = {}
        self._groups: dict[int, list[int]] = {}
        self._spare: WorkerProcess | None = None
        self._spare_retry: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._next_stream_id = 1
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
        self._running = True
        try:
            for state in self._workers:
                for placement in self._allocator.open_first(state.worker):
                    with contextlib.suppress(OSError):
                        self._bind(placement)
                self._launch(state, None)
            async with asyncio.timeout(_READY_S):
                for state in self._workers:
                    await state.ready.wait()
        except TimeoutError:
            await self.stop()
            raise MediaError(f"a media worker was not ready after {_READY_S:.0f} s") from None
        except MediaError:
            await self.stop()
            raise
        self._prepare_spare()
        self._watch = self._loop.call_later(_WATCH_S, self._look_after)

    async def stop(self) -> None:
        """Finish the recordings, end the workers, close every socket. Idempotent."""
        self._running = False
        handles = [self._watch, self._spare_retry, *(state.retry for state in self._workers)]
        for handle in handles:
            if handle is not None:
                handle.cancel()
        processes = []
        for state in self._workers:
            if state.process is not None:
                state.process.send(Stop())
                processes.append(state.process)
        if self._spare is not None:
            self._spare.close()
            processes.append(self._spare)
            self._spare = None
        await asyncio.gather(*(process.gone(_STOP_S) for process in processes))
        # What a worker said last is still to be read.
        await asyncio.sleep(0)
        for process in processes:
            process.close()
        for state in self._workers:
            state.process = None
        for stream_id in list(self._parting):
            self._close_parting(stream_id)
        for pair in self._sockets.values():
            for sock in pair:
                sock.close()
        self._sockets.clear()

    def _bind(self, placement: Placement) -> None:
        """Bind both sockets of a port; raises `OSError` after taking the port out of use."""
        for stream_id, (port, pair) in self._parting.items():
            if port == placement.port:
                del self._parting[stream_id]
                self._sockets[placement.port_id] = pair
                return
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        made: list[socket.socket] = []
        try:
            for offset in (0, 1):
                sock = socket.socket(family, socket.SOCK_DGRAM)
                made.append(sock)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setblocking(False)
                _enlarge(sock)
                sock.bind((self._address, placement.port + offset))
        except OSError:
            for sock in made:
                sock.close()
            self._allocator.refused(placement.port_id)
            raise
        self._sockets[placement.port_id] = (made[0], made[1])

    def _add_port(self, state: _WorkerState, placement: Placement) -> None:
        pair = self._sockets.get(placement.port_id)
        if pair is not None and state.process is not None:
            command = AddPort(placement.port_id, self._address, placement.port)
            state.process.send(command, (pair[0].fileno(), pair[1].fileno()))

    def _launch(self, state: _WorkerState, process: WorkerProcess | None) -> None:
        """Give a worker a process (a ready spare or a new one) and tell it everything."""
        if process is None:
            process = self._spawn()
        state.process = process
        state.since_s = state.heard_s = self._loop.time()
        state.ready.clear()
        process.send(
            Setup(
                worker=state.worker,
                recordings_dir=str(self._recordings_dir.resolve()),
                rtp_timeout_s=self._rtp_timeout_s,
                streams_max=self._streams_max,
                back_end=self._back_end,
            )
        )
        for placement in self._allocator.ports_of(state.worker):
            self._add_port(state, placement)
        self._tell_again(state)

    def _spawn(self) -> WorkerProcess:
        def on_event(event: MediaEvent) -> None:
            self._on_worker_event(process, event)

        def on_end() -> None:
            self._on_worker_end(process)

        process = WorkerProcess(on_event, on_end)
        return process

    def _tell_again(self, state: _WorkerState) -> None:
        own = [self._streams[stream_id] for stream_id in sorted(state.streams)]
        for stream in own:
            self._send(
                stream.worker,
                OpenStream(stream.stream_id, stream.port_id, stream.signalled_host, stream.latched),
            )
            if stream.params is not None:
                self._send(stream.worker, ConfigureStream(stream.stream_id, stream.params))
        now_s = self._loop.time()
        for stream in own:
            if stream.partner is not None and stream.stream_id < stream.partner:
                self._send(stream.worker, Connect(stream.stream_id, stream.partner))
            if stream.echo:
                self._send(stream.worker, SetEcho(stream.stream_id, True))
            if stream.room is not None:
                self._send(stream.worker, stream.room)
            if stream.play is not None:
                passed_ms = round(1000 * (now_s - stream.play_since_s))
                self._send(stream.worker, msgspec.structs.replace(stream.play, at_ms=passed_ms))
                if stream.play_stopped:
                    self._send(stream.worker, StopPlay(stream.stream_id))
        for recording_id, recording in list(self._recordings.items()):
            if recording.worker == state.worker:
                elapsed_ms = max(1, round(1000 * (now_s - recording.since_s)))
                again = msgspec.structs.replace(recording.command, elapsed_ms=elapsed_ms)
                self._send(state.worker, again)
                if recording.stopping:
                    self._send(state.worker, StopRecording(recording_id))

    # --- what workers say and how they end ----------------------------------------------------

    def _state_of(self, process: WorkerProcess) -> _WorkerState | None:
        for state in self._workers:
            if state.process is process:
                return state
        return None

    def _on_worker_event(self, process: WorkerProcess, event: MediaEvent) -> None:
        state = self._state_of(process)
        if state is None:
            return
        state.heard_s = self._loop.time()
        match event:
            case WorkerLoad():
                state.load = event
                state.ready.set()
                if state.heard_s - state.since_s > _HEALTHY_S:
                    state.deaths_in_a_row = 0
            case StreamLatched(stream_id=stream_id, remote=remote):
                self._note_latched(stream_id, remote)
            case PlayFinished(stream_id=stream_id, play_id=play_id):
                stream = self._streams.get(stream_id)
                play = None if stream is None else stream.play
                if stream is not None and play is not None and play.play_id == play_id:
                    stream.play = None
            case RecordingStopped(recording_id=recording_id):
                if self._recordings.pop(recording_id, None) is None:
                    return
            case StreamClosed(stream_id=stream_id):
                state.closing.discard(stream_id)
                self._close_parting(stream_id)
        self._on_event(event)

    def _note_latched(self, stream_id: int, remote: Address) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.latched = remote
            self._allocator.latched(stream_id, remote)

    def _on_worker_end(self, process: WorkerProcess) -> None:
        if process is self._spare:
            self._spare = None
            if self._running:
                self._spare_retry = self._loop.call_later(_RETRY_S[-1], self._prepare_spare)
            return
        state = self._state_of(process)
        if state is None:
            return
        state.process = None
        state.load = None
        if not self._running:
            return
        state.deaths += 1
        recordings = [
            recording_id
            for recording_id, recording in self._recordings.items()
            if recording.worker == state.worker
        ]
        self._on_event(WorkerDied(state.worker, sorted(state.streams), recordings))
        for stream_id in sorted(state.closing):
            self._close_parting(stream_id)
            self._on_event(StreamClosed(stream_id, StreamStats()))
        state.closing.clear()
        delay_s = _RETRY_S[min(state.deaths_in_a_row, len(_RETRY_S) - 1)]
        state.deaths_in_a_row += 1
        if delay_s:
            state.retry = self._loop.call_later(delay_s, self._replace, state)
        else:
            self._replace(state)

    def _replace(self, state: _WorkerState) -> None:
        if not self._running or state.process is not None:
            return
        spare, self._spare = self._spare, None
        try:
            self._launch(state, spare)
        except MediaError:
            state.retry = self._loop.call_later(_RETRY_S[-1], self._replace, state)
            return
        self._on_event(WorkerReplaced(state.worker))
        # Not at once: the replacement needs the processor more.
        self._spare_retry = self._loop.call_later(_WATCH_S, self._prepare_spare)

    def _prepare_spare(self) -> None:
        if self._running and self._spare_wanted and self._spare is None:
            with contextlib.suppress(MediaError):
                self._spare = self._spawn()

    def _look_after(self) -> None:
        """A worker that says nothing for long is stuck: end it, the rest follows."""
        now_s = self._loop.time()
        for state in self._workers:
            if state.process is not None and now_s - state.heard_s > _DEAF_S:
                state.process.kill()
        self._watch = self._loop.call_later(_WATCH_S, self._look_after)

    def _send(self, worker: int, command: Command) -> None:
        process = self._workers[worker].process
        if process is not None:
            process.send(command)

    # --- streams ------------------------------------------------------------------------------

    def reserve(self, *, group: int, signalled_host: str | None) -> LocalStream:
        """A new stream; streams of one `group` (call) share a worker, as bridges demand.

        `signalled_host`: the address the peer's signalling comes from (behind NAT the only host
        that may send us media), None if it is not known yet. Raises `NoCapacity`.
        """
        if not self._running:
            raise MediaError("the media plane is not running")
        host = None if signalled_host is None else _numeric(signalled_host)
        worker = self._place(group)
        state = self._workers[worker]
        if len(state.streams) >= self._streams_max:
            raise NoCapacity(f"{self._streams_max} streams are open on worker {worker}")
        stream_id = self._next_stream_id
        placement = self._reserve_port(stream_id, worker, host)
        self._next_stream_id += 1
        self._streams[stream_id] = _StreamState(stream_id, worker, group, placement.port_id, host)
        state.streams.add(stream_id)
        self._groups.setdefault(group, [worker, 0])[1] += 1
        self._send(worker, OpenStream(stream_id, placement.port_id, host))
        return LocalStream(stream_id, self._announced, placement.port, worker)

    def _place(self, group: int) -> int:
        known = self._groups.get(group)
        if known is not None:
            return known[0]
        alive = [state for state in self._workers if state.process is not None]
        return min(alive or self._workers, key=lambda state: len(state.streams)).worker

    def _reserve_port(self, stream_id: int, worker: int, host: str | None) -> Placement:
        while True:
            placement = self._allocator.reserve(stream_id, worker, host)
            if not placement.opened:
                return placement
            try:
                self._bind(placement)
            except OSError:
                continue  # somebody else has this port; the allocator offers it no more
            self._add_port(self._workers[worker], placement)
            return placement

    def configure(self, stream_id: int, params: StreamParams) -> None:
        """What SDP has agreed, again at every change. Idempotent. Raises `UnknownStream`,
        `NotSupported` (codec, direction, an address that is none)."""
        stream = self._get(stream_id)
        params = _checked(params)
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
            expected = host if params.nat else None
            if params.nat and expected is None and params.remote is not None:
                expected = params.remote[0]
            self._allocator.expect(stream_id, expected, params.remote)
        self._send(stream.worker, ConfigureStream(stream_id, params))

    def release(self, stream_id: int) -> None:
        """Give a stream back; its bridges, plays and recordings end, `StreamClosed` follows.
        Idempotent."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return
        if stream.partner is not None and stream.partner in self._streams:
            self._streams[stream.partner].partner = None
        state = self._workers[stream.worker]
        state.streams.discard(stream_id)
        group = self._groups[stream.group]
        group[1] -= 1
        if not group[1]:
            del self._groups[stream.group]
        self._forget_recordings(stream_id)
        unused = self._allocator.release(stream_id)
        if unused is not None:
            self._part_with(stream, unused)
        self._send(stream.worker, ReleaseStream(stream_id))
        if state.process is None:
            self._close_parting(stream_id)
            self._loop.call_soon(self._on_event, StreamClosed(stream_id, StreamStats()))
        else:
            state.closing.add(stream_id)

    def _part_with(self, stream: _StreamState, unused: Placement) -> None:
        """Close a port once the worker has: as long as it holds the socket, nobody else can bind."""
        pair = self._sockets.pop(unused.port_id, None)
        if pair is not None:
            self._send(stream.worker, DropPort(unused.port_id))
            self._parting[stream.stream_id] = (unused.port, pair)

    def _close_parting(self, stream_id: int) -> None:
        parted = self._parting.pop(stream_id, None)
        if parted is not None:
            for sock in parted[1]:
                sock.close()

    def _forget_recordings(self, stream_id: int) -> None:
        """A recording without streams ends with the last of them; the worker does the same."""
        for recording in self._recordings.values():
            command = recording.command
            sides = [command.left] if command.right is None else [command.left, command.right]
            if stream_id in sides and not any(side in self._streams for side in sides):
                recording.stopping = True

    def _get(self, stream_id: int) -> _StreamState:
        stream = self._streams.get(stream_id)
        if stream is None:
            raise UnknownStream(f"stream {stream_id}")
        return stream

    def _same_worker(self, a: int, b: int) -> int:
        first, second = self._get(a), self._get(b)
        if first.worker != second.worker:
            raise MediaError(f"streams {a} and {b} are on different workers: use one group")
        return first.worker

    # --- what streams do ------------------------------------------------------------------------

    def connect(self, a: int, b: int) -> None:
        """A two-party bridge between streams of one group; ends any bridge they were in before."""
        worker = self._same_worker(a, b)
        for stream_id in (a, b):
            self._part(stream_id)
            stream = self._streams[stream_id]
            stream.echo, stream.room = False, None
        self._streams[a].partner, self._streams[b].partner = b, a
        self._send(worker, Connect(a, b))

    def _part(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.partner is not None:
            other = self._streams.get(stream.partner)
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
        stream = self._get(stream_id)
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
        stream = self._get(stream_id)
        for other in self._streams.values():
            if other.room is not None and other.room.room == room:
                if other.worker != stream.worker:
                    raise MediaError(f"room {room} is on another worker: use one group")
                break
        self._part(stream_id)
        stream.echo = False
        stream.room = JoinRoom(room, stream_id, mute=mute, deaf=deaf, gain=gain)
        self._send(stream.worker, stream.room)

    def leave_room(self, stream_id: int) -> None:
        """Take a stream out of its room; nothing happens if it is in none."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.room is not None:
            stream.room = None
            self._send(stream.worker, LeaveRoom(stream_id))

    def play(self, stream_id: int, source: Source, *, play_id: int, repeat: bool = False) -> None:
        """Send a tone or a file to the peer instead of what its bridge carries, from now on.

        Replaces what was played before. `PlayFinished` follows at the end, at `stop_play`, or when
        another source takes over.
        """
        stream = self._get(stream_id)
        stream.play = StartPlay(stream_id, play_id, source, repeat)
        stream.play_since_s = self._loop.time()
        stream.play_stopped = False
        self._send(stream.worker, stream.play)

    def stop_play(self, stream_id: int) -> None:
        """Stop what is played; the bridge is heard again."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.play is not None:
            stream.play_stopped = True
            self._send(stream.worker, StopPlay(stream_id))

    def send_digits(self, stream_id: int, digits: str) -> None:
        """Send DTMF digits (0-9 * # A-D; ',' pauses) one after the other: as telephone events, or
        as sound where the peer has not agreed to them."""
        self._send(self._get(stream_id).worker, SendDigits(stream_id, digits))

    def start_recording(
        self, recording_id: int, *, left: int, right: int | None, name: str
    ) -> None:
        """Record what `left` and `right` say into one stereo WAV `recordings_dir/name`.

        `right` None records `left` alone (mono). `name`: a bare file name. Raises `BadName`.
        """
        worker = self._get(left).worker if right is None else self._same_worker(left, right)
        checked_path(str(self._recordings_dir), name)
        if recording_id in self._recordings:
            return
        command = StartRecording(recording_id, left, right, name)
        self._recordings[recording_id] = _RecordingState(command, worker, self._loop.time())
        self._send(worker, command)

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
                {
                    "worker": state.worker,
                    "pid": None if state.process is None else state.process.pid,
                    "streams": len(state.streams),
                    "cpu": None if state.load is None else state.load.cpu,
                    "packets_in": None if state.load is None else state.load.packets_in,
                    "packets_out": None if state.load is None else state.load.packets_out,
                    "unknown_sources": None if state.load is None else state.load.unknown_sources,
                    "restarts": state.deaths,
                }
                for state in self._workers
            ],
            "spare": None if self._spare is None else self._spare.pid,
            "streams": len(self._streams),
            "closing": sum(len(state.closing) for state in self._workers),
            "recordings": len(self._recordings),
            "groups": len(self._groups),
            "ports": len(self._allocator),
            "ports_free": self._allocator.snapshot()["ports_free"],
            "sockets": 2 * (len(self._sockets) + len(self._parting)),
        }


def _enlarge(sock: socket.socket) -> None:
    """Room for some tens of milliseconds of all streams; beyond the system's limit if allowed."""
    for forced, plain in (
        (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
        (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, _RECEIVE_BUFFER_OCTETS)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, plain, _RECEIVE_BUFFER_OCTETS)


def _numeric(host: str) -> str:
    """Return a numeric address in its usual form; raises `NotSupported`."""
    try:
        packed = packed_host(host)
    except ValueError as error:
        raise NotSupported(str(error)) from error
    if len(packed) == 16 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        packed = packed[12:]  # an IPv4 address in IPv6 clothes must not pass as another host
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _checked(params: StreamParams) -> StreamParams:
    """Return `params` with numeric hosts, and no remote where SDP says "send nothing"."""
    if params.codec not in CODECS:
        raise NotSupported(f"codec {params.codec!r}; allowed: {', '.join(CODECS)}")
    if params.direction not in DIRECTIONS:
        raise NotSupported(f"direction {params.direction!r}")
    if not 0 <= params.payload_type <= 127:
        raise NotSupported(f"payload type {params.payload_type}")
    remote, host = params.remote, params.signalled_host
    if remote is not None:
        remote = (_numeric(remote[0]), remote[1])
        if remote[0] in _UNSPECIFIED or not 0 < remote[1] < 65_536:
            remote = None
    if host is not None:
        host = _numeric(host)
    return msgspec.structs.replace(params, remote=remote, signalled_host=host)
