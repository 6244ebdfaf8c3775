"""When a trunk's target is down and when it is up again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.call.trunk_health import (
    RETRY_AFTER_S_MAX,
    CallFailed,
    CallSent,
    CallTaken,
    CameUp,
    Condition,
    Due,
    HealthTimer,
    ProbeAnswered,
    ProbeFailed,
    SendProbe,
    SetHealthTimer,
    TargetHealth,
    Watch,
    WentDown,
)

PROBE, TRIAL = HealthTimer(Due.PROBE), HealthTimer(Due.TRIAL)


def opened(every_s: float = 30.0) -> TargetHealth:
    """Three calls have failed at 0 s; OPTIONS were answered just before, and are just after."""
    health = TargetHealth(every_s)
    if every_s:
        health.handle(Watch(), 0)
        health.handle(ProbeAnswered(200), 0)
    for _ in range(3):
        health.handle(CallSent(), 0)
        health.handle(CallFailed(503), 0)
    if every_s:
        health.handle(ProbeAnswered(200), 0)
    return health


def test_down_after_three_missed_options_and_up_with_the_first_answer() -> None:
    health = TargetHealth(30.0)
    assert health.handle(Watch(), 0) == [SendProbe()]
    assert health.handle(ProbeAnswered(200), 0) == [SetHealthTimer(30.0)]
    assert health.condition is Condition.UP
    for _ in range(2):
        assert health.handle(PROBE, 30) == [SendProbe()]
        assert health.handle(ProbeFailed("no answer"), 36) == [SetHealthTimer(5.0)]
        assert not health.down
    health.handle(PROBE, 42)
    assert WentDown("no answer") in health.handle(ProbeFailed("no answer"), 48)
    assert (health.condition, health.why, health.since_s) == (Condition.DOWN, "no answer", 48)
    health.handle(PROBE, 53)
    assert health.handle(ProbeAnswered(404), 54) == [CameUp(), SetHealthTimer(30.0)]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_the_circuit_opens_after_three_calls_and_is_probed_at_once(status: int) -> None:
    health = TargetHealth(30.0)
    assert health.handle(CallFailed(status), 1) == []
    assert health.handle(CallFailed(status), 2) == []
    effects = health.handle(CallFailed(status), 3)
    assert effects == [
        WentDown(f"calls answered {status}"),
        SetHealthTimer(10.0, Due.TRIAL),
        SendProbe(),
    ]
    assert health.handle(CallFailed(status), 4) == []


@pytest.mark.parametrize(("asked_s", "waited_s"), [(45, 45), (86_400, RETRY_AFTER_S_MAX)])
def test_who_says_for_how_long_he_wants_no_calls_is_believed_at_once(asked_s, waited_s) -> None:
    """RFC 3261 21.5.4: no other request for as long as Retry-After says."""
    health = TargetHealth(0.0)
    health.handle(CallSent(), 0)
    effects = health.handle(CallFailed(503, "busy", asked_s), 0)
    assert effects == [WentDown("busy"), SetHealthTimer(waited_s, Due.TRIAL)]
    assert health.down
    health.handle(TRIAL, waited_s)
    assert health.condition is Condition.HALF_OPEN
    health.handle(CallSent(), waited_s)
    again = health.handle(CallFailed(503, "busy", asked_s), waited_s)
    assert again == [SetHealthTimer(waited_s, Due.TRIAL)]
    health.handle(TRIAL, 2 * waited_s)
    health.handle(CallSent(), 2 * waited_s)
    assert health.handle(CallFailed(503), 2 * waited_s) == [SetHealthTimer(40.0, Due.TRIAL)]


def test_retry_after_of_who_refuses_a_number_keeps_no_other_call_away() -> None:
    health = TargetHealth(0.0)
    health.handle(CallFailed(486, "", 60), 0)
    assert not health.down


@pytest.mark.parametrize("status", [403, 404, 480, 486, 487, 501, 603])
def test_refusals_of_numbers_are_signs_of_life(status: int) -> None:
    health = TargetHealth(30.0)
    for now_s in range(10):
        health.handle(CallFailed(503), now_s)
        health.handle(CallFailed(503), now_s)
        health.handle(CallFailed(status), now_s)
    assert health.condition is Condition.UP


def test_a_call_that_is_taken_ends_the_bad_days() -> None:
    health = TargetHealth(30.0)
    for now_s in range(3):
        health.handle(CallFailed(408, "silent"), now_s)
    assert health.why == "silent"
    assert health.handle(CallTaken(), 5) == [CameUp()]


def test_answers_to_options_do_not_make_up_for_refused_calls() -> None:
    """Neither before the third, nor after it."""
    health = TargetHealth(30.0)
    health.handle(Watch(), 0)
    for now_s in range(3):
        assert not health.down
        health.handle(CallFailed(503), now_s)
        health.handle(ProbeAnswered(200), now_s)
        health.handle(PROBE, now_s)
    assert health.down
    for now_s in range(30, 600, 30):
        assert health.handle(ProbeAnswered(200), now_s) == [SetHealthTimer(30.0)]
        assert health.handle(PROBE, now_s) == [SendProbe()]
    assert health.condition is Condition.DOWN


@pytest.mark.parametrize("every_s", [30.0, 0.0])
def test_one_call_at_a_time_tries_after_ever_longer_waits(every_s: float) -> None:
    health, now_s, waits = opened(every_s), 10.0, []
    for _ in range(6):
        assert health.handle(TRIAL, now_s) == []
        assert (health.condition, health.down) == (Condition.HALF_OPEN, False)
        assert health.why == "calls answered 503"
        assert health.handle(CallSent(), now_s) == [SetHealthTimer(35.0, Due.TRIAL)]
        assert health.down, "others pass it over until it is known"
        assert health.handle(CallSent(), now_s) == []
        (again,) = health.handle(CallFailed(503), now_s + 1)
        assert health.condition is Condition.DOWN
        waits.append(again.after_s)
        now_s += 1 + again.after_s
    assert waits == [20, 40, 80, 120, 120, 120]
    health.handle(TRIAL, now_s)
    health.handle(CallSent(), now_s)
    assert health.handle(CallTaken(), now_s) == [CameUp()]
    assert (health.condition, health.down, health.why) == (Condition.UP, False, "")
    for _ in range(3):
        effects = health.handle(CallFailed(503), now_s)
    assert SetHealthTimer(10.0, Due.TRIAL) in effects, "the waits begin anew"


def test_a_trial_that_tells_nothing_is_followed_by_another() -> None:
    """The caller left before anything was heard."""
    health = opened()
    health.handle(TRIAL, 10)
    health.handle(CallSent(), 10)
    assert health.handle(TRIAL, 45) == []
    assert not health.down
    assert health.handle(CallSent(), 46) == [SetHealthTimer(35.0, Due.TRIAL)]


def test_no_call_tries_what_does_not_answer_options_and_one_does_when_it_does_again() -> None:
    health = opened()
    for now_s in (1, 2, 3):
        health.handle(PROBE, now_s)
        health.handle(ProbeFailed("no answer"), now_s)
    assert health.why == "no answer"
    health.handle(TRIAL, 10)
    assert health.condition is Condition.DOWN
    health.handle(PROBE, 300)
    assert health.handle(ProbeAnswered(200), 300) == [SetHealthTimer(30.0)]
    assert health.condition is Condition.HALF_OPEN
    for now_s in (331, 336, 341):
        health.handle(PROBE, now_s)
        effects = health.handle(ProbeFailed("no answer"), now_s)
    assert effects == [SetHealthTimer(5.0)], "it had not been said to be up"
    assert health.down


def test_a_trial_that_is_due_waits_for_an_answer_to_options() -> None:
    health = opened()
    health.handle(PROBE, 5)
    health.handle(ProbeFailed("no answer"), 9)
    health.handle(TRIAL, 10)
    assert health.condition is Condition.DOWN
    health.handle(PROBE, 14)
    health.handle(ProbeAnswered(200), 14)
    assert health.condition is Condition.HALF_OPEN


def test_calls_that_failed_in_an_outage_are_not_held_against_it() -> None:
    health = TargetHealth(30.0)
    health.handle(Watch(), 0)
    health.handle(CallFailed(408), 0)
    health.handle(CallFailed(408), 0)
    for now_s in (6, 17, 28):
        health.handle(ProbeFailed("no answer"), now_s)
        health.handle(PROBE, now_s + 5)
    assert health.handle(CallFailed(408), 34) == [], "tried for want of others"
    assert health.handle(ProbeAnswered(200), 40) == [CameUp(), SetHealthTimer(30.0)]
    health.handle(CallFailed(503), 41)
    health.handle(CallFailed(503), 42)
    assert not health.down


EVENTS = st.sampled_from(
    [
        Watch(),
        ProbeAnswered(200),
        ProbeAnswered(503),
        ProbeFailed("x"),
        CallSent(),
        CallTaken(),
        CallFailed(503),
        CallFailed(503, "", 30.0),
        CallFailed(404),
        PROBE,
        TRIAL,
    ]
)


@given(st.lists(EVENTS, max_size=40), st.sampled_from([0.0, 1.0, 30.0]))
def test_it_never_stays_down_unwatched(events: list, every_s: float) -> None:
    """Whatever comes: while a call goes elsewhere there is a timer or a probe on its way; who went down
    comes up once, by a call where calls had brought it down."""
    health = TargetHealth(every_s)
    timers: set[Due] = set()
    probe = announced = by_calls = False
    for now_s, event in enumerate(events):
        if isinstance(event, ProbeAnswered | ProbeFailed):
            if not probe:
                continue
            probe = False
        if isinstance(event, HealthTimer):
            if event.due not in timers:
                continue
            timers.discard(event.due)
        if isinstance(event, Watch) and not every_s:
            continue
        effects = health.handle(event, now_s)
        timers |= {e.due for e in effects if isinstance(e, SetHealthTimer)}
        assert not (probe and SendProbe() in effects), "one probe at a time"
        probe = probe or SendProbe() in effects
        if any(isinstance(e, WentDown) for e in effects):
            assert not announced
            announced, by_calls = True, isinstance(event, CallFailed)
        if CameUp() in effects:
            assert announced
            assert not by_calls or isinstance(event, CallTaken | CallFailed)
            announced = False
        assert announced == (health.condition in (Condition.DOWN, Condition.HALF_OPEN))
        assert timers or probe or not health.down


@given(
    st.lists(
        st.sampled_from(
            [
                Watch(),
                PROBE,
                TRIAL,
                ProbeAnswered(200),
                ProbeAnswered(503),
                ProbeFailed("silent"),
                CallSent(),
                CallTaken(),
                CallFailed(503),
                CallFailed(486),
            ]
        ),
        max_size=30,
    ),
    st.sampled_from([0.0, 30.0]),
)
def test_what_a_call_need_not_tell_would_have_changed_nothing(
    events: list[object], every_s: float
) -> None:
    health = TargetHealth(every_s)

    def state() -> list[object]:
        return [getattr(health, name) for name in TargetHealth.__slots__]

    for now_s, event in enumerate(events):
        for told in (CallSent(), CallTaken()):
            if health.is_told(told):
                before = state()
                assert health.handle(told, now_s) == []
                assert state() == before
        health.handle(event, now_s)  # type: ignore[arg-type]


def test_of_a_target_that_is_well_calls_tell_nothing_and_of_a_sick_one_they_do() -> None:
    health = TargetHealth(30.0)
    health.handle(Watch(), 0)
    assert not health.is_told(CallTaken()), "it is not known to be up yet"
    health.handle(ProbeAnswered(200), 0)
    assert health.is_told(CallSent())
    assert health.is_told(CallTaken())
    health.handle(CallFailed(503), 0)
    assert not health.is_told(CallTaken())
    assert not opened().is_told(CallTaken())
