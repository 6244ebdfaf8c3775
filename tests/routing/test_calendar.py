"""Opening hours, holidays, time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from routing.calendar import SPANS_A_DAY_MAX, Calendar
from routing.errors import RoutingConfigError

SHANGHAI = timezone(timedelta(hours=8))
OFFICE = Calendar.of(
    {"mon-fri": ["09:00-12:00", "13:00-18:00"], "sat": ["10:00-14:00"]},
    ["2026-10-01", "2026-10-02"],
    SHANGHAI,
)


def at(text: str, zone=SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-09-28T08:59:59", False),
        ("2026-09-28T09:00", True),
        ("2026-09-28T11:59:59", True),
        ("2026-09-28T12:00", False),
        ("2026-09-28T13:00", True),
        ("2026-09-28T18:00", False),
        ("2026-10-01T10:00", False),  # holidays
        ("2026-10-02T10:00", False),
        ("2026-10-03T10:00", True),  # Saturday
        ("2026-10-04T10:00", False),  # Sunday
    ],
)
def test_week_and_holidays(text: str, is_open: bool):
    assert OFFICE.is_open(at(text)) is is_open


def test_next_change_and_next_opening():
    assert OFFICE.next_change(at("2026-09-28T10:00")) == at("2026-09-28T12:00")
    assert OFFICE.next_open(at("2026-09-28T10:00")) == at("2026-09-28T10:00")
    assert OFFICE.next_open(at("2026-09-28T12:30")) == at("2026-09-28T13:00")
    assert OFFICE.next_open(at("2026-09-30T18:30")) == at("2026-10-03T10:00")


def test_past_midnight():
    night = Calendar.of({"fri": ["22:00-02:00"]}, timezone=UTC)
    assert night.is_open(at("2026-10-02T23:00", UTC))
    assert night.is_open(at("2026-10-03T01:59", UTC))
    assert not night.is_open(at("2026-10-03T02:00", UTC))
    assert night.next_change(at("2026-10-02T23:00", UTC)) == at("2026-10-03T02:00", UTC)


def test_round_the_clock_never_changes():
    always = Calendar.of({"mon-sun": ["00:00-24:00"]})
    assert always.is_open(0.0)
    assert always.next_change(1e9) is None
    assert Calendar.of({}).next_open(1e9) is None


def test_special_days_and_spans_of_holidays():
    calendar = Calendar.of(
        {"mon-sun": ["09:00-17:00"]},
        ["2026-10-01..2026-10-07"],
        UTC,
        {"2026-12-24": ["09:00-12:00"]},
    )
    assert not calendar.is_open(at("2026-10-07T10:00", UTC))
    assert calendar.is_open(at("2026-10-08T10:00", UTC))
    assert not calendar.is_open(at("2026-12-24T13:00", UTC))


def test_summer_time_moves_with_the_wall_clock():
    berlin = ZoneInfo("Europe/Berlin")
    calendar = Calendar.of({"mon-sun": ["09:00-17:00"]}, timezone=berlin)
    for day in ("2026-03-28", "2026-03-29", "2026-10-25"):
        assert calendar.is_open(at(f"{day}T09:00", berlin))
        assert not calendar.is_open(at(f"{day}T08:59", berlin))


@pytest.mark.parametrize("days", ["mon-sun", "sat-fri", "fri-mon,tue-thu"])
def test_ranges_of_days_may_wrap(days: str):
    calendar = Calendar.of({days: ["00:00-24:00"]})
    assert all(calendar.week)


@pytest.mark.parametrize(
    ("opening", "holidays"),
    [
        ({"monday": ["09:00-12:00"]}, []),
        ({"mon": ["9-12"]}, []),
        ({"mon": ["09:00-24:01"]}, []),
        ({"mon": ["24:00-25:00"]}, []),
        ({"mon": ["09:60-12:00"]}, []),
        ({"mon": ["09:00"]}, []),
        ({"mon": ["09:00-10:00"] * (SPANS_A_DAY_MAX + 1)}, []),
        ({}, ["2026-13-01"]),
        ({}, ["2026-10-07..2026-10-01"]),
        ({}, ["2026-10-01..2029-10-01"]),
    ],
)
def test_mistakes_are_refused(opening, holidays):
    with pytest.raises(RoutingConfigError):
        Calendar.of(opening, holidays)
