"""Seeded mutation of octets, the same for every parser."""

from __future__ import annotations

import random
from collections.abc import Sequence

_BORDERS = bytes((0, 1, 2, 4, 127, 128, 254, 255))
_NUMBERS = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff")


def mutated(data: bytes, source: random.Random, others: Sequence[bytes]) -> bytes:
    """`data` with one to five changes: octets, cuts, doublings, numbers at borders, splices."""
    chance = source.random  # `randrange` is most of the time of a cheap parser's run
    octets = bytearray(data)
    for _ in range(1 + int(chance() * 5)):
        at = int(chance() * (len(octets) + 1))
        span = 1 + int(chance() * 23)
        match int(chance() * 8):
            case 0:
                octets[at : at + 1] = bytes((int(chance() * 256),))
            case 1:
                octets[at : at + 1] = _BORDERS[(which := int(chance() * 8)) : which + 1]
            case 2:
                del octets[at : at + span]
            case 3:
                del octets[at:]
            case 4:
                octets[at:at] = octets[at : at + span] * (1 + int(chance() * 3))
            case 5:
                octets[at:at] = source.randbytes(span)
            case 6:
                octets[at : at + 4] = _NUMBERS[int(chance() * 3)]
            case _:
                other = others[int(chance() * len(others))]
                start = int(chance() * len(other))
                octets[at : at + span] = other[start : start + span]
    return bytes(octets)
