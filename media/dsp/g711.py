"""G.711 by look-up table: A-law, u-law and the direct conversion between them.

Source: ITU-T G.711 (11/1988), tables 1, 2, 3 and 4. Between two decision values the recommendation
leaves no freedom; on a decision value, and for the sign of small negative samples, the tables here
do what the ITU-T software tool library (G.191) does, so that encoders agree bit by bit.

Linear samples are int16 left justified, as everywhere in this package: the 13 bits of A-law and the
14 of u-law are shifted up to 16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

ULAW_SILENCE = 0xFF
"""The u-law code of zero, as senders of silence use it."""

ALAW_SILENCE = 0xD5
"""The A-law code of the smallest positive value: A-law has no zero."""


def _typed(values: NDArray[Any], dtype: type[_Scalar]) -> NDArray[_Scalar]:
    return values.astype(dtype)


def _ulaw_values() -> NDArray[np.int16]:
    code = ~np.arange(256)
    exponent = (code >> 4) & 7
    step = 4 << (exponent + 1)
    magnitude = (0x80 << exponent) + step * (code & 15) + step // 2 - 4 * 33
    return _typed(np.where(np.arange(256) < 128, -magnitude, magnitude), np.int16)


def _alaw_values() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55
    exponent = (code >> 4) & 7
    mantissa = (code & 15) + np.where(exponent > 0, 16, 0)
    magnitude = ((mantissa << 4) + 8) << np.maximum(exponent - 1, 0)
    return _typed(np.where(np.arange(256) < 128, -magnitude, magnitude), np.int16)


def _bits(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many bits each non-negative value needs (0 for 0)."""
    return _typed(np.ceil(np.log2(values + 1.0)), np.int64)


def _ulaw_codes() -> NDArray[np.uint8]:
    sample = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int64)
    magnitude = np.where(sample < 0, ~sample, sample) >> 2
    biased = np.minimum(magnitude + 33, 0x1FFF)
    segment = _bits(biased >> 6) + 1
    code = ((8 - segment) << 4) | (15 - ((biased >> segment) & 15))
    return _typed(np.where(sample < 0, code, code | 0x80), np.uint8)


def _alaw_codes() -> NDArray[np.uint8]:
    sample = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int64)
    magnitude = np.where(sample < 0, ~sample, sample) >> 4
    exponent = np.maximum(_bits(magnitude) - 4, 0)
    mantissa = (magnitude >> np.maximum(exponent - 1, 0)) & 15
    code = (exponent << 4) | mantissa
    return _typed(np.where(sample < 0, code, code | 0x80) ^ 0x55, np.uint8)


