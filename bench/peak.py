"""How to find the rate of calls at which the most are completed. Pure."""

from __future__ import annotations

FIRST, STEP, STEPS_MAX = 500.0, 1.4, 7
CARRIED = 0.97
NEAR = 0.06
"""The search ends where the highest rate that was carried and the lowest that was not differ by less."""


def next_rate(tried: list[tuple[float, float]]) -> float | None:
    """The rate to offer next in search of the most that is completed, None where that is known.

    Parameters: `tried`, pairs of calls offered and completed a second so far.
    """
    if not tried:
        return FIRST
    carried = [offered for offered, completed in tried if completed >= CARRIED * offered]
    lost = [offered for offered, completed in tried if completed < CARRIED * offered]
    if len(tried) >= STEPS_MAX:
        return None
    if not lost:
        return max(carried) * STEP
    if not carried:
        most = max(completed for _, completed in tried)
        return min(min(lost) / STEP, max(most, min(lost) / 4))
    low, high = max(carried), min(lost)
    return (low + high) / 2 if high - low > NEAR * high else None
