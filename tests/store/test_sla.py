"""Clocks that stop outside office hours, held to a count minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store.sla import OpenTime, SlaClock, always

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
HOLIDAY = date(2026, 10, 1)


def office_hours(day: date) -> tuple[tuple[int, int], ...]:
    """Monday to Friday 09:00-12:00 and 13:00-18:00, Saturday 10:00-14:00, one holiday."""
    if day == HOLIDAY or day.weekday() == 6:
        return ()
    return ((600, 840),) if day.weekday() == 5 else ((540, 720), (780, 1_080))


def never(_: date) -> tuple[tuple[int, int], ...]:
    return ()


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-09-28T09:00+08:00", 3, "2026-09-28T12:00+08:00"),
        ("2026-09-28T09:00+08:00", 4, "2026-09-28T14:00+08:00"),  # past lunch
        ("2026-09-28T17:00+08:00", 2, "2026-09-29T10:00+08:00"),  # past the night
        ("2026-09-28T20:00+08:00", 1, "2026-09-29T10:00+08:00"),
        ("2026-09-30T17:00+08:00", 2, "2026-10-02T10:00+08:00"),  # past the holiday
        ("2026-10-03T13:00+08:00", 2, "2026-10-05T10:00+08:00"),  # past Sunday
    ],
)
def test_a_promise_ends_in_office_hours(start: str, hours: float, end: str) -> None:
    office = OpenTime(SHANGHAI, office_hours)
    assert office.after(at(start), hours * 3_600) == at(end)
    assert office.between(at(start), at(end)) == hours * 3_600


def test_a_paused_clock_is_worth_what_it_has_run() -> None:
    office = OpenTime(SHANGHAI, office_hours)
    clock = SlaClock(4 * 3_600).run(at("2026-09-28T09:00+08:00"))
    assert clock.due_s(office) == at("2026-09-28T14:00+08:00")
    clock = clock.pause(at("2026-09-28T11:00+08:00"), office)
    assert clock.due_s(office) is None
    assert clock.pause(at("2026-09-28T17:00+08:00"), office) == clock
    clock = clock.run(at("2026-09-29T09:30+08:00"))
    assert clock.run(at("2026-09-29T11:00+08:00")) == clock
    assert clock.due_s(office) == at("2026-09-29T11:30+08:00")
    assert clock.used_s(at("2026-09-29T10:00+08:00"), office) == 2.5 * 3_600


def test_a_day_without_an_hour_has_an_hour_less() -> None:
    office = OpenTime(BERLIN, always)
    start_s, end_s = at("2026-03-29T00:00+01:00"), at("2026-03-30T00:00+02:00")
    assert office.between(start_s, end_s) == 23 * 3_600
    assert office.after(start_s, 23 * 3_600) == end_s


def test_an_office_that_never_opens_promises_nothing() -> None:
    office = OpenTime(SHANGHAI, never)
    assert office.after(0.0, 1.0) is None
    assert office.between(0.0, 1e6) == 0
    assert SlaClock(60.0).run(0.0).due_s(office) is None


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from([SHANGHAI, BERLIN]),
    start=st.integers(29_000_000, 30_500_000),
    minutes=st.integers(0, 8 * 1_440),
)
def test_equal_to_a_count_of_minutes(zone: ZoneInfo, start: int, minutes: int) -> None:
    office = OpenTime(zone, office_hours)
    counted = 0
    for minute in range(start, start + minutes):
        local = datetime.fromtimestamp(minute * 60, UTC).astimezone(zone)
        now = local.hour * 60 + local.minute
        counted += any(a <= now < b for a, b in office_hours(local.date()))
    start_s, end_s = start * 60.0, (start + minutes) * 60.0
    assert office.between(start_s, end_s) == counted * 60
    found_s = office.after(start_s, counted * 60.0)
    assert found_s is not None
    assert found_s <= end_s
    assert office.between(start_s, found_s) == counted * 60
