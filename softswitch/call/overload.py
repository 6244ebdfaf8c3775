"""Admission by measured lag: who is let in while there is more than can be done. Pure.

Three classes: calls that are up and trunks last of all, then sources that have proven a password, then
strangers. What is inside a dialog is always served; it never comes here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class SourceClass(IntEnum):
    """Who goes first; the highest is dropped first."""

    TRUNK = 0
    PROVEN = 1
    STRANGER = 2


@dataclass(frozen=True, slots=True)
class OverloadPolicy:
    """Average lags in seconds from which a class is turned away, until there is only half of that. `settle`
    is the part of the old average that a new measurement leaves. Strangers are turned away at the first
    message that has waited so long, and for `hold` measurements at least: a flood goes on."""

    strangers_s: float = 0.1
    proven_s: float = 0.15
    trunks_s: float = 0.2
    settle: float = 0.5
    hold: int = 10


class Overload:
    """Follows the lag and says who may come in."""

    def __init__(self, policy: OverloadPolicy | None = None) -> None:
        self._policy = policy or OverloadPolicy()
        self._limits_s = (self._policy.trunks_s, self._policy.proven_s, self._policy.strangers_s)
        self.closed = [False, False, False]
        """By `SourceClass`: whether it is turned away now; to look counts nothing, see `admits`."""
        self._held = 0
        self.lag_s = 0.0
        self.turned_away = 0

    def measured(self, lag_s: float) -> None:
        """By how much we are behind now: a timer's lateness."""
        keep = self._policy.settle
        self.lag_s = keep * self.lag_s + (1.0 - keep) * max(0.0, lag_s)
        self._held = max(0, self._held - 1)
        for source, limit_s in enumerate(self._limits_s):
            if self.lag_s >= limit_s:
                self._close(source)
            elif lag_s < limit_s / 2 and (source != SourceClass.STRANGER or not self._held):
                # As it is now: who waits for the average to fall has nothing to do meanwhile.
                self.closed[source] = False

    def waited(self, wait_s: float) -> None:
        """So long has a message waited that is not looked at yet; told between measurements."""
        if wait_s >= self._policy.strangers_s:
            self._close(SourceClass.STRANGER)

    def _close(self, source: int) -> None:
        """A class is turned away only where turning away the one below it has not been enough."""
        if source == SourceClass.STRANGER:
            if not self.closed[source]:
                self._held = self._policy.hold
            self.closed[source] = True
        elif self.closed[source + 1]:
            self.closed[source] = True

    def admits(self, source: SourceClass) -> bool:
        """Whether something new from this class is begun now."""
        if self.closed[source]:
            self.turned_away += 1
            return False
        return True

    def snapshot(self) -> dict[str, float]:
        return {"lag_ms": round(self.lag_s * 1000, 1), "turned_away": self.turned_away}
