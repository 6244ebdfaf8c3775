"""G.722's two band coders for many streams at once: a loop over samples, numpy over streams.

Source: ITU-T G.722 (09/2012), section 6.2. Bit by bit the machine of `g722_plain`.

Decoding is taken apart so that little is left in loops. Scale factors depend on codes alone; the
coefficients of the zero predictor on differences alone; the poles on signs that those give; only the
last loop carries the signal. Everything between the loops runs over time and streams together. The
encoder's codes depend on its own output, so there all steps stay in one loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.dsp import g722_tables as t
from media.dsp.g722_plain import Band

Ints = NDArray[np.int32]

_SPAN = t.LOW_DECISIONS[-1] + 1
_CACHED = 12000
_LOW_SCALES, _HIGH_SCALES = t.table(t.LOW_SCALES), t.table(t.HIGH_SCALES)
_SCALES = np.concatenate([_LOW_SCALES, _HIGH_SCALES])
_LOG_MAX = t.table([t.LOW_LOG_MAX, t.HIGH_LOG_MAX])[:, None]
_SCALE_OFFSET = t.table([0, len(t.LOW_SCALES)])[:, None]
_INVERSE = {8: (t.table(t.QM6), 0), 7: (t.table(t.QM5), 1), 6: (t.table(t.QM4), 2)}
_QM4, _QM2 = t.table(t.QM4), t.table(t.QM2)
_LOW_STEPS, _HIGH_STEPS = t.table(t.LOW_STEPS), t.table(t.HIGH_STEPS)


def _code_tables() -> tuple[Ints, Ints, Ints]:
    """Return code, inverse and log step by [band, sign, ratio], flattened.

    The ratio is the largest decision level that the error reaches, so no level is searched.
    """
    codes = np.zeros((2, 2, _SPAN), np.int32)
    interval = np.searchsorted(t.LOW_DECISIONS[1:], np.arange(_SPAN), side="right") + 1
    codes[0, 0] = np.array(t.LOW_CODES_POSITIVE)[interval]
    codes[0, 1] = np.array(t.LOW_CODES_NEGATIVE)[interval]
    interval = np.where(np.arange(_SPAN) >= t.HIGH_DECISION, 2, 1)
    codes[1, 0] = np.array(t.HIGH_CODES_POSITIVE)[interval]
    codes[1, 1] = np.array(t.HIGH_CODES_NEGATIVE)[interval]
    inverse = np.stack([_QM4[codes[0] >> 2], _QM2[codes[1] & 3]])
    steps = np.stack([_LOW_STEPS[codes[0] >> 2], _HIGH_STEPS[codes[1] & 3]])
    return codes.reshape(-1), inverse.reshape(-1), steps.reshape(-1)


_CODES, _INVERSES, _STEPS = _code_tables()
_CODE_OFFSET = t.table([0, 2 * _SPAN])[:, None]


class Bands:
    """The adaptive state of both band coders of S streams; arrays (..., 2, S) int32, low band first.

    Rows mean what the fields of `g722_plain.Band` mean.
    """

    __slots__ = ("log", "outs", "past", "poles", "signs", "zeros")

    def __init__(self, streams: int) -> None:
        self.log: Ints = np.zeros((2, streams), np.int32)
        self.zeros: Ints = np.zeros((6, 2, streams), np.int32)
        self.past: Ints = np.zeros((6, 2, streams), np.int32)
        self.poles: Ints = np.zeros((2, 2, streams), np.int32)
        self.signs: Ints = np.ones((2, 2, streams), np.int32)
        self.outs: Ints = np.zeros((2, 2, streams), np.int32)

    def reset(self, rows: Any) -> None:
        """Put `rows` into the state at the start of a call."""
        for array in (self.log, self.zeros, self.past, self.poles, self.outs):
            array[..., rows] = 0
        self.signs[..., rows] = 1

    def take(self, rows: NDArray[np.intp]) -> Bands:
        """Return a copy of `rows` (K,) as a state of its own."""
        part = Bands(0)
        for name in self.__slots__:
            setattr(part, name, np.ascontiguousarray(getattr(self, name)[..., rows]))
        return part

    def put(self, rows: NDArray[np.intp], part: Bands) -> None:
        """Store what `take` gave for `rows` (K,), after it has moved on."""
        for name in self.__slots__:
            getattr(self, name)[..., rows] = getattr(part, name)

    def plain(self, band: int, row: int) -> Band:
        """Return one band of one stream in plain integers."""
        return Band(
            int(self.log[band, row]),
            self.zeros[:, band, row].tolist(),
            self.past[:, band, row].tolist(),
            *(int(value) for value in self.poles[:, band, row]),
            *(int(value) for value in self.signs[:, band, row]),
            *(int(value) for value in self.outs[:, band, row]),
        )

    def put_plain(self, band: int, row: int, plain: Band) -> None:
        """Store one band of one stream from plain integers."""
        self.log[band, row] = plain.log
        self.zeros[:, band, row] = plain.zeros
        self.past[:, band, row] = plain.past
        self.poles[:, band, row] = plain.pole1, plain.pole2
        self.signs[:, band, row] = plain.sign1, plain.sign2
        self.outs[:, band, row] = plain.out1, plain.out2


def _saturate(values: Ints) -> Ints:
    np.minimum(values, 32767, out=values)
    return np.maximum(values, -32768, out=values)


def decode(bands: Bands, codes: NDArray[np.uint8], bits: int = 8) -> tuple[Ints, Ints]:
    """Decode (S, n) uint8 octets into the band signals RL and RH, (S, n) int32 of 15 bits each.

    `bits` 8, 7 or 6 is the mode (64, 56, 48 kbit/s). `bands` moves on by n.
    """
    streams, count = codes.shape
    table, drop = _INVERSE[bits]
    lows, highs = np.empty((count, streams), np.int32), np.empty((count, streams), np.int32)
    span = max(_CACHED // max(streams, 1), 8)
    for at in range(0, count, span):
        part = np.ascontiguousarray(codes[:, at : at + span].T)
        lows[at : at + span], highs[at : at + span] = _decode(bands, part, table, drop)
    return lows.T, highs.T


def _decode(bands: Bands, codes: NDArray[np.uint8], table: Ints, drop: int) -> tuple[Ints, Ints]:
    """Decode (n, S) octets; what lies between the loops is to fit a core's cache."""
    low, high = (codes & 63).astype(np.intp), (codes >> 6).astype(np.intp)
    steps = np.stack([_LOW_STEPS[low >> 2], _HIGH_STEPS[high]], axis=1)
    scales = _scales(bands, steps)
    inverse = np.stack([_QM4[low >> 2], _QM2[high]], axis=1)
    differences = (scales * inverse) >> 15
    zero_part = _zero_part(bands, differences)
    poles = _poles(bands, differences + zero_part)
    predictions = _predictions(bands, poles, differences, zero_part)
    fine = (scales[:, 0] * table[low >> drop]) >> 15
    lows = np.clip(predictions[:, 0] + fine, -16384, 16383)
    highs = np.clip(predictions[:, 1] + differences[:, 1], -16384, 16383)
    return lows, highs


