"""Groups in which entries go to the log: when one is closed, and what of a list is in it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from operator import attrgetter

from softswitch.store.entry import Entry

GATHER_S = (0.02, 0.035)
"""How long the first entry of a group waits for others, at least and at most: what is left of 45 ms by three
times what the disk has needed. Each group costs the loop and the log's thread some tenths of a millisecond."""
ON_DISK_S = 0.045
_SEQ = attrgetter("seq")


def gather_s(disk_s: float) -> float:
    """How long to wait for more entries where the disk takes `disk_s` to keep some."""
    least_s, most_s = GATHER_S
    return max(least_s, min(most_s, ON_DISK_S - 3.0 * disk_s))


def up_to(entries: Sequence[Entry], seq: int) -> int:
    """How many of these, which are in order, have that number at most."""
    if not entries or entries[0].seq > seq:
        return 0
    return bisect.bisect_right(entries, seq, key=_SEQ)
