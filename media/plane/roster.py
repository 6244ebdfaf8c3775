"""The streams of a worker from their opening to their release, by id and by row."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from media.errors import MediaError
from media.plane.background import Background
from media.plane.ingress import PACKETS_PER_S_MAX, Ingress
from media.plane.latch import Latch
from media.plane.mixer import Mixer
from media.plane.progress import Progress
from media.plane.prompter import Prompter
from media.plane.recorder import Recorder
from media.plane.relay import Relay
from media.plane.reports import Reports
from media.plane.seals import Seals
from media.plane.stream import Stream
from media.plane.streams import NONE, PACKET, Streams
from media.plane.taping import Taping
from media.plane.timelines import Timelines
from media.plane.voices import Voices, rate_of
from media.plane.wiring import Wiring
from media.protocol import (
    ConfigureStream,
    MediaEvent,
    OpenStream,
    StreamClosed,
    StreamParams,
    StreamStats,
)


class Roster:
    """Opens, configures and releases streams; what else there is of each in the other parts of the engine
    is told of it here. Owned by the engine, which gives it its parts.

    `rows` maps a row to its `Stream`; `emit` hears of what has been released; `rng` draws first sequence
    numbers, timestamps and SSRCs.
    """

    def __init__(
        self,
        streams: Streams,
        rows: list[Stream | None],
        timelines: Timelines,
        voices: Voices,
        background: Background,
        latch: Latch,
        relay: Relay,
        recorder: Recorder,
        mixer: Mixer,
        progress: Progress,
        reports: Reports,
        wiring: Wiring,
        taping: Taping,
        prompter: Prompter,
        ingress: Ingress,
        seals: Seals,
        emit: Callable[[MediaEvent], None],
        rng: random.Random,
    ) -> None:
        self._streams = streams
        self._rows = rows
        self._timelines = timelines
        self._voices = voices
        self._background = background
        self._latch = latch
        self._relay = relay
        self._recorder = recorder
        self._mixer = mixer
        self._progress = progress
        self._reports = reports
        self._wiring = wiring
        self._taping = taping
        self._prompter = prompter
        self._ingress = ingress
        self._seals = seals
        self._emit = emit
        self._rng = rng
        self._by_id: dict[int, Stream] = {}
        self._leaving: frozenset[int] = frozenset()
        self._unwired: list[Stream] = []
        streams.also_clean += [ingress.events.reset, reports.reset, self._draw]

    def _draw(self, rows: NDArray[np.intp]) -> None:
        """What is sent on rows that are about to be given out begins at random (RFC 3550 5.1), of sequence
        numbers in the lower half (RFC 3711 3.3.1)."""
        drawn = np.frombuffer(self._rng.randbytes(8 * len(rows)), np.uint32).reshape(2, -1)
        self._streams.next_sequence[rows] = drawn[0] & 0x7FFF
        self._streams.next_timestamp[rows] = drawn[1]
        self._streams.limit[rows] = PACKETS_PER_S_MAX * PACKET

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, stream_id: int) -> Stream | None:
        """Return a stream by its id, None if there is none."""
        return self._by_id.get(stream_id)

    def get(self, stream_id: int) -> Stream:
        """Return a stream by its id; raises `KeyError`."""
        stream = self._by_id.get(stream_id)
        if stream is None:
            raise KeyError(f"no stream {stream_id}")
        return stream

    def open(self, command: OpenStream, now_s: float) -> None:
        """Give a stream a row, unless it has one, and let it be as SDP agrees where that is known. Raises
        `MediaError` if all are taken, or for a key of no use."""
        stream = self._by_id.get(command.stream_id) or self._opened(command)
        if command.params is not None:
            self._agree(stream, command.params, now_s)

    def _opened(self, command: OpenStream) -> Stream:
        streams = self._streams
        row = streams.take()
        if row < 0:
            raise MediaError(f"{streams.capacity} streams are open")
        stream = Stream(command.stream_id, row, command.port_id, command.signalled_host)
        self._rows[row] = stream
        self._by_id[command.stream_id] = stream
        streams.port_id[row] = command.port_id
        own = self._rng.getrandbits(32) if command.ssrc is None else command.ssrc
        self._relay.ssrc_out[row] = own & 0xFFFFFFFF
        if command.latched is not None:
            stream.restored = command.latched
        return stream

    def configure(self, command: ConfigureStream, now_s: float) -> None:
        """Let a stream be as SDP agrees on now. Raises `KeyError`, `MediaError` for a key of no use."""
        stream = self.get(command.stream_id)
        self._agree(stream, command.params, now_s, command.port_id)

    def _agree(
        self, stream: Stream, params: StreamParams, now_s: float, port_id: int | None = None
    ) -> None:
        before = stream.params
        moved = port_id is not None and port_id != stream.port_id
        host = params.signalled_host or stream.signalled_host
        # First of all: if a key is not usable, nothing may flow in the clear instead.
        if before is not None or params.srtp_in is not None or params.srtp_out is not None:
            self._seals.set(stream.row, before, params, resumed=stream.restored is not None)
        learn = (
            before is None
            or moved
            or host != stream.signalled_host
            or before.nat != params.nat
            or (before.remote != params.remote and params.remote != stream.locked)
            or (before.rtcp_mux, before.rtcp_port) != (params.rtcp_mux, params.rtcp_port)
        )
        if moved and port_id is not None:
            self._latch.forget(stream)
            stream.port_id = port_id
            self._streams.port_id[stream.row] = port_id
        stream.signalled_host = host
        stream.params = params
        stream.listens_for_digits = params.inband_dtmf
        if learn:
            self._learn(stream, params, now_s)
        self._apply(stream, before, params, now_s)

    def _learn(self, stream: Stream, params: StreamParams, now_s: float) -> None:
        restored, stream.restored = stream.restored, None
        if restored is not None:
            self._latch.restore(stream, restored)
            self._reports.begin(stream, now_s)
        else:
            self._reports.stop(stream.row)
            self._latch.expect(stream, params.remote, params.nat)

    def _apply(
        self, stream: Stream, before: StreamParams | None, params: StreamParams, now_s: float
    ) -> None:
        streams, row = self._streams, stream.row
        changed = before is None or before.codec != params.codec
        if changed:
            streams.clock_hz[row] = self._voices.choose(row, params.codec, params.fmtp)
        elif before is not None and before.fmtp != params.fmtp:
            self._voices.ask(row, params.fmtp)
        expecting = stream.receives and params.remote is not None
        if stream.timed_out or (expecting and not streams.expecting[row]):
            streams.heard_s[row] = now_s
        stream.timed_out = False
        streams.expecting[row] = expecting
        rate_hz = rate_of(params.codec)
        if changed and stream.decoded:
            slot = streams.slot.item(row)
            if slot != NONE:
                self._timelines.at(stream.rate_hz).forget_anchor(slot)
        if rate_hz != stream.rate_hz:
            self._recorder.part(stream.stream_id)
            self._wiring.change_rate(stream, rate_hz)
            self._prompter.change_rate(stream)
        if before is None and stream.partner is None:
            self._unwired.append(stream)  # until it is known what the next command makes of it
        else:
            self._wiring.rewire(stream)
        if changed and len(self._recorder):
            self._recorder.move(stream.stream_id, rate_hz, self._mixer.slot_of(stream))

    def release(self, stream_id: int) -> None:
        """A stream goes away with all that hangs on it; nothing happens if it is unknown."""
        stream = self._by_id.pop(stream_id, None)
        if stream is None:
            return
        self._reports.goodbye(stream)
        if stream.playing or stream.announced:
            self._prompter.stop(stream, "released")
        if stream.progress is not None:
            self._progress.forget(stream)
        self._background.forget(stream)
        stream.taps = 0  # first: nobody shall wire up what goes away
        if len(self._recorder):
            for recording_id in self._recorder.leave(stream.stream_id):
                self._taping.stop(recording_id, "released")
        self._wiring.unplug(stream, self._leaving)
        self._latch.forget(stream)
        self._mixer.forget(stream)
        self._voices.reset(stream.row)
        self._seals.clear(stream.row)
        stats = self.stats(stream)
        self._rows[stream.row] = None
        self._streams.give_back(stream.row)
        self._emit(StreamClosed(stream_id, stats))

    def take_unwired(self) -> list[Stream]:
        """Return those that commands in hand have agreed on, as far as none of these has wired them up."""
        if not self._unwired:
            return []
        agreed, self._unwired = self._unwired, []
        return [
            stream
            for stream in agreed
            if not stream.wired and self._by_id.get(stream.stream_id) is stream
        ]

    def foresee(self, leaving: Iterable[int]) -> None:
        """Streams that will be released with the commands in hand; forgotten by the next of these."""
        self._leaving = frozenset(leaving)

    def release_all(self) -> None:
        """Say goodbye to all peers, as nobody will give their streams back."""
        for stream_id in list(self._by_id):
            self.release(stream_id)

    def stats(self, stream: Stream) -> StreamStats:
        """Return the account of a stream so far."""
        return self._reports.complete(self._streams.stats(stream.row), stream)