def _scales(bands: Bands, steps: Ints) -> Ints:
    """Return the scale factors in force at each step, (n, 2, S); LOGSCL, SCALEL and their like."""
    logs = np.empty((len(steps) + 1, *bands.log.shape), np.int32)
    logs[0] = bands.log
    for now, after, step in zip(logs, logs[1:], steps, strict=False):
        np.multiply(now, 127, out=after)
        np.right_shift(after, 7, out=after)
        np.add(after, step, out=after)
        np.maximum(after, 0, out=after)
        np.minimum(after, _LOG_MAX, out=after)
    bands.log = logs[-1].copy()
    scales: Ints = np.take(_SCALES, (logs[:-1] >> 6) + _SCALE_OFFSET)
    return scales


def _zero_part(bands: Bands, differences: Ints) -> Ints:
    """Return SZ at each step, (n, 2, S); UPZERO in a loop, FILTEZ over all."""
    count = len(differences)
    history = np.concatenate([bands.past[::-1], differences])
    signs = (history >> 31) | 1
    steps = signs[6:] * (differences != 0)
    steps *= 128
    # Tap 0 is the oldest of the six differences: at step k it is history[k].
    moves = np.empty((count, 6, *differences.shape[1:]), np.int32)
    for tap in range(6):
        np.multiply(signs[tap : tap + count], steps, out=moves[:, tap])
    zeros = np.empty((count + 1, *moves.shape[1:]), np.int32)
    zeros[0] = bands.zeros[::-1]
    for now, after, move in zip(zeros, zeros[1:], moves, strict=False):
        np.multiply(now, 255, out=after)
        np.right_shift(after, 8, out=after)
        np.add(after, move, out=after)
    doubled = _saturate(2 * history[:-1])
    part = np.zeros_like(differences)
    product = np.empty_like(differences)
    for tap in range(6):
        np.multiply(zeros[:-1, tap], doubled[tap : tap + count], out=product)
        np.right_shift(product, 15, out=product)
        part += product
    bands.zeros = zeros[-1, ::-1].copy()
    bands.past = history[-6:][::-1].copy()
    return _saturate(part)