def _span(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


def _steps(first: int, last: int) -> list[int]:
    return [value for value in range(first, last + 1) for _ in (0, 1)]


def _conversion_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Tables 3 and 4 of the recommendation, in its numbering: A-law 1 to 128, u-law 0 to 127."""
    to_alaw = _steps(1, 8) + _span(9, 25) + [27, 29, 31, *_span(33, 44), 46, *_span(48, 62)]
    to_alaw += _span(64, 80) + _span(82, 128)
    to_ulaw = [*range(1, 16, 2), *_span(16, 31), *_steps(32, 35), *_span(36, 47), *_steps(48, 49)]
    to_ulaw += [*_span(50, 63), *_steps(64, 64), *_span(65, 79), *_steps(80, 80), *_span(81, 127)]
    number = np.arange(128)
    upper = np.array(to_alaw) - 1
    alaw = np.empty(256, np.uint8)
    alaw[0xFF ^ number] = 0xD5 ^ upper
    alaw[0x7F ^ number] = 0x55 ^ upper
    ulaw = np.empty(256, np.uint8)
    ulaw[0xD5 ^ number] = 0xFF ^ np.array(to_ulaw)
    ulaw[0x55 ^ number] = 0x7F ^ np.array(to_ulaw)
    return alaw, ulaw


def _frozen(table: NDArray[Any]) -> NDArray[Any]:
    table.setflags(write=False)
    return table


ULAW_VALUES: NDArray[np.int16] = _frozen(_ulaw_values())
"""(256,) int16: the linear value of each u-law code."""

ALAW_VALUES: NDArray[np.int16] = _frozen(_alaw_values())
"""(256,) int16: the linear value of each A-law code."""

ULAW_CODES: NDArray[np.uint8] = _frozen(_ulaw_codes())
"""(65536,) uint8: the u-law code of each sample, indexed by the sample's bits as uint16."""

ALAW_CODES: NDArray[np.uint8] = _frozen(_alaw_codes())
"""(65536,) uint8: the A-law code of each sample, indexed by the sample's bits as uint16."""

_TABLES = _conversion_tables()

ULAW_TO_ALAW: NDArray[np.uint8] = _frozen(_TABLES[0])
"""(256,) uint8: G.711 table 3, u-law code to A-law code without going through linear."""

ALAW_TO_ULAW: NDArray[np.uint8] = _frozen(_TABLES[1])
"""(256,) uint8: G.711 table 4, A-law code to u-law code without going through linear."""


def _pairs(values: NDArray[np.int16]) -> NDArray[np.uint32]:
    """Return (65536,) uint32: two decoded samples for two codes, in this machine's octet order."""
    both = np.arange(65536).astype(np.uint16).view(np.uint8)
    return values[both].view(np.uint32)


_ULAW_PAIRS: NDArray[np.uint32] = _frozen(_pairs(ULAW_VALUES))
_ALAW_PAIRS: NDArray[np.uint32] = _frozen(_pairs(ALAW_VALUES))


def _decoder(
    values: NDArray[np.int16], pairs: NDArray[np.uint32]
) -> Callable[[NDArray[np.uint8], NDArray[np.int16] | None], NDArray[np.int16]]:
    def decode(codes: NDArray[np.uint8], out: NDArray[np.int16] | None) -> NDArray[np.int16]:
        # Two codes a look-up halve the index work; it needs an even, gapless last axis.
        if codes.ndim and codes.shape[-1] % 2 == 0 and codes.strides[-1] == 1:
            wide = np.take(pairs, codes.view(np.uint16)).view(np.int16)
            if out is None:
                return wide
            out[...] = wide
            return out
        plain = np.take(values, codes)
        if out is None:
            return plain
        out[...] = plain
        return out

    return decode


_decode_ulaw = _decoder(ULAW_VALUES, _ULAW_PAIRS)
_decode_alaw = _decoder(ALAW_VALUES, _ALAW_PAIRS)


def decode_ulaw(
    codes: NDArray[np.uint8], out: NDArray[np.int16] | None = None
) -> NDArray[np.int16]:
    """Decode u-law (G.711 table 2). `codes` uint8 of any shape; returns int16 of that shape.

    `out`, int16 of the same shape, receives the samples and is returned.
    """
    return _decode_ulaw(codes, out)


def decode_alaw(
    codes: NDArray[np.uint8], out: NDArray[np.int16] | None = None
) -> NDArray[np.int16]:
    """Decode A-law (G.711 table 1). `codes` uint8 of any shape; returns int16 of that shape.

    `out`, int16 of the same shape, receives the samples and is returned.
    """
    return _decode_alaw(codes, out)


def _encode(
    table: NDArray[np.uint8], samples: NDArray[np.int16], out: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    # Seen as unsigned, negative samples are the upper half of the table.
    codes = np.take(table, samples.view(np.uint16))
    if out is None:
        return codes
    out[...] = codes
    return out


def encode_ulaw(
    samples: NDArray[np.int16], out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Encode to u-law (G.711 table 2). `samples` int16 of any shape; returns uint8 of that shape.

    `out`, uint8 of the same shape, receives the codes and is returned.
    """
    return _encode(ULAW_CODES, samples, out)


def encode_alaw(
    samples: NDArray[np.int16], out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Encode to A-law (G.711 table 1). `samples` int16 of any shape; returns uint8 of that shape.

    `out`, uint8 of the same shape, receives the codes and is returned.
    """
    return _encode(ALAW_CODES, samples, out)


def ulaw_to_alaw(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert u-law codes to A-law codes (G.711 table 3); uint8 in and out, any shape."""
    return np.take(ULAW_TO_ALAW, codes)
