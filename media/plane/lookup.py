"""Which row does a source belong to: a sorted table of 64-bit keys, searched for a whole batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LAST = 0xFFFFFFFFFFFFFFFF
_CHANGES_MAX = 64
"""What has changed is sorted in when packets come; of more than so much the table is made anew then."""
_REBUILT = 32
"""A change is sorted in at the price of so many keys of a table that is made anew."""


class KeyTable:
    """Keys (unsigned 64-bit, below 2^64 - 1) to rows.

    A dictionary has the truth, and a sorted array what batches are searched in. Changes reach the array with
    the next search: what a call claims and gives back before a packet has come, or together with others, costs
    no move of memory for each. A key that several rows claim belongs to none of them here: see
    `Sources`.
    """

    __slots__ = ("_capacity", "_changed", "_keys", "_outdated", "_rows", "_rows_of")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._rows_of: dict[int, int] = {}
        self._changed: dict[int, None] = {}
        self._outdated = False
        """More has changed than was noted."""
        # The greatest possible key ends the table, so a search never overruns.
        self._keys: NDArray[np.uint64] = np.array([_LAST], np.uint64)
        self._rows: NDArray[np.intp] = np.array([-1], np.intp)

    def __len__(self) -> int:
        return len(self._rows_of)

    def get(self, key: int) -> int:
        """Return the row of `key`, or -1."""
        return self._rows_of.get(key, -1)

    def put(self, key: int, row: int) -> None:
        """Let `key` lead to `row` from now on; raises `IndexError` when the table is full."""
        if len(self._rows_of) >= self._capacity and key not in self._rows_of:
            raise IndexError("key table is full")
        self._rows_of[key] = row
        if not self._outdated:
            self._note(key)

    def remove(self, key: int) -> None:
        """Forget `key`; nothing happens if it is not there."""
        if self._rows_of.pop(key, None) is None:
            return
        if not self._outdated:
            self._note(key)

    def _note(self, key: int) -> None:
        self._changed[key] = None
        if len(self._changed) >= _CHANGES_MAX:
            self._changed.clear()
            self._outdated = True

    def _sort_in(self) -> None:
        changed, rows_of = self._changed, self._rows_of
        self._changed = {}
        if self._outdated or len(changed) * _REBUILT > len(rows_of):
            self._outdated = False
            keys = np.fromiter(rows_of, np.uint64, len(rows_of))
            rows = np.fromiter(rows_of.values(), np.intp, len(rows_of))
            order = keys.argsort()
            self._keys = np.append(keys[order], np.uint64(_LAST))
            self._rows = np.append(rows[order], np.intp(-1))
            return
        for key in changed:
            self._change(key, rows_of.get(key))

    def _change(self, key: int, row: int | None) -> None:
        keys, rows = self._keys, self._rows
        at = int(keys.searchsorted(np.uint64(key)))
        known = at + 1 < len(keys) and int(keys[at]) == key
        if row is None:
            if known:
                self._keys = np.concatenate((keys[:at], keys[at + 1 :]))
                self._rows = np.concatenate((rows[:at], rows[at + 1 :]))
        elif known:
            rows[at] = row
        else:
            own = np.array([key], np.uint64)
            self._keys = np.concatenate((keys[:at], own, keys[at:]))
            self._rows = np.concatenate((rows[:at], np.array([row], np.intp), rows[at:]))

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return (n,) rows and (n,) whether the key is known; rows of unknown keys mean nothing."""
        if self._changed or self._outdated:
            self._sort_in()
        at = self._keys.searchsorted(keys)
        rows: NDArray[np.intp] = self._rows.take(at)
        return rows, self._keys.take(at) == keys
