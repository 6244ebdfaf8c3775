"""Opus (RFC 6716) through libopus, loaded when the first stream needs it.

The library is looked for in the wheel `opuslib-next-bundled` (BSD; it ships libopus itself), then on
the system. Only libopus' own functions are used, through ctypes, so samples go between it and numpy
without a copy. Without a library `available()` is false and a codec cannot be made.

Sources: RFC 6716, RFC 7587 (RTP clock always 48 kHz; format parameters), opus_encoder_ctl(3).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.errors import CodecError, NotSupported

RTP_CLOCK_HZ = 48000
RATES_HZ = (8000, 12000, 16000, 24000, 48000)
PACKET_OCTETS_MAX = 1276
"""More than any packet of 20 ms that this side makes (RFC 6716 section 3.2.1: 1,275 a frame)."""
SAMPLES_MAX_S = 0.12
"""No packet holds more than 120 ms (RFC 6716 section 3.2.5)."""

_VOIP = 2048
_SET_BITRATE, _SET_MAX_BANDWIDTH, _SET_COMPLEXITY = 4002, 4004, 4010
_SET_FEC, _SET_LOSS, _SET_DTX = 4012, 4014, 4016
_BANDWIDTHS = ((8000, 1101), (12000, 1102), (16000, 1103), (24000, 1104), (48000, 1105))
_NATIVE = {"linux": "libopus.so", "darwin": "libopus.dylib", "win32": "opus.dll"}


@dataclass(frozen=True, slots=True)
class OpusParameters:
    """What the far end's `a=fmtp` asks of our encoder (RFC 7587 section 6.1)."""

    playback_rate_hz: int = 48000
    bitrate_bps: int = 24000
    inband_fec: bool = False
    dtx: bool = False
    loss_percent: int = 0
    complexity: int = 5

    @classmethod
    def from_fmtp(cls, text: str) -> OpusParameters:
        """Read `maxplaybackrate=16000;useinbandfec=1;...`; unknown or broken items are skipped."""
        found: dict[str, int] = {}
        for item in text[:1000].split(";")[:32]:
            match = re.fullmatch(r"[ \t]*([a-zA-Z-]{1,40})[ \t]*=[ \t]*([0-9]{1,7})[ \t]*", item)
            if match:
                found[match[1].lower()] = int(match[2])
        rate_hz = found.get("maxplaybackrate", 48000)
        bitrate_bps = found.get("maxaveragebitrate", 24000)
        return cls(
            playback_rate_hz=min(max(rate_hz, 8000), 48000),
            bitrate_bps=min(max(bitrate_bps, 6000), 128000),
            inband_fec=found.get("useinbandfec") == 1,
            dtx=found.get("usedtx") == 1,
        )


def _candidates() -> list[str]:
    names = []
    spec = importlib.util.find_spec("opuslib_next")
    if spec is not None and spec.origin:
        native = Path(spec.origin).parent / "_native" / _NATIVE.get(sys.platform, "libopus.so")
        names.append(str(native))
    system = ctypes.util.find_library("opus")
    return [*names, system] if system else names


@cache
def _library() -> ctypes.CDLL | None:
    for name in _candidates():
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        _declare(found)
        return found
    return None


def _declare(library: ctypes.CDLL) -> None:
    number, pointer = ctypes.c_int, ctypes.c_void_p
    for kind in ("encoder", "decoder"):
        getattr(library, f"opus_{kind}_create").restype = pointer
        getattr(library, f"opus_{kind}_destroy").argtypes = [pointer]
        getattr(library, f"opus_{kind}_destroy").restype = None
    library.opus_encoder_create.argtypes = [number, number, number, pointer]
    library.opus_decoder_create.argtypes = [number, number, pointer]
    library.opus_encode.argtypes = [pointer, pointer, number, pointer, ctypes.c_int32]
    library.opus_decode.argtypes = [
        pointer, pointer, ctypes.c_int32, pointer, number, number,
    ]  # fmt: skip
    library.opus_packet_get_nb_samples.argtypes = [pointer, ctypes.c_int32, number]


def available() -> bool:
    """Tell whether libopus can be loaded here."""
    return _library() is not None


def _loaded(rate_hz: int) -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise NotSupported("Opus needs libopus: pip install opuslib-next-bundled")
    if rate_hz not in RATES_HZ:
        raise CodecError(f"{rate_hz} Hz; allowed: {', '.join(map(str, RATES_HZ))}")
    return library


