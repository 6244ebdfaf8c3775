"""A sorted list in chunks: add, remove, first and rank of 100,000 entries in microseconds.

Entries are tuples that differ from each other before their last element, so that comparing never
reaches the object that last element carries.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

CHUNK = 512


class SortedLine:
    """Ascending multiset of tuples; the smallest entry is `first()`."""

    __slots__ = ("_chunks", "_count", "_maxima")

    def __init__(self) -> None:
        self._chunks: list[list[tuple[Any, ...]]] = []
        self._maxima: list[tuple[Any, ...]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return self._count > 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for chunk in self._chunks:
            yield from chunk

    def add(self, entry: tuple[Any, ...]) -> None:
        """Insert, O(log n + chunk)."""
        self._count += 1
        if not self._chunks:
            self._chunks.append([entry])
            self._maxima.append(entry)
            return
        at = bisect_left(self._maxima, entry)
        if at == len(self._chunks):
            at -= 1
            self._chunks[at].append(entry)
            self._maxima[at] = entry
        else:
            insort(self._chunks[at], entry)
        chunk = self._chunks[at]
        if len(chunk) > CHUNK:
            half = len(chunk) // 2
            self._chunks.insert(at + 1, chunk[half:])
            del chunk[half:]
            self._maxima[at] = chunk[-1]
            self._maxima.insert(at + 1, self._chunks[at + 1][-1])

    def remove(self, entry: tuple[Any, ...]) -> None:
        """Take out; raises KeyError when it is not there."""
        at = bisect_left(self._maxima, entry)
        if at < len(self._chunks):
            chunk = self._chunks[at]
            inside = bisect_left(chunk, entry)
            if inside < len(chunk) and chunk[inside] == entry:
                del chunk[inside]
                self._count -= 1
                if not chunk:
                    del self._chunks[at]
                    del self._maxima[at]
                elif inside == len(chunk):
                    self._maxima[at] = chunk[-1]
                return
        raise KeyError(entry)

    def first(self) -> tuple[Any, ...]:
        """The smallest entry; IndexError when empty."""
        return self._chunks[0][0]

    def head(self, count: int) -> list[tuple[Any, ...]]:
        """Up to `count` smallest entries (at most one chunk of them)."""
        return self._chunks[0][:count] if self._chunks else []

    def after(self, bound: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The smallest entry not below `bound`, or None."""
        at = bisect_left(self._maxima, bound)
        if at == len(self._chunks):
            return None
        chunk = self._chunks[at]
        return chunk[bisect_left(chunk, bound)]

    def __contains__(self, entry: object) -> bool:
        """By looking through all: for audits."""
        return any(other == entry for other in self)

    def rank(self, entry: tuple[Any, ...]) -> int:
        """How many entries are smaller."""
        at = bisect_left(self._maxima, entry)
        below = sum(map(len, self._chunks[:at]))
        if at < len(self._chunks):
            below += bisect_left(self._chunks[at], entry)
        return below
