"""Half-hours, hours, days, weeks and months of a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store.days import first_missing
from softswitch.store.periods import BY, PERIODS_MAX, SPAN_S_MAX, Span

ZONES = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_days_of_23_and_of_25_hours_are_days() -> None:
    zone = ZoneInfo("Europe/Berlin")
    for start, end, hours in (
        ("2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", 23),
        ("2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", 25),
    ):
        by_day = Span(at(start), at(end), zone, "day")
        assert len(list(by_day.stretches())) == 2
        assert sum(s for _, s in by_day.cuts(by_day.start_s, by_day.end_s)) == hours * 3_600
        assert {label for label, _ in by_day.cuts(by_day.start_s, by_day.end_s)} == {start[:10]}
        by_hour = Span(at(start), at(end), zone, "hour")
        labels = [label for label, _ in by_hour.cuts(by_hour.start_s, by_hour.end_s)]
        assert len(labels) == len(set(labels)) == hours


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    start_s, end_s = at("2026-11-01T00:00+08:00"), at("2026-12-01T00:00+08:00")
    noon_s = at("2026-11-19T12:00+08:00")  # a Thursday
    assert Span(start_s, end_s, zone, "week").label_at(noon_s) == "2026-11-16"
    assert Span(start_s, end_s, zone, "month").label_at(noon_s) == "2026-11-01"
    assert Span(start_s, end_s, zone, "half-hour").label_at(noon_s) == "2026-11-19T12:00:00+08:00"
    assert Span(start_s, end_s, zone, "all").label_at(noon_s) == ""


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    by=st.sampled_from(BY),
    start_s=st.floats(1.4e9, 2.0e9),
    length_s=st.floats(1, 40 * 86_400.0),
    within=st.floats(0, 1),
)
def test_every_instant_has_one_period_however_it_is_found(
    zone: str, by: str, start_s: float, length_s: float, within: float
) -> None:
    span = Span(start_s, start_s + length_s, ZoneInfo(zone), by)  # type: ignore[arg-type]
    stretches = list(span.stretches())
    assert stretches[0].start_s == span.start_s
    assert stretches[-1].end_s == span.end_s
    for before, after in pairwise(stretches):
        assert before.end_s == after.start_s
        assert before.offset_s != after.offset_s
    at_s = span.start_s + within * (length_s * 0.999)
    stretch = next(s for s in stretches if s.start_s <= at_s < s.end_s)
    label = span.label(int((at_s + stretch.offset_s) // span.width_s), stretch.offset_s)
    assert label == span.label_at(at_s)
    local = datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(zone))
    match by:
        case "day":
            assert label == local.date().isoformat()
        case "week":
            assert label == (local.date() - timedelta(days=local.weekday())).isoformat()
        case "month":
            assert label == local.date().replace(day=1).isoformat()
        case "hour":
            assert label[:13] == local.isoformat()[:13]
    assert sum(s for _, s in span.cuts(at_s, span.end_s)) == pytest.approx(
        span.end_s - at_s, abs=1e-3
    )


def test_a_span_has_a_limit_of_periods_and_of_length() -> None:
    zone = ZoneInfo("UTC")
    Span(0.0, PERIODS_MAX * 1_800.0, zone, "half-hour")
    with pytest.raises(ValueError, match="more than"):
        Span(0.0, (PERIODS_MAX + 1) * 1_800.0, zone, "half-hour")
    Span(0.0, SPAN_S_MAX, zone, "day")
    for start_s, end_s in ((0.0, SPAN_S_MAX + 1), (5.0, 5.0), (5.0, 4.0), (0.0, float("nan"))):
        with pytest.raises(ValueError, match="time"):
            Span(start_s, end_s, zone)


def test_a_day_on_which_clocks_change_is_never_added_up() -> None:
    zone = ZoneInfo("Europe/Berlin")
    start_s = datetime(2026, 10, 24, tzinfo=zone).timestamp()
    end_s = datetime(2026, 10, 28, tzinfo=zone).timestamp()
    made: set[int] = set()
    found = []
    while (day := first_missing(zone, start_s, end_s, frozenset(made))) is not None:
        made.add(day[0])
        found.append((date(1970, 1, 1) + timedelta(days=day[0]), day[1]))
    assert found == [
        (date(2026, 10, number), datetime(2026, 10, number, tzinfo=zone).timestamp())
        for number in (24, 26, 27)
    ]
    assert first_missing(ZoneInfo("Asia/Kathmandu"), start_s, end_s, frozenset()) is None
