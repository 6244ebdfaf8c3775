"""Speech on a few calls, compared with what arrived: correlation and delay, and PESQ where it is installed.

PESQ (ITU-T P.862) is not part of this project: `pip install pesq` (mind the ITU's terms) adds the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, util

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711
from media.wire.rtp import timestamp_delta
from softswitch.load.signature import FRAME_SAMPLES, RATE_HZ
from softswitch.sim.audio import match, speech

SECONDS = 8.0
_LEAST_SAMPLES = 2 * RATE_HZ
_PACKETS_MAX = 3000

Samples = NDArray[np.int16]


def said_by(identity: int) -> Samples:
    """(n,) int16: what a party says, different for each."""
    return speech(identity & 0xFFFF, SECONDS)


def coded(pcm: Samples, codec: str) -> list[bytes]:
    """Frames of 20 ms in PCMU or PCMA."""
    codes = (g711.encode_alaw if codec == "PCMA" else g711.encode_ulaw)(pcm).tobytes()
    return [
        codes[at : at + FRAME_SAMPLES]
        for at in range(0, len(codes) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
    ]


class Recording:
    """What one stream has received, by RTP timestamps."""

    def __init__(self) -> None:
        self._packets: list[tuple[int, Samples]] = []

    def add(self, timestamp: int, pcm: Samples) -> None:
        """One packet; beyond a minute no more are kept."""
        if len(self._packets) < _PACKETS_MAX:
            self._packets.append((timestamp, pcm))

    def samples(self) -> Samples:
        """(n,) int16; what is missing is silence."""
        if not self._packets:
            return np.zeros(0, np.int16)
        stamps = np.array([timestamp for timestamp, _ in self._packets], np.int64)
        at = timestamp_delta(stamps, int(stamps[0]))
        at -= at.min()
        if at.max() > _PACKETS_MAX * FRAME_SAMPLES:
            return np.zeros(0, np.int16)
        found = np.zeros(int(at.max()) + FRAME_SAMPLES, np.int16)
        for start, (_, pcm) in zip(at.tolist(), self._packets, strict=True):
            found[start : start + len(pcm)] = pcm[: len(found) - start]
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """How well a sample came through: `correlation` -1 to 1, `pesq` 1 to 4.5 or None."""

    correlation: float
    pesq: float | None


def compare(said: Samples, heard: Samples) -> Comparison | None:
    """Compare over what both have; None when there is too little. `heard` may begin late."""
    if len(heard) < _LEAST_SAMPLES:
        return None
    found = match(said, heard)
    delay = round(found.delay_ms * RATE_HZ / 1000)
    first, start = max(0, -delay), max(0, delay)
    length = min(len(said) - first, len(heard) - start)
    if length < _LEAST_SAMPLES:
        return Comparison(found.correlation, None)
    return Comparison(
        found.correlation, pesq(said[first : first + length], heard[start : start + length])
    )


def pesq(said: Samples, heard: Samples) -> float | None:
    """PESQ (narrowband) of two aligned recordings; None where it is not installed or finds no speech."""
    if util.find_spec("pesq") is None:
        return None
    try:
        return float(import_module("pesq").pesq(RATE_HZ, said, heard, "nb"))
    except Exception:  # of its C code: no utterance found, too short
        return None
