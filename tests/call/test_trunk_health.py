"""When a trunk's target is down and when it is up again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.call.trunk_health import (
    CallFailed,
    CallTaken,
    CameUp,
    Condition,
    HealthTimer,
    ProbeAnswered,
    ProbeFailed,
    SendProbe,
    SetHealthTimer,
    TargetHealth,
    Watch,
    WentDown,
)


def test_down_after_three_missed_options_and_up_with_the_first_answer() -> None:
    health = TargetHealth(30.0)
    assert health.handle(Watch(), 0) == [SendProbe()]
    assert health.handle(ProbeAnswered(200), 0) == [SetHealthTimer(30.0)]
    assert health.condition is Condition.UP
    for _ in range(2):
        assert health.handle(HealthTimer(), 30) == [SendProbe()]
        assert health.handle(ProbeFailed("no answer"), 36) == [SetHealthTimer(5.0)]
        assert not health.down
    health.handle(HealthTimer(), 42)
    assert WentDown("no answer") in health.handle(ProbeFailed("no answer"), 48)
    assert (health.condition, health.why, health.since_s) == (Condition.DOWN, "no answer", 48)
    health.handle(HealthTimer(), 53)
    assert health.handle(ProbeAnswered(404), 54) == [CameUp(), SetHealthTimer(30.0)]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_the_circuit_opens_after_three_calls_and_is_probed_at_once(status: int) -> None:
    health = TargetHealth(30.0)
    assert health.handle(CallFailed(status), 1) == []
    assert health.handle(CallFailed(status), 2) == []
    effects = health.handle(CallFailed(status), 3)
    assert isinstance(effects[0], WentDown)
    assert effects[1] == SendProbe()
    assert health.handle(CallFailed(status), 4) == []


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


def test_without_options_a_call_is_the_probe() -> None:
    health = TargetHealth(0.0)
    assert health.handle(Watch(), 0) == []
    for now_s in range(3):
        effects = health.handle(CallFailed(503), now_s)
    assert effects[1] == SetHealthTimer(30.0)
    assert health.handle(HealthTimer(), 33) == [CameUp()]
    assert not health.down
    assert isinstance(health.handle(CallFailed(503), 34)[0], WentDown), "one is enough now"
    health.handle(HealthTimer(), 64)
    assert health.handle(CallTaken(), 65) == []
    assert health.condition is Condition.UP


EVENTS = st.sampled_from(
    [
        Watch(),
        ProbeAnswered(200),
        ProbeAnswered(503),
        ProbeFailed("x"),
        CallTaken(),
        CallFailed(503),
        CallFailed(404),
        HealthTimer(),
    ]
)


@given(st.lists(EVENTS, max_size=40), st.sampled_from([0.0, 1.0, 30.0]))
def test_it_never_stays_down_unwatched(events: list, every_s: float) -> None:
    """Whatever comes: while it is down there is a timer or a probe on its way."""
    health = TargetHealth(every_s)
    timer = probe = False
    for now_s, event in enumerate(events):
        timer = timer and not isinstance(event, HealthTimer)
        if isinstance(event, ProbeAnswered | ProbeFailed):
            if not probe:
                continue
            probe = False
        if isinstance(event, HealthTimer) and not every_s and not health.down:
            continue
        was = health.down
        effects = health.handle(event, now_s)
        timer = timer or any(isinstance(e, SetHealthTimer) for e in effects)
        assert not (probe and SendProbe() in effects), "one probe at a time"
        probe = probe or SendProbe() in effects
        assert any(isinstance(e, WentDown) for e in effects) == (health.down and not was)
        assert (CameUp() in effects) == (was and not health.down)
        assert timer or probe or not health.down
