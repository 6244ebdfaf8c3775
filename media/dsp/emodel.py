"""The E-model: what a listener would say of a call, from loss and delay.

Sources: ITU-T G.107 (06/2015) sections 7.2 to 7.6 and annex B, with its default values (table 3) for
everything that is not measured; ITU-T G.113 appendix I for the codecs' impairments.

Narrowband scale for all codecs, so that calls compare: a wideband call without loss is better than
its figure says. Everything may be arrays; they broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SLR, _RLR, _STMR, _LSTR = 8.0, 2.0, 15.0, 18.0
_TELR, _WEPL = 65.0, 110.0
_NC, _NFOR, _PS, _PR, _DS = -70.0, -64.0, 35.0, 35.0, 3.0
_QDU = 1.0


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a codec costs: `ie` without loss, `bpl` how well it stands loss (G.113 appendix I)."""

    ie: float
    bpl: float


IMPAIRMENTS = {
    "PCMU": Impairment(0.0, 25.1),
    "PCMA": Impairment(0.0, 25.1),
    "L16": Impairment(0.0, 25.1),
    "G722": Impairment(0.0, 25.1),
    "OPUS": Impairment(0.0, 25.1),
    "G729": Impairment(11.0, 19.0),
}
"""With concealment (G.711 appendix I and like it); by codec name in capitals."""

WITHOUT_CONCEALMENT = Impairment(0.0, 4.3)
"""G.711 whose gaps are filled with silence."""


def _signal_to_noise() -> tuple[float, float]:
    """Return (Ro, No) at the default values (section 7.2)."""
    olr = _SLR + _RLR
    nos = _PS - _SLR - _DS - 100.0 + 0.004 * (_PS - olr - _DS - 14.0) ** 2
    pre = _PR + 10.0 * np.log10(1.0 + 10.0 ** ((10.0 - _LSTR) / 10.0))
    nor = _RLR - 121.0 + pre + 0.008 * (pre - 35.0) ** 2
    parts = np.array([_NC, nos, nor, _NFOR + _RLR])
    no = float(10.0 * np.log10((10.0 ** (parts / 10.0)).sum()))
    return 15.0 - 1.5 * (_SLR + no), no


def _simultaneous(ro: float, no: float, one_way_ms: Floats) -> Floats:
    """Return Is: loudness, side tone and quantisation (section 7.3)."""
    xolr = _SLR + _RLR + 0.2 * (64.0 + no - _RLR)
    iolr = 20.0 * ((1.0 + (xolr / 8.0) ** 8) ** 0.125 - xolr / 8.0)
    stmr = -10.0 * np.log10(
        10.0 ** (-_STMR / 10.0) + np.exp(-one_way_ms / 4.0) * 10.0 ** (-_TELR / 10.0)
    )
    ist = 12.0 * (1.0 + np.abs((stmr - 13.0) / 6.0) ** 8) ** 0.125
    ist -= 28.0 * (1.0 + ((stmr + 1.0) / 19.4) ** 35) ** (1.0 / 35.0)
    ist -= 13.0 * (1.0 + np.abs((stmr - 3.0) / 33.0) ** 13) ** (1.0 / 13.0) - 29.0
    q = 37.0 - 15.0 * np.log10(_QDU)
    g = 1.07 + 0.258 * q + 0.0602 * q * q
    y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0
    z = 46.0 / 30.0 - g / 40.0
    iq = 15.0 * np.log10(1.0 + 10.0**y + 10.0**z)
    total: Floats = iolr + ist + iq
    return total


def delay_impairment(one_way_ms: ArrayLike) -> Floats:
    """Return Id: talker echo, listener echo and absolute delay (section 7.4) of `one_way_ms`; floats of any
    shape."""
    t = np.asarray(one_way_ms, np.float64)
    ro, no = _signal_to_noise()
    terv = _TELR - 40.0 * np.log10((1.0 + t / 10.0) / (1.0 + t / 150.0))
    terv = terv + 6.0 * np.exp(-0.3 * t * t)
    roe, re = -1.5 * (no - _RLR), 80.0 + 2.5 * (terv - 14.0)
    half = (roe - re) / 2.0
    idte = (half + np.sqrt(half**2 + 100.0) - 1.0) * (1.0 - np.exp(-t))
    idte = np.where(t < 1.0, 0.0, idte)
    rle = 10.5 * (_WEPL + 7.0) * (2.0 * t + 1.0) ** -0.25
    half = (ro - rle) / 2.0
    idle = half + np.sqrt(half**2 + 169.0)
    x = np.log2(np.maximum(t, 100.0) / 100.0)
    idd = 25.0 * ((1.0 + x**6) ** (1 / 6) - 3.0 * (1.0 + (x / 3.0) ** 6) ** (1 / 6) + 2.0)
    total: Floats = idte + idle + idd
    return total


def loss_impairment(codec: Impairment, loss: ArrayLike, burst_ratio: ArrayLike = 1.0) -> Floats:
    """Return Ie-eff (section 7.5): `loss` as a share 0..1, `burst_ratio` 1 for random loss;
    floats of any shape."""
    percent = 100.0 * np.clip(np.asarray(loss, np.float64), 0.0, 1.0)
    burst = np.maximum(np.asarray(burst_ratio, np.float64), 1.0)
    total: Floats = codec.ie + (95.0 - codec.ie) * percent / (percent / burst + codec.bpl)
    return total


def rating(
    loss: ArrayLike,
    one_way_ms: ArrayLike,
    codec: str | Impairment = "PCMU",
    burst_ratio: ArrayLike = 1.0,
) -> Floats:
    """Return R, 0 to 100 (section 7.1), floats of any shape.

    `loss` is the share of packets lost or too late to be played, 0 to 1; `one_way_ms` the delay from
    mouth to ear; `codec` a name of `IMPAIRMENTS` (unknown ones count as PCMU) or figures of its own.
    """
    kind = codec if isinstance(codec, Impairment) else IMPAIRMENTS.get(codec.upper())
    delay = np.asarray(one_way_ms, np.float64)
    ro, no = _signal_to_noise()
    r = ro - _simultaneous(ro, no, delay) - delay_impairment(delay)
    r = r - loss_impairment(kind or IMPAIRMENTS["PCMU"], loss, burst_ratio)
    return np.clip(r, 0.0, 100.0)


def mos(r: ArrayLike) -> Floats:
    """Return the mean opinion score, 1 to 4.5, of rating R (annex B); floats of any shape."""
    rating_ = np.clip(np.asarray(r, np.float64), 0.0, 100.0)
    score = 1.0 + 0.035 * rating_ + rating_ * (rating_ - 60.0) * (100.0 - rating_) * 7e-6
    return np.clip(score, 1.0, 4.5)


def one_way_ms(
    round_trip_ms: ArrayLike, playout_ms: ArrayLike, ptime_ms: ArrayLike = 20.0
) -> Floats:
    """Estimate mouth to ear delay: half the round trip, play-out buffer, one packet to fill; all in ms,
    floats of any shape."""
    trip = np.asarray(round_trip_ms, np.float64) / 2.0
    total: Floats = trip + np.asarray(playout_ms, np.float64) + np.asarray(ptime_ms, np.float64)
    return total
