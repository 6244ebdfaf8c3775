"""The numbers of G.722: quantisers, scale factors and filter, from the recommendation's tables.

Source: ITU-T G.722 (09/2012), tables 7 (decision levels), 8 to 10 (output codes), 11 to 14 (inverse
quantisers), 15 to 20 (scale factor adaptation) and 11 of section 3.1 (QMF coefficients).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

QMF = np.array([3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11], np.int64)
"""Every second coefficient of the symmetric 24-tap quadrature mirror filter, times 8192."""

LOW_DECISIONS = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940,
    1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
]  # fmt: skip
"""Q6: decision levels of the lower band, in 1/4096 of the scale factor."""

HIGH_DECISION = 564
"""Q2: the one decision level of the higher band."""

# Codes for interval 0 (never used), 1, 2, ... 30.
LOW_CODES_NEGATIVE = [0, 63, 62, *range(31, 3, -1)]
LOW_CODES_POSITIVE = [0, *range(61, 31, -1)]
HIGH_CODES_NEGATIVE = [0, 1, 0]
HIGH_CODES_POSITIVE = [0, 3, 2]

_QM4_HALF = [20456, 12896, 8968, 6288, 4240, 2584, 1200]
_QM5_HALF = [
    23352, 17560, 14120, 11664, 9752, 8184, 6864, 5712, 4696, 3784, 2960, 2208, 1520, 880,
]  # fmt: skip
_QM6_HALF = [
    24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576,
    6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728,
]  # fmt: skip

QM4 = [0, *(-level for level in _QM4_HALF), *_QM4_HALF, 0]
"""Inverse quantiser of the four leading bits of the lower band: what both ends adapt on."""

QM5 = [-280, -280, *(-level for level in _QM5_HALF), *_QM5_HALF, 280, -280]
"""Inverse quantiser of five bits: mode 2, 56 kbit/s."""

QM6 = [-136] * 4 + [-level for level in _QM6_HALF] + [*_QM6_HALF, 432, 136, -432, -136]
"""Inverse quantiser of all six bits: mode 1, 64 kbit/s."""

QM2 = [-7408, -1616, 7408, 1616]
"""Inverse quantiser of the higher band."""

_WL = [-60, -30, 58, 172, 334, 538, 1198, 3042]
_RL4 = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0]
LOW_STEPS = [_WL[_RL4[code]] for code in range(16)]
"""How the logarithmic scale factor of the lower band moves on each four-bit code."""

HIGH_STEPS = [798, -214, 798, -214]
"""How the logarithmic scale factor of the higher band moves on each code."""

LOW_LOG_MAX = 18432
HIGH_LOG_MAX = 22528

_ILB = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
]  # fmt: skip


def _scale(log: int, offset: int) -> int:
    """Return the scale factor of a logarithmic one given in units of 64 (SCALEL, SCALEH)."""
    shift = offset - (log >> 5)
    mantissa = _ILB[log & 31]
    return (mantissa << -shift if shift < 0 else mantissa >> shift) << 2


LOW_SCALES = [_scale(log, 8) for log in range((LOW_LOG_MAX >> 6) + 1)]
"""Scale factor of the lower band by its logarithm >> 6."""

HIGH_SCALES = [_scale(log, 10) for log in range((HIGH_LOG_MAX >> 6) + 1)]
"""Scale factor of the higher band by its logarithm >> 6."""


def table(values: list[int]) -> NDArray[np.int32]:
    """Return a list of this module as a (n,) int32 array that cannot be written."""
    array: NDArray[Any] = np.array(values, np.int32)
    array.setflags(write=False)
    return array
