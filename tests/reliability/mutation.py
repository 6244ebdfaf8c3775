"""Seeded mutation of octets, the same for every parser."""

from __future__ import annotations

import random
from collections.abc import Sequence

_BORDERS = [bytes((octet,)) for octet in (0, 1, 2, 4, 127, 128, 254, 255)]
_OCTETS = [bytes((octet,)) for octet in range(256)]
_NUMBERS = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff")


def mutated(data: bytes, source: random.Random, others: Sequence[bytes]) -> bytes:
    """`data` with one to five changes: octets, cuts, doublings, numbers at borders, splices."""
    bits = (
        source.getrandbits
    )  # one draw a change: chance is most of the time of a cheap parser's run
    octets = bytearray(data)
    for _ in range(1 + (bits(16) * 5 >> 16)):
        drawn = bits(60)
        at = (drawn & 0xFFFFF) * (len(octets) + 1) >> 20
        span = 1 + ((drawn >> 20 & 0xFF) * 23 >> 8)
        kind = drawn >> 28 & 7
        drawn >>= 31
        if kind == 0:
            octets[at : at + 1] = _OCTETS[drawn & 255]
        elif kind == 1:
            octets[at : at + 1] = _BORDERS[drawn & 7]
        elif kind == 2:
            del octets[at : at + span]
        elif kind == 3:
            del octets[at:]
        elif kind == 4:
            octets[at:at] = octets[at : at + span] * (1 + drawn % 3)
        elif kind == 5:
            octets[at:at] = bits(8 * span).to_bytes(span, "little")
        elif kind == 6:
            octets[at : at + 4] = _NUMBERS[drawn % 3]
        else:
            other = others[drawn % len(others)]
            start = (drawn >> 9) * len(other) >> 20
            octets[at : at + span] = other[start : start + span]
    return bytes(octets)
