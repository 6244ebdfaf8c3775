"""Speech-like test material, and the measure of whether what arrived is what was sent.

All samples are one-dimensional int16 at 8,000 a second.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 8000

Samples = NDArray[np.int16]

# Mean first three formants of vowels (Peterson and Barney 1952, table II), men, Hz.
_VOWELS_HZ = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (640, 1190, 2390),
    (490, 1350, 1690),
)
_BANDWIDTHS_HZ = (60.0, 90.0, 150.0)
_PEAK = 12_000


@dataclass(frozen=True, slots=True)
class Match:
    """How well received audio fits what was sent.

    `correlation` of the two signals at the best alignment, -1 to 1 (1: the same up to loudness);
    `delay_ms` from the start of what was sent to where it is found in what was received (negative:
    its beginning is missing there).
    """

    correlation: float
    delay_ms: float


def speech(seed: int, duration_s: float) -> Samples:
    """Synthetic speech: syllables of gliding vowels, hiss and pauses; different for every seed.

    Deterministic: the same `seed` gives the same samples on every machine of one numpy version.
    Returns int16 with peaks near 12,000 (-9 dBFS), voiced about three quarters of the time.
    """
    rng = np.random.default_rng(seed)
    total = round(duration_s * RATE_HZ)
    pitch_hz = float(rng.uniform(90, 220))
    parts: list[NDArray[np.float64]] = []
    have = 0
    while have < total:
        part = _syllable(rng, pitch_hz)
        parts.append(part)
        have += len(part)
    voice = np.concatenate(parts)[:total] if parts else np.zeros(0)
    peak = float(np.abs(voice).max()) if total else 0.0
    if peak > 0:
        voice *= _PEAK / peak
    return voice.astype(np.int16)


def _syllable(rng: np.random.Generator, pitch_hz: float) -> NDArray[np.float64]:
    """One consonant, one gliding vowel, one pause (sometimes a long one)."""
    vowels = np.array(_VOWELS_HZ, np.float64)
    start, end = vowels[rng.integers(len(vowels))], vowels[rng.integers(len(vowels))]
    length = int(rng.integers(960, 2400))
    progress = np.linspace(0.0, 1.0, length)
    glide = float(rng.uniform(-0.15, 0.15))
    pitch = pitch_hz * float(rng.uniform(0.9, 1.1)) * (1.0 + glide * progress)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    formants = start[:, None] + (end - start)[:, None] * progress
    vowel = np.zeros(length)
    for number in range(1, int(3600 / pitch.max())):
        frequency = number * pitch
        gain = np.zeros(length)
        for index, width in enumerate(_BANDWIDTHS_HZ):
            gain += 1.0 / ((index + 1) * (1.0 + ((frequency - formants[index]) / width) ** 2))
        vowel += gain * np.sin(number * phase)
    envelope = np.sin(np.pi * progress) ** 0.5 * float(rng.uniform(0.5, 1.0))
    hiss = rng.standard_normal(int(rng.integers(160, 560)))
    hiss = 0.25 * np.diff(hiss, prepend=0.0) * np.hanning(len(hiss))
    rest = int(rng.integers(160, 800)) if rng.random() < 0.85 else int(rng.integers(1600, 3200))
    return np.concatenate([hiss, vowel * envelope, np.zeros(rest)])


def silence(duration_s: float) -> Samples:
    """Zeros."""
    return np.zeros(round(duration_s * RATE_HZ), np.int16)


def tone(frequency_hz: float, duration_s: float, peak: int = 8000) -> Samples:
    """A sine tone; `peak` in int16 units."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return np.round(peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.int16)


