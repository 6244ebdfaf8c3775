"""Counts of values in buckets that are 3 % wide at every size: percentiles of millions in a few KB.

The idea is Gil Tene's HdrHistogram; values here are non-negative integers (microseconds, mostly).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BITS = 5
_STEPS = 1 << _BITS
_BUCKETS = 48 * _STEPS
VALUE_MAX = (1 << 50) - 1


def _index(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket of each value: exact below 64, then 32 steps for each power of two."""
    exponent = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1 - _BITS
    shift = np.maximum(exponent, 0)
    found: NDArray[np.int64] = shift * _STEPS + (values >> shift)
    return found


def _lowest(index: int) -> int:
    shift = max(0, index // _STEPS - 1)
    return (index - shift * _STEPS) << shift


class Histogram:
    """`add` values, `merge` others, ask for `percentile`; counts never saturate."""

    __slots__ = ("_counts", "count", "highest", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.highest = 0

    def add(self, value: float) -> None:
        """One value; negative ones count as 0, huge ones as the greatest."""
        whole = min(max(int(value), 0), VALUE_MAX)
        shift = max(whole.bit_length() - 1 - _BITS, 0)
        index = shift * _STEPS + (whole >> shift)
        self._counts[index] = self._counts.get(index, 0) + 1
        self.count += 1
        self.total += whole
        self.highest = max(self.highest, whole)

    def add_many(self, values: ArrayLike) -> None:
        """(n,) values at once."""
        whole = np.clip(np.asarray(values, np.float64), 0, VALUE_MAX).astype(np.int64)
        if whole.size == 0:
            return
        indexes, counts = np.unique(_index(whole), return_counts=True)
        for index, count in zip(indexes.tolist(), counts.tolist(), strict=True):
            self._counts[index] = self._counts.get(index, 0) + count
        self.count += int(whole.size)
        self.total += int(whole.sum())
        self.highest = max(self.highest, int(whole.max()))

    def merge(self, other: Histogram) -> None:
        """Add all that `other` has counted."""
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)

    def percentile(self, percent: float) -> float:
        """The value below which `percent` of all lie, to 3 %; 0 where nothing was counted."""
        if not self.count:
            return 0.0
        wanted = max(1.0, self.count * percent / 100.0 - 1e-6)
        seen = 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= wanted:
                middle = (_lowest(index) + _lowest(index + 1) - 1) / 2
                return float(min(middle, self.highest))
        return float(self.highest)

    @property
    def mean(self) -> float:
        """The mean, exact; 0 where nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def as_dict(self) -> dict[str, object]:
        """JSON types; `from_dict` reads them."""
        return {
            "counts": {str(index): count for index, count in self._counts.items()},
            "total": self.total,
            "highest": self.highest,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Histogram:
        """What `as_dict` has written. Raises `ValueError` for anything else."""
        counts, total, highest = (state.get(key) for key in ("counts", "total", "highest"))
        if not (isinstance(counts, dict) and isinstance(total, int) and isinstance(highest, int)):
            raise ValueError("no histogram")
        found = cls()
        found._counts = {int(index): int(count) for index, count in counts.items()}
        if any(not 0 <= index < _BUCKETS for index in found._counts):
            raise ValueError("no histogram: a bucket that there is not")
        found.count = sum(found._counts.values())
        found.total, found.highest = total, highest
        return found
