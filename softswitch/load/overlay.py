"""What one stream says instead of its signature: digits, as events or as tones. Rare, so no columns.

Source: RFC 4733 2.5.1 (sender), 2.3 (payload).
"""

from __future__ import annotations

import struct
from collections import deque

import numpy as np

from media.dsp import g711
from media.dsp.tones import DTMF_HIGH_HZ, DTMF_KEYS, DTMF_LOW_HZ
from media.wire.telephone_event import DIGITS, event_of
from softswitch.errors import SoftswitchError

_EVENT = struct.Struct("!BBH")
_FRAMES = 5
_PAUSE_FRAMES = 5
_END_PACKETS = 3
_DIGITS_MAX = 64
_FRAME = 160
_TONE_PEAK = 9000


class Overlay:
    """Digits to send, one frame at a time, and those heard."""

    __slots__ = ("_event_at", "_queue", "_seen", "heard", "payload_type")

    def __init__(self) -> None:
        self.payload_type: int | None = None
        self.heard = ""
        self._queue: deque[tuple[str, int, int] | tuple[str, bytes, int]] = deque()
        self._event_at = 0
        self._seen: int | None = None

    @property
    def busy(self) -> bool:
        """Whether the next frame is not the stream's own."""
        return bool(self._queue)

    def press(self, digits: str, *, inband: bool, codec: str) -> float:
        """Queue digits; the seconds until the last is over. Raises `SoftswitchError` for what is none."""
        for digit in digits.upper():
            if digit not in DIGITS or len(self._queue) > _DIGITS_MAX * 16:
                raise SoftswitchError(f"no digit: {digit!r}")
            if inband:
                for frame in _tone(digit, codec):
                    self._queue.append(("sound", frame, 0))
            else:
                for number in range(_FRAMES + _END_PACKETS - 1):
                    self._queue.append(("event", event_of(digit), number))
            self._queue.extend(("pause", 0, 0) for _ in range(_PAUSE_FRAMES))
        return len(self._queue) * 0.02

    def say(self, frames: list[bytes]) -> None:
        """Queue frames of sound, at most a minute."""
        room = max(0, 3000 - len(self._queue))
        self._queue.extend(("sound", frame, 0) for frame in frames[:room])

    def frame(self, timestamp: int, header: bytes) -> bytes | None:
        """The packet to send instead of the one with `header`; None: send that."""
        kind, what, number = self._queue.popleft()
        if kind == "sound":
            assert isinstance(what, bytes)
            return header + what
        if kind != "event" or self.payload_type is None:
            return None
        assert isinstance(what, int)
        if number == 0:
            self._event_at = timestamp
        over = number >= _FRAMES - 1
        elapsed = min(number + 1, _FRAMES) * _FRAME
        second = self.payload_type | (0x80 if number == 0 else 0)
        at = (self._event_at & 0xFFFFFFFF).to_bytes(4, "big")
        event = _EVENT.pack(what, (0x80 if over else 0) | 10, elapsed)
        return header[:1] + bytes([second]) + header[2:4] + at + header[8:] + event

    def hear(self, body: bytes, timestamp: int) -> None:
        """One event packet has come; a digit counts once."""
        if len(body) == _EVENT.size and body[0] < len(DIGITS) and self._seen != timestamp:
            self._seen = timestamp
            if len(self.heard) < _DIGITS_MAX:
                self.heard += DIGITS[body[0]]


def _tone(digit: str, codec: str) -> list[bytes]:
    row = next(index for index, keys in enumerate(DTMF_KEYS) if digit in keys)
    column = DTMF_KEYS[row].index(digit)
    time_s = np.arange(_FRAMES * _FRAME) / 8000
    wave = np.sin(2 * np.pi * DTMF_LOW_HZ[row] * time_s)
    wave += np.sin(2 * np.pi * DTMF_HIGH_HZ[column] * time_s)
    pcm = np.round(_TONE_PEAK * wave).astype(np.int16)
    codes = (g711.encode_alaw if codec == "PCMA" else g711.encode_ulaw)(pcm).tobytes()
    return [codes[start : start + _FRAME] for start in range(0, len(codes), _FRAME)]
