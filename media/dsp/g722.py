"""G.722, 64 kbit/s: wideband speech, 16 kHz samples to one octet per two of them.

Source: ITU-T G.722 (09/2012); RFC 3551 section 4.5.2 (payload type 9, whose RTP clock is 8,000 Hz by
an old mistake: one timestamp unit an octet).

Three engines give the same octets and the same samples, bit by bit: the extension module `G722` from
PyPI where it is installed (about 10 us a frame of 20 ms), plain integers for one or two streams (about
2 ms), and numpy over all streams at once (decoder 3 ms, encoder 7 ms a call, little more for
hundreds of streams). The band coders pass ITU-T's own test sequences.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from media.dsp import g722_bands, g722_plain
from media.dsp.g722_bands import Bands, Ints
from media.dsp.g722_tables import QMF

RATE_HZ = 16000
RTP_CLOCK_HZ = 8000

_DELAY = 11
_PLAIN_STREAMS_MAX = 2


class _Extension(Protocol):
    def encode(self, samples: Any) -> bytes: ...
    def decode(self, codes: bytes) -> Any: ...


def extension_found() -> bool:
    """Tell whether the extension module `G722` is installed."""
    return importlib.util.find_spec("G722") is not None


def _extension() -> _Extension:
    made: _Extension = importlib.import_module("G722").G722(RATE_HZ, 64000, use_numpy=False)
    return made


def split(past: Ints, samples: NDArray[np.int16]) -> tuple[Ints, Ints, Ints]:
    """Transmit quadrature mirror filter: (K, 2m) int16 into two bands (K, m) int32, and new `past`.

    `past` is (K, 22) int32, the samples before these, zeros at the start.
    """
    joined = np.concatenate([past, samples], axis=1, dtype=np.int32)
    count = samples.shape[1] // 2
    even, odd = joined[:, 0::2], joined[:, 1::2]
    first, second = np.zeros((2, len(samples), count), np.int32)
    for tap, weight in enumerate(QMF.tolist()):
        first += even[:, tap : tap + count] * np.int32(weight)
        mirror = _DELAY - tap
        second += odd[:, mirror : mirror + count] * np.int32(weight)
    return (second + first) >> 14, (second - first) >> 14, joined[:, -2 * _DELAY :].copy()


def join(past: Ints, lows: Ints, highs: Ints) -> tuple[NDArray[np.int16], Ints]:
    """Receive quadrature mirror filter: two bands (K, m) into (K, 2m) int16, and new `past`.

    `past` is (K, 2, 11) int32, the sums and differences before these, zeros at the start.
    """
    count = lows.shape[1]
    joined = np.concatenate([past, np.stack([lows + highs, lows - highs], axis=1)], axis=2)
    first, second = np.zeros((2, len(lows), count), np.int32)
    for tap, weight in enumerate(QMF.tolist()):
        second += joined[:, 0, tap : tap + count] * np.int32(weight)
        mirror = _DELAY - tap
        first += joined[:, 1, mirror : mirror + count] * np.int32(weight)
    both = np.stack([first >> 11, second >> 11], axis=2).reshape(len(lows), 2 * count)
    samples = np.clip(both, -32768, 32767).astype(np.int16)
    return samples, np.ascontiguousarray(joined[:, :, -_DELAY:])


class G722Encoder:
    """The encoders of up to `streams` streams, one row each.

    `use_extension` true, false, or None for "where it is installed".
    """

    __slots__ = ("_bands", "_extensions", "_past")

    def __init__(self, streams: int, use_extension: bool | None = None) -> None:
        use = extension_found() if use_extension is None else use_extension
        self._extensions: dict[int, _Extension] | None = {} if use else None
        self._bands = Bands(0 if use else streams)
        self._past: Ints = np.zeros((0 if use else streams, 2 * _DELAY), np.int32)

    def reset(self, row: int) -> None:
        """Start `row` anew for another party."""
        if self._extensions is not None:
            self._extensions.pop(row, None)
            return
        self._bands.reset(row)
        self._past[row] = 0

    def encode(self, rows: NDArray[np.intp], samples: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Encode (K, 2m) int16 at 16 kHz of distinct `rows` (K,) into (K, m) uint8."""
        if samples.shape[1] % 2:
            raise ValueError("G.722 takes samples in pairs")
        if self._extensions is not None:
            return self._encode_each(self._extensions, rows, samples)
        lows, highs, self._past[rows] = split(self._past[rows], samples)
        if len(rows) <= _PLAIN_STREAMS_MAX:
            return self._encode_plain(rows, lows, highs)
        part = self._bands.take(rows)
        codes = g722_bands.encode(part, lows, highs)
        self._bands.put(rows, part)
        return codes

    def _encode_plain(self, rows: NDArray[np.intp], lows: Ints, highs: Ints) -> NDArray[np.uint8]:
        codes = np.empty(lows.shape, np.uint8)
        for at, row in enumerate(rows.tolist()):
            low, high = self._bands.plain(0, row), self._bands.plain(1, row)
            codes[at] = g722_plain.encode(low, high, lows[at].tolist(), highs[at].tolist())
            self._bands.put_plain(0, row, low)
            self._bands.put_plain(1, row, high)
        return codes

    @staticmethod
    def _encode_each(
        coders: dict[int, _Extension], rows: NDArray[np.intp], samples: NDArray[np.int16]
    ) -> NDArray[np.uint8]:
        codes = np.empty((len(rows), samples.shape[1] // 2), np.uint8)
        for at, row in enumerate(rows.tolist()):
            coder = coders.get(row) or coders.setdefault(row, _extension())
            coded = coder.encode(np.ascontiguousarray(samples[at]))
            codes[at] = np.frombuffer(coded, np.uint8)
        return codes


class G722Decoder:
    """The decoders of up to `streams` streams, one row each.

    `use_extension` true, false, or None for "where it is installed".
    """

    __slots__ = ("_bands", "_extensions", "_past")

    def __init__(self, streams: int, use_extension: bool | None = None) -> None:
        use = extension_found() if use_extension is None else use_extension
        self._extensions: dict[int, _Extension] | None = {} if use else None
        self._bands = Bands(0 if use else streams)
        self._past: Ints = np.zeros((0 if use else streams, 2, _DELAY), np.int32)

    def reset(self, row: int) -> None:
        """Start `row` anew for another party."""
        if self._extensions is not None:
            self._extensions.pop(row, None)
            return
        self._bands.reset(row)
        self._past[row] = 0

    def decode(self, rows: NDArray[np.intp], codes: NDArray[np.uint8]) -> NDArray[np.int16]:
        """Decode (K, m) uint8 of distinct `rows` (K,) into (K, 2m) int16 at 16 kHz."""
        if self._extensions is not None:
            return self._decode_each(self._extensions, rows, codes)
        if len(rows) <= _PLAIN_STREAMS_MAX:
            lows, highs = self._decode_plain(rows, codes)
        else:
            part = self._bands.take(rows)
            lows, highs = g722_bands.decode(part, codes)
            self._bands.put(rows, part)
        samples, self._past[rows] = join(self._past[rows], lows, highs)
        return samples

    def _decode_plain(self, rows: NDArray[np.intp], codes: NDArray[np.uint8]) -> tuple[Ints, Ints]:
        lows, highs = np.empty((2, *codes.shape), np.int32)
        for at, row in enumerate(rows.tolist()):
            low, high = self._bands.plain(0, row), self._bands.plain(1, row)
            lows[at], highs[at] = g722_plain.decode(low, high, codes[at].tolist())
            self._bands.put_plain(0, row, low)
            self._bands.put_plain(1, row, high)
        return lows, highs

    @staticmethod
    def _decode_each(
        coders: dict[int, _Extension], rows: NDArray[np.intp], codes: NDArray[np.uint8]
    ) -> NDArray[np.int16]:
        samples = np.empty((len(rows), 2 * codes.shape[1]), np.int16)
        for at, row in enumerate(rows.tolist()):
            coder = coders.get(row) or coders.setdefault(row, _extension())
            samples[at] = np.frombuffer(coder.decode(codes[at].tobytes()), np.int16)
        return samples
