"""Seeded mutation of octets, the same for every parser."""

from __future__ import annotations

import random
from collections.abc import Sequence

_BORDERS = (0, 1, 2, 4, 127, 128, 254, 255)


def mutated(data: bytes, source: random.Random, others: Sequence[bytes]) -> bytes:
    """`data` with one to five changes: octets, cuts, doublings, numbers at borders, splices."""
    octets = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        at = source.randrange(len(octets) + 1)
        span = source.randrange(1, 24)
        match source.randrange(8):
            case 0:
                octets[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                octets[at : at + 1] = bytes([source.choice(_BORDERS)])
            case 2:
                del octets[at : at + span]
            case 3:
                del octets[at:]
            case 4:
                octets[at:at] = octets[at : at + span] * source.randrange(1, 4)
            case 5:
                octets[at:at] = source.randbytes(span)
            case 6:
                octets[at : at + 4] = source.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
            case _:
                other = source.choice(others)
                start = source.randrange(len(other))
                octets[at : at + span] = other[start : start + span]
    return bytes(octets)
