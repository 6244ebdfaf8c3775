"""Admission by measured lag of the event loop: who is let in while there is more than can be done. Pure.

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
    """Lags in seconds from which a class is turned away; each ends at half of it. `settle` is the part
    of the old average that a new measurement leaves."""

    strangers_s: float = 0.25
    proven_s: float = 0.5
    trunks_s: float = 1.5
    settle: float = 0.7
    retry_after_s: int = 5


class Overload:
    """Follows the lag and says who may come in."""

    def __init__(self, policy: OverloadPolicy | None = None) -> None:
        self._policy = policy or OverloadPolicy()
        self._limits_s = (self._policy.trunks_s, self._policy.proven_s, self._policy.strangers_s)
        self._closed = [False, False, False]
        self.lag_s = 0.0
        self.turned_away = 0

    @property
    def retry_after_s(self) -> int:
        return self._policy.retry_after_s

    def measured(self, lag_s: float) -> None:
        """How late a timer of the loop came."""
        keep = self._policy.settle
        self.lag_s = keep * self.lag_s + (1.0 - keep) * max(0.0, lag_s)
        for source, limit_s in enumerate(self._limits_s):
            if self.lag_s >= limit_s:
                self._closed[source] = True
            elif self.lag_s < limit_s / 2:
                self._closed[source] = False

    def admits(self, source: SourceClass) -> bool:
        """Whether something new from this class is begun now."""
        if self._closed[source]:
            self.turned_away += 1
            return False
        return True

    def snapshot(self) -> dict[str, float]:
        return {"lag_ms": round(self.lag_s * 1000, 1), "turned_away": self.turned_away}
