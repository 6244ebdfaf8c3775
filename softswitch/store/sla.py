"""Clocks that stop outside the office's hours. Pure: time is an argument, no clock is read.

A promise ("an answer within 4 hours") counts the time the office is open, in its own zone: days of 23 and
25 hours, holidays and lunch breaks included. A clock is paused while nothing can be done, and is then
worth what it has run so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS_MAX = 3_660
_MINUTES_A_DAY = 24 * 60
Periods = Callable[[date], tuple[tuple[int, int], ...]]
"""The open periods of a day in minutes since its midnight; `softswitch.config.Hours.periods` is one."""


def always(_: date) -> tuple[tuple[int, int], ...]:
    """Open round the clock."""
    return ((0, _MINUTES_A_DAY),)


class OpenTime:
    """Time as an office counts it. `periods` in order, without overlaps; `zone` says when a day is."""

    def __init__(self, zone: ZoneInfo, periods: Periods = always) -> None:
        self.zone = zone
        self._periods = periods

    def between(self, start_s: float, end_s: float) -> float:
        """How long the office was open from one instant to another, in seconds; 0 backwards."""
        total_s = 0.0
        for opens_s, closes_s in self._open_from(start_s):
            if opens_s >= end_s:
                break
            total_s += max(0.0, min(closes_s, end_s) - max(opens_s, start_s))
        return total_s

    def after(self, start_s: float, open_s: float) -> float | None:
        """The instant at which the office will have been open for `open_s` since `start_s`; None if that
        is not within ten years (an office that never opens)."""
        if open_s <= 0:
            return start_s
        left_s = open_s
        for opens_s, closes_s in self._open_from(start_s):
            length_s = closes_s - max(opens_s, start_s)
            if length_s >= left_s:
                return max(opens_s, start_s) + left_s
            left_s -= max(0.0, length_s)
        return None

    def _open_from(self, start_s: float) -> Iterator[tuple[float, float]]:
        """Open intervals that end after an instant, in order, for at most `DAYS_MAX` days."""
        day = datetime.fromtimestamp(start_s, UTC).astimezone(self.zone).date()
        for number in range(DAYS_MAX):
            today = day + timedelta(days=number)
            for opens, closes in self._periods(today):
                interval = self._instant(today, opens), self._instant(today, closes)
                if interval[1] > start_s:
                    yield interval

    def _instant(self, day: date, minutes: int) -> float:
        if minutes >= _MINUTES_A_DAY:
            day, minutes = day + timedelta(days=1), minutes - _MINUTES_A_DAY
        at = datetime.combine(day, time(minutes // 60, minutes % 60), self.zone)
        return at.timestamp()


@dataclass(frozen=True, slots=True)
class SlaClock:
    """One promise. `spent_s` of open time were used before `since_s`, the instant it last began to run;
    None while it is paused."""

    target_s: float
    spent_s: float = 0.0
    since_s: float | None = None

    def run(self, now_s: float) -> SlaClock:
        """Go on; nothing happens if it runs."""
        return self if self.since_s is not None else replace(self, since_s=now_s)

    def pause(self, now_s: float, office: OpenTime) -> SlaClock:
        """Stop; nothing happens if it is paused."""
        return replace(self, spent_s=self.used_s(now_s, office), since_s=None)

    def used_s(self, now_s: float, office: OpenTime) -> float:
        """How much open time has been used."""
        if self.since_s is None:
            return self.spent_s
        return self.spent_s + office.between(self.since_s, now_s)

    def due_s(self, office: OpenTime) -> float | None:
        """When the promise is broken if nothing changes; None while paused, or never."""
        if self.since_s is None:
            return None
        return office.after(self.since_s, self.target_s - self.spent_s)


@dataclass(frozen=True, slots=True)
class Targets:
    """What is promised, in seconds of open time: a first answer, and a solution."""

    answer_s: float
    solve_s: float


TARGETS = {
    "urgent": Targets(3_600, 4 * 3_600),
    "high": Targets(4 * 3_600, 8 * 3_600),
    "normal": Targets(8 * 3_600, 24 * 3_600),
    "low": Targets(24 * 3_600, 72 * 3_600),
}
"""By the ticket's priority."""
