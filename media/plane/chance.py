"""Random numbers of the system, of which many are drawn at a time."""

from __future__ import annotations

import os
import random

_DRAWN_OCTETS = 1024


class Chance(random.SystemRandom):
    """The system's random numbers; its `getrandbits` asks the system once for some hundred of them."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn = b""
        self._at = 0

    def getrandbits(self, k: int, /) -> int:
        """Return `k` random bits as a number."""
        octets = (k + 7) // 8
        begin, end = self._at, self._at + octets
        if end > len(self._drawn):
            self._drawn = os.urandom(max(_DRAWN_OCTETS, octets))
            begin, end = 0, octets
        self._at = end
        return int.from_bytes(self._drawn[begin:end], "little") >> (8 * octets - k)
