"""Who is speaking and when, coded in the sound itself: it survives G.711, Opus, gain and mixing.

A signature is a sequence of pure tones of 40 ms, one of `TONES_HZ` each. Which tone sounds at
symbol `g // 2` (g: frames of 20 ms since the machine's clock began) is drawn from the speaker's
identity by a hash, with a period of 128 symbols (5.12 s). Everybody's clock is the same, so that
who knows the identities of a run finds by correlation who is heard and how long ago it was said.

The tones keep away from those of DTMF (ITU-T Q.23) and of fax machines; all are multiples of 50 Hz,
so that every frame of one tone is the same 160 samples and a sender only looks frames up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from media.dsp import g711

RATE_HZ = 8000
FRAME_SAMPLES = 160
FRAME_US = 20_000
PHASES = 4
"""Not everybody's frames begin at once, which no network would bring about: so many groups of speakers."""
SYMBOL_SAMPLES = 320
PERIOD_SYMBOLS = 128
PERIOD_US = PERIOD_SYMBOLS * 2 * FRAME_US
AMPLITUDE = 8000

TONES_HZ = (
    400, 500, 600, 1000, 1050, 1150, 1250, 1400, 1550, 1750,
    1850, 1950, 2000, 2200, 2300, 2400, 2500, 2600, 2700, 2800,
)  # fmt: skip
TONES = len(TONES_HZ)

_BLOCK = 40
"""Samples of the decoder's grid: 5 ms."""
_BLOCKS = SYMBOL_SAMPLES // _BLOCK
_BLOCK_US = 1_000_000 * _BLOCK // RATE_HZ

Samples = NDArray[np.int16]
Power = NDArray[np.float32]
Hops = NDArray[np.uint8]


def phase(identity: int) -> int:
    """The group of speakers whose frames begin together. Callers are even and callees odd: either alone is
    spread over all groups, and the ends of a call are in the same."""
    return (identity >> 1) % PHASES


