"""The outline of a recording for a player, WAV or archived."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.dsp import wav
from media.errors import WavError


def peaks_of(path: Path, points: int) -> tuple[float, list[list[float]]] | None:
    """Seconds, and for each track at most `points` peaks from 0 to 1; None for what is no recording.
    Blocks: an hour of stereo takes half a second."""
    try:
        rate_hz, samples = _samples(path)
    except (WavError, OSError):
        return None
    frames = samples.shape[1]
    if frames == 0:
        return 0.0, [[] for _ in samples]
    starts = np.unique(np.linspace(0, frames, num=min(points, frames), endpoint=False, dtype=int))
    tracks = []
    for track in samples:
        loudest = np.maximum(
            np.maximum.reduceat(track, starts).astype(np.int32),
            -np.minimum.reduceat(track, starts).astype(np.int32),
        )
        tracks.append([round(float(peak) / 32_768, 3) for peak in loudest])
    return frames / rate_hz, tracks


def _samples(path: Path) -> tuple[int, NDArray[np.int16]]:
    if path.suffix == ".wav":
        with path.open("rb") as file:
            return wav.read(file)
    import soundfile

    try:
        samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise WavError(str(error)) from error
    return rate_hz, samples.T