def _poles(bands: Bands, reconstructed: Ints) -> Ints:
    """Return the pole coefficients in force at each step, (n, 2, 2, S); UPPOL1 and UPPOL2."""
    count = len(reconstructed)
    signs = np.concatenate([bands.signs[::-1], (reconstructed >> 31) | 1])
    agree1, agree2 = signs[2:] * signs[1:-1], signs[2:] * signs[:-2]
    slope, push1, push2 = -4 * agree1, 192 * agree1, 128 * agree2
    poles = np.empty((count + 1, 2, *reconstructed.shape[1:]), np.int32)
    poles[0] = bands.poles
    wide = np.empty(reconstructed.shape[1:], np.int32)
    for k in range(count):
        first, second = poles[k]
        next1, next2 = poles[k + 1]
        np.multiply(first, slope[k], out=wide)
        _saturate(wide)
        np.right_shift(wide, 7, out=wide)
        np.multiply(second, 127, out=next2)
        np.right_shift(next2, 7, out=next2)
        np.add(next2, wide, out=next2)
        np.add(next2, push2[k], out=next2)
        np.minimum(next2, 12288, out=next2)
        np.maximum(next2, -12288, out=next2)
        np.multiply(first, 255, out=next1)
        np.right_shift(next1, 8, out=next1)
        np.add(next1, push1[k], out=next1)
        np.subtract(15360, next2, out=wide)
        np.minimum(next1, wide, out=next1)
        np.negative(wide, out=wide)
        np.maximum(next1, wide, out=next1)
    bands.poles = poles[-1].copy()
    bands.signs = signs[-2:][::-1].copy()
    return poles[:-1]


def _predictions(bands: Bands, poles: Ints, differences: Ints, zero_part: Ints) -> Ints:
    """Return S at each step, (n, 2, S): the loop that carries the signal (FILTEP, PREDIC, RECONS)."""
    predictions = np.empty_like(differences)
    outs = np.empty((len(differences) + 2, *differences.shape[1:]), np.int32)
    outs[:2] = bands.outs[::-1]
    doubled = _saturate(2 * outs[:2])
    newer, older = doubled[1], doubled[0]
    one = np.empty_like(newer)
    for k in range(len(differences)):
        prediction, out = predictions[k], outs[k + 2]
        np.multiply(poles[k, 1], older, out=prediction)
        np.right_shift(prediction, 15, out=prediction)
        np.multiply(poles[k, 0], newer, out=one)
        np.right_shift(one, 15, out=one)
        np.add(prediction, one, out=prediction)
        np.add(prediction, zero_part[k], out=prediction)
        _saturate(prediction)
        np.add(prediction, differences[k], out=out)
        _saturate(out)
        older, newer = newer, older
        np.add(out, out, out=newer)
        _saturate(newer)
    bands.outs = outs[-2:][::-1].copy()
    return predictions


def encode(bands: Bands, lows: Ints, highs: Ints) -> NDArray[np.uint8]:
    """Encode the band signals XL and XH, (S, n) int32 of 16 bits, into (S, n) uint8 octets."""
    signals = np.stack([lows.T, highs.T], axis=1).astype(np.int32)
    codes = np.empty(signals.shape, np.int32)
    step = _EncoderStep(bands)
    for signal, code in zip(signals, codes, strict=True):
        step.run(signal, code)
    step.store(bands)
    octets: NDArray[np.uint8] = (codes[:, 1] << 6 | codes[:, 0]).astype(np.uint8).T
    return octets


