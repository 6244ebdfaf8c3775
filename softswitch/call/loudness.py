"""How much is said in a recording: whether a message is one, and whether its caller still speaks.

Blocking (files) and so called in threads. Recordings are our own: mono WAV, 16-bit, at
the rate of the caller's codec.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.dsp import wav
from media.errors import WavError

_FRAME_S = 0.02
# -48 dBFS: above the noise of a quiet room on a G.711 line, well below speech.
_VOICED_RMS = 130.0


def repaired(path: Path) -> float:
    """The length in seconds of a recording, its sizes put right if its writer was killed; 0.0 for what
    is none or is not there."""
    try:
        with path.open("r+b") as file:
            info = wav.repair(file)
    except (OSError, WavError):
        return 0.0
    return info.data_octets / info.format.octets_per_frame / info.format.rate_hz


def voiced_s(path: Path) -> float:
    """Seconds of a recording in which something is to be heard."""
    try:
        with path.open("rb") as file:
            rate_hz, parties = wav.read(file)
    except (OSError, WavError):
        return 0.0
    return float(_voiced(parties[0], rate_hz).sum()) * _FRAME_S


def quiet_tail(path: Path, wanted_s: float) -> bool:
    """Whether the last `wanted_s` of a recording that is still running hold nothing to be heard."""
    try:
        with path.open("rb") as file:
            info = wav.inspect(file)
            wanted = round(wanted_s * info.format.rate_hz) * 2
            length = file.seek(0, 2)
            if length < info.data_at + wanted:
                return False
            file.seek(length - wanted)
            tail = np.frombuffer(file.read(wanted), "<i2")
    except (OSError, WavError):
        return False
    return not _voiced(tail, info.format.rate_hz).any()


def _voiced(samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.bool_]:
    frame = round(_FRAME_S * rate_hz)
    frames = samples[: len(samples) - len(samples) % frame].reshape(-1, frame).astype(np.float32)
    # Without its mean: a line's offset is no sound.
    loud: NDArray[np.bool_] = frames.std(axis=1) > _VOICED_RMS
    return loud
