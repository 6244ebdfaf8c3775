"""Comfort noise (RFC 3389): describe a background in a few octets, and make it sound again.

Sources: RFC 3389 sections 3 (payload), 3.1 (level), 3.2 (spectral information: quantised reflection
coefficients); the Levinson-Durbin recursion for both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.dsp.levels import rms_of_dbov, to_int16

PAYLOAD_TYPE = 13
ORDER_MAX = 12
"""Coefficients beyond these are ignored, as section 3.2 allows."""

_RESPONSE = 48

Floats = NDArray[np.float64]


@dataclass(slots=True)
class NoiseColumns:
    """What K comfort noise payloads say; rows with `ok` false mean nothing."""

    ok: NDArray[np.bool_]
    level_dbov: Floats
    """(K,) 0 to -127."""
    reflection: Floats
    """(K, 12) reflection coefficients in -1..1, 0 where none were sent: a flat spectrum."""


def parse(payloads: NDArray[np.uint8], octets: NDArray[np.integer]) -> NoiseColumns:
    """Parse (K, W) uint8 payloads of (K,) octets (RFC 3389 section 3). Never raises for content."""
    held = np.minimum(octets, payloads.shape[1])
    level = np.zeros(len(payloads))
    if payloads.shape[1]:
        level = -(payloads[:, 0] & 0x7F).astype(np.float64)
    reflection = np.zeros((len(payloads), ORDER_MAX))
    width = min(max(payloads.shape[1] - 1, 0), ORDER_MAX)
    coded = payloads[:, 1 : 1 + width].astype(np.float64)
    sent = np.arange(width) < (held[:, None] - 1)
    reflection[:, :width] = np.where(sent, (coded - 127.0) * 258.0 / 32768.0, 0.0)
    return NoiseColumns(held >= 1, level, np.clip(reflection, -0.99, 0.99))


def _response(reflection: Floats) -> Floats:
    """Return (K, _RESPONSE): the impulse response of the all-pole filter, energy 1."""
    count, order = reflection.shape
    predictor = np.zeros((count, order + 1))
    predictor[:, 0] = 1.0
    for step in range(1, order + 1):
        k = reflection[:, step - 1, None]
        predictor[:, 1 : step + 1] += k * predictor[:, step - 1 :: -1][:, :step]
    response = np.zeros((count, _RESPONSE + order))
    response[:, order] = 1.0
    for at in range(1, _RESPONSE):
        past = response[:, order + at - 1 : at - 1 if at > 1 else None : -1][:, :order]
        response[:, order + at] = -(predictor[:, 1:] * past).sum(axis=1)
    response = response[:, order:]
    power = np.sqrt((response**2).sum(axis=1, keepdims=True))
    flat: Floats = response / np.maximum(power, 1e-9)
    return flat


class NoiseSource:
    """Makes comfort noise for up to `streams` streams; one row each.

    `seed` chooses the noise: the same seed gives the same samples. Rows start silent.
    """

    __slots__ = ("_at", "_bank", "_responses", "rms")

    def __init__(self, streams: int, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self._bank = generator.standard_normal(1 << 15).astype(np.float32)
        self._at = generator.integers(0, 1 << 15, streams)
        self._responses = np.zeros((streams, _RESPONSE), np.float32)
        self._responses[:, 0] = 1.0
        self.rms = np.zeros(streams)
        """(streams,) root mean square, in int16 units."""

    def configure(
        self, rows: NDArray[np.intp], level: NDArray[np.floating], reflection: Floats
    ) -> None:
        """Give `rows` (K,) a `level` (K,) dBov and the colour of `reflection` (K, M)."""
        self.rms[rows] = rms_of_dbov(level)
        self._responses[rows] = _response(reflection)

    def generate(self, rows: NDArray[np.intp], count: int) -> NDArray[np.int16]:
        """Return the next (K, `count`) int16 of noise of these rows."""
        size = len(self._bank)
        span = count + _RESPONSE - 1
        at = self._at[rows]
        white = self._bank[(at[:, None] + np.arange(span)) % size]
        # A stream walks through the bank; a large odd stride would repeat no sooner.
        self._at[rows] = (at + count) % size
        windows = np.lib.stride_tricks.sliding_window_view(white, _RESPONSE, axis=1)
        coloured = np.einsum("kjn,kn->kj", windows, self._responses[rows][:, ::-1])
        sound = coloured * self.rms[rows][:, None]
        return to_int16(sound)
