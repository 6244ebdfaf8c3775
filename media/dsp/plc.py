"""Packet loss concealment: what is missing is continued from what was heard.

Own implementation of the idea of ITU-T G.711 appendix I: repeat the last pitch period, without
attenuation for 10 ms, then fading by 20 % each 10 ms, to silence at 60 ms; blend into what comes
after. Unlike the appendix nothing is delayed, so the first period is bent to meet the last sample
instead of overlapping it.

The functions keep no state: the caller has the samples as they were played (concealed ones
included) and says how long the gap has lasted. Only rows that lost something cost anything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.dsp.levels import to_int16

HISTORY_S = 0.04
"""Seconds of played samples that `conceal` wants to see."""

_STEADY_S, _GONE_S = 0.010, 0.060
_LAG_MIN_S, _LAG_MAX_S = 0.005, 0.015
_TEMPLATE_S = 0.020
_VOICED = 0.5

Floats = NDArray[np.float32]


def pitch_lags(history: NDArray[np.int16], rate_hz: int = 8000) -> NDArray[np.intp]:
    """Return (K,) the pitch period, in samples, of the end of each row of (K, h) int16.

    By normalised autocorrelation of the last 20 ms over lags of 5 to 15 ms (67 to 200 Hz, higher
    voices by a multiple). A row without pitch gets the longest lag, which buzzes least.
    """
    short, long = round(_LAG_MIN_S * rate_hz), round(_LAG_MAX_S * rate_hz)
    span = min(round(_TEMPLATE_S * rate_hz), history.shape[1] - long)
    sound = history.astype(np.float32)
    template = sound[:, -span:]
    # Column j of `windows` starts `long - j` samples before the template.
    area = sound[:, -span - long : -short]
    windows = np.lib.stride_tricks.sliding_window_view(area, span, axis=1)
    product = np.einsum("kjn,kn->kj", windows, template)
    energy = np.einsum("kjn,kjn->kj", windows, windows)
    score = product / np.sqrt(np.maximum(energy, 1.0))
    own = np.sqrt(np.maximum(np.einsum("kn,kn->k", template, template), 1.0))
    best = score.argmax(axis=1)
    voiced = score[np.arange(len(score)), best] >= _VOICED * own
    lags: NDArray[np.intp] = np.where(voiced, long - best, long)
    return lags


def _gain(at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fade at each moment of a gap: 1, then falling, then 0."""
    return np.clip((_GONE_S - at_s) / (_GONE_S - _STEADY_S), 0.0, 1.0)


def conceal(
    history: NDArray[np.int16],
    gap: NDArray[np.integer],
    count: int,
    rate_hz: int = 8000,
) -> NDArray[np.int16]:
    """Continue each row of (K, h) int16 by `count` samples: (K, count) int16.

    `history` is what was played up to now, at least `HISTORY_S` of it, earlier concealment
    included; `gap` (K,) how many samples of the row's gap have been concealed already. Raises
    `ValueError` for too short a history.
    """
    need = round(HISTORY_S * rate_hz)
    if history.shape[1] < need:
        raise ValueError(f"{history.shape[1]} samples of history; allowed: {need} and more")
    rows = np.arange(len(history))[:, None]
    lags = pitch_lags(history, rate_hz)[:, None]
    end = history.shape[1]
    steps = np.arange(count)
    phase = steps % lags
    period = history[rows, end - lags + phase].astype(np.float32)
    # The tail of the period leans towards the sample before it began, so that it closes on itself.
    bend = np.maximum(lags // 4, 1)
    lean = np.clip((phase - lags + bend + 0.5) / bend, 0.0, 1.0).astype(np.float32)
    before = history[rows, np.maximum(end - 2 * lags + phase, 0)].astype(np.float32)
    sound = period + lean * (before - period)
    # And the first one sets off from where the sound broke off.
    jump = history[rows, end - 1].astype(np.float32) - history[rows, end - 1 - lags]
    sound += jump * np.clip(1.0 - (steps + 1) / bend, 0.0, 1.0)
    start_s = np.asarray(gap, np.float64)[:, None] / rate_hz
    now = _gain(start_s + (steps + 1) / rate_hz)
    faded = sound * (now / np.maximum(_gain(start_s), 1e-6))
    return to_int16(faded)


def blend(
    continuation: NDArray[np.int16], real: NDArray[np.int16], out: NDArray[np.int16] | None = None
) -> NDArray[np.int16]:
    """Cross-fade from `continuation` (K, m) to the first samples `real` (K, m): (K, m) int16.

    After a gap: conceal 4 to 10 ms more, and blend what comes with that.
    """
    count = real.shape[1]
    weight = ((np.arange(count) + 1) / (count + 1)).astype(np.float32)
    mixed = continuation + weight * (real.astype(np.float32) - continuation)
    result = to_int16(mixed)
    if out is None:
        return result
    out[...] = result
    return out
