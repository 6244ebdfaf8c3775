"""The sound of thousands of calls in one event loop: a pacer over numpy columns, no task a stream.

Every stream has a UDP port of its own, as real telephones have, so that any target can tell them
apart and nothing that arrives is ever booked to the wrong stream. Each 5 ms a quarter of the streams
sends its frame of 20 ms. What has arrived bears the kernel's times, so that with many streams each port is
looked at every 40 ms only, an eighth of them in each turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711
from media.plane.packet_io import PORTS_MAX
from media.wire import rtp
from softswitch.errors import SoftswitchError
from softswitch.load import samples, signature, stamp
from softswitch.load.codecs import CODECS, TABLES, StatefulCodec
from softswitch.load.faults import HeldPackets, PacketFaults
from softswitch.load.histogram import Histogram
from softswitch.load.listener import Listener
from softswitch.load.overlay import Overlay
from softswitch.load.port_io import PortIo, Received, StreamPorts
from softswitch.load.seals import StreamSeals
from softswitch.load.sound_stream import SoundStream
from softswitch.load.streams import Arrived, StreamBook, StreamFacts, rounds
from softswitch.sim.datagram import Address
from softswitch.sip.sdp import AudioNegotiated

PHASES = signature.PHASES
TICK_US = signature.FRAME_US // PHASES
STREAMS_MAX = 16_000
_CHUNK = 128
_REST_S = 0.5
_LATE_SECONDS = 600
_BEHIND_US_MAX = 400_000
_HEARD_AFTER_US = 5_000_000
"""A recording of 2.5 s may still hold somebody who has hung up."""
_HEADER = 12
WIDTH = _HEADER + 640
"""Octets of a packet that are looked at."""
_TURNS = 8
_TURNS_FROM = 256
"""From so many streams on a port is looked at every `_TURNS` ticks, where arrival times are exact."""


@dataclass(slots=True)
class SoundCounters:
    """What a plane has done; `pacer_late` in us (of each tick), `delay` in us (of packets with a note)."""

    sent: int = 0
    received: int = 0
    skipped_frames: int = 0
    strange: int = 0
    pacer_late: Histogram = field(default_factory=Histogram)
    delay: Histogram = field(default_factory=Histogram)


class SoundPlane:
    """Streams on `host`; up to `capacity` at once. `run` tells our own notes from other runs'.

    `faults`, when given, decides what becomes of each packet on its way out and in; every `rebind_s`
    all streams go on from another port, as behind a NAT that has forgotten them: what still comes to the
    old one is lost. `ports` are the machine's own unless others are given.
    """

    def __init__(
        self,
        host: str,
        *,
        capacity: int = 4096,
        run: int = 0,
        faults: PacketFaults | None = None,
        rebind_s: float = 0.0,
        ports: StreamPorts | None = None,
    ) -> None:
        if not 0 < capacity <= STREAMS_MAX:
            raise SoftswitchError(f"streams: 1 to {STREAMS_MAX} in one process")
        self.counters = SoundCounters()
        self.book = StreamBook(capacity)
        self.listener = Listener(self.book)
        self.listener.known = self.identities
        self.muted = np.zeros(capacity, np.bool_)
        self.live = 0
        self._host, self._run, self._faults = host, run, faults
        self._io: StreamPorts = ports if ports is not None else PortIo(capacity, WIDTH)
        self.clock_us = self._io.clock_us
        self._overlays: dict[int, Overlay] = {}
        self._overlaid = np.zeros(capacity, np.bool_)
        self._recordings: dict[int, samples.Recording] = {}
        self.rebindings = 0
        self._rebind_s = rebind_s
        self._rebind_due_s = 0.0
        self._port_of = np.zeros(capacity, np.intp)
        self._slot_of = np.full(PORTS_MAX, -1, np.intp)
        self._retired: deque[int] = deque()
        self._spare_ports = list(range(PORTS_MAX - 1, -1, -1))
        self._free: deque[tuple[float, int]] = deque()
        self._made = 0
        self._locals: dict[int, Address] = {}
        self._remotes: dict[int, Address] = {}
        self._active = np.zeros(capacity, np.bool_)
        self._turn = 0
        self._turns = np.arange(capacity) % _TURNS == np.arange(_TURNS)[:, None]
        self._sending = np.zeros(capacity, np.bool_)
        self._phase = np.zeros(capacity, np.int8)
        self._codec = np.zeros(capacity, np.int8)
        self._payload_type = np.zeros(capacity, np.int16)
        self._receive_type = np.full(capacity, -1, np.int16)
        self._event_type = np.full(capacity, -1, np.int16)
        self._sequence = np.zeros(capacity, np.int64)
        self._timestamp = np.zeros(capacity, np.int64)
        self._ssrc = np.zeros(capacity, np.int64)
        self._sent = np.zeros(capacity, np.int64)
        self._strange = np.zeros(capacity, np.int64)
        self._elsewhere = np.zeros(capacity, np.int64)
        self._remote_key = np.zeros(capacity, np.uint64)
        self._hops = np.zeros((capacity, signature.PERIOD_SYMBOLS), np.uint8)
        frames = np.stack([signature.coded_frames(codec) for codec in CODECS[:TABLES]])
        quiet = np.array([[[0xFF]], [[0xD5]]], np.uint8) * np.ones((1, 1, 160), np.uint8)
        self._frames: NDArray[np.uint8] = np.concatenate([frames, quiet], axis=1)
        self._stateful: dict[int, StatefulCodec] = {}
        self._seals = StreamSeals(capacity)
        self._held = HeldPackets() if faults is not None else None
        self._timer: asyncio.TimerHandle | None = None
        self._next_us = 0
        self._late: deque[tuple[int, int, int, int]] = deque(maxlen=_LATE_SECONDS)
        self._opened_us = np.zeros(capacity, np.int64)
        self._closed_us = np.full(capacity, -_HEARD_AFTER_US, np.int64)
        self._closed = False

    @property
    def precise(self) -> bool:
        """Whether arrival times are the kernel's own."""
        return self._io.precise

    # -- streams ---------------------------------------------------------------------------------

    def open_stream(self, identity: int, expects: int = 0) -> SoundStream:
        """A stream that says `identity`. Raises `SoftswitchError` when all are in use."""
        loop = asyncio.get_running_loop()
        slot = self._take_slot(loop.time())
        self.book.reset(slot, identity, expects)
        self.listener.reset(slot)
        self._seals.clear(slot)
        if self._faults is not None:
            self._faults.begin(slot, identity)
        for codec in self._stateful.values():
            codec.reset(slot)
        self._hops[slot] = signature.hops([identity])[0]
        self._phase[slot] = signature.phase(identity)
        self._ssrc[slot] = (identity * 2654435761 + self._run) & 0xFFFFFFFF
        self._sequence[slot] = (identity * 40503) & 0x7FFF
        self._timestamp[slot] = (identity * 160) & 0xFFFFFFFF
        for column in (self._sent, self._strange, self._elsewhere, self._remote_key, self.muted,
                       self._overlaid):  # fmt: skip
            column[slot] = 0
        self._active[slot] = True
        self._opened_us[slot] = self.clock_us()
        self._receive_type[slot] = self._event_type[slot] = -1
        self.live += 1
        if self._timer is None and not self._closed:
            self._next_us = self.clock_us() // TICK_US * TICK_US + TICK_US
            self._arm()
        return SoundStream(self, slot, self._locals[slot], identity)

    def _take_slot(self, now_s: float) -> int:
        # A port rests before its next call, so that what still comes for the last one is not its own.
        rested = bool(self._free) and self._free[0][0] <= now_s
        if rested or (self._free and self._made == self.book.capacity):
            slot = self._free.popleft()[1]
            self._io.drain(int(self._port_of[slot]))
            return slot
        if self._made == self.book.capacity:
            raise SoftswitchError(f"more than {self.book.capacity} streams at once")
        slot = self._made
        self._bind(slot)
        self._made += 1
        return slot

    def _bind(self, slot: int) -> None:
        """Give a stream a port of its own."""
        port = self._spare_ports.pop()
        self._locals[slot] = self._io.bind(port, self._host)
        self._port_of[slot], self._slot_of[port] = port, slot

    def _rebind(self) -> None:
        """All live streams go on from other ports; nobody looks at the old ones any more."""
        while self._retired:
            port = self._retired.popleft()
            self._io.close_port(port)
            self._spare_ports.append(port)
        for slot in np.flatnonzero(self._sending).tolist():
            old = int(self._port_of[slot])
            self._slot_of[old] = -1
            self._retired.append(old)
            self._bind(slot)
            self._note_remote(slot)
            self.rebindings += 1

    def _note_remote(self, slot: int) -> None:
        remote = self._remotes.get(slot)
        if remote is not None:
            port = int(self._port_of[slot])
            self._remote_key[slot] = self._io.source_key(port, remote)

    def configure(self, slot: int, agreed: AudioNegotiated) -> None:
        """See `SoundStream.configure`. Raises `SoftswitchError` for codecs that we have not."""
        name = agreed.codec.upper()
        if name not in CODECS:
            raise SoftswitchError(f"no sound in {agreed.codec} here")
        number = CODECS.index(name)
        if number >= TABLES and number not in self._stateful:
            self._stateful[number] = StatefulCodec(name, self.book.capacity)
        self._codec[slot] = number
        self._payload_type[slot] = agreed.payload_type
        self._receive_type[slot] = agreed.receive_payload_type
        if agreed.receive_dtmf_payload_type is not None:
            self._event_type[slot] = agreed.receive_dtmf_payload_type
        remote = agreed.remote
        sends = remote is not None and agreed.direction in ("sendrecv", "sendonly")
        if remote is not None:
            self._io.set_destination(slot, remote)
            self._remotes[slot] = remote
            self._note_remote(slot)
        self._seals.set(slot, agreed)
        overlay = self._overlays.setdefault(slot, Overlay())
        overlay.payload_type = agreed.dtmf_payload_type
        self._sending[slot] = sends

    def say(self, slot: int, frames: list[bytes]) -> None:
        """See `SoundStream.say_sample`."""
        self._overlays.setdefault(slot, Overlay()).say(frames)
        self._overlaid[slot] = True

    def record(self, slot: int) -> samples.Recording:
        """Keep what a stream receives from now on."""
        recording = self._recordings[slot] = samples.Recording()
        return recording

    def press(self, slot: int, digits: str, by: str) -> float:
        """See `SoundStream.press`."""
        overlay = self._overlays.setdefault(slot, Overlay())
        codec = CODECS[self._codec[slot]]
        if by == "inband" and self._codec[slot] >= TABLES:
            raise SoftswitchError(f"no digits as tones in {codec}")
        self._overlaid[slot] = True
        return overlay.press(digits, inband=by == "inband", codec=codec)

    def close_stream(self, slot: int, codec: str) -> StreamFacts:
        """End a stream and tell what is known of it."""
        self._active[slot] = self._sending[slot] = False
        self._closed_us[slot] = self.clock_us()
        self._overlays.pop(slot, None)
        self._recordings.pop(slot, None)
        self.live -= 1
        self.listener.finish(slot)
        parts = (self.book.facts(slot), self.listener.facts(slot), self._seals.facts(slot))
        found = {key: value for part in parts for key, value in part.items()}
        late = self.own_lateness(int(self._opened_us[slot]))
        found["own_late_ms"], found["own_late_ms_max"] = late
        if self.book.received[slot]:
            found["tail_ms"] = (self.clock_us() - int(self.book.last_us[slot])) / 1000
        self._free.append((asyncio.get_running_loop().time() + _REST_S, slot))
        return StreamFacts(
            **found,  # type: ignore[arg-type]
            sent=int(self._sent[slot]),
            strange=int(self._strange[slot]),
            elsewhere=int(self._elsewhere[slot]),
            codec=codec,
        )

    def identities(self) -> list[int]:
        """Of all who may be heard: streams that are live, and those that have just ended."""
        recent = self._closed_us > self.clock_us() - _HEARD_AFTER_US
        found: list[int] = self.book.identity[self._active | recent].tolist()
        return found

    def close(self) -> None:
        """Stop everything and free the ports."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._io.close()

    # -- the pacer ---------------------------------------------------------------------------------

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = max(0, self._next_us - self.clock_us()) / 1e6
        self._timer = loop.call_later(wait_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._closed:
            return
        now_us = self.clock_us()
        self._note_late(now_us)
        if now_us - self._next_us > _BEHIND_US_MAX:
            missed = (now_us - self._next_us) // TICK_US
            self.counters.skipped_frames += missed * int(self._sending.sum()) // PHASES
            self._next_us += missed * TICK_US
        while self._next_us <= now_us:
            self._send_phase(self._next_us)
            self._next_us += TICK_US
        self._receive_all()
        if self._rebind_s and now_us / 1e6 >= self._rebind_due_s:
            if self._rebind_due_s:
                self._rebind()
            self._rebind_due_s = now_us / 1e6 + self._rebind_s
        self.listener.work(self.clock_us())
        self._arm()

    def _note_late(self, now_us: int) -> None:
        late_us = now_us - self._next_us
        self.counters.pacer_late.add(late_us)
        number = now_us // 1_000_000
        if not self._late or self._late[-1][0] != number:
            self._late.append((number, 0, 0, 0))
        _, total, ticks, most = self._late[-1]
        self._late[-1] = (number, total + late_us, ticks + 1, max(most, late_us))

    def own_lateness(self, since_us: int) -> tuple[float, float]:
        """Mean and greatest lateness of the pacer since then, in ms."""
        spans = [entry for entry in self._late if entry[0] >= since_us // 1_000_000]
        ticks = sum(entry[2] for entry in spans)
        mean = sum(entry[1] for entry in spans) / ticks / 1000 if ticks else 0.0
        return mean, max((entry[3] for entry in spans), default=0) / 1000

    def _send_phase(self, due_us: int) -> None:
        phase = (due_us // TICK_US) % PHASES
        frame = due_us // signature.FRAME_US
        slots = np.flatnonzero(self._sending & (self._phase == phase))
        if self._stateful:
            for number, codec in self._stateful.items():
                mine = slots[self._codec[slots] == number]
                for start in range(0, len(mine), _CHUNK):
                    self._send_coded(mine[start : start + _CHUNK], frame, codec)
            slots = slots[self._codec[slots] < TABLES]
        for start in range(0, len(slots), _CHUNK):
            self._send_frames(slots[start : start + _CHUNK], frame)
        if self._held is not None:
            self._send_held()

    def _tones(self, slots: NDArray[np.intp], frame: int) -> NDArray[np.int64]:
        """The tone of each stream's frame; one beyond the last is silence."""
        symbol = (frame // 2) % signature.PERIOD_SYMBOLS
        tones: NDArray[np.int64] = np.where(
            self.muted[slots], signature.TONES, self._hops[slots, symbol]
        )
        return tones

    def _send_frames(self, slots: NDArray[np.intp], frame: int) -> None:
        """G.711: look up, note, send."""
        payload = self._frames[self._codec[slots], self._tones(slots, frame)]
        # Frames are counted by stream: what we had no time to send has not been lost by anybody.
        stamp.write(
            payload, self.book.identity[slots], self._sent[slots], self.clock_us(), self._run
        )
        lengths = np.full(len(slots), signature.FRAME_SAMPLES, np.int32)
        self._send_payloads(slots, payload, lengths, signature.FRAME_SAMPLES)

    def _send_coded(self, slots: NDArray[np.intp], frame: int, codec: StatefulCodec) -> None:
        payload, lengths = codec.encode(slots, self._tones(slots, frame))
        self._send_payloads(slots, payload, lengths, codec.step)

    def _send_payloads(
        self,
        slots: NDArray[np.intp],
        payload: NDArray[np.uint8],
        lengths: NDArray[np.int32],
        step: int,
    ) -> None:
        """Send one (n, W) payload a stream, `lengths` octets of it; the RTP clock moves by `step`."""
        count = len(slots)
        packets = self._io.tx.octets[:count]
        rtp.build(
            self._payload_type[slots],
            self._sent[slots] == 0,
            self._sequence[slots],
            self._timestamp[slots],
            self._ssrc[slots],
            out=packets[:, :_HEADER],
        )
        packets[:, _HEADER : _HEADER + payload.shape[1]] = payload
        octets = lengths + np.int32(_HEADER)
        busy = np.flatnonzero(self._overlaid[slots])
        if busy.size:
            self._lay_over(busy, slots, packets, octets)
        self._seals.close(slots, packets, octets)
        gone = self._put(packets, octets, slots)
        # What the system refused has neither been sent nor been lost by anybody.
        self._sequence[slots] += gone
        self._timestamp[slots] += step
        self._sent[slots] += gone
        sent = int(gone.sum())
        self.counters.sent += sent
        self.counters.skipped_frames += count - sent

    def _lay_over(
        self,
        busy: NDArray[np.intp],
        slots: NDArray[np.intp],
        packets: NDArray[np.uint8],
        octets: NDArray[np.int32],
    ) -> None:
        """Digits take the place of the frames of those who press some: the rows `busy`."""
        for row in busy.tolist():
            slot = int(slots[row])
            overlay = self._overlays.get(slot)
            if overlay is None or not overlay.busy:
                self._overlaid[slot] = False
                continue
            made = overlay.frame(int(self._timestamp[slot]), packets[row, :_HEADER].tobytes())
            if made is not None:
                packets[row, : len(made)] = np.frombuffer(made, np.uint8)
                octets[row] = len(made)

    def _put(
        self, packets: NDArray[np.uint8], octets: NDArray[np.int32], slots: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Send the first rows of the buffer, or give them to the bad network; (n,) which have gone."""
        if self._faults is None:
            return self._io.send(octets, self._port_of[slots], slots)
        assert self._held is not None
        now_us = self.clock_us()
        for row, slot in enumerate(slots.tolist()):
            data = packets[row, : octets[row]].tobytes()
            for at_us in self._faults.outgoing(slot, now_us, len(data)):
                self._held.out(at_us, slot, data)
        return np.ones(len(slots), np.bool_)

    def _send_held(self) -> None:
        assert self._held is not None
        due = self._held.due_out(self.clock_us())
        tx = self._io.tx
        for start in range(0, len(due), _CHUNK):
            some = due[start : start + _CHUNK]
            for row, (_, data) in enumerate(some):
                tx.octets[row, : len(data)] = np.frombuffer(data, np.uint8)
            slots = np.array([slot for slot, _ in some], np.intp)
            octets = np.array([len(data) for _, data in some], np.int32)
            self._io.send(octets, self._port_of[slots], slots)

    # -- what comes ----------------------------------------------------------------------------------

    def _receive_all(self) -> None:
        self._turn = (self._turn + 1) % _TURNS
        mine = self._active
        if self.live >= _TURNS_FROM and self.precise:
            mine = mine & self._turns[self._turn]
        for batch in self._io.receive(self._port_of[np.flatnonzero(mine)]):
            self._arrive(batch)

    def _arrive(self, batch: Received) -> None:
        slots, packets, lengths = self._slot_of[batch.ports], batch.packets, batch.lengths
        at_us, keys = batch.at_us, batch.keys
        known = slots >= 0
        if not known.all():
            # To a port that has been given up since.
            slots, packets, lengths = slots[known], packets[known], lengths[known]
            at_us, keys = at_us[known], keys[known]
        self.counters.received += len(slots)
        if self._faults is not None and len(slots):
            slots, packets, lengths, at_us, keys = self._faults.incoming(
                slots, packets, lengths, at_us, keys
            )
        if not len(slots):
            return
        lengths = np.minimum(lengths, packets.shape[1])
        known = self._seals.open(slots, packets, lengths) & self._active[slots]
        columns = rtp.parse(packets, lengths)
        known &= columns.ok
        sound = known & (columns.payload_type == self._receive_type[slots])
        events = known & (columns.payload_type == self._event_type[slots])
        strange = known & ~sound & ~events
        if strange.any():
            np.add.at(self._strange, slots[strange], 1)
        moved = sound & (keys != self._remote_key[slots])
        if moved.any():
            np.add.at(self._elsewhere, slots[moved], 1)
        for number in np.flatnonzero(events).tolist():
            at = int(columns.payload_at[number])
            body = packets[number, at : at + 4].tobytes()
            self._hear_digit(int(slots[number]), body, int(columns.timestamp[number]))
        there = np.flatnonzero(sound)
        for part in rounds(slots[there]):
            self._take(there[part], slots, packets, columns, at_us)

    def _take(
        self,
        rows: NDArray[np.intp],
        slots: NDArray[np.intp],
        packets: NDArray[np.uint8],
        columns: rtp.RtpColumns,
        at_us: NDArray[np.int64],
    ) -> None:
        mine = slots[rows]
        numbers = self._codec[mine]
        if self._stateful and (numbers >= TABLES).any():
            for number, codec in self._stateful.items():
                self._take_coded(rows[numbers == number], slots, packets, columns, at_us, codec)
            rows = rows[numbers < TABLES]
            mine = slots[rows]
        payload = rtp.gather_payload(packets[rows], columns.payload_at[rows], stamp.OCTETS)
        notes = stamp.read(payload, self._run)
        whole = columns.payload_octets[rows] == stamp.OCTETS
        notes.ok &= whole
        timestamp = columns.timestamp[rows]
        arrived = Arrived(
            slots=mine,
            sequence=columns.sequence[rows],
            timestamp=timestamp,
            ssrc=columns.ssrc[rows],
            at_us=at_us[rows],
            stamped=notes.ok,
            identity=notes.identity,
            frame=notes.frame,
            said_us=notes.time_us,
        )
        self.counters.delay.add_many(self.book.take(arrived))
        if self._recordings:
            self._keep(mine, payload, timestamp)
        blurred = np.flatnonzero(~notes.ok & whole)
        if blurred.size:
            codes, alaw = payload[blurred], self._codec[mine[blurred]] == 1
            pcm = np.where(alaw[:, None], g711.decode_alaw(codes), g711.decode_ulaw(codes))
            self.listener.hear(mine[blurred], pcm, timestamp[blurred], at_us[rows[blurred]])

    def _keep(
        self, slots: NDArray[np.intp], payload: NDArray[np.uint8], timestamp: NDArray[np.uint32]
    ) -> None:
        for row, slot in enumerate(slots.tolist()):
            recording = self._recordings.get(slot)
            if recording is not None:
                decode = g711.decode_alaw if self._codec[slot] == 1 else g711.decode_ulaw
                recording.add(int(timestamp[row]), decode(payload[row]))

    def _take_coded(
        self,
        rows: NDArray[np.intp],
        slots: NDArray[np.intp],
        packets: NDArray[np.uint8],
        columns: rtp.RtpColumns,
        at_us: NDArray[np.int64],
        codec: StatefulCodec,
    ) -> None:
        """Packets that must be decoded to be heard; they carry no notes."""
        if not rows.size:
            return
        mine = slots[rows]
        timestamp = columns.timestamp[rows] // np.uint32(codec.scale)
        none = np.zeros(len(rows), np.uint32)
        arrived = Arrived(
            slots=mine,
            sequence=columns.sequence[rows],
            timestamp=timestamp,
            ssrc=columns.ssrc[rows],
            at_us=at_us[rows],
            stamped=np.zeros(len(rows), np.bool_),
            identity=none,
            frame=none,
            said_us=none,
        )
        self.book.take(arrived)
        lengths = columns.payload_octets[rows]
        width = max(1, int(lengths.max()))
        payload = rtp.gather_payload(packets[rows], columns.payload_at[rows], width)
        pcm = codec.decode(mine, payload, lengths)
        self.listener.hear(mine, pcm, timestamp, at_us[rows])

    def _hear_digit(self, slot: int, body: bytes, timestamp: int) -> None:
        overlay = self._overlays.get(slot)
        if overlay is not None:
            overlay.hear(body, timestamp)

    def digits(self, slot: int) -> str:
        """The digits that a stream has been sent by RFC 4733."""
        overlay = self._overlays.get(slot)
        return overlay.heard if overlay is not None else ""


def raise_file_limit(wanted: int) -> None:
    """Let this process open `wanted` sockets, as far as the system allows."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
