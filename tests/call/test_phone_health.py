"""When telephones are asked by OPTIONS, and what their silence means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from softswitch.call.phone_health import (
    ASK_SOON_S,
    AskTimer,
    Forget,
    Heard,
    OptionsAnswered,
    OptionsLost,
    PhoneHealth,
    ReachabilityChanged,
    SendOptions,
    SetAskTimer,
    Watch,
)

EVERY_S = 30.0


def machine(uniform=lambda: 0.5):
    return PhoneHealth(EVERY_S, uniform)


def test_it_is_first_asked_at_some_time_within_the_interval():
    health = machine()
    assert health.handle(Watch("a"), 100.0) == [SetAskTimer(15.0)]
    assert health.handle(AskTimer(), 115.0) == [SendOptions("a")]
    assert health.handle(OptionsAnswered("a"), 115.25) == [SetAskTimer(EVERY_S)]
    reachable, took_s = health.shown("a")
    assert reachable is True
    assert round(took_s, 3) == 0.25
    assert health.handle(AskTimer(), 145.25) == [SendOptions("a")]


def test_two_misses_make_it_unreachable_and_one_answer_reachable_again():
    health = machine()
    health.handle(Watch("a"), 0.0)
    health.handle(AskTimer(), 15.0)
    assert health.handle(OptionsLost("a"), 19.0) == [SetAskTimer(ASK_SOON_S)]
    assert health.is_reachable("a")
    health.handle(AskTimer(), 20.0)
    assert health.handle(OptionsLost("a"), 24.0) == [
        ReachabilityChanged("a", False),
        SetAskTimer(EVERY_S),
    ]
    assert not health.is_reachable("a")
    assert health.shown("a") == (False, None)
    health.handle(AskTimer(), 54.0)
    assert health.handle(OptionsAnswered("a"), 54.5)[0] == ReachabilityChanged("a", True)


def test_a_refreshed_registration_shows_that_it_is_there():
    health = machine()
    health.handle(Watch("a"), 0.0)
    for at_s in (15.0, 20.0):
        health.handle(AskTimer(), at_s)
        health.handle(OptionsLost("a"), at_s + 4)
    assert health.handle(Heard("a"), 30.0) == [ReachabilityChanged("a", True)]
    assert health.handle(Heard("unknown"), 30.0) == []


def test_what_comes_late_or_from_nobody_changes_nothing():
    health = machine()
    health.handle(Watch("a"), 0.0)
    assert health.handle(OptionsAnswered("a"), 1.0) == []  # nothing was asked
    health.handle(AskTimer(), 15.0)
    health.handle(Forget("a"), 16.0)
    assert health.handle(OptionsLost("a"), 19.0) == []
    assert health.shown("a") == (None, None)
    assert health.snapshot() == {"asked": 0, "unreachable": 0}


def test_those_who_register_in_one_moment_are_asked_one_after_the_other():
    draws = iter(range(100))
    health = machine(lambda: next(draws) / 100)
    for number in range(100):
        health.handle(Watch(number), 0.0)
    asked = [len(health.handle(AskTimer(), at_s)) for at_s in (0.0, 6.0, 12.0, 18.0, 24.0, 30.0)]
    assert max(asked) <= 22


EVENTS = st.lists(
    st.tuples(
        st.sampled_from((Watch, Forget, Heard, OptionsAnswered, OptionsLost, None)),
        st.integers(0, 3),
        st.floats(0.0, 20.0),
    ),
    max_size=60,
)


@given(EVENTS)
def test_whoever_is_watched_is_asked_again_and_nobody_else_ever(events):
    """Whatever happens: a telephone has one question under way at most, and as long as there is one to ask
    a timer is set or an answer awaited."""
    health, now_s = PhoneHealth(EVERY_S, lambda: 0.25), 0.0
    watched, under_way, timer_s = set(), set(), None
    for kind, key, after_s in events:
        now_s += after_s
        event = AskTimer() if kind is None else kind(key)
        if kind is None:
            timer_s = None
        if kind is Watch:
            watched.add(key)
        if kind is Forget:
            watched.discard(key)
            under_way.discard(key)
        if kind in (OptionsAnswered, OptionsLost):
            under_way.discard(key)
        for effect in health.handle(event, now_s):
            match effect:
                case SendOptions():
                    assert effect.key in watched
                    assert effect.key not in under_way
                    under_way.add(effect.key)
                case SetAskTimer():
                    assert effect.after_s >= 0
                    timer_s = now_s + effect.after_s
                case ReachabilityChanged():
                    assert health.is_reachable(effect.key) == effect.reachable
        assert health.snapshot()["asked"] == len(watched)
        assert not watched - under_way or timer_s is not None
