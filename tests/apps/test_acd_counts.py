"""What queues and agents have done today: for screens."""

from __future__ import annotations

from datetime import UTC

import msgspec
import pytest

from routing.decisions import (
    AgentStateChanged,
    Connect,
    ContactClosed,
    ContactHandled,
    ContactMoved,
)
from routing.model import AgentState, Media, Outcome
from softswitch.apps.acd_counts import AgentDay, DayCounts, QueueDay

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


def changed(old: AgentState, lasted_s: float) -> AgentStateChanged:
    return AgentStateChanged("lilei", old, AgentState.UNAVAILABLE, "", "", lasted_s)


def agent(counts: DayCounts, unix_s: float = NOON_S) -> AgentDay:
    return counts.of_agent("lilei", unix_s, AgentState.LOGGED_OUT, 0.0)


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
    assert agent(counts).times.talk_s == 180.0
    after = DayCounts({"support": 20.0}, UTC)
    after.restore(msgspec.json.decode(msgspec.json.encode(counts.snapshot())))
    require(after.of("support", NOON_S + 60))
    assert agent(after) == agent(counts)


def test_a_hand_over_that_failed_is_no_answer() -> None:
    counts = DayCounts({"support": 20.0}, UTC)
    counts.note(connect(5.0), NOON_S)
    counts.note(handled(0.0, "failed"), NOON_S)
    assert counts.of("support", NOON_S) == QueueDay()
    counts.note(connect(25.0), NOON_S)
    counts.note(handled(60.0), NOON_S)
    day = counts.of("support", NOON_S)
    assert (day.service.answered, day.service.answered_in_time) == (1, 0)
    assert day.average_answer_s.value == day.average_wait_s.value == 25.0
    counts.note(connect(5.0), NOON_S)
    counts.note(handled(0.0, "failed"), NOON_S + DAY_S)
    assert counts.of("support", NOON_S + DAY_S).service.answered == 0, (
        "of yesterday nothing is taken"
    )


def test_what_an_older_version_wrote_is_taken_over() -> None:
    counts = DayCounts({}, UTC)
    old = {"day": "2026-11-26", "queues": {"support": {"answered": 3, "of_another_version": 1}}}
    counts.restore(old)
    assert counts.of("support", NOON_S).service.answered == 3
    assert counts.of("support", NOON_S).average_handle_s.value is None


def test_at_midnight_everybody_begins_anew() -> None:
    counts = a_day()
    assert counts.of("support", NOON_S + DAY_S) == QueueDay()
    assert agent(counts, NOON_S + DAY_S).times.handled == 0


def test_occupancy_counts_what_still_lasts_and_nothing_of_yesterday() -> None:
    counts = DayCounts({}, UTC)
    assert agent(counts).occupancy.value is None
    counts.note(changed(AgentState.AVAILABLE, 30.0), NOON_S)
    counts.note(changed(AgentState.OFFERED, 5.0), NOON_S)
    counts.note(changed(AgentState.ON_CONTACT, 60.0), NOON_S)
    counts.note(changed(AgentState.UNAVAILABLE, 500.0), NOON_S)
    assert agent(counts).occupancy.value == pytest.approx(60 / 90)
    now = counts.of_agent("lilei", NOON_S, AgentState.WRAP_UP, 10.0)
    assert now.occupancy.value == pytest.approx(70 / 100)
    assert agent(counts).busy_s == 60.0, "asking counts nothing"
    early_s = NOON_S + DAY_S / 2 + 20.0
    counts.note(changed(AgentState.AVAILABLE, 3_600.0), early_s)
    assert agent(counts, early_s).idle_s == 20.0
    assert counts.of_agent("lilei", early_s, AgentState.ON_CONTACT, 3_600.0).busy_s == 20.0
