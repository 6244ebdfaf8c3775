"""In-band DTMF detection on all listening streams at once.

Sources: ITU-T Q.23 (the frequencies), ITU-T Q.24 (what a receiver accepts and refuses), Goertzel
(1958) for evaluating a few frequencies of a spectrum; here they are one matrix product.

Two stages. The first looks at every stream in blocks of 10 ms: one product gives the power at the
eight frequencies, and a block in which two of them hold most of the energy is a hit. Three hits in
a row with the same pair, which 40 ms of tone always give and 23 ms never do, call the second stage:
on those 30 ms alone it measures both frequencies by their phase advance, fits two sines of exactly
these frequencies, and asks how much of the energy they explain, how level they are, how steady. It
is exact and slow, but runs for the few streams that have a candidate.

The defaults accept +-1.5 % +-2 Hz and refuse +-3.5 %, accept a high frequency from 8 dB below to
4 dB above the low one, tones of 40 ms and pauses of 40 ms, single frequencies from -3 to -30 dBm0,
and a signal 15 dB above noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.dsp.levels import peak_of_dbm0
from media.dsp.tones import DTMF_HIGH_HZ, DTMF_KEYS, DTMF_LOW_HZ
from media.wire.telephone_event import DigitReports, event_of

RATE_HZ = 8000
BLOCK = 80
"""Samples of one block: 10 ms at 8 kHz."""

_HITS = 3
_GAP = 3
_WINDOW = _HITS * BLOCK
_LASTING_WINDOWS = 4
_EVENTS = np.array([[event_of(key) for key in row] for row in DTMF_KEYS], np.uint8)
_HZ = np.array(DTMF_LOW_HZ + DTMF_HIGH_HZ)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DtmfLimits:
    """What is a digit and what is not. The defaults stand between Q.24's must and must-not."""

    share_hint: float = 0.5
    """Stage 1: share of a block's energy that the two strongest frequencies hold."""
    share: float = 0.955
    """Stage 2: share of 30 ms that two sines explain (15 dB of noise leave 0.97)."""
    share_lasting: float = 0.9
    """Stage 2: the same for what has lasted 60 ms (noisier lines, longer digits)."""
    share_block: float = 0.78
    """Stage 2: the same for each 10 ms of them."""
    deviation: float = 0.015
    deviation_hz: float = 6.0
    """Frequency error, relative and in hertz, summed: between 1.5 % + 2 Hz and 3.5 %."""
    level_dbm0_min: float = -35.0
    """Level of the weaker frequency."""
    twist_db_max: float = 5.5
    """High above low."""
    twist_db_min: float = -9.5
    """High below low."""
    unsteady_db: float = 2.5
    """How much the level of either frequency may change within 30 ms."""


def _bases() -> NDArray[np.float32]:
    """Return (16, BLOCK) float32: cosines of the 8 frequencies, then sines, for 10 ms."""
    phase = 2.0 * np.pi * _HZ[:, None] * np.arange(BLOCK) / RATE_HZ
    return np.concatenate([np.cos(phase), np.sin(phase)]).astype(np.float32)


def _probes() -> NDArray[np.complex128]:
    """Return (240, 2 * 8): two Hann windows of 20 ms, 10 ms apart, on each frequency."""
    length = 2 * BLOCK
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(length) + 0.5) / length)
    carrier = np.exp(-2j * np.pi * _HZ[:, None] * np.arange(_WINDOW) / RATE_HZ)
    probes = np.zeros((2, 8, _WINDOW), np.complex128)
    probes[0, :, :length] = hann * carrier[:, :length]
    probes[1, :, BLOCK:] = hann * carrier[:, BLOCK:]
    return np.ascontiguousarray(probes.reshape(16, _WINDOW).T)


def _planes() -> NDArray[np.float32]:
    """Return (16, 36, BLOCK) float32: for each pair nine times four orthonormal rows that span two sines near
    it, each up to 2 % off."""
    planes = np.zeros((4, 4, 3, 3, 4, BLOCK))
    turn = 2.0 * np.pi * np.arange(BLOCK) / RATE_HZ
    for place in np.ndindex(4, 4, 3, 3):
        low, high = DTMF_LOW_HZ[place[0]], DTMF_HIGH_HZ[place[1]]
        hz = np.array([low * _OFF[place[2]], high * _OFF[place[3]]])
        sines = np.concatenate([np.cos(turn[:, None] * hz), np.sin(turn[:, None] * hz)], axis=1)
        planes[place] = np.linalg.qr(sines)[0].T
    return planes.reshape(16, 36, BLOCK).astype(np.float32)


