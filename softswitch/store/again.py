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
        order = np.argsort(caller, kind="stable")
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
        self._forget(float(at_s.min()))
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
        """These came before those of the same callers."""
        old = np.ones(len(self._caller), bool)
        if len(old):
            place = np.searchsorted(self._caller, caller)
            place[place == len(old)] = 0
            old[place[self._caller[place] == caller]] = False
        callers = np.concatenate([self._caller[old], caller])
        order = np.argsort(callers, kind="stable")
        self._caller = callers[order]
        self._call = np.concatenate([self._call[old], call])[order]
        self._at_s = np.concatenate([self._at_s[old], at_s])[order]
        self._other_s = np.concatenate([self._other_s[old], other_s])[order]

    def _forget(self, at_s: float) -> None:
        """Who comes before `at_s` does not come again in time by what is later than this."""
        near = self._at_s <= at_s + self.again_s
        if not near.all():
            self._caller, self._call = self._caller[near], self._call[near]
            self._at_s, self._other_s = self._at_s[near], self._other_s[near]


def _changes(values: Digests) -> npt.NDArray[np.bool_]:
    """Where values differ from those before."""
    found = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found
