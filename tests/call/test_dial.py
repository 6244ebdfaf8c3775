"""The dialling machine: forking, hunting, and what the caller is told."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.call.dial import Dial, DialState, best_status, outcome_of_status
from softswitch.call.endpoint import PhoneEndpoint, Step, TrunkEndpoint
from softswitch.call.events import (
    CallerEnded,
    ConnectCaller,
    EndLeg,
    Finish,
    LegAnswered,
    LegEnded,
    LegFailed,
    LegRang,
    RingCaller,
    StartLeg,
    StartTimer,
    TimerExpired,
)

FLOW = ("udp", ("127.0.0.1", 5060), ("127.0.0.1", 6000), 0)


def phone(extension: str) -> PhoneEndpoint:
    return PhoneEndpoint(extension, f"sip:{extension}@127.0.0.1:6000", FLOW)


def dial_of(*steps: Step) -> Dial:
    return Dial(steps, itertools.count(1).__next__)


def of_kind(effects, kind):
    return [effect for effect in effects if isinstance(effect, kind)]


def outcome(effects):
    (finish,) = of_kind(effects, Finish)
    return finish.outcome


def test_one_phone_rings_answers_and_hangs_up():
    dial = dial_of(Step((phone("1002"),), 20.0))
    effects = dial.start()
    assert of_kind(effects, StartLeg) == [StartLeg(1, phone("1002"))]
    assert of_kind(effects, StartTimer) == [StartTimer("ring", 1, 20.0)]
    assert dial.handle(LegRang(1)) == [RingCaller(1, early_media=False)]
    assert dial.handle(LegRang(1)) == []
    assert dial.handle(LegAnswered(1)) == [ConnectCaller(1)]
    assert dial.state is DialState.TALKING
    ended = outcome(dial.handle(LegEnded(1, "remote", 16)))
    assert ended.answered
    assert ended.by == "callee"


def test_first_answer_wins_and_the_others_are_told_it_went_elsewhere():
    dial = dial_of(Step((phone("1001"), phone("1002"), phone("1003")), 20.0))
    dial.start()
    effects = dial.handle(LegAnswered(2))
    assert effects[0] == ConnectCaller(2)
    assert {e.leg for e in of_kind(effects, EndLeg) if e.elsewhere} == {1, 3}
    assert dial.handle(LegAnswered(3)) == [EndLeg(3, elsewhere=True)]


def test_steps_follow_each_other_when_nobody_answers_in_time():
    dial = dial_of(Step((phone("1001"),), 10.0), Step((phone("1002"),), 10.0))
    dial.start()
    effects = dial.handle(TimerExpired("ring", 1))
    assert EndLeg(1, q850=19) in effects
    assert of_kind(effects, StartLeg)[0].endpoint.extension == "1002"
    assert dial.handle(TimerExpired("ring", 1)) == [], "a timer of an earlier step is stale"
    assert outcome(dial.handle(TimerExpired("ring", 2))).result == "no-answer"


@pytest.mark.parametrize(("status", "tries_next"), [(503, True), (408, True), (500, True)])
def test_next_trunk_is_tried(status, tries_next):
    dial = dial_of(
        Step((TrunkEndpoint("carrier", "123"),), 60.0, 2.0),
        Step((TrunkEndpoint("backup", "123"),), 60.0, 2.0),
    )
    assert of_kind(dial.start(), StartLeg)[0].silence_s == 2.0
    started = of_kind(dial.handle(LegFailed(1, status)), StartLeg)
    assert [s.endpoint.trunk for s in started] == ["backup"]


@pytest.mark.parametrize(
    ("status", "result"), [(486, "busy"), (404, "unreachable"), (603, "rejected")]
)
def test_a_verdict_on_the_number_is_final(status, result):
    dial = dial_of(
        Step((TrunkEndpoint("carrier", "123"),), 60.0),
        Step((TrunkEndpoint("backup", "123"),), 60.0),
    )
    dial.start()
    effects = dial.handle(LegFailed(1, status))
    assert of_kind(effects, StartLeg) == []
    assert outcome(effects).result == result
    assert outcome(effects).status == status


def test_caller_who_leaves_ends_every_leg():
    dial = dial_of(Step((phone("1001"), phone("1002")), 20.0))
    dial.start()
    effects = dial.handle(CallerEnded("caller"))
    assert {e.leg for e in of_kind(effects, EndLeg)} == {1, 2}
    assert outcome(effects).result == "cancelled"
    assert dial.handle(LegAnswered(1)) == []


def test_early_media_reaches_the_caller_only_from_a_single_leg():
    alone = dial_of(Step((phone("1001"),), 20.0))
    alone.start()
    assert alone.handle(LegRang(1, early_media=True)) == [RingCaller(1, early_media=True)]
    both = dial_of(Step((phone("1001"), phone("1002")), 20.0))
    both.start()
    assert both.handle(LegRang(1, early_media=True)) == [RingCaller(1, early_media=False)]


def test_nobody_to_ring_is_480():
    ended = outcome(dial_of().start())
    assert (ended.result, ended.status) == ("no-answer", 480)


def test_decline_by_one_device_speaks_for_the_user():
    dial = dial_of(Step((phone("1001"), phone("1001")), 20.0))
    dial.start()
    effects = dial.handle(LegFailed(1, 603))
    assert EndLeg(2) in effects
    assert outcome(effects).result == "rejected"


def test_decline_by_one_of_a_group_leaves_the_others_ringing():
    """The rest of his own telephones stop, and are not rung again."""
    group = Step((phone("1001"), phone("1001"), phone("1002")), 20.0)
    dial = dial_of(group, Step((phone("1001"), phone("1003")), 20.0))
    dial.start()
    assert dial.handle(LegFailed(1, 603)) == [EndLeg(2)]
    assert dial.handle(LegRang(3)) == [RingCaller(3, early_media=False)]
    effects = dial.handle(TimerExpired("ring", 1))
    assert of_kind(effects, StartLeg) == [StartLeg(4, phone("1003"))]
    assert outcome(dial.handle(LegFailed(4, 486))).result == "busy"


def test_a_group_of_which_everybody_declines_has_declined():
    dial = dial_of(Step((phone("1001"), phone("1002")), 20.0))
    dial.start()
    assert dial.handle(LegFailed(1, 603)) == []
    assert outcome(dial.handle(LegFailed(2, 603))).result == "rejected"


def test_decline_of_a_telephone_ends_the_ringing_in_order_of_its_extension():
    dial = dial_of(Step((phone("1001"),), 20.0), Step((phone("1001"),), 20.0))
    dial.start()
    assert outcome(dial.handle(LegFailed(1, 603))).result == "rejected"


@pytest.mark.parametrize(("ours", "told"), [(False, 480), (True, 503)])
def test_a_telephone_that_is_gone_is_not_told_as_an_exchange_that_is(ours, told):
    """503 keeps callers from us (RFC 3261 21.5.4): it is said where we are short of something."""
    dial = dial_of(Step((phone("1001"),), 20.0))
    dial.start()
    assert outcome(dial.handle(LegFailed(1, 503, ours=ours))).status == told
    dial = dial_of(Step((TrunkEndpoint("carrier", "9"),), 20.0))
    dial.start()
    assert outcome(dial.handle(LegFailed(1, 503))).status == 503


def test_best_status_never_passes_a_challenge_on():
    assert best_status([401, 503]) == 500
    assert best_status([480, 486]) == 486
    assert best_status([603, 486]) == 603
    assert outcome_of_status(486).q850 == 17


EVENTS = st.one_of(
    st.builds(LegRang, st.integers(1, 4), st.booleans()),
    st.builds(LegAnswered, st.integers(1, 4)),
    st.builds(LegFailed, st.integers(1, 4), st.sampled_from([408, 404, 480, 486, 503, 600, 603])),
    st.builds(LegEnded, st.integers(1, 4), st.just("remote")),
    st.builds(CallerEnded, st.just("caller")),
    st.builds(TimerExpired, st.just("ring"), st.integers(1, 3)),
)


@given(st.lists(EVENTS, max_size=30))
def test_any_order_of_events_ends_once_and_leaves_no_leg(events):
    dial = dial_of(
        Step((phone("1001"), phone("1002")), 10.0), Step((TrunkEndpoint("carrier", "9"),), 10.0)
    )
    up: set[int] = set()
    finished = 0
    stream = [*events, CallerEnded("caller")]
    effects = dial.start()
    while True:
        for effect in effects:
            if isinstance(effect, StartLeg):
                up.add(effect.leg)
            elif isinstance(effect, EndLeg):
                up.discard(effect.leg)
            elif isinstance(effect, Finish):
                finished += 1
                assert not up, "a leg outlived its dial attempt"
        if not stream:
            break
        event = stream.pop(0)
        leg = getattr(event, "leg", None)
        if leg is not None and leg not in up:
            effects = []
            continue
        if isinstance(event, LegFailed | LegEnded):
            up.discard(leg)
        effects = dial.handle(event)
    assert finished == 1
