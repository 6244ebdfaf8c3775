"""G.729 (8 kbit/s) through bcg729, if the user has installed it; nothing of it is shipped or required.

bcg729 is under the GPL: whoever installs it beside this package decides that. It is looked for on the
system only, through ctypes, when the first stream needs it.

Sources: ITU-T G.729 and annexes A, B (frames of 10 ms: 80 samples, 10 octets; a silence descriptor of
2 octets may end a packet), RFC 3551 section 4.5.6 (payload format, static type 18).
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache

import numpy as np
from numpy.typing import NDArray

from media.errors import NotSupported

RATE_HZ = 8000
FRAME_SAMPLES, FRAME_OCTETS, SID_OCTETS = 80, 10, 2
INSTALL = "G.729 needs libbcg729 on this machine (Debian: apt install libbcg729-0)"


@cache
def _library() -> ctypes.CDLL | None:
    for name in (ctypes.util.find_library("bcg729"), "libbcg729.so.0", "libbcg729.so"):
        if not name:
            continue
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        pointer = ctypes.c_void_p
        for kind in ("Encoder", "Decoder"):
            getattr(found, f"initBcg729{kind}Channel").restype = pointer
            getattr(found, f"closeBcg729{kind}Channel").argtypes = [pointer]
            getattr(found, f"closeBcg729{kind}Channel").restype = None
        found.initBcg729EncoderChannel.argtypes = [ctypes.c_uint8]
        found.bcg729Encoder.argtypes = [pointer, pointer, pointer, pointer]
        found.bcg729Encoder.restype = None
        flag = ctypes.c_uint8
        found.bcg729Decoder.argtypes = [pointer, pointer, flag, flag, flag, flag, pointer]
        found.bcg729Decoder.restype = None
        return found
    return None


def available() -> bool:
    """Tell whether bcg729 is installed here."""
    return _library() is not None


def _loaded() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise NotSupported(INSTALL)
    return library


class G729Encoder:
    """One stream's encoder: (n * 80,) int16 at 8,000 a second into n * 10 octets; no silence
    suppression. Raises `NotSupported` without the library."""

    __slots__ = ("_library", "_state")

    def __init__(self) -> None:
        self._state: int | None = None
        self._library = _loaded()
        self._state = self._library.initBcg729EncoderChannel(0)

    def encode(self, samples: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Encode whole frames: (n * 80,) int16 to (n * 10,) uint8."""
        audio = np.ascontiguousarray(samples, np.int16)
        frames = len(audio) // FRAME_SAMPLES
        out = np.zeros(frames * FRAME_OCTETS, np.uint8)
        length = ctypes.c_uint8()
        for frame in range(frames):
            self._library.bcg729Encoder(
                self._state,
                audio.ctypes.data + 2 * FRAME_SAMPLES * frame,
                out.ctypes.data + FRAME_OCTETS * frame,
                ctypes.byref(length),
            )
        return out

    def __del__(self) -> None:
        if self._state:
            self._library.closeBcg729EncoderChannel(self._state)
            self._state = None


class G729Decoder:
    """One stream's decoder. Raises `NotSupported` without the library."""

    __slots__ = ("_library", "_state")

    def __init__(self) -> None:
        self._state: int | None = None
        self._library = _loaded()
        self._state = self._library.initBcg729DecoderChannel()

    def decode(self, octets: NDArray[np.uint8]) -> NDArray[np.int16]:
        """Decode the frames of one payload, a silence descriptor at its end included: (n * 80,)
        int16. What is no whole frame is left out."""
        payload = np.ascontiguousarray(octets, np.uint8)
        held = samples_in(len(payload))
        out = np.zeros(held, np.int16)
        for frame in range(held // FRAME_SAMPLES):
            at = FRAME_OCTETS * frame
            size = min(FRAME_OCTETS, len(payload) - at)
            sid = size == SID_OCTETS
            self._library.bcg729Decoder(
                self._state,
                payload.ctypes.data + at,
                size,
                0,
                int(sid),
                0,
                out.ctypes.data + 2 * FRAME_SAMPLES * frame,
            )
        return out

    def __del__(self) -> None:
        if self._state:
            self._library.closeBcg729DecoderChannel(self._state)
            self._state = None


def samples_in(octets: int) -> int:
    """Return how many samples a payload of so many octets holds; 0 for one that is broken."""
    frames, rest = divmod(octets, FRAME_OCTETS)
    if rest not in (0, SID_OCTETS):
        return 0
    return FRAME_SAMPLES * (frames + (rest == SID_OCTETS))
