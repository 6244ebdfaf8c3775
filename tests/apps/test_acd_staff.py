"""What agents have done today and lately, and how busy teams are: against sums made by hand."""

from __future__ import annotations

from datetime import UTC
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.decisions import AgentStateChanged, CancelOffer, Connect, Decision, OfferTo
from routing.model import AgentState, Media
from softswitch.apps.acd_counts import DayCounts
from softswitch.apps.acd_staff import OTHERS, REASONS_MAX, AgentDay

NOON_S = 1_795_694_400.0
DAY_S = 86_400.0
TEAMS = {"lilei": [("queue", "support"), ("region", "north")], "mary": [("queue", "support")]}
LOGGED_OUT, AVAILABLE, ON_CONTACT, WRAP_UP, UNAVAILABLE, OFFERED = (
    AgentState.LOGGED_OUT,
    AgentState.AVAILABLE,
    AgentState.ON_CONTACT,
    AgentState.WRAP_UP,
    AgentState.UNAVAILABLE,
    AgentState.OFFERED,
)


class Shift:
    """Agents who do one thing after the other, and counts that are told of it."""

    def __init__(self) -> None:
        self.counts = DayCounts({}, UTC)
        self.counts.use_teams(TEAMS, [], NOON_S)
        self.now: dict[str, tuple[AgentState, float]] = {}

    def does(self, agent: str, state: AgentState, at_s: float, reason: str = "") -> None:
        old, since_s = self.now.get(agent, (LOGGED_OUT, at_s))
        change = AgentStateChanged(agent, old, state, reason, "", at_s - since_s)
        self.counts.note(change, NOON_S + at_s)
        self.now[agent] = (state, at_s)

    def of(self, agent: str, at_s: float) -> AgentDay:
        return self.counts.of_agent(agent, NOON_S + at_s)

    def share(self, *team: str, at_s: float) -> list[float | None]:
        return [ratio.value for ratio in self.counts.occupancy((team[0], team[1]), NOON_S + at_s)]

    def restarted(self, at_s: float = 0.0) -> Shift:
        after = Shift()
        after.counts = DayCounts({}, UTC)
        kept = msgspec.json.decode(msgspec.json.encode(self.counts.snapshot()))
        after.counts.restore(kept)
        after.counts.use_teams(TEAMS, [], NOON_S + at_s)
        after.now = dict(self.now)
        return after


def test_what_lasts_counts_while_it_lasts_and_ringing_is_idle() -> None:
    shift = Shift()
    assert shift.of("lilei", 0).occupancy.value is None
    for state, at_s in ((AVAILABLE, 0), (OFFERED, 30), (ON_CONTACT, 40), (WRAP_UP, 100)):
        shift.does("lilei", state, at_s)
    assert shift.of("lilei", 120).occupancy.value == pytest.approx(80 / 120)
    shift.does("lilei", UNAVAILABLE, 120, "meal")
    assert shift.of("lilei", 3_600).occupancy.value == pytest.approx(80 / 120), "a break is neither"
    assert shift.of("lilei", 3_600).states["unavailable", "meal"] == 3_480.0
    assert shift.share("region", "north", at_s=3_600) == [pytest.approx(80 / 120), None]


def test_at_midnight_what_lasts_begins_anew() -> None:
    shift, midnight_s = Shift(), DAY_S / 2
    shift.does("lilei", ON_CONTACT, 0)
    shift.does("mary", AVAILABLE, midnight_s - 100)
    assert shift.of("lilei", midnight_s + 20).states == {("on-contact", ""): 20.0}
    shift.does("lilei", AVAILABLE, midnight_s + 20)
    assert shift.share("queue", "support", at_s=midnight_s + 60) == [pytest.approx(20 / 120)] * 2


def test_a_clock_that_is_set_makes_nobody_busier() -> None:
    shift = Shift()
    shift.does("lilei", AVAILABLE, 0)
    shift.does("lilei", ON_CONTACT, 100)
    shift.counts.clock_set(3_600.0)
    told = shift.of("lilei", 3_600.0 + 150)
    assert told.states == {("available", ""): 100.0, ("on-contact", ""): 50.0}
    change = AgentStateChanged("lilei", ON_CONTACT, WRAP_UP, "", "", 60.0)
    shift.counts.note(change, NOON_S + 3_760.0)
    assert shift.share("queue", "support", at_s=3_780.0)[0] == pytest.approx(80 / 180)


