"""What queues and agents have done today: for screens."""

from __future__ import annotations

from datetime import UTC

import msgspec
import pytest

from routing.decisions import Connect, ContactClosed, ContactHandled, ContactMoved
from routing.model import Media, Outcome
from softswitch.apps.acd_counts import DayCounts, QueueDay

NOON_S = 1_795_694_400.0
DAY_S = 86_400.0


def connect(waited_s: float) -> Connect:
    return Connect(1, "c", "lilei", "support", Media.CALL, waited_s, "1", "", 0.0, {})


def closed(outcome: Outcome, waited_s: float) -> ContactClosed:
    return ContactClosed("c", "support", outcome, "", "", waited_s)


def handled(talk_s: float, outcome: str = "ended") -> ContactHandled:
    return ContactHandled("c", "lilei", "support", Media.CALL, 5.0, talk_s, 10.0, 20.0, outcome)


def a_day() -> DayCounts:
    counts = DayCounts({"support": 20.0}, UTC)
    for decision in (
        connect(5.0),
        connect(30.0),
        closed(Outcome.ABANDONED, 4.0),
        closed(Outcome.ABANDONED, 61.0),
        closed(Outcome.CALLBACK_DONE, 0.0),
        closed(Outcome.ANSWERED, 5.0),
        ContactMoved("c", "support", "billing", "overflow:full", 0.0),
        handled(60.0),
        handled(120.0),
        handled(7.0, "failed"),
    ):
        counts.note(decision, NOON_S)
    return counts


def require(day: QueueDay) -> None:
    assert (day.service.answered, day.service.answered_in_time) == (2, 1)
    assert (day.service.abandoned, day.service.abandoned_in_time) == (2, 1)
    assert (day.service.flowed_out, day.callbacks) == (1, 1)
    assert day.average_answer_s.value == pytest.approx(17.5)
    assert day.average_wait_s.value == pytest.approx(100 / 5)
    assert (day.times.handled, day.average_handle_s.value) == (2, pytest.approx(120.0))


def test_a_day_is_counted_and_outlives_a_restart() -> None:
    counts = a_day()
    require(counts.of("support", NOON_S))
    assert counts.of_agent("lilei", NOON_S).talk_s == 180.0
    after = DayCounts({"support": 20.0}, UTC)
    after.restore(msgspec.json.decode(msgspec.json.encode(counts.snapshot())))
    require(after.of("support", NOON_S + 60))
    assert after.of_agent("lilei", NOON_S) == counts.of_agent("lilei", NOON_S)


def test_what_an_older_version_wrote_is_taken_over() -> None:
    counts = DayCounts({}, UTC)
    old = {"day": "2026-11-26", "queues": {"support": {"answered": 3, "of_another_version": 1}}}
    counts.restore(old)
    assert counts.of("support", NOON_S).service.answered == 3
    assert counts.of("support", NOON_S).average_handle_s.value is None


def test_at_midnight_everybody_begins_anew() -> None:
    counts = a_day()
    assert counts.of("support", NOON_S + DAY_S) == QueueDay()
    assert counts.of_agent("lilei", NOON_S + DAY_S).handled == 0