def packet_samples(packet: bytes, rate_hz: int) -> int:
    """Return how many samples at `rate_hz` a packet holds, 0 for one that is broken."""
    if not packet:
        return 0
    return max(0, int(_loaded(rate_hz).opus_packet_get_nb_samples(packet, len(packet), rate_hz)))


class OpusEncoder:
    """One stream's encoder: mono int16 of `rate_hz` into packets. Raises `NotSupported`."""

    __slots__ = ("_library", "_out", "_state", "rate_hz")

    def __init__(self, rate_hz: int = 16000, parameters: OpusParameters | None = None) -> None:
        self._state: int | None = None
        self._library = _loaded(rate_hz)
        self.rate_hz = rate_hz
        self._out = np.empty(PACKET_OCTETS_MAX, np.uint8)
        wanted = parameters or OpusParameters()
        self._state = self._library.opus_encoder_create(rate_hz, 1, _VOIP, None)
        if not self._state:
            raise NotSupported("libopus gives no encoder")
        widest = next(code for hz, code in _BANDWIDTHS if hz >= wanted.playback_rate_hz)
        for request, value in (
            (_SET_BITRATE, wanted.bitrate_bps),
            (_SET_MAX_BANDWIDTH, widest),
            (_SET_COMPLEXITY, wanted.complexity),
            (_SET_FEC, int(wanted.inband_fec)),
            (_SET_LOSS, wanted.loss_percent),
            (_SET_DTX, int(wanted.dtx)),
        ):
            self._set(request, value)

    def _set(self, request: int, value: int) -> None:
        state = ctypes.c_void_p(self._state)
        self._library.opus_encoder_ctl(state, ctypes.c_int(request), ctypes.c_int(value))

    def expect_loss(self, percent: int) -> None:
        """Tell how much loss the far end reports, 0 to 100, so that redundancy fits it."""
        self._set(_SET_LOSS, min(max(percent, 0), 100))

    def encode(self, samples: NDArray[np.int16]) -> bytes:
        """Encode one frame, (n,) int16 of 2.5, 5, 10, 20, 40 or 60 ms. Raises `CodecError`.

        With `dtx` a result of at most 2 octets says that nothing need be sent.
        """
        audio = np.ascontiguousarray(samples, np.int16)
        out = self._out
        octets = self._library.opus_encode(
            self._state, audio.ctypes.data, len(audio), out.ctypes.data, len(out)
        )
        if octets < 0:
            raise CodecError(f"libopus refuses {len(audio)} samples at {self.rate_hz} Hz")
        return out[:octets].tobytes()

    def __del__(self) -> None:
        if self._state:
            self._library.opus_encoder_destroy(self._state)
            self._state = None


class OpusDecoder:
    """One stream's decoder: packets into mono int16 of `rate_hz`, whatever rate was encoded.

    Stereo is mixed down. Raises `NotSupported` without a library.
    """

    __slots__ = ("_library", "_out", "_state", "rate_hz")

    def __init__(self, rate_hz: int = 16000) -> None:
        self._state: int | None = None
        self._library = _loaded(rate_hz)
        self.rate_hz = rate_hz
        self._out = np.empty(round(rate_hz * SAMPLES_MAX_S), np.int16)
        self._state = self._library.opus_decoder_create(rate_hz, 1, None)
        if not self._state:
            raise NotSupported("libopus gives no decoder")

    def _run(self, packet: bytes | None, samples: int, recover: bool) -> NDArray[np.int16]:
        out = self._out
        octets = len(packet) if packet else 0
        count = self._library.opus_decode(
            self._state, packet, octets, out.ctypes.data, samples, int(recover)
        )
        if count < 0:
            raise CodecError("libopus cannot decode the packet")
        return out[:count].copy()

    def decode(self, packet: bytes) -> NDArray[np.int16]:
        """Decode one packet of up to 120 ms: (n,) int16. Raises `CodecError` for a broken one."""
        if not packet:
            raise CodecError("an empty packet")
        return self._run(packet, len(self._out), False)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        """Invent (samples,) int16 for a lost packet; a multiple of 2.5 ms, at most 120 ms."""
        return self._run(None, samples, False)

    def recover(self, next_packet: bytes, samples: int) -> NDArray[np.int16]:
        """Rebuild a lost packet, (`samples`,) int16, from the redundancy in the one that follows it."""
        if not next_packet:
            raise CodecError("an empty packet")
        return self._run(next_packet, samples, True)

    def __del__(self) -> None:
        if self._state:
            self._library.opus_decoder_destroy(self._state)
            self._state = None
