"""What queues and agents have done today: for screens."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, timedelta, timezone

import msgspec
import pytest

from routing.decisions import (
    Connect,
    ContactClosed,
    ContactHandled,
    ContactMoved,
    ContactQueued,
)
from routing.model import Media, Outcome
from routing.stats import VisitCounts
from softswitch.apps.acd_counts import OTHERS, REGIONS_MAX, DayCounts, Figures
from softswitch.apps.acd_staff import AgentDay

NOON_S = 1_795_694_400.0
DAY_S = 86_400.0


def queued(contact: str, region: str = "", queue: str = "support") -> ContactQueued:
    return ContactQueued(contact, queue, 1, None, False, region=region)


def connect(waited_s: float, contact: str = "c", media: Media = Media.CALL) -> Connect:
    return Connect(1, contact, "lilei", "support", media, waited_s, "1", "", 0.0, {})


def closed(outcome: Outcome, waited_s: float, contact: str = "c") -> ContactClosed:
    return ContactClosed(contact, "support", outcome, "", "", waited_s)


def handled(talk_s: float, outcome: str = "ended", contact: str = "c") -> ContactHandled:
    return ContactHandled(contact, "lilei", "support", Media.CALL, 5.0, talk_s, 10.0, 20.0, outcome)


def write_down(counts: DayCounts, contact: str) -> None:
    """A ticket: it waits for a day, is in hand for a week and is no talk."""
    lies = replace(queued(contact, "south"), media=Media.TICKET)
    counts.note(lies, NOON_S)
    assert "south" not in counts.visits.waiting
    counts.note(connect(DAY_S, contact, Media.TICKET), NOON_S)
    done = replace(handled(7 * DAY_S, contact=contact), media=Media.TICKET)
    counts.note(closed(Outcome.ANSWERED, DAY_S, contact), NOON_S)
    counts.note(done, NOON_S)


def a_day() -> DayCounts:
    counts = DayCounts({"support": 20.0}, UTC)
    for decision in (
        *(queued(f"c{number}", "north" if number < 3 else "") for number in range(6)),
        connect(5.0, "c0"),
        connect(30.0, "c1"),
        closed(Outcome.ABANDONED, 4.0, "c2"),
        closed(Outcome.ABANDONED, 61.0, "c3"),
        connect(0.0, "c4", Media.CALLBACK),
        closed(Outcome.CALLBACK_DONE, 0.0, "c4"),
        closed(Outcome.ANSWERED, 5.0, "c0"),
        ContactMoved("c5", "support", "billing", "overflow:full", 0.0),
        queued("c5", queue="billing"),
        handled(60.0, contact="c0"),
        handled(120.0, contact="c1"),
        handled(7.0, "failed", "c9"),
    ):
        counts.note(decision, NOON_S)
    write_down(counts, "ticket-1")
    return counts


def agent(counts: DayCounts, unix_s: float = NOON_S) -> AgentDay:
    return counts.of_agent("lilei", unix_s)


def require(day: Figures) -> None:
    visits = day.visits
    assert (visits.entered, visits.waiting) == (6, 0)
    assert (visits.answered, visits.answered_in_time) == (2, 1)
    assert (visits.abandoned, visits.abandoned_in_time) == (2, 1)
    assert (visits.overflowed, visits.callbacks) == (1, 1)
    assert visits.average_answer_s.value == pytest.approx(17.5)
    assert visits.average_wait_s.value == pytest.approx(100 / 6)
    assert (day.times.handled, day.average_handle_s.value) == (2, pytest.approx(120.0))


def require_all(counts: DayCounts, unix_s: float) -> None:
    require(counts.of("support", unix_s))
    north = counts.of_region("north", unix_s)
    assert (north.visits.entered, north.visits.answered, north.times.handled) == (3, 2, 2)
    assert counts.regions(unix_s) == ["", "north"]
    assert [counts.waiting_from(region) for region in ("", "north")] == [1, 0]
    assert counts.of("billing", unix_s).visits.waiting == 1


def test_a_day_is_counted_and_outlives_a_restart() -> None:
    counts = a_day()
    require_all(counts, NOON_S)
    assert agent(counts).times.talk_s == 180.0
    after = DayCounts({"support": 20.0}, UTC)
    after.restore(msgspec.json.decode(msgspec.json.encode(counts.snapshot())))
    require_all(after, NOON_S + 60)
    assert agent(after) == agent(counts)
    assert dict(after.halves("queue", NOON_S)) == dict(counts.halves("queue", NOON_S))
    after.note(connect(90.0, "c5"), NOON_S + 90)
    assert after.of("billing", NOON_S + 90).visits.answered == 1, "who waited then still waits"


def test_a_contact_belongs_to_the_half_hour_it_came_in_and_its_handling_to_the_one_it_ended_in() -> (
    None
):
    counts = DayCounts({}, timezone(timedelta(hours=5, minutes=45)))
    first_s = NOON_S + 900.0  # 17:45 in London is half past on that clock
    counts.note(queued("c", "north"), first_s + 1_790)
    counts.note(connect(30.0), first_s + 1_820)
    counts.note(handled(60.0), first_s + 3_700)
    for what, name in (("queue", "support"), ("region", "north")):
        found = dict(counts.halves(what, first_s + 3_700))
        assert [half_s - first_s for half_s, _ in found] == [0.0, 3_600.0]
        assert found[first_s, name].visits.answered == 1
        assert found[first_s + 3_600, name].times.handled == 1


def test_the_answer_of_who_came_yesterday_is_yesterdays() -> None:
    counts = DayCounts({}, UTC)
    midnight_s = NOON_S + DAY_S / 2
    counts.note(queued("c", "north"), midnight_s - 10)
    counts.note(connect(30.0), midnight_s + 20)
    counts.note(handled(60.0), midnight_s + 80)
    day = counts.of("support", midnight_s + 80)
    assert (day.visits, day.times.handled) == (VisitCounts(), 1)


@pytest.mark.limit("regions told apart live")
def test_regions_beyond_the_limit_are_counted_together() -> None:
    counts = DayCounts({}, UTC)
    for number in range(REGIONS_MAX):
        counts.note(queued(f"c{number}", f"region{number}"), NOON_S)
    assert len(counts.regions(NOON_S)) == REGIONS_MAX
    assert OTHERS not in counts.regions(NOON_S)
    for number in range(REGIONS_MAX, REGIONS_MAX + 3):
        counts.note(queued(f"c{number}", f"region{number}"), NOON_S)
    counts.note(queued("again", "region1"), NOON_S)
    assert len(counts.regions(NOON_S)) == REGIONS_MAX + 1
    assert counts.of_region(OTHERS, NOON_S).visits.entered == counts.waiting_from(OTHERS) == 3
    assert counts.of_region("region1", NOON_S).visits.entered == 2
    counts.note(closed(Outcome.ABANDONED, 4.0, f"c{REGIONS_MAX}"), NOON_S)
    assert counts.of_region(OTHERS, NOON_S).visits.abandoned == 1
    assert counts.waiting_from(OTHERS) == 2


def test_what_was_touched_is_told_once() -> None:
    counts = a_day()
    assert counts.take_touched() == {"", "north"}
    assert counts.take_touched() == set()


def test_a_hand_over_that_failed_is_no_answer() -> None:
    counts = DayCounts({"support": 20.0}, UTC)
    counts.note(queued("c", "north"), NOON_S)
    waiting = deepcopy(counts.of("support", NOON_S).visits)
    counts.note(connect(5.0), NOON_S)
    assert counts.waiting_from("north") == 0
    counts.note(handled(0.0, "failed"), NOON_S)
    assert counts.waiting_from("north") == 1
    assert replace(counts.of("support", NOON_S).visits, wait_s_max=0.0) == waiting
    counts.note(connect(25.0), NOON_S)
    counts.note(handled(60.0), NOON_S)
    visits = counts.of("support", NOON_S).visits
    assert (visits.answered, visits.answered_in_time) == (1, 0)
    assert visits.average_answer_s.value == visits.average_wait_s.value == 25.0
    counts.note(closed(Outcome.ANSWERED, 25.0), NOON_S)
    counts.note(queued("c"), NOON_S)
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
    assert counts.of("support", NOON_S + DAY_S) == Figures()
    assert agent(counts, NOON_S + DAY_S).times.handled == 0
