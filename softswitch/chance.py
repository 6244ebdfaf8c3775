"""Numbers drawn from tokens: the only randomness that delays have, so that a seed repeats a run."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

Token = Callable[[], str]


def chance(token: Token) -> Callable[[], float]:
    """A source of numbers from [0, 1)."""
    return lambda: crc32(token().encode()) / 2**32


def between(token: Token) -> Callable[[float, float], float]:
    """A source of numbers from [low, high)."""
    draw = chance(token)
    return lambda low, high: low + (high - low) * draw()
