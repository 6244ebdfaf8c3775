"""Opening hours: weekly spans, holidays and special days in one time zone that is passed in.

Times handed in and out are Unix seconds. Spans are local wall-clock time, so a change to or from
summer time moves the opening with the wall clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as wall_time

from routing.errors import RoutingConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SPANS_A_DAY_MAX = 24
SEARCH_DAYS = 400

Span = tuple[int, int]  # minutes from midnight; the end may lie in the next day


@dataclass(frozen=True, slots=True)
class Calendar:
    """`week`: seven tuples of spans, Monday first. `days`: what stands instead on certain dates
    (no span: closed all day). Build with `Calendar.of`."""

    week: tuple[tuple[Span, ...], ...]
    days: Mapping[date, tuple[Span, ...]]
    timezone: tzinfo = UTC

    @classmethod
    def of(
        cls,
        opening: Mapping[str, Sequence[str]],
        holidays: Sequence[str] = (),
        timezone: tzinfo = UTC,
        special: Mapping[str, Sequence[str]] | None = None,
    ) -> Calendar:
        """From ``{"mon-fri": ["09:00-12:00"], "sat": [...]}``, holidays ``2026-10-01`` or
        ``2026-10-01..2026-10-07``, and `special` dates with spans of their own. A span whose end
        is not after its start runs past midnight."""
        week: list[tuple[Span, ...]] = [()] * 7
        for names, spans in opening.items():
            parsed = _spans(names, spans)
            for day in _weekdays(names):
                week[day] += parsed
        days: dict[date, tuple[Span, ...]] = {}
        for text in holidays:
            days.update(dict.fromkeys(_dates(text), ()))
        for text, spans in (special or {}).items():
            days.update(dict.fromkeys(_dates(text), _spans(text, spans)))
        return cls(tuple(week), days, timezone)

    def is_open(self, unix_s: float) -> bool:
        """Open at that moment? The start of a span is in it, its end is not."""
        return any(start <= unix_s < end for start, end in self._around(unix_s))

    def next_change(self, unix_s: float) -> float | None:
        """When it opens or closes next; None when it never does within a year."""
        was = self.is_open(unix_s)
        for edge in self._edges(unix_s):
            if edge > unix_s and self.is_open(edge) != was:
                return edge
        return None

    def next_open(self, unix_s: float) -> float | None:
        """`unix_s` itself when open, else the next opening; None when there is none in a year."""
        return unix_s if self.is_open(unix_s) else self.next_change(unix_s)

    def _edges(self, unix_s: float) -> Sequence[float]:
        today = datetime.fromtimestamp(unix_s, self.timezone).date()
        edges: list[float] = []
        for offset in range(-1, SEARCH_DAYS):
            for span in self._on(today + timedelta(days=offset)):
                edges.extend(span)
        return sorted(set(edges))

    def _around(self, unix_s: float) -> list[tuple[float, float]]:
        today = datetime.fromtimestamp(unix_s, self.timezone).date()
        return self._on(today - timedelta(days=1)) + self._on(today)

    def _on(self, day: date) -> list[tuple[float, float]]:
        spans = self.days.get(day)
        if spans is None:
            spans = self.week[day.weekday()]
        return [(self._unix(day, start), self._unix(day, end)) for start, end in spans]

    def _unix(self, day: date, minutes: int) -> float:
        days, minute = divmod(minutes, 24 * 60)
        at = wall_time(minute // 60, minute % 60)
        return datetime.combine(day + timedelta(days=days), at, self.timezone).timestamp()


def _weekdays(names: str) -> list[int]:
    found: list[int] = []
    for part in names.lower().split(","):
        first, dash, last = (name.strip() for name in part.partition("-"))
        if first not in DAYS or (dash and last not in DAYS):
            raise RoutingConfigError(
                f"hours {names!r}", "not a weekday", f"{', '.join(DAYS)}, mon-fri"
            )
        start, end = DAYS.index(first), DAYS.index(last or first)
        found += [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]
    return found


def _spans(where: str, texts: Sequence[str]) -> tuple[Span, ...]:
    if len(texts) > SPANS_A_DAY_MAX:
        raise RoutingConfigError(f"hours {where!r}", f"more than {SPANS_A_DAY_MAX} spans")
    return tuple(_span(where, text) for text in texts)


def _span(where: str, text: str) -> Span:
    start_text, dash, end_text = text.partition("-")
    start, end = _minutes(start_text), _minutes(end_text)
    if not dash or start is None or end is None or start == 24 * 60:
        raise RoutingConfigError(f"hours {where!r}", f"{text!r} is no span", "09:00-12:00")
    return (start, end if end > start else end + 24 * 60)


def _minutes(text: str) -> int | None:
    hour, colon, minute = text.strip().partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(hour) <= 2 == len(minute)):
        return None
    total = int(hour) * 60 + int(minute)
    return total if int(minute) < 60 and total <= 24 * 60 else None


def _dates(text: str) -> list[date]:
    first_text, dots, last_text = text.partition("..")
    try:
        first = date.fromisoformat(first_text.strip())
        last = date.fromisoformat(last_text.strip()) if dots else first
    except ValueError:
        raise RoutingConfigError("holidays", f"{text!r} is no date", "2026-10-01") from None
    length = (last - first).days
    if not 0 <= length <= SEARCH_DAYS:
        raise RoutingConfigError("holidays", f"{text!r} runs backwards or too long")
    return [first + timedelta(days=offset) for offset in range(length + 1)]
