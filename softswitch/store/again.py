"""Which callers came again, and when: found by going through contacts from the last to the first. Pure.

For each contact that is the first later one of the same caller that is not of the same call (passed on from
queue to queue is one contact). What is kept on the way is two instants a caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Digests = npt.NDArray[np.uint64]


def _digests() -> Digests:
    return np.empty(0, np.uint64)


def _floats() -> Floats:
    return np.empty(0, np.float64)


@dataclass(slots=True)
class Again:
    """Contacts that were seen so far, those that come next within `again_s` of earlier ones: of each caller the
    first, and the first of another call than that. In the order of `caller`."""

    again_s: float
    _caller: Digests = field(default_factory=_digests)
    _call: Digests = field(default_factory=_digests)
    _at_s: Floats = field(default_factory=_floats)
    _other_s: Floats = field(default_factory=_floats)

    def before(self, caller: Digests, call: Digests, at_s: Floats) -> Floats:
        """Take contacts in that came before all so far, in the order of time, of callers other than 0.

        Returns for each when its caller came again, not necessarily within `again_s`: infinite for never, or
        not in time.
        """
        if not len(caller):
            return _floats()
        order = _order(caller)
        caller, call, at_s = caller[order], call[order], at_s[order]
        is_first = _changes(caller)
        starts = np.flatnonzero(is_first | _changes(call))  # of runs of the same call
        later_s = self._after(caller[starts], call[starts])
        goes_on = ~is_first[starts[1:]]  # the next run is the same caller's
        later_s[:-1][goes_on] = at_s[starts[1:]][goes_on]
        run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(caller)))
        found = later_s[run]
        for place in np.flatnonzero(found <= at_s):
            found[place] = self._strictly_after(int(place), caller, call, at_s)
        firsts = np.flatnonzero(is_first)
        self._keep(caller[firsts], call[firsts], at_s[firsts], later_s[run[firsts]])
        unsorted = np.empty_like(found)
        unsorted[order] = found
        return unsorted

    def _after(self, caller: Digests, call: Digests) -> Floats:
        """When callers came again, of what was seen so far, by another call."""
        found = np.full(len(caller), np.inf)
        if len(self._caller):
            place = np.searchsorted(self._caller, caller)
            place[place == len(self._caller)] = 0
            known = self._caller[place] == caller
            other = self._call[place] != call
            found[known] = np.where(other, self._at_s[place], self._other_s[place])[known]
        return found

    def _strictly_after(self, place: int, caller: Digests, call: Digests, at_s: Floats) -> Any:
        """The same for one whose next came at the very same instant: rare, so one by one."""
        for other in range(place + 1, len(caller)):
            if caller[other] != caller[place]:
                break
            if at_s[other] > at_s[place] and call[other] != call[place]:
                return at_s[other]
        return self._after(caller[place : place + 1], call[place : place + 1])[0]

    def _keep(self, caller: Digests, call: Digests, at_s: Floats, other_s: Floats) -> None:
        """These came before those of the same callers. What is too late for the first of these is too late for
        all who came before."""
        old = self._at_s <= at_s.min() + self.again_s
        if len(old):
            place = np.searchsorted(self._caller, caller)
            place[place == len(old)] = 0
            old[place[self._caller[place] == caller]] = False
        kept = self._caller[old]
        is_new = np.zeros(len(kept) + len(caller), bool)
        is_new[np.searchsorted(kept, caller) + np.arange(len(caller))] = True

        def merged(before: npt.NDArray[Any], now: npt.NDArray[Any]) -> npt.NDArray[Any]:
            found = np.empty(len(is_new), now.dtype)
            found[is_new], found[~is_new] = now, before
            return found

        self._caller = merged(kept, caller)
        self._call = merged(self._call[old], call)
        self._at_s = merged(self._at_s[old], at_s)
        self._other_s = merged(self._other_s[old], other_s)


_PLACES = 20
"""Bits for the place of a contact in what is sorted at once."""


def _order(caller: Digests) -> npt.NDArray[np.intp]:
    """How contacts are put in the order of callers, those of one in the order in which they are. Six times as
    fast as a stable sort: of most of the digest and the place in one number."""
    if len(caller) <= 1 << _PLACES:
        low = np.uint64((1 << _PLACES) - 1)
        keys = np.sort((caller & ~low) | np.arange(len(caller), dtype=np.uint64))
        order = (keys & low).astype(np.intp)
        ordered = caller[order]
        if (ordered[1:] >= ordered[:-1]).all():  # no two callers differ in the low bits only
            return order
    return np.argsort(caller, kind="stable")


def _changes(values: Digests) -> npt.NDArray[np.bool_]:
    """Where values differ from those before."""
    found = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found