_OFF = (0.986, 1.0, 1.014)
_BASES = _bases()
_PROBES = _probes()
_PLANES = _planes()


def _power(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (8, K) float32: the power of (K, 80) `blocks` at each frequency, low ones first."""
    parts = _BASES @ blocks.T
    parts *= parts
    power: NDArray[np.float32] = parts[:8]
    power += parts[8:]
    return power


def pair_power(blocks: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Look at `blocks` (K, 80) float32, 10 ms each: how strong a digit's two frequencies are in them.

    Returns (2, K) float32, the power at the strongest frequency of either group, and (K,) float32, the
    energy. A sine of amplitude a has energy a^2 n/2 and power (a n/2)^2 here, n being 80.
    """
    energy: NDArray[np.float32] = np.einsum("ij,ij->i", blocks, blocks)
    power = _power(blocks).reshape(2, 4, -1)
    # Two by two: a reduction over four rows takes several times as long.
    two = np.maximum(power[:, :2], power[:, 2:])
    best: NDArray[np.float32] = np.maximum(two[:, 0], two[:, 1])
    return best, energy


def pair_share(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (K,) float32: how much of the energy of `blocks` (K, 80) float32, 10 ms each, two sines explain
    that are near the strongest pair of a digit's frequencies.

    Of a digit 15 dB above noise, whatever Q.24 lets it be off, at least 0.94; of speech that `pair_power` takes
    for a digit nearly always less than 0.75. Dear, and made for few.
    """
    power = _power(blocks)
    pairs = power[:4].argmax(axis=0) * 4 + power[4:].argmax(axis=0)
    parts = (_PLANES[pairs] @ blocks[:, :, None]).reshape(-1, 9, 4)
    explained = np.einsum("ijk,ijk->ij", parts, parts).max(axis=1)
    share: NDArray[np.float32] = explained / (np.einsum("ij,ij->i", blocks, blocks) + 1e-9)
    return share


def power_at(level_dbm0: float) -> float:
    """Return the power, as `pair_power` gives it, of a sine of this level."""
    return 0.25 * peak_of_dbm0(level_dbm0) ** 2 * BLOCK**2


_REFUSED, _LASTING, _SURE = range(3)


class DtmfDetector:
    """The ears of up to `streams` streams; one row of state each, fixed size.

    Call `process` for the rows that listen, tick by tick. A row that has not been listened to for a
    while is `reset` before it listens again.
    """

    __slots__ = (
        "_first",
        "_history",
        "_lasting",
        "_limits",
        "_misses",
        "_pair",
        "active",
        "event",
        "run",
    )

    def __init__(self, streams: int, limits: DtmfLimits | None = None) -> None:
        self._limits = limits or DtmfLimits()
        self._history = np.zeros((streams, _WINDOW - BLOCK), np.int16)
        self._pair = np.zeros(streams, np.int8)
        self._misses = np.zeros(streams, np.int32)
        self._lasting = np.zeros(streams, np.int32)
        self._first = np.zeros(streams, np.int64)
        self.run = np.zeros(streams, np.int32)
        """(streams,) blocks in a row that look like one and the same digit, up to now."""
        self.active = np.zeros(streams, np.bool_)
        """(streams,) a digit has been detected and is still sounding."""
        self.event = np.zeros(streams, np.uint8)
        """(streams,) the event code (RFC 4733 section 3.2) of the digit that `active` means."""

    def reset(self, rows: NDArray[np.integer] | int) -> None:
        """Forget what `rows`, one or (K,), heard."""
        self.run[rows] = 0
        self.active[rows] = False
        self._misses[rows] = self._lasting[rows] = 0

    def suspects(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return (K,) bools: a digit sounds on this row, or 20 ms that look like one just did.

        For those who suppress digits before they are certain; speech rarely comes this far.
        """
        suspected: NDArray[np.bool_] = self.active[rows] | (self.run[rows] >= 2)
        return suspected

    def process(self, rows: NDArray[np.intp], samples: NDArray[np.int16]) -> DigitReports:
        """Listen to the next samples of `rows` (K,) distinct; `samples` (K, n) int16 at 8 kHz.

        `n` is a multiple of 80 (10 ms), the same for all. Returns what began and what ended, with
        `stream` the row, `event` the code of RFC 4733 and `duration` in samples (10 ms steps).
        """
        length = samples.shape[1]
        if length % BLOCK or length == 0:
            raise ValueError(f"{length} samples; allowed: a multiple of {BLOCK}")
        hits, pairs = self.look(samples)
        reports = _Reports()
        if hits.any() or self.run[rows].any() or self.active[rows].any():
            for block in range(length // BLOCK):
                self._step(rows, samples, block, hits[:, block], pairs[:, block], reports)
        # Only rows with a run need to be remembered; the copy is small beside the product.
        kept = np.flatnonzero(self.run[rows] > 0)
        if kept.size:
            recent = np.concatenate([self._history[rows[kept]], samples[kept]], axis=1)
            self._history[rows[kept]] = recent[:, -(_WINDOW - BLOCK) :]
        return reports.joined()

    def look(
        self, samples: NDArray[np.int16] | NDArray[np.floating]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
        """Stage 1 alone, without memory: (K, blocks) bools which blocks of (K, n) samples look like a
        digit, and (K, blocks) int8 the pair (low * 4 + high) of each that does."""
        blocks = samples.astype(np.float32).reshape(-1, BLOCK)
        (low, high), energy = pair_power(blocks)
        # A quarter of what a sine of the least level has: a block may be half full of it.
        floor = 0.25 * power_at(self._limits.level_dbm0_min)
        hits = (low + high) >= energy * (self._limits.share_hint * BLOCK / 2)
        hits &= (low >= floor) & (high >= floor)
        pairs = np.zeros(len(hits), np.int8)
        rows = np.flatnonzero(hits)
        if rows.size:
            power = _power(blocks[rows])
            pairs[rows] = power[:4].argmax(axis=0) * 4 + power[4:].argmax(axis=0)
        shape = (len(samples), -1)
        return hits.reshape(shape), pairs.reshape(shape)

    def _step(
        self,
        rows: NDArray[np.intp],
        samples: NDArray[np.int16],
        block: int,
        hit: NDArray[np.bool_],
        pair: NDArray[np.int8],
        reports: _Reports,
    ) -> None:
        run, active = self.run[rows], self.active[rows]
        same = hit & (run > 0) & (pair == self._pair[rows])
        run = np.where(same, run + 1, hit.astype(np.int32))
        self.run[rows] = run
        self._pair[rows[hit]] = pair[hit]
        self._first[rows] += BLOCK
        if active.any():
            self._watch_end(rows, hit, pair, active, reports)
        # What was refused time and again (a steady chord, say) is asked less and less often.
        asked = (run >= _HITS) & ((run <= 4 * _HITS) | (run % 16 == 0))
        due = np.flatnonzero(asked & ~self.active[rows])
        if due.size:
            self._verify(rows[due], self._window(rows, samples, due, block), reports)

    def _watch_end(
        self,
        rows: NDArray[np.intp],
        hit: NDArray[np.bool_],
        pair: NDArray[np.int8],
        active: NDArray[np.bool_],
        reports: _Reports,
    ) -> None:
        event = _EVENTS.reshape(-1)[pair]
        sounding = active & hit & (event == self.event[rows])
        self._misses[rows] = np.where(sounding, 0, self._misses[rows] + active)
        over = rows[active & (self._misses[rows] >= _GAP)]
        if over.size:
            self.active[over] = False
            reports.add(over, self.event[over], True, self._first[over] - _GAP * BLOCK)

    def _window(
        self,
        rows: NDArray[np.intp],
        samples: NDArray[np.int16],
        due: NDArray[np.intp],
        block: int,
    ) -> Floats:
        """Return (len(due), 240) float64: the 30 ms that end with `block`."""
        recent = np.concatenate([self._history[rows[due]], samples[due]], axis=1)
        return recent[:, block * BLOCK : block * BLOCK + _WINDOW].astype(np.float64)

    def _verify(self, rows: NDArray[np.intp], window: Floats, reports: _Reports) -> None:
        verdict = verify(window, self._pair[rows], self._limits)
        fresh = self.run[rows] == _HITS
        since = np.where(fresh, 0, self._lasting[rows]) + 1
        self._lasting[rows] = np.where(verdict == _REFUSED, 0, since)
        begun = rows[(verdict == _SURE) | (self._lasting[rows] >= _LASTING_WINDOWS)]
        if begun.size:
            self.active[begun] = True
            self._misses[begun] = 0
            self._first[begun] = self.run[begun] * BLOCK
            self.event[begun] = _EVENTS.reshape(-1)[self._pair[begun]]
            reports.add(begun, self.event[begun], False, self._first[begun])


def verify(window: Floats, pair: NDArray[np.integer], limits: DtmfLimits) -> NDArray[np.int8]:
    """Stage 2: is each 30 ms of `window` (C, 240) float64 the digit `pair` (C,) says? Pure.

    `pair` is row * 4 + column of the keypad. Returns (C,) int8: 2 surely, 1 if it lasts, 0 no.
    """
    low, high = pair.astype(np.intp) // 4, pair.astype(np.intp) % 4 + 4
    seen = (window @ _PROBES).reshape(-1, 2, 8)
    here = np.arange(len(window))
    good = np.ones(len(window), np.bool_)
    hz = np.empty((len(window), 2))
    for side, index in enumerate((low, high)):
        first, second = seen[here, 0, index], seen[here, 1, index]
        off_hz = np.angle(second * first.conj()) / (2.0 * np.pi * BLOCK / RATE_HZ)
        good &= np.abs(off_hz) <= limits.deviation * _HZ[index] + limits.deviation_hz
        hz[:, side] = _HZ[index] + off_hz
    explained, energy, amplitude = _fit(window, hz)
    share = explained.sum(axis=1) / (energy.sum(axis=1) + 1e-9)
    good &= (explained >= limits.share_block * energy).all(axis=1)
    mean = np.sqrt((amplitude**2).mean(axis=1))
    good &= mean.min(axis=1) >= peak_of_dbm0(limits.level_dbm0_min)
    twist_db = 20.0 * np.log10((mean[:, 1] + 1e-9) / (mean[:, 0] + 1e-9))
    good &= (twist_db <= limits.twist_db_max) & (twist_db >= limits.twist_db_min)
    swing = amplitude.max(axis=1) / (amplitude.min(axis=1) + 1e-9)
    good &= (swing <= 10.0 ** (limits.unsteady_db / 20.0)).all(axis=1)
    verdict = np.where(share >= limits.share, _SURE, _LASTING)
    verdict[~good | (share < limits.share_lasting)] = _REFUSED
    return verdict.astype(np.int8)


def _fit(window: Floats, hz: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit two sines of `hz` (C, 2) to each 10 ms of (C, 240).

    Returns what they explain (C, 3), the energy (C, 3) and the amplitudes (C, 3, 2).
    """
    # The phase starts anew in each block: one model and one solution serve all three.
    phase = (2.0 * np.pi / RATE_HZ) * hz[:, :, None] * np.arange(BLOCK)
    model = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    blocks = window.reshape(-1, _HITS, BLOCK)
    gram = model @ model.transpose(0, 2, 1)
    image = blocks @ model.transpose(0, 2, 1)
    weights = image @ np.linalg.inv(gram)
    explained = (weights * image).sum(axis=2)
    energy = (blocks * blocks).sum(axis=2)
    return explained, energy, np.hypot(weights[..., :2], weights[..., 2:])


class _Reports:
    """What one call of `process` has to say, in order."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.intp], NDArray[np.uint8], bool, NDArray[Any]]] = []

    def add(
        self, rows: NDArray[np.intp], event: NDArray[np.uint8], ended: bool, samples: NDArray[Any]
    ) -> None:
        self._parts.append((rows, event.copy(), ended, np.asarray(samples, np.int64).copy()))

    def joined(self) -> DigitReports:
        empty: tuple[NDArray[np.intp], NDArray[np.uint8], bool, NDArray[np.int64]]
        empty = (np.zeros(0, np.intp), np.zeros(0, np.uint8), False, np.zeros(0, np.int64))
        parts = self._parts or [empty]
        return DigitReports(
            np.concatenate([part[0] for part in parts]).astype(np.intp),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([np.full(len(part[0]), part[2], np.bool_) for part in parts]),
            np.concatenate([part[3] for part in parts]),
        )
