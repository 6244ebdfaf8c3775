"""A note in the lowest bit of each octet of a G.711 packet: who sent it, which one, and when.

Inaudible under the tone it rides on, and lost as soon as anybody decodes, mixes or replaces the
sound: a note that arrives proves that the path is transparent, and gives delay and loss exactly.

160 bits: identity, frame number, microseconds of the sender's clock modulo 2^32, the run, and a check
over the four (all 32 bits).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OCTETS = 160

Words = NDArray[np.uint32]


@dataclass(slots=True)
class Stamps:
    """What (n,) packets carry; where `ok` is False there is no note of this run, and no value."""

    ok: NDArray[np.bool_]
    identity: Words
    frame: Words
    time_us: Words


def _check(words: Words) -> Words:
    mixed = np.full(len(words), 0x2545F491, np.uint64)
    for column in range(4):
        mixed = (mixed ^ words[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def write(
    payload: NDArray[np.uint8],
    identity: NDArray[np.integer],
    frame: NDArray[np.integer],
    time_us: int,
    run: int,
) -> None:
    """Put notes into (n, 160) G.711 codes, in place. Numbers are taken modulo 2^32."""
    words = np.empty((len(payload), 5), np.uint32)
    words[:, 0] = np.asarray(identity, np.int64) & 0xFFFFFFFF
    words[:, 1] = np.asarray(frame, np.int64) & 0xFFFFFFFF
    words[:, 2] = time_us & 0xFFFFFFFF
    words[:, 3] = run & 0xFFFFFFFF
    words[:, 4] = _check(words)
    bits = np.unpackbits(words.astype(">u4").view(np.uint8), axis=1)
    np.bitwise_and(payload, 0xFE, out=payload)
    np.bitwise_or(payload, bits, out=payload)


def read(payload: NDArray[np.uint8], run: int) -> Stamps:
    """Find the notes in (n, 160) G.711 codes."""
    octets = np.packbits(payload & 1, axis=1)
    words = octets.view(">u4").astype(np.uint32)
    ok = (words[:, 4] == _check(words)) & (words[:, 3] == np.uint32(run & 0xFFFFFFFF))
    return Stamps(ok, words[:, 0], words[:, 1], words[:, 2])
