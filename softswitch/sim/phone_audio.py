"""The sound of one simulated call: RTP with G.711 and telephone events, sent and captured.

Written apart from the media plane and from RFC 3550 and RFC 4733 alone, so that a mistake there is
not repeated here and hidden by it.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import deque
from dataclasses import dataclass

import numpy as np

from media.dsp import g711
from softswitch.sim.audio import RATE_HZ, Samples
from softswitch.sim.datagram import Address, DatagramSocket
from softswitch.sip.sdp import AudioNegotiated

FRAME_SAMPLES = 160
FRAME_S = 0.020
DIGITS = "0123456789*#ABCD"

_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_CAPTURE_S_MAX = 600
_RESTART_SAMPLES = 10 * RATE_HZ
_LATE_S_MAX = 1.0
_DIGIT_SAMPLES = 800
_DIGIT_PAUSE_FRAMES = 5
_END_PACKETS = 3


@dataclass(slots=True)
class PhoneAudioCounters:
    """`lost` by sequence numbers; `strange`: no RTP of the agreed payload types;
    `elsewhere`: from another source than the agreed one (captured all the same)."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicates: int = 0
    reordered: int = 0
    strange: int = 0
    elsewhere: int = 0
    sources: int = 0


class PhoneAudio:
    """Sends 20 ms frames (silence when there is nothing to say) and captures what comes.

    Parameters: `socket` is owned from now on; `rng` draws SSRC, first sequence number and first
    timestamp. Silent until `configure` has said where to send.
    """

    def __init__(self, socket: DatagramSocket, rng: random.Random) -> None:
        self.counters = PhoneAudioCounters()
        self.digits = ""
        self.first_arrival_s: float | None = None
        self.last_arrival_s: float | None = None
        self.gap_s_max = 0.0
        self.source: Address | None = None
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._agreed: AudioNegotiated | None = None
        self._tick_handle: asyncio.TimerHandle | None = None
        self._next_tick_s = 0.0
        self._ssrc = rng.getrandbits(32)
        self._sequence = rng.getrandbits(16)
        self._timestamp = rng.getrandbits(32)
        self._marker = True
        self._play: bytes = b""
        self._play_at = 0
        self._repeat = False
        self._pcm: Samples | None = None
        self._played: asyncio.Future[None] | None = None
        self._to_press: deque[int] = deque()
        self._event: int | None = None
        self._event_timestamp = 0
        self._event_elapsed = 0
        self._event_ends = 0
        self._pause_frames = 0
        self._capture = np.zeros(RATE_HZ, np.int16)
        self._captured = 0
        self._base: tuple[int, int, int] | None = None
        self._last_sequence = 0
        self._seen: deque[int] = deque(maxlen=64)
        self._event_seen: tuple[int, int] | None = None
        self._closed = False
        self._arrived = asyncio.Event()
        socket.start(self._arrive)

    @property
    def local(self) -> Address:
        """The address and port for our SDP."""
        return self._socket.local

    def configure(self, agreed: AudioNegotiated) -> None:
        """Take what SDP has agreed, again at each change; sending begins or stops accordingly."""
        if agreed.codec not in ("PCMU", "PCMA"):
            raise ValueError(f"a simulated phone speaks PCMU and PCMA, not {agreed.codec}")
        changed = self._agreed is None or self._agreed.codec != agreed.codec
        self._agreed = agreed
        if changed and self._pcm is not None:
            self._play = self._encode(self._pcm)
        if self._sends():
            if self._tick_handle is None and not self._closed:
                self._marker = True
                self._next_tick_s = self._loop.time()
                self._tick()
        elif self._tick_handle is not None:
            self._tick_handle.cancel()
            self._tick_handle = None

    def play(self, pcm: Samples, *, repeat: bool = False) -> asyncio.Future[None]:
        """Say `pcm` (int16, 8,000 Hz) from the next frame on; the future is done at its end.

        Replaces what was being said, whose future is cancelled. While the call is on hold or not
        answered yet nothing is consumed.
        """
        if self._played is not None and not self._played.done():
            self._played.cancel()
        self._pcm, self._repeat, self._play_at = pcm, repeat, 0
        self._play = self._encode(pcm) if self._agreed is not None else b""
        self._played = self._loop.create_future()
        return self._played

    def press(self, digits: str) -> None:
        """Send digits by RFC 4733, 100 ms each with 100 ms between them."""
        for digit in digits.upper():
            self._to_press.append(DIGITS.index(digit))

    def heard(self) -> Samples:
        """Everything captured so far, in its place by RTP timestamp; gaps are zeros."""
        return self._capture[: self._captured].copy()

    async def listen(self, duration_s: float) -> Samples:
        """Wait until `duration_s` have been captured in all, then return `heard()`."""
        while self._captured < duration_s * RATE_HZ:
            self._arrived.clear()
            await self._arrived.wait()
        return self.heard()

    def clear(self) -> None:
        """Forget what was captured; the next packet is sample 0."""
        self._captured, self._base = 0, None
        self._capture[:] = 0

    def move(self, socket: DatagramSocket) -> None:
        """Go on from another address, as a telephone does that changes from wire to air; the peer learns of
        it by the next offer. Nothing is heard at the old one any more."""
        self._socket.close()
        self._socket = socket
        self.gap_s_max = 0.0
        socket.start(self._arrive)

    def close(self) -> None:
        """Stop, free the port. The capture stays readable."""
        self._closed = True
        if self._tick_handle is not None:
            self._tick_handle.cancel()
            self._tick_handle = None
        if self._played is not None and not self._played.done():
            self._played.cancel()
        self._socket.close()

    # -- sending -----------------------------------------------------------------------------

    def _sends(self) -> bool:
        agreed = self._agreed
        return (
            agreed is not None
            and agreed.remote is not None
            and agreed.direction in ("sendrecv", "sendonly")
        )

    def _encode(self, pcm: Samples) -> bytes:
        alaw = self._agreed is not None and self._agreed.codec == "PCMA"
        codes = g711.encode_alaw(pcm) if alaw else g711.encode_ulaw(pcm)
        return codes.tobytes()

    def _tick(self) -> None:
        self._tick_handle = None
        if not self._next_event():
            self._send_frame()
        self._timestamp = (self._timestamp + FRAME_SAMPLES) & 0xFFFFFFFF
        # A fixed raster: a late tick does not delay those after it, unless all is far behind.
        self._next_tick_s += FRAME_S
        if self._loop.time() - self._next_tick_s > _LATE_S_MAX:
            self._next_tick_s = self._loop.time()
        self._tick_handle = self._loop.call_at(self._next_tick_s, self._tick)

    def _send_frame(self) -> None:
        assert self._agreed is not None
        silent = b"\xd5" if self._agreed.codec == "PCMA" else b"\xff"
        if self._pcm is not None and not self._play:
            self._play = self._encode(self._pcm)
        payload = self._play[self._play_at : self._play_at + FRAME_SAMPLES]
        self._play_at += len(payload)
        if self._play_at >= len(self._play) and self._pcm is not None:
            if self._repeat and self._play:
                self._play_at = 0
            else:
                self._pcm, self._play, self._play_at = None, b"", 0
                if self._played is not None and not self._played.done():
                    self._played.set_result(None)
        self._send(self._agreed.payload_type, payload.ljust(FRAME_SAMPLES, silent), self._timestamp)

    def _next_event(self) -> bool:
        """Send one packet of a digit if one is under way; False: the frame is for audio."""
        payload_type = self._agreed.dtmf_payload_type if self._agreed is not None else None
        if self._event is None:
            if self._pause_frames:
                self._pause_frames -= 1
                return False
            if not self._to_press or payload_type is None:
                return False
            self._event = self._to_press.popleft()
            self._event_timestamp, self._event_elapsed = self._timestamp, 0
            self._event_ends, self._marker = 0, True
        self._event_elapsed = min(self._event_elapsed + FRAME_SAMPLES, _DIGIT_SAMPLES)
        over = self._event_elapsed >= _DIGIT_SAMPLES
        payload = _EVENT.pack(self._event, (0x80 if over else 0) | 10, self._event_elapsed)
        assert payload_type is not None
        self._send(payload_type, payload, self._event_timestamp)
        self._event_ends += over
        if self._event_ends == _END_PACKETS:
            self._event, self._pause_frames = None, _DIGIT_PAUSE_FRAMES
        return True

    def _send(self, payload_type: int, payload: bytes, timestamp: int) -> None:
        assert self._agreed is not None
        assert self._agreed.remote is not None
        second = payload_type | (0x80 if self._marker else 0)
        self._marker = False
        header = _HEADER.pack(0x80, second, self._sequence, timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.counters.sent += 1
        self._socket.send_to(header + payload, self._agreed.remote)

    # -- receiving ---------------------------------------------------------------------------

    def _arrive(self, data: bytes, source: Address) -> None:
        agreed = self._agreed
        if len(data) < _HEADER.size or data[0] >> 6 != 2 or agreed is None:
            self.counters.strange += 1
            return
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        payload = _payload(data, first)
        payload_type = second & 0x7F
        is_event = payload_type == agreed.receive_dtmf_payload_type
        if payload is None or not (is_event or payload_type in (0, 8)):
            self.counters.strange += 1
            return
        now_s = self._loop.time()
        if not self._count(now_s, source, sequence, ssrc):
            return
        if is_event:
            self._hear_digit(payload, timestamp, ssrc)
        else:
            self._hear(payload, payload_type, timestamp, ssrc, now_s)

    def _count(self, now_s: float, source: Address, sequence: int, ssrc: int) -> bool:
        """Keep the statistics; False for a duplicate."""
        counters = self.counters
        if self.source != source:
            counters.sources += 1
            self.source = source
        if self._agreed is not None and source != self._agreed.remote:
            counters.elsewhere += 1
        if self.first_arrival_s is None or self.last_arrival_s is None:
            self.first_arrival_s = now_s
        else:
            self.gap_s_max = max(self.gap_s_max, now_s - self.last_arrival_s)
        self.last_arrival_s = now_s
        key = (ssrc << 16) | sequence
        if key in self._seen:
            counters.duplicates += 1
            return False
        if self._seen and self._seen[-1] >> 16 == ssrc:
            step = (sequence - self._last_sequence) & 0xFFFF
            if step < 0x8000:
                counters.lost += step - 1
                self._last_sequence = sequence
            else:
                counters.reordered += 1
                counters.lost -= 1
        else:
            self._last_sequence = sequence
        self._seen.append(key)
        counters.received += 1
        return True

    def _hear_digit(self, payload: bytes, timestamp: int, ssrc: int) -> None:
        if len(payload) < _EVENT.size or payload[0] >= len(DIGITS):
            self.counters.strange += 1
            return
        if self._event_seen != (ssrc, timestamp):
            self._event_seen = (ssrc, timestamp)
            self.digits += DIGITS[payload[0]]

    def _hear(
        self, payload: bytes, payload_type: int, timestamp: int, ssrc: int, now_s: float
    ) -> None:
        codes = np.frombuffer(payload, np.uint8)
        pcm = g711.decode_alaw(codes) if payload_type == 8 else g711.decode_ulaw(codes)
        at = self._place(timestamp, ssrc, now_s)
        end = at + len(pcm)
        if at < 0 or end > _CAPTURE_S_MAX * RATE_HZ:
            return
        if end > len(self._capture):
            grown = np.zeros(max(end, 2 * len(self._capture)), np.int16)
            grown[: self._captured] = self._capture[: self._captured]
            self._capture = grown
        self._capture[at:end] = pcm
        self._captured = max(self._captured, end)
        self._arrived.set()

    def _place(self, timestamp: int, ssrc: int, now_s: float) -> int:
        """The sample number of a packet. A new SSRC, or a jump of its clock, goes where the time of
        arrival puts it, but never over what was heard before."""
        if self._base is not None and self._base[0] == ssrc:
            step = ((timestamp - self._base[1] + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            at = self._base[2] + step
            if abs(at - self._captured) < _RESTART_SAMPLES:
                return at
        if self._base is None:
            at = 0
        else:
            assert self.first_arrival_s is not None
            at = max(self._captured, round((now_s - self.first_arrival_s) * RATE_HZ))
        self._base = (ssrc, timestamp, at)
        return at


def _payload(data: bytes, first: int) -> bytes | None:
    """What lies behind CSRCs and extension and before the padding, or None if that cannot be."""
    at = _HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < at + 4:
            return None
        at += 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
    end = len(data) - (data[-1] if first & 0x20 else 0)
    return data[at:end] if at <= end else None
