"""G.722's two band coders in plain integers, one stream at a time: the readable reference.

Source: ITU-T G.722 (09/2012), section 6.2 (blocks 1L to 6L and 1H to 5H). `g722_bands` is the same
machine for many streams at once; both leave the same state behind, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from media.dsp.g722_tables import (
    HIGH_CODES_NEGATIVE,
    HIGH_CODES_POSITIVE,
    HIGH_DECISION,
    HIGH_LOG_MAX,
    HIGH_SCALES,
    HIGH_STEPS,
    LOW_CODES_NEGATIVE,
    LOW_CODES_POSITIVE,
    LOW_DECISIONS,
    LOW_LOG_MAX,
    LOW_SCALES,
    LOW_STEPS,
    QM2,
    QM4,
    QM5,
    QM6,
)


def _sat(value: int) -> int:
    return -32768 if value < -32768 else 32767 if value > 32767 else value


@dataclass(slots=True)
class Band:
    """The adaptive state of one band coder (Table 6/G.722), with the recommendation's meanings."""

    log: int = 0
    """NBL, NBH: logarithmic scale factor."""
    zeros: list[int] = field(default_factory=lambda: [0] * 6)
    """B1 to B6: coefficients of the all-zero predictor."""
    past: list[int] = field(default_factory=lambda: [0] * 6)
    """D1 to D6: the last quantised differences, newest first."""
    pole1: int = 0
    pole2: int = 0
    sign1: int = 1
    """Sign (+1, -1) of the last partially reconstructed signal P1, then P2."""
    sign2: int = 1
    out1: int = 0
    """R1, R2: the last reconstructed signals."""
    out2: int = 0

    def predict(self) -> tuple[int, int]:
        """Return (SZ, S): the zero section's part, and the whole prediction (FILTEP to PREDIC)."""
        zero = 0
        for coefficient, difference in zip(self.zeros, self.past, strict=True):
            zero += (coefficient * _sat(2 * difference)) >> 15
        zero = _sat(zero)
        pole = (self.pole1 * _sat(2 * self.out1)) >> 15
        pole += (self.pole2 * _sat(2 * self.out2)) >> 15
        return zero, _sat(_sat(pole) + zero)

    def adapt(self, difference: int, zero: int, prediction: int) -> None:
        """Take one quantised difference in (block 4: RECONS to DELAYA)."""
        out = _sat(prediction + difference)
        sign = -1 if zero + difference < 0 else 1
        same = sign == self.sign1
        slope = _sat(4 * self.pole1)
        slope = min(-slope, 32767) if same else slope
        pole2 = (128 if sign == self.sign2 else -128) + (slope >> 7) + ((self.pole2 * 127) >> 7)
        pole2 = max(-12288, min(12288, pole2))
        limit = 15360 - pole2
        pole1 = (192 if same else -192) + ((self.pole1 * 255) >> 8)
        self.pole1, self.pole2 = max(-limit, min(limit, pole1)), pole2
        step = 0 if difference == 0 else 128
        self.zeros = [
            ((coefficient * 255) >> 8) + (step if (past < 0) == (difference < 0) else -step)
            for coefficient, past in zip(self.zeros, self.past, strict=True)
        ]
        self.past = [difference, *self.past[:5]]
        self.sign2, self.sign1 = self.sign1, sign
        self.out2, self.out1 = self.out1, out


def _limit(value: int) -> int:
    return -16384 if value < -16384 else 16383 if value > 16383 else value


def _rescale(log: int, step: int, top: int) -> int:
    return max(0, min(top, ((log * 127) >> 7) + step))


def decode(
    low: Band, high: Band, codes: Sequence[int], bits: int = 8
) -> tuple[list[int], list[int]]:
    """Decode octets into the two band signals (RL, RH), each of 15 bits, one value an octet.

    `bits` 8, 7 or 6 is the mode (64, 56, 48 kbit/s): how many leading bits of each octet are speech.
    """
    inverse, drop = {8: (QM6, 0), 7: (QM5, 1), 6: (QM4, 2)}[bits]
    lows, highs = [], []
    for code in codes:
        low_code, high_code = code & 63, (code >> 6) & 3
        zero, prediction = low.predict()
        scale = LOW_SCALES[low.log >> 6]
        lows.append(_limit(prediction + ((scale * inverse[low_code >> drop]) >> 15)))
        low.adapt((scale * QM4[low_code >> 2]) >> 15, zero, prediction)
        low.log = _rescale(low.log, LOW_STEPS[low_code >> 2], LOW_LOG_MAX)
        zero, prediction = high.predict()
        difference = (HIGH_SCALES[high.log >> 6] * QM2[high_code]) >> 15
        highs.append(_limit(prediction + difference))
        high.adapt(difference, zero, prediction)
        high.log = _rescale(high.log, HIGH_STEPS[high_code], HIGH_LOG_MAX)
    return lows, highs


def encode(low: Band, high: Band, lows: Sequence[int], highs: Sequence[int]) -> list[int]:
    """Encode two band signals (XL, XH), int16 values, into octets: six bits low, two bits high."""
    codes = []
    for low_in, high_in in zip(lows, highs, strict=True):
        zero, prediction = low.predict()
        scale = LOW_SCALES[low.log >> 6]
        error = _sat(low_in - prediction)
        magnitude = error if error >= 0 else ~error
        interval = 1
        while interval < 30 and magnitude >= (LOW_DECISIONS[interval] * scale) >> 12:
            interval += 1
        low_code = (LOW_CODES_NEGATIVE if error < 0 else LOW_CODES_POSITIVE)[interval]
        low.adapt((scale * QM4[low_code >> 2]) >> 15, zero, prediction)
        low.log = _rescale(low.log, LOW_STEPS[low_code >> 2], LOW_LOG_MAX)
        zero, prediction = high.predict()
        scale = HIGH_SCALES[high.log >> 6]
        error = _sat(high_in - prediction)
        magnitude = error if error >= 0 else ~error
        interval = 2 if magnitude >= (HIGH_DECISION * scale) >> 12 else 1
        high_code = (HIGH_CODES_NEGATIVE if error < 0 else HIGH_CODES_POSITIVE)[interval]
        high.adapt((scale * QM2[high_code]) >> 15, zero, prediction)
        high.log = _rescale(high.log, HIGH_STEPS[high_code], HIGH_LOG_MAX)
        codes.append(high_code << 6 | low_code)
    return codes