def phase_us(identity: int) -> int:
    """How long after the clock's frame a speaker's own begins."""
    return phase(identity) * (FRAME_US // PHASES)


def hops(identities: ArrayLike) -> Hops:
    """(n, 128) uint8: the tone of each symbol for each of (n,) identities (0 to 2^32 - 1)."""
    who = np.asarray(identities, np.uint64)[:, None] << np.uint64(16)
    mixed = (who | np.arange(PERIOD_SYMBOLS, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    found: Hops = ((mixed >> np.uint64(33)) % np.uint64(TONES)).astype(np.uint8)
    return found


def tone_frames(rate_hz: int = RATE_HZ) -> Samples:
    """(tones, 20 ms) int16: one frame of each tone; frames of one tone join without a click."""
    time_s = np.arange(rate_hz // 50) / rate_hz
    phase = 2 * np.pi * np.array(TONES_HZ)[:, None] * time_s
    return np.round(AMPLITUDE * np.sin(phase)).astype(np.int16)


def coded_frames(codec: str) -> NDArray[np.uint8]:
    """(tones, 160) uint8: `tone_frames` in PCMU or PCMA."""
    encode = g711.encode_alaw if codec == "PCMA" else g711.encode_ulaw
    return encode(tone_frames())


def audio(identity: int, first_frame: int, frames: int) -> Samples:
    """(frames * 160,) int16: what `identity` says from frame `first_frame` of the clock on."""
    table = hops([identity])[0]
    numbers = (np.arange(first_frame, first_frame + frames) // 2) % PERIOD_SYMBOLS
    said: Samples = tone_frames()[table[numbers]].reshape(-1)
    return said


def _references() -> NDArray[np.complex64]:
    """(8, 40, tones): each tone over one symbol, in blocks."""
    time_s = np.arange(SYMBOL_SAMPLES) / RATE_HZ
    wave = np.exp(-2j * np.pi * np.array(TONES_HZ) * time_s[:, None])
    return wave.astype(np.complex64).reshape(_BLOCKS, _BLOCK, TONES)


_REFERENCES = _references()


def spectrogram(pcm: Samples) -> tuple[Power, Power]:
    """Each tone's share of the sound, 0 to 1, in windows of 40 ms every 5 ms.

    `pcm` (n, samples) int16. Returns (n, windows, tones) float32 and (n, windows) float32, the
    window's mean power in full-scale units (0 dB: a full sine is 0.5). Silent windows have share 0.
    """
    count, samples = pcm.shape
    blocks = samples // _BLOCK
    scaled = pcm[:, : blocks * _BLOCK].astype(np.float32) / 32768.0
    grid = scaled.reshape(count, blocks, _BLOCK)
    parts = np.empty((count, blocks, TONES), np.complex64)
    # The reference runs on through the recording, and repeats every symbol.
    for phase in range(_BLOCKS):
        parts[:, phase::_BLOCKS] = grid[:, phase::_BLOCKS] @ _REFERENCES[phase]
    sums = np.cumsum(np.pad(parts, ((0, 0), (1, 0), (0, 0))), axis=1)
    windows = sums[:, _BLOCKS:] - sums[:, :-_BLOCKS]
    power = (windows.real**2 + windows.imag**2) * (2.0 / SYMBOL_SAMPLES**2)
    energy = np.cumsum(np.pad((grid**2).mean(axis=2), ((0, 0), (1, 0))), axis=1)
    level = np.maximum((energy[:, _BLOCKS:] - energy[:, :-_BLOCKS]) / _BLOCKS, 0.0)
    audible = level > 1e-7
    share = np.where(audible[:, :, None], power / np.where(audible, level, 1.0)[:, :, None], 0.0)
    return np.minimum(share, 1.0).astype(np.float32), level.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Heard:
    """One speaker found in a recording.

    `score` is his share of the sound, 1.0 when he is alone; `said_us` is the sender's clock,
    modulo `PERIOD_US`, at the recording's first sample.
    """

    identity: int
    score: float
    said_us: int


SCORE_ALONE = 0.5
"""A single speaker's score is above this, through any codec in good order."""
SCORE_MIXED = 0.22
"""What a speaker among others must reach in a recording of 2.5 s or more (chance gives 0.12)."""


def align(
    share: Power, table: Hops, first_us: NDArray[np.int64], search_us: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Is the expected speaker heard, and how late? For n recordings with one expectation each.

    `share` (n, windows, tones) of `spectrogram`; `table` (n, 128) `hops` of the expected identities;
    `first_us` (n,) the clock (of the listener) at each first sample. What was said between
    `search_us` before and 40 ms after that is looked for. Returns (n,) scores and (n,) delays in us.
    """
    count, windows, _ = share.shape
    symbols = (windows - _BLOCKS) // _BLOCKS
    if symbols < 4 or count == 0:
        return np.zeros(count), np.zeros(count, np.int64)
    delays = np.arange(-_BLOCKS, search_us // _BLOCK_US + 1)
    rows = np.arange(count)
    first = first_us // _BLOCK_US
    scores = np.zeros((count, len(delays)))
    for column, delay in enumerate(delays.tolist()):
        said = first - delay
        # The first window that holds one whole symbol, and the number of that symbol.
        skip = (-said) % _BLOCKS
        number = (said + skip) // _BLOCKS
        at = skip[:, None] + _BLOCKS * np.arange(symbols)
        tone = table[rows[:, None], (number[:, None] + np.arange(symbols)) % PERIOD_SYMBOLS]
        scores[:, column] = share[rows[:, None], at, tone].mean(axis=1)
    best = scores.argmax(axis=1)
    fine = _peak(scores, best) * _BLOCK_US
    delay_us = delays[best] * _BLOCK_US + (first_us % _BLOCK_US) + fine.astype(np.int64)
    return scores[rows, best], delay_us


def _peak(scores: NDArray[np.float64], best: NDArray[np.intp]) -> NDArray[np.float64]:
    """Where between the grid's points the top is: the parabola through three of them."""
    rows = np.arange(len(scores))
    inner = np.clip(best, 1, scores.shape[1] - 2)
    left, middle, right = (scores[rows, inner + step] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    offset = np.where(bend < -1e-9, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    return np.where(inner == best, np.clip(offset, -0.5, 0.5), 0.0)


class Directory:
    """All identities of a run, for the question "then who is it?"."""

    def __init__(self, identities: ArrayLike) -> None:
        self.identities: NDArray[np.uint32] = np.asarray(identities, np.uint32)
        table = hops(self.identities)
        sounds = (table[:, :, None] == np.arange(TONES, dtype=np.uint8)).astype(np.float32)
        self._spectra = np.fft.rfft(sounds, axis=1).astype(np.complex64)

    def who(self, share: Power, least: float = SCORE_ALONE) -> list[Heard]:
        """Everybody who is heard in one recording, loudest first.

        `share` (windows, tones) of `spectrogram`, of at most 5 s; `least` the score to be counted.
        """
        if not len(self.identities):
            return []
        found: dict[int, Heard] = {}
        windows = min(len(share), PERIOD_SYMBOLS * _BLOCKS)
        for phase in range(_BLOCKS):
            part = share[phase:windows:_BLOCKS]
            if len(part) < 8:
                continue
            padded = np.zeros((PERIOD_SYMBOLS, TONES), np.float32)
            padded[: len(part)] = part
            spectrum = np.conj(np.fft.rfft(padded, axis=0)).astype(np.complex64)
            product = np.einsum("fk,nfk->nf", spectrum, self._spectra)
            scores = np.fft.irfft(product, PERIOD_SYMBOLS, axis=1) / len(part)
            best = scores.argmax(axis=1)
            top = scores[np.arange(len(scores)), best]
            for row in np.flatnonzero(top >= least).tolist():
                identity, score = int(self.identities[row]), float(top[row])
                if identity not in found or found[identity].score < score:
                    # The symbol that begins at window `phase` has number `best`.
                    said_us = int(best[row]) * 2 * FRAME_US - phase * _BLOCK_US
                    found[identity] = Heard(identity, score, said_us % PERIOD_US)
        return sorted(found.values(), key=lambda heard: -heard.score)


def delay_us(first_us: int, said_us: int) -> int:
    """How long before the listener's clock `first_us` the speaker's clock `said_us` was, within half
    a period either way."""
    difference = (first_us - said_us) % PERIOD_US
    return difference if difference < PERIOD_US // 2 else difference - PERIOD_US