def spoken(text: str, *, voice: str = "en", words_per_minute: int = 160) -> Samples | None:
    """`text` spoken by espeak-ng at 8,000 Hz, or None where it is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    done = subprocess.run(  # a fixed program with text as one argument after "--", no shell
        [program, "-v", voice, "-s", str(words_per_minute), "--stdout", "--", text],
        capture_output=True,
        check=True,
        timeout=30,
    )
    # espeak-ng writes to a pipe and so cannot fill in the sizes of its header.
    raw = _pcm_of_endless_wav(done.stdout)
    samples, rate_hz = raw
    return _to_rate(samples, rate_hz)


def _pcm_of_endless_wav(wav: bytes) -> tuple[Samples, int]:
    rate_hz = int.from_bytes(wav[24:28], "little")
    at = wav.find(b"data")
    return np.frombuffer(wav[at + 8 : at + 8 + (len(wav) - at - 8) // 2 * 2], "<i2"), rate_hz


def read_wav(path: Path | str) -> Samples:
    """A WAV file as (frames,) or, with several parties, (frames, parties) int16 at 8,000 Hz."""
    samples, rate_hz = soundfile.read(io.BytesIO(Path(path).read_bytes()), dtype="int16")
    return _to_rate(samples, int(rate_hz))


def write_wav(path: Path | str, samples: Samples) -> None:
    """Write int16 samples, (frames,) or (frames, parties), at 8,000 Hz as PCM."""
    soundfile.write(str(path), samples, RATE_HZ, subtype="PCM_16")


def _to_rate(samples: Samples, rate_hz: int) -> Samples:
    """To 8,000 Hz by cutting the spectrum: slow and exact, for whole files."""
    if rate_hz == RATE_HZ or len(samples) == 0:
        return samples
    length = round(len(samples) * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(samples.astype(np.float64), axis=0)
    kept = length // 2 + 1
    if kept <= len(spectrum):
        spectrum = spectrum[:kept]
    resampled = np.fft.irfft(spectrum, length, axis=0) * (length / len(samples))
    return np.clip(np.round(resampled), -32_768, 32_767).astype(np.int16)


def match(sent: Samples, received: Samples) -> Match:
    """Find `sent` in `received`: normalised cross-correlation over every alignment, by FFT.

    Both (frames,) int16 at 8,000 Hz. At each delay the correlation is taken over the stretch where
    the two overlap, normalised by their energy there; alignments in which less than half of the
    shorter signal's energy overlaps are left out. Where one of the two is silent the result is
    `Match(0.0, 0.0)`.
    """
    a = np.asarray(sent, np.float64)
    b = np.asarray(received, np.float64)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError("match takes one party at a time: (frames,) arrays")
    if not np.any(a) or not np.any(b):
        return Match(0.0, 0.0)
    # delays[i]: b is shifted by i - (len(a) - 1) against a.
    size = 1 << (len(a) + len(b) - 2).bit_length()
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    delays = np.arange(-(len(a) - 1), len(b))
    dot = product[delays]
    energy_a, energy_b = _overlap_energy(a, b, delays)
    norm = np.sqrt(energy_a * energy_b)
    least = 0.5 * min(float(a @ a), float(b @ b))
    usable = (energy_a >= least) | (energy_b >= least)
    usable &= norm > 0
    score = np.where(usable, dot / np.where(norm > 0, norm, 1.0), -1.0)
    best = int(np.argmax(score))
    if not usable[best]:
        return Match(0.0, 0.0)
    correlation = float(np.clip(score[best], -1.0, 1.0))
    return Match(correlation, float(delays[best]) * 1000.0 / RATE_HZ)


def _overlap_energy(
    a: NDArray[np.float64], b: NDArray[np.float64], delays: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The energy of a and of b within their overlap, for each delay of b against a."""
    sums_a = np.concatenate([[0.0], np.cumsum(a * a)])
    sums_b = np.concatenate([[0.0], np.cumsum(b * b)])
    first_a = np.maximum(0, -delays)
    last_a = np.minimum(len(a), len(b) - delays)
    first_b = np.maximum(0, delays)
    last_b = np.minimum(len(b), len(a) + delays)
    return sums_a[last_a] - sums_a[first_a], sums_b[last_b] - sums_b[first_b]


def match_in_pieces(
    sent: Samples, received: Samples, *, piece_s: float = 0.5, moved_s: float = 0.2
) -> float:
    """The correlation of each piece of `sent` at a delay of its own, the mean weighted by their energy.

    A jitter buffer that grows or shrinks moves what follows by a frame or more; then `match` finds
    but the longer stretch. Each piece is looked for within `moved_s` of the delay of the whole.
    """
    delay = round(match(sent, received).delay_ms * RATE_HZ / 1000)
    moved, length = int(moved_s * RATE_HZ), int(piece_s * RATE_HZ)
    total = weight = 0.0
    for at in range(0, len(sent), length):
        piece = np.asarray(sent[at : at + length], np.float64)
        energy = float(piece @ piece)
        around = received[max(0, at + delay - moved) : max(0, at + delay + length + moved)]
        total += energy * match(piece.astype(np.int16), around).correlation
        weight += energy
    return total / weight if weight else 0.0
