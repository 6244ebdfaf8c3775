"""Change of sampling rate for many streams at once, block by block without seams.

Source: Crochiere and Rabiner, "Multirate Digital Signal Processing" (1983), chapter 3: a polyphase
windowed-sinc filter (Kaiser, 60 dB). Each block is one matrix product: the samples before it and in
it, times a matrix whose columns are the filter's phases.

Between 8 and 16 kHz the response is flat to 3.4 kHz and 60 dB down from 4.6 kHz; other pairs scale
with the lower of their two rates. The delay is 12 samples of the lower rate (1.5 ms at 8 kHz).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from media.dsp.levels import to_int16

_LOBES = 12
_KAISER_BETA = 5.65
_BLOCK_MAX = 48

Floats = NDArray[np.float32]


class Polyphase:
    """The filter from `in_hz` to `out_hz`; keeps nothing but its coefficients.

    Any two rates in whole hertz whose reduced ratio has no term above 48 (8, 16, 24, 32, 48 kHz
    among each other). Raises `ValueError` for others.
    """

    __slots__ = ("_down", "_matrices", "_up", "half", "in_hz", "out_hz")

    def __init__(self, in_hz: int, out_hz: int) -> None:
        if in_hz <= 0 or out_hz <= 0:
            raise ValueError("rates are above zero")
        common = math.gcd(in_hz, out_hz)
        self._up, self._down = out_hz // common, in_hz // common
        if max(self._up, self._down) > _BLOCK_MAX:
            raise ValueError(f"{in_hz} to {out_hz} Hz is no simple ratio")
        self.in_hz, self.out_hz = in_hz, out_hz
        self.half = _LOBES * max(1, -(-self._down // self._up))
        """Input samples on each side that an output sample is made of."""
        self._matrices: dict[int, Floats] = {}

    def convert(self, windows: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.int16]:
        """Convert (K, `half` + n + `half`) samples into (K, n * out_hz / in_hz) int16 of their middle.

        Where the last `half` samples are the newest there are, the sound leaves `half` samples late.
        n is a multiple of `in_hz / gcd(in_hz, out_hz)` (6 from 48 to 8 kHz, 1 from 8 to 16 kHz).
        """
        count, length = len(windows), windows.shape[1] - 2 * self.half
        if length % self._down or length < 0:
            raise ValueError(f"{length} samples; allowed: a multiple of {self._down}")
        if length == 0 or count == 0:
            return np.zeros((count, length * self._up // self._down), np.int16)
        joined = np.asarray(windows, np.float32)
        block = self._block(length)
        span = 2 * self.half + block
        pieces = np.lib.stride_tricks.sliding_window_view(joined, span, axis=1)
        product = pieces[:, ::block].reshape(-1, span) @ self._matrix(block)
        return to_int16(product).reshape(count, -1)

    def _block(self, length: int) -> int:
        """Return the largest divisor of `length` that keeps the phase and the matrix small."""
        top = max(_BLOCK_MAX, self._down)
        for block in range(min(length, top), 0, -1):
            if length % block == 0 and block % self._down == 0:
                return block
        return length

    def _matrix(self, block: int) -> Floats:
        """Return (2 * half + block, outputs) float32: weight of each input sample in each output."""
        found = self._matrices.get(block)
        if found is not None:
            return found
        outputs = block * self._up // self._down
        # Output k lies at input time k * down / up, between `half` samples before and behind it.
        centre = self.half + np.arange(outputs) * self._down / self._up
        offset = np.arange(2 * self.half + block)[:, None] - centre
        cutoff = min(1.0, self._up / self._down)
        inside = np.clip(1.0 - (offset / self.half) ** 2, 0.0, None)
        window = np.i0(_KAISER_BETA * np.sqrt(inside)) * (np.abs(offset) <= self.half)
        weights = np.sinc(offset * cutoff) * window
        matrix: Floats = (weights / weights.sum(axis=0)).astype(np.float32)
        self._matrices[block] = matrix
        return matrix

    def whole(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Convert (K, n) int16, all there is, without delay; what is not a whole step is cut off."""
        usable = samples.shape[1] - samples.shape[1] % self._down
        return self.convert(np.pad(samples[:, :usable], ((0, 0), (self.half, self.half))))


class Resampler:
    """From `in_hz` to `out_hz` for up to `streams` streams, one row of state each: see `Polyphase`."""

    __slots__ = ("_filter", "_past", "in_hz", "out_hz")

    def __init__(self, in_hz: int, out_hz: int, streams: int) -> None:
        self._filter = Polyphase(in_hz, out_hz)
        self.in_hz, self.out_hz = in_hz, out_hz
        self._past: Floats = np.zeros((streams, 2 * self._filter.half), np.float32)

    @property
    def delay_s(self) -> float:
        """How much later a sound leaves than it came."""
        return self._filter.half / self.in_hz

    def reset(self, rows: NDArray[np.integer] | int) -> None:
        """Start `rows`, one or (K,), anew, from silence."""
        self._past[rows] = 0.0

    def process(self, rows: NDArray[np.intp], samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Convert the next (K, n) int16 of distinct `rows` (K,) into (K, n * out_hz / in_hz) int16.

        n is a multiple of `in_hz / gcd(in_hz, out_hz)` (6 from 48 to 8 kHz, 1 from 8 to 16 kHz).
        """
        joined = np.concatenate([self._past[rows], samples], axis=1, dtype=np.float32)
        converted = self._filter.convert(joined)
        self._past[rows] = joined[:, samples.shape[1] :]
        return converted
