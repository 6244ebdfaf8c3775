"""The menu machine: every choice, and what holds whatever a caller does."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.apps.ivr_machine import (
    BETWEEN_S,
    Announce,
    Await,
    DigitPressed,
    Entered,
    ForgetDigits,
    Leave,
    Menu,
    MenuMachine,
    MenuState,
    Play,
    PlayEnded,
    TimedOut,
    is_open,
)
from softswitch.config import Destination, parse_office

NOON = datetime(2026, 1, 5, 12, 0)  # noqa: DTZ001  # local time of the office, as the machine takes it
MENU = Menu(
    name="main",
    greeting="main-menu",
    options={"1": Destination("queue", "support"), "0": Destination("ring_group", "1100")},
    extensions=frozenset({"1001", "1002", "100", "20"}),
    otherwise=Destination("queue", "support"),
)


def run(events, menu=MENU):
    machine = MenuMachine(menu)
    said = [machine.handle(Entered(NOON))]
    said += [machine.handle(event) for event in events]
    return machine, said


def digits(text):
    return [DigitPressed(digit) for digit in text]


@pytest.mark.parametrize(
    ("events", "to", "why"),
    [
        (digits("0"), "ring_group:1100", "option"),
        ([*digits("1"), TimedOut()], "queue:support", "option"),
        (digits("1#"), "queue:support", "option"),
        (digits("1001"), "extension:1001", "extension"),
        (digits("20"), "extension:20", "extension"),
        ([*digits("100"), TimedOut()], "extension:100", "extension"),
        (digits("100#"), "extension:100", "extension"),
        ([PlayEnded(), *digits("1002")], "extension:1002", "extension"),
        ([*digits("5"), *digits("6"), *digits("7")], "queue:support", "otherwise"),
        ([PlayEnded(), TimedOut()] * 3, "queue:support", "otherwise"),
        ([*digits("9"), PlayEnded(), TimedOut(), *digits("1999")], "queue:support", "otherwise"),
    ],
)
def test_choices(events, to, why):
    machine, said = run(events)
    leave = said[-1][-1]
    assert isinstance(leave, Leave)
    assert (str(leave.to), leave.why) == (to, why)
    assert machine.state is MenuState.LEFT


def test_a_wrong_number_is_one_wrong_choice_however_many_digits_it_has():
    _, said = run(digits("1234"))
    assert said[1:4] == [[Await(BETWEEN_S)]] * 3
    assert said[4] == [ForgetDigits(), Play(("invalid-choice", "main-menu"))]


def test_between_digits_no_longer_than_the_menu_waits():
    _, said = run(digits("1"), Menu("m", "g", extensions=frozenset({"10"}), timeout_s=1.5))
    assert said[-1] == [Await(1.5)]


def test_hang_up_at_the_end_is_said():
    menu = Menu("m", "g", options={"1": Destination("hangup")}, invalid_max=1)
    _, said = run([PlayEnded(), TimedOut()], menu)
    assert said[-1] == [
        ForgetDigits(),
        Announce("goodbye"),
        Leave(Destination("hangup"), "", "otherwise"),
    ]


HOURS = parse_office(
    '[[hours]]\nname = "h"\nopen = { mon = ["09:00-12:00", "22:00-24:00"] }\nholidays = ["2026-01-12"]'
).hours[0]


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1)))  # noqa: DTZ001
def test_open_means_within_a_period_of_that_day_and_no_holiday(local):
    minute = local.hour * 60 + local.minute
    expected = (
        local.weekday() == 0 and local.day != 12 and (540 <= minute < 720 or 1320 <= minute < 1440)
    )
    assert is_open(HOURS, local) == expected
    assert is_open(None, local)


# -- whatever the caller does -----------------------------------------------------------------------

numbers = st.text("0123456789", min_size=1, max_size=5)
menus = st.builds(
    Menu,
    name=st.just("m"),
    greeting=st.just("g"),
    options=st.dictionaries(
        st.sampled_from("0123456789*#"), numbers.map(lambda n: Destination("extension", n))
    ),
    extensions=st.frozensets(numbers, max_size=6),
    hours=st.sampled_from([None, HOURS]),
    invalid_max=st.integers(1, 4),
    timeout_s=st.floats(0.5, 30),
    otherwise=st.sampled_from([Destination("hangup"), Destination("queue", "q")]),
    closed=st.sampled_from([Destination("hangup"), Destination("voicemail", "1001")]),
)
acts = st.lists(st.sampled_from([*"0123456789*#ABCD", "wait"]), max_size=60)


@settings(max_examples=300)
@given(menus, acts, st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1)))  # noqa: DTZ001
def test_a_caller_always_gets_an_answer_and_out_of_the_menu(menu, acts, local):
    """Driven as the application drives it: a digit or the end of what was asked for, in turn."""
    machine = MenuMachine(menu)
    effects = machine.handle(Entered(local))
    wrong = 0
    for act in [*acts, *["wait"] * (3 * menu.invalid_max)]:
        *before, last = effects
        assert all(isinstance(effect, Announce | ForgetDigits) for effect in before)
        wrong += any(isinstance(effect, ForgetDigits) for effect in before)
        assert wrong <= menu.invalid_max
        assert len(machine.pressed) <= max((len(n) for n in menu.extensions), default=1)
        if isinstance(last, Leave):
            break
        assert isinstance(last, Play | Await)
        if act != "wait":
            effects = machine.handle(DigitPressed(act))
        else:
            effects = machine.handle(PlayEnded() if isinstance(last, Play) else TimedOut())
    assert isinstance(effects[-1], Leave)
    assert machine.handle(DigitPressed("1")) == machine.handle(Entered(local)) == []
    leave = effects[-1]
    targets = {
        "option": menu.options.get(leave.pressed),
        "extension": Destination("extension", leave.pressed),
        "otherwise": menu.otherwise,
        "closed": menu.closed,
    }
    assert leave.to == targets[leave.why]
    assert (leave.why == "closed") == (not is_open(menu.hours, local))
    assert leave.why != "extension" or leave.pressed in menu.extensions
