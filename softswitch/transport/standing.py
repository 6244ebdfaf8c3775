"""Whether a queue only passes a burst on or stands: then who comes new is turned away. Pure.

After CoDel (RFC 8289): a wait above the target for longer than an interval is no burst. What is
turned away is the newest, not the oldest, since a refused caller has waited for nothing, and once a queue has
stood, the target alone decides for a while: otherwise the wait would swing by an interval's worth.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandingPolicy:
    """Seconds. `target_s`: so long may somebody new expect to wait; `interval_s`: for so long it may be
    longer, but never as long as `most_s`; `memory_s`: so long after the last refusal the interval is not
    granted again; `give_up_s`: who has waited so long is not served any more, for he is about to ask again."""

    target_s: float = 0.05
    interval_s: float = 0.1
    most_s: float = 0.25
    memory_s: float = 2.0
    give_up_s: float = 0.4


class Standing:
    """Follows the wait in one queue."""

    __slots__ = ("_above_s", "_policy", "_refused_s")

    def __init__(self, policy: StandingPolicy) -> None:
        self._policy = policy
        self._above_s: float | None = None
        self._refused_s = float("-inf")

    def turns_away(self, wait_s: float, now_s: float) -> bool:
        """Whether somebody new is turned away who would wait for `wait_s`."""
        policy = self._policy
        if wait_s < policy.target_s:
            self._above_s = None
            return False
        if self._above_s is None:
            self._above_s = now_s
        stands = wait_s >= policy.most_s or now_s - self._above_s >= policy.interval_s
        if not stands and now_s - self._refused_s > policy.memory_s:
            return False
        self._refused_s = now_s
        return True

    def served(self, wait_s: float) -> None:
        """One has been served; so long would somebody new wait now: a short wait ends a burst."""
        if wait_s < self._policy.target_s:
            self._above_s = None

    def gives_up(self, wait_s: float) -> bool:
        """Whether who has waited so long is turned away when his turn has come."""
        return wait_s >= self._policy.give_up_s