@given(st.data())
def test_days_halves_and_teams_are_what_a_sum_of_all_stretches_says(data: st.DataObject) -> None:
    """Also with restarts at any moment: against the states themselves, cut at half-hours."""
    shift = Shift()
    stretches: list[tuple[str, AgentState, float, float]] = []
    at_s = 0.0
    states = st.sampled_from([AVAILABLE, OFFERED, ON_CONTACT, WRAP_UP, UNAVAILABLE, LOGGED_OUT])
    for _ in range(data.draw(st.integers(1, 12))):
        at_s += data.draw(st.floats(0.0, 4_000.0))
        agent = data.draw(st.sampled_from(["lilei", "mary"]))
        if agent in shift.now:
            stretches.append((agent, *shift.now[agent], at_s))
        shift.does(agent, data.draw(states), at_s)
        if data.draw(st.booleans()):
            shift = shift.restarted(at_s)
    end_s = at_s + data.draw(st.floats(0.0, 4_000.0))
    stretches += [(agent, *now, end_s) for agent, now in shift.now.items()]

    def spent(who: str, what: set[AgentState], since_s: float, until_s: float) -> float:
        return sum(
            max(0.0, min(to_s, until_s) - max(from_s, since_s))
            for agent, state, from_s, to_s in stretches
            if agent in who and state in what
        )

    half_s = end_s // 1_800 * 1_800
    for agent in ("lilei", "mary"):
        day = shift.of(agent, end_s)
        halves = shift.counts.halves_of_agent(agent, NOON_S + end_s)
        assert [start_s - NOON_S for start_s, _ in halves] == [half_s - 1_800, half_s]
        told = [(0.0, end_s, day)]
        told += [(half_s - 1_800, half_s, halves[0][1]), (half_s, end_s, halves[1][1])]
        for since_s, until_s, found in told:
            for state in (AVAILABLE, ON_CONTACT, UNAVAILABLE):
                seconds = found.states.get((state.value, ""), 0.0)
                assert seconds == pytest.approx(spent(agent, {state}, since_s, until_s), abs=1e-3)
    for team, who in ((("queue", "support"), "lilei mary"), (("region", "north"), "lilei")):
        for ratio, since_s in zip(
            shift.counts.occupancy(team, NOON_S + end_s), (0.0, half_s - 1_800), strict=True
        ):
            busy = spent(who, {ON_CONTACT, WRAP_UP}, since_s, end_s)
            idle = spent(who, {AVAILABLE, OFFERED}, since_s, end_s)
            assert ratio.numerator == pytest.approx(busy, abs=1e-3)
            assert ratio.denominator == pytest.approx(busy + idle, abs=1e-3)


def offer(number: int, media: Media = Media.CALL) -> OfferTo:
    return OfferTo(number, f"c{number}", "lilei", "support", 15.0, media, None)  # type: ignore[arg-type]


def test_offers_are_counted_with_what_came_of_them_and_tickets_are_none() -> None:
    shift = Shift()
    connect = Connect(2, "c2", "lilei", "support", Media.CALL, 5.0, "1", "", 0.0, {})
    told: list[Decision] = [
        *(offer(number) for number in (1, 2, 3, 4)),
        offer(5, Media.TICKET),
        CancelOffer(1, "c1", "lilei", "no-answer"),
        connect,
        CancelOffer(3, "c3", "lilei", "abandoned"),
    ]
    for decision in told:
        shift.counts.note(decision, NOON_S)
    shift = shift.restarted()
    shift.counts.offer_ended(4, "rejected", NOON_S)
    shift.counts.offer_ended(4, "no-answer", NOON_S)  # he had declined already
    day = shift.of("lilei", 0)
    assert (day.offered, day.accepted, day.missed, day.rejected) == (4, 1, 1, 1)
    shift.counts.note(offer(6), NOON_S + DAY_S / 2 - 1)
    shift.counts.offer_ended(6, "answered", NOON_S + DAY_S / 2 + 1)
    assert shift.of("lilei", DAY_S / 2 + 1) == AgentDay(), "an offer of yesterday is yesterday's"


def test_after_a_restart_everybody_does_what_the_engine_says() -> None:
    shift = Shift()
    shift.does("lilei", AVAILABLE, 0)
    doing = [("lilei", ON_CONTACT, "", NOON_S + 60), ("mary", AVAILABLE, "", NOON_S - DAY_S)]
    shift.counts.use_teams(TEAMS, doing, NOON_S + 100)
    assert shift.of("lilei", 100).states == {("available", ""): 60.0, ("on-contact", ""): 40.0}
    assert shift.of("mary", 100).states == {("available", ""): DAY_S / 2 + 100}, "since midnight"
    of_team = shift.counts.occupancy(("queue", "support"), NOON_S + 100)[0]
    assert (of_team.numerator, of_team.denominator) == (40.0, DAY_S / 2 + 200)


def test_what_an_older_version_wrote_is_taken_over() -> None:
    counts = DayCounts({}, UTC)
    old = {"agents": {"lilei": {"talk_s": 60.0, "handled": 1}}, "states": {"lilei": [60.0, 30.0]}}
    counts.restore({"day": "2026-11-26", **old})
    day = counts.of_agent("lilei", NOON_S)
    assert (day.times.handled, day.occupancy.value) == (1, pytest.approx(60 / 90))


@pytest.mark.limit("reasons of an agent told apart live")
def test_reasons_beyond_the_limit_are_counted_together() -> None:
    shift = Shift()
    for number in range(REASONS_MAX + 2):
        shift.does("lilei", UNAVAILABLE, 10.0 * number, f"reason {number}")
    shift.does("lilei", AVAILABLE, 10.0 * (REASONS_MAX + 2))
    told = shift.of("lilei", 10.0 * (REASONS_MAX + 2)).states
    away = {reason: seconds for (state, reason), seconds in told.items() if state == "unavailable"}
    assert len(away) == REASONS_MAX + 1
    assert away.pop(OTHERS) == 20.0
    assert set(away.values()) == {10.0}
    assert all(before != after for before, after in pairwise(away))
