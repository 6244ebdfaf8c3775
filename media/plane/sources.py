"""Which source may speak for which stream: exact addresses, hosts behind NAT, shared addresses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.plane.lookup import KeyTable
from media.plane.packet_io import HOST_MASK

_SHARED = -2
_ODD = 0x9E3779B97F4A7C15
_ODD_TOO = 0xD1B54A32D192ED03
_KEY_BITS = 0x7FFFFFFFFFFFFFFF


def _with_ssrc(key: int, ssrc: int) -> int:
    return ((key * _ODD) ^ (ssrc * _ODD_TOO)) & _KEY_BITS


class Sources:
    """Source keys to rows. A key that several streams expect is told apart by SSRC.

    A *host* claim (any UDP port of a host, for a peer behind NAT) counts only while no other stream
    of that port makes the same claim: between two calls nobody guesses, the packet is dropped.
    """

    def __init__(self, capacity: int) -> None:
        self._exact = KeyTable(3 * capacity)
        self._hosts = KeyTable(capacity)
        self._by_ssrc = KeyTable(3 * capacity)
        self._claims: dict[int, list[int]] = {}
        self._host_claims: dict[int, list[int]] = {}
        self._ssrc_of: dict[int, int] = {}
        self._any_shared = False

    def __len__(self) -> int:
        return len(self._claims) + len(self._host_claims)

    def claim(self, key: int, row: int) -> None:
        """Let the exact source `key` speak for `row`."""
        rows = self._claims.get(key)
        if rows is None:
            self._claims[key] = [row]
            self._exact.put(key, row)
            return
        if row in rows:
            return
        rows.append(row)
        self._exact.put(key, _SHARED)
        self._any_shared = True
        if len(rows) == 2:
            for other in rows:
                self._add_ssrc(key, other)
        elif len(rows) > 2:
            self._add_ssrc(key, row)

    def release(self, key: int, row: int) -> None:
        """Take the claim of `row` on `key` back."""
        rows = self._claims.get(key)
        if rows is None or row not in rows:
            return
        if row in self._ssrc_of:
            self._drop_ssrc(key, row)
        rows.remove(row)
        if not rows:
            del self._claims[key]
            self._exact.remove(key)
        elif len(rows) == 1:
            self._drop_ssrc(key, rows[0])
            self._exact.put(key, rows[0])

    def claim_host(self, key: int, row: int) -> None:
        """Let any UDP port of the host in `key` speak for `row`."""
        rows = self._host_claims.setdefault(key, [])
        if row not in rows:
            rows.append(row)
            self._hosts.put(key, row if len(rows) == 1 else _SHARED)

    def release_host(self, key: int, row: int) -> None:
        """Take the claim of `row` on a host back."""
        rows = self._host_claims.get(key)
        if rows is None or row not in rows:
            return
        rows.remove(row)
        if rows:
            self._hosts.put(key, rows[0] if len(rows) == 1 else _SHARED)
        else:
            del self._host_claims[key]
            self._hosts.remove(key)

    def note_ssrc(self, key: int | None, row: int, ssrc: int | None) -> None:
        """`row` hears `ssrc` (None: nothing known any more); decides where `key` is shared."""
        if ssrc is None and row not in self._ssrc_of:
            return
        shared = key is not None and len(self._claims.get(key, ())) > 1
        if shared and key is not None:
            self._drop_ssrc(key, row)
        if ssrc is None:
            self._ssrc_of.pop(row, None)
            return
        self._ssrc_of[row] = ssrc
        if shared and key is not None:
            self._add_ssrc(key, row)

    def _add_ssrc(self, key: int, row: int) -> None:
        ssrc = self._ssrc_of.get(row)
        if ssrc is not None:
            self._by_ssrc.put(_with_ssrc(key, ssrc), row)

    def _drop_ssrc(self, key: int, row: int) -> None:
        ssrc = self._ssrc_of.get(row)
        if ssrc is not None and self._by_ssrc.get(_with_ssrc(key, ssrc)) == row:
            self._by_ssrc.remove(_with_ssrc(key, ssrc))

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return for each packet its row and whether its source is known and nobody else's.

        Where the second is False the first means nothing until `settle` has been asked.
        """
        rows, known = self._exact.find(keys)
        if self._any_shared:
            known &= rows != _SHARED
        return rows, known

    def settle(
        self,
        rows: NDArray[np.intp],
        known: NDArray[np.bool_],
        keys: NDArray[np.uint64],
        ssrc: NDArray[np.uint32],
    ) -> None:
        """Complete `rows` in place where `known` is False: -1 where nobody expects the source."""
        open_rows = np.flatnonzero(~known)
        found, hit = self._exact.find(keys[open_rows])
        found[~hit] = -1
        if len(self._hosts):
            unknown = np.flatnonzero(~hit)
            guess, named = self._hosts.find(keys[open_rows[unknown]] & np.uint64(HOST_MASK))
            found[unknown] = np.where(named & (guess >= 0), guess, -1)
        rows[open_rows] = found
        shared = np.flatnonzero(rows == _SHARED)
        if shared.size:
            mixed = (keys[shared] * np.uint64(_ODD)) ^ (ssrc[shared] * np.uint64(_ODD_TOO))
            of_ssrc, heard = self._by_ssrc.find(mixed & np.uint64(_KEY_BITS))
            for index in np.flatnonzero(~heard).tolist():
                of_ssrc[index] = self._waiting_row(int(keys[shared[index]]))
            rows[shared] = of_ssrc

    def _waiting_row(self, key: int) -> int:
        waiting = [row for row in self._claims.get(key, ()) if row not in self._ssrc_of]
        return waiting[0] if len(waiting) == 1 else -1
