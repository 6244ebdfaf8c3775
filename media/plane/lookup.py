"""Which row does a source belong to: a sorted table of 64-bit keys, searched for a whole batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LAST = 0xFFFFFFFFFFFFFFFF


class KeyTable:
    """Keys (unsigned 64-bit, below 2^64 - 1) to rows; insertion and removal move memory, no more.

    A key that several rows claim belongs to none of them here: see `SharedSources`.
    """

    __slots__ = ("_count", "_keys", "_rows", "keys", "rows")

    def __init__(self, capacity: int) -> None:
        # One place more: the greatest possible key ends the table, so a search never overruns.
        self._keys: NDArray[np.uint64] = np.full(capacity + 1, _LAST, np.uint64)
        self._rows: NDArray[np.intp] = np.full(capacity + 1, -1, np.intp)
        self._count = 0
        self._show()

    def _show(self) -> None:
        self.keys = self._keys[: self._count + 1]
        self.rows = self._rows[: self._count + 1]

    def __len__(self) -> int:
        return self._count

    def get(self, key: int) -> int:
        """Return the row of `key`, or -1."""
        at = int(self.keys.searchsorted(np.uint64(key)))
        return int(self._rows[at]) if int(self._keys[at]) == key else -1

    def put(self, key: int, row: int) -> None:
        """Let `key` lead to `row` from now on; raises `IndexError` when the table is full."""
        at = int(self.keys.searchsorted(np.uint64(key)))
        end = self._count
        if int(self._keys[at]) != key:
            if end + 1 >= len(self._keys):
                raise IndexError("key table is full")
            self._keys[at + 1 : end + 2] = self._keys[at : end + 1].copy()
            self._rows[at + 1 : end + 2] = self._rows[at : end + 1].copy()
            self._keys[at] = key
            self._count += 1
            self._show()
        self._rows[at] = row

    def remove(self, key: int) -> None:
        """Forget `key`; nothing happens if it is not there."""
        at = int(self.keys.searchsorted(np.uint64(key)))
        if int(self._keys[at]) != key or at >= self._count:
            return
        end = self._count
        self._keys[at:end] = self._keys[at + 1 : end + 1].copy()
        self._rows[at:end] = self._rows[at + 1 : end + 1].copy()
        self._count -= 1
        self._show()

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return (n,) rows and (n,) whether the key is known; rows of unknown keys mean nothing."""
        at = self.keys.searchsorted(keys)
        rows: NDArray[np.intp] = self.rows.take(at)
        return rows, self.keys.take(at) == keys
