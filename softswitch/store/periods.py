"""Half-hours, hours, days, weeks and months of an office's own time zone. Pure.

A report of a year is one query a stretch of constant offset from UTC (two or three a year), each grouped
by whole numbers; so days of 23 and 25 hours come out right, and no row is looked at twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

By = Literal["all", "half-hour", "hour", "day", "week", "month"]
BY: tuple[By, ...] = ("all", "half-hour", "hour", "day", "week", "month")
PERIODS_MAX = 20_000
SPAN_S_MAX = 3_660 * 86_400.0
_DAY_S = 86_400
_WIDTHS_S = {"half-hour": 1_800, "hour": 3_600}
_SHORTEST_S = {
    "half-hour": 1_800,
    "hour": 3_600,
    "day": 82_800,
    "week": 7 * 82_800,
    "month": 2_400_000,
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a span in which local time is UTC + `offset_s`."""

    start_s: float
    end_s: float
    offset_s: int


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_s` to before `end_s` (seconds since the epoch), cut into periods `by` local time.

    Raises `ValueError`, in words, for a span that is empty or has too many periods.
    """

    start_s: float
    end_s: float
    zone: ZoneInfo
    by: By = "all"

    def __post_init__(self) -> None:
        length_s = self.end_s - self.start_s
        if not 0 < length_s <= SPAN_S_MAX:
            raise ValueError("the time must be longer than nothing and at most ten years")
        if not -6e10 < self.start_s < 2e11:
            raise ValueError("the time is out of any calendar")
        if self.by != "all" and length_s / _SHORTEST_S[self.by] > PERIODS_MAX:
            raise ValueError(f"that would be more than {PERIODS_MAX} periods")

    @property
    def width_s(self) -> int:
        """By how many seconds of local time the database is to group; weeks and months are made
        of days afterwards, and all of it is one group."""
        return _WIDTHS_S.get(self.by, _DAY_S)

    def stretches(self) -> Iterator[Stretch]:
        """Every second of the span once, in order."""
        at_s = self.start_s
        while at_s < self.end_s:
            offset_s = offset_at(at_s, self.zone)
            end_s = self._constant_until(at_s, offset_s)
            yield Stretch(at_s, end_s, offset_s)
            at_s = end_s

    def _constant_until(self, start_s: float, offset_s: int) -> float:
        low = start_s
        while low < self.end_s:
            high = min(low + _DAY_S, self.end_s)
            if offset_at(high, self.zone) != offset_s:
                break
            low = high
        else:
            return self.end_s
        while high - low > 1:  # transitions are on whole seconds
            middle = float(int((low + high) / 2))
            if middle <= low or middle >= high:
                break
            if offset_at(middle, self.zone) == offset_s:
                low = middle
            else:
                high = middle
        return high

    def label(self, number: int, offset_s: int) -> str:
        """The period that group `number` of a stretch belongs to, as the time it begins ("" for all)."""
        if self.by == "all":
            return ""
        if self.by in _WIDTHS_S:
            return moment(number * self.width_s - offset_s, self.zone)
        day = date(1970, 1, 1) + timedelta(days=number)
        if self.by == "week":
            day -= timedelta(days=day.weekday())
        elif self.by == "month":
            day = day.replace(day=1)
        return day.isoformat()

    def label_at(self, at_s: float) -> str:
        """The period of an instant."""
        offset_s = offset_at(at_s, self.zone)
        return self.label(int((at_s + offset_s) // self.width_s), offset_s)

    def cuts(self, start_s: float, end_s: float) -> Iterator[tuple[str, float]]:
        """The periods that an interval lies in and how many seconds of it each has, within the span."""
        at_s, end_s = max(start_s, self.start_s), min(end_s, self.end_s)
        if self.by == "all":
            if end_s > at_s:
                yield "", end_s - at_s
            return
        while at_s < end_s:
            offset_s = offset_at(at_s, self.zone)
            number = int((at_s + offset_s) // self.width_s)
            next_s = min((number + 1) * self.width_s - offset_s, end_s)
            if offset_at(next_s, self.zone) != offset_s:
                next_s = min(self._constant_until(at_s, offset_s), end_s)
            yield self.label(number, offset_s), next_s - at_s
            at_s = next_s


def moment(at_s: float, zone: ZoneInfo) -> str:
    """An instant as ISO 8601 with the offset of the zone."""
    return datetime.fromtimestamp(at_s, UTC).astimezone(zone).isoformat(timespec="seconds")


def offset_at(at_s: float, zone: ZoneInfo) -> int:
    """How far local time is from UTC at an instant, in seconds."""
    offset = datetime.fromtimestamp(at_s, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
