"""Levels in the digital network: dBm0, dBov and linear amplitude.

Sources: ITU-T G.711 section 4 (a sine that just fills the A-law range has 3.14 dBm0, u-law 3.17)
and RFC 6464 section 3 (dBov: 0 is the overload point, here a square wave of full scale).
"""

from __future__ import annotations

OVERLOAD_DBM0 = 3.14
"""Level of a full-scale sine in dBm0 (ITU-T G.711 section 4, A-law)."""

FULL_SCALE = 32768.0
"""Peak of a full-scale int16 signal."""


def peak_of_dbm0(level_dbm0: float) -> float:
    """Return the peak amplitude, in int16 units, of a sine of `level_dbm0` (ITU-T G.711)."""
    return float(FULL_SCALE * 10.0 ** ((level_dbm0 - OVERLOAD_DBM0) / 20.0))
