"""What a stolen password can cost: how many calls an extension may have outside at once, and how many a
hour to numbers that are dear. Pure."""

from __future__ import annotations

from collections import deque

HOUR_S = 3600.0


class TollCaps:
    """Counts the calls of each extension to international and premium numbers, over the last hour."""

    def __init__(self) -> None:
        self._dear: dict[str, deque[float]] = {}

    def refusal(
        self,
        extension: str,
        now_s: float,
        *,
        calls: int,
        calls_max: int,
        dear: bool,
        dear_per_h: int,
    ) -> str | None:
        """Why this call may not go out, None if it may; one that may is counted.

        Parameters: `calls`, those that the extension has now, this one included; `dear`, whether the
        number is international or premium.
        """
        if calls > calls_max:
            return f"{calls_max} calls at once"
        if not dear:
            return None
        times = self._dear.setdefault(extension, deque())
        while times and now_s - times[0] >= HOUR_S:
            times.popleft()
        if len(times) >= dear_per_h:
            return f"{dear_per_h} international or premium calls an hour"
        times.append(now_s)
        return None