class _EncoderStep:
    """One sample of the encoder, on scratch arrays that live for one call."""

    def __init__(self, bands: Bands) -> None:
        shape = bands.log.shape
        self.log = bands.log.copy()
        self.zeros, self.past = bands.zeros.copy(), bands.past.copy()
        self.doubled = _saturate(2 * self.past)
        self.past_sign = np.where(self.past < 0, -1, 1).astype(np.int32)
        self.pole1, self.pole2 = bands.poles.copy()
        self.sign1, self.sign2 = bands.signs.copy()
        self.out1, self.out2 = bands.outs.copy()
        self.twice1, self.twice2 = _saturate(2 * self.out1), _saturate(2 * self.out2)
        self.products = np.empty_like(self.zeros)
        self.a, self.b, self.c = (np.empty(shape, np.int32) for _ in range(3))

    def run(self, signal: Ints, code: Ints) -> None:
        zero, prediction = self._predict()
        index, scale = self._quantise(signal, prediction)
        np.take(_CODES, index, out=code, mode="clip")
        difference = (scale * np.take(_INVERSES, index)) >> 15
        np.multiply(self.log, 127, out=self.log)
        np.right_shift(self.log, 7, out=self.log)
        self.log += np.take(_STEPS, index)
        np.maximum(self.log, 0, out=self.log)
        np.minimum(self.log, _LOG_MAX, out=self.log)
        self._adapt(difference, zero, prediction)

    def _predict(self) -> tuple[Ints, Ints]:
        np.multiply(self.zeros, self.doubled, out=self.products)
        np.right_shift(self.products, 15, out=self.products)
        zero: Ints = _saturate(np.add.reduce(self.products, axis=0, dtype=np.int32))
        prediction = (self.pole1 * self.twice1) >> 15
        np.multiply(self.pole2, self.twice2, out=self.a)
        np.right_shift(self.a, 15, out=self.a)
        prediction += self.a
        prediction += zero
        return zero, _saturate(prediction)

    def _quantise(self, signal: Ints, prediction: Ints) -> tuple[Ints, Ints]:
        np.right_shift(self.log, 6, out=self.a)
        self.a += _SCALE_OFFSET
        scale = np.take(_SCALES, self.a)
        error = _saturate(signal - prediction)
        np.right_shift(error, 31, out=self.b)
        np.bitwise_xor(error, self.b, out=error)
        # The magnitude reaches level q when q * scale / 4096, rounded down, does not exceed it.
        np.left_shift(error, 12, out=error)
        error += 4095
        np.floor_divide(error, scale, out=error)
        np.minimum(error, _SPAN - 1, out=error)
        np.multiply(self.b, -_SPAN, out=self.b)
        error += self.b
        error += _CODE_OFFSET
        return error, scale

    def _adapt(self, difference: Ints, zero: Ints, prediction: Ints) -> None:
        sign = np.right_shift(zero + difference, 31) | 1
        agree = sign * self.sign1
        np.multiply(self.pole1, agree, out=self.a)
        np.multiply(self.a, -4, out=self.a)
        _saturate(self.a)
        np.right_shift(self.a, 7, out=self.a)
        np.multiply(self.pole2, 127, out=self.pole2)
        np.right_shift(self.pole2, 7, out=self.pole2)
        self.pole2 += self.a
        np.multiply(sign, self.sign2, out=self.b)
        np.multiply(self.b, 128, out=self.b)
        self.pole2 += self.b
        np.minimum(self.pole2, 12288, out=self.pole2)
        np.maximum(self.pole2, -12288, out=self.pole2)
        np.multiply(self.pole1, 255, out=self.pole1)
        np.right_shift(self.pole1, 8, out=self.pole1)
        np.multiply(agree, 192, out=self.a)
        self.pole1 += self.a
        np.subtract(15360, self.pole2, out=self.a)
        np.minimum(self.pole1, self.a, out=self.pole1)
        np.negative(self.a, out=self.a)
        np.maximum(self.pole1, self.a, out=self.pole1)
        self.sign2, self.sign1 = self.sign1, sign
        self._move_zeros(difference)
        out = _saturate(prediction + difference)
        self.out2, self.out1 = self.out1, out
        self.twice2, self.twice1 = self.twice1, _saturate(out + out)

    def _move_zeros(self, difference: Ints) -> None:
        sign = np.right_shift(difference, 31) | 1
        np.not_equal(difference, 0, out=self.b, casting="unsafe")
        np.multiply(sign, 128, out=self.a)
        self.a *= self.b
        np.multiply(self.zeros, 255, out=self.zeros)
        np.right_shift(self.zeros, 8, out=self.zeros)
        np.multiply(self.past_sign, self.a, out=self.products)
        self.zeros += self.products
        self.past[1:] = self.past[:-1]
        self.past[0] = difference
        self.past_sign[1:] = self.past_sign[:-1]
        self.past_sign[0] = sign
        self.doubled[1:] = self.doubled[:-1]
        self.doubled[0] = _saturate(difference + difference)

    def store(self, bands: Bands) -> None:
        bands.log, bands.zeros, bands.past = self.log, self.zeros, self.past
        bands.poles = np.stack([self.pole1, self.pole2])
        bands.signs = np.stack([self.sign1, self.sign2])
        bands.outs = np.stack([self.out1, self.out2])
