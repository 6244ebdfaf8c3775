"""Our registration at a carrier: refreshed, obedient, patient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.sip.outgoing_registration import (
    Begin,
    Leave,
    OutgoingRegistration,
    RegisterAnswered,
    RegisterDue,
    RegisterLost,
    RegistrationChanged,
    RegistrationState,
    SendRegister,
    SetRegisterTimer,
)


def machine(chance: float = 1.0) -> OutgoingRegistration:
    return OutgoingRegistration(lambda: chance)


def wait_s(effects: list) -> float:
    (timer,) = [effect for effect in effects if isinstance(effect, SetRegisterTimer)]
    return timer.after_s


@pytest.mark.parametrize(
    ("granted_s", "refreshed_s"), [(3600, 3480), (600, 480), (60, 48), (1, 24), (None, 3480)]
)
def test_it_is_refreshed_in_good_time(granted_s: int | None, refreshed_s: float) -> None:
    registration = machine()
    assert registration.handle(Begin(), 0) == [SendRegister(3600)]
    effects = registration.handle(RegisterAnswered(200, granted_s), 0)
    assert effects == [RegistrationChanged(True, ""), SetRegisterTimer(refreshed_s)]
    assert registration.registered(refreshed_s)
    assert registration.handle(RegisterDue(), refreshed_s) == [SendRegister(3600)]
    again = registration.handle(RegisterAnswered(200, granted_s), refreshed_s)
    assert again == [SetRegisterTimer(refreshed_s)]


def test_423_is_obeyed_within_reason() -> None:
    registration = machine()
    registration.handle(Begin(), 0)
    assert registration.handle(RegisterAnswered(423, None, 7200), 0) == [SendRegister(7200)]
    assert wait_s(registration.handle(RegisterAnswered(423, None, 7200), 0)) == 30
    assert wait_s(registration.handle(RegisterAnswered(423, None, 10**9), 0)) == 60


@pytest.mark.parametrize("status", [401, 403, 404, 407])
def test_a_wrong_password_is_not_hammered(status: int) -> None:
    registration = machine()
    registration.handle(Begin(), 0)
    effects = registration.handle(RegisterAnswered(status), 0)
    assert wait_s(effects) == 600
    assert registration.state is RegistrationState.REFUSED
    assert RegistrationChanged(False, f"answered {status}") in effects
    registration.handle(RegisterDue(), 600)
    assert registration.handle(RegisterAnswered(status), 600) == [SetRegisterTimer(600)]


def test_failures_back_off_with_chance_and_start_anew_after_success() -> None:
    registration, waits = machine(), []
    for _ in range(9):
        registration.handle(RegisterDue(), 0)
        waits.append(wait_s(registration.handle(RegisterLost("silence"), 0)))
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    registration.handle(RegisterDue(), 0)
    registration.handle(RegisterAnswered(200, 3600), 0)
    registration.handle(RegisterDue(), 0)
    assert wait_s(registration.handle(RegisterLost("silence"), 0)) == 30
    lucky = machine(0.0)
    lucky.handle(Begin(), 0)
    assert wait_s(lucky.handle(RegisterLost("silence"), 0)) == 15


@pytest.mark.parametrize(("asked_s", "waited_s"), [(5, 30), (120, 120), (10**9, 3600)])
def test_retry_after_is_obeyed_within_an_hour(asked_s: int, waited_s: float) -> None:
    registration = machine()
    registration.handle(Begin(), 0)
    effects = registration.handle(RegisterAnswered(503, None, None, asked_s), 0)
    assert wait_s(effects) == waited_s


def test_leaving_takes_the_binding_away_once() -> None:
    registration = machine()
    assert registration.handle(Leave(), 0) == []
    registration = machine()
    registration.handle(Begin(), 0)
    registration.handle(RegisterAnswered(200, 3600), 0)
    assert registration.handle(Leave(), 10) == [SendRegister(0)]
    assert registration.handle(RegisterAnswered(200, 0), 10) == []
    assert registration.handle(RegisterDue(), 10) == []


INPUTS = st.one_of(
    st.sampled_from([Begin(), RegisterDue(), RegisterLost("x")]),
    st.builds(
        RegisterAnswered,
        st.sampled_from([200, 401, 403, 408, 423, 500, 503]),
        st.none() | st.integers(-5, 10**6),
        st.none() | st.integers(0, 10**6),
        st.none() | st.integers(0, 10**6),
    ),
)


@given(st.lists(INPUTS, max_size=30))
def test_it_always_asks_or_waits_and_never_asks_twice_at_once(inputs: list) -> None:
    registration, asking, waiting = machine(), False, False
    registration.handle(Begin(), 0)
    asking = True
    for event in inputs:
        if isinstance(event, RegisterAnswered | RegisterLost) and not asking:
            continue
        if isinstance(event, RegisterAnswered | RegisterLost):
            asking = False
        if isinstance(event, RegisterDue):
            waiting = False
        effects = registration.handle(event, 0)
        sent = sum(isinstance(effect, SendRegister) for effect in effects)
        assert sent <= (not asking)
        asking = asking or bool(sent)
        waiting = waiting or any(isinstance(effect, SetRegisterTimer) for effect in effects)
        assert asking or waiting
        assert all(15 <= e.after_s <= 86_400 for e in effects if isinstance(e, SetRegisterTimer))
