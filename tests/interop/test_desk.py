"""A desk's features with three real telephones: park and retrieve, pick-up, a conference by keys, by what is
heard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.peers.audio import LATE_S, TALK_S, assert_heard, assert_not_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.server import Server
from tests.interop.peers.stage import Stage

Phone = Callable[..., Baresip]

pytestmark = pytest.mark.xdist_group("desk")


@pytest.fixture(scope="module")
def the_office(shared: Stage) -> Server:
    return shared.serve()


def talk_and_end(office: Server, voices: dict, one: Baresip, two: Baresip) -> None:
    """Those two are connected now: let both late sentences pass, and hang up."""
    settle([one, two], LATE_S + TALK_S)
    two.hang_up()
    one.wait_event("CALL_CLOSED")
    assert_heard(voices["caller-late"].samples, two.heard(), "the caller at the one who took it")
    assert_heard(voices["callee-late"].samples, one.heard(), "the one who took it at the caller")
    office.wait_idle()


@pytest.mark.slow
def test_a_call_is_parked_by_one_and_taken_up_by_another(
    office: Server, baresip: Phone, voices: dict
) -> None:
    caller = baresip(office, "1001", plays="caller-late")
    desk = baresip(office, "1002", plays="other")
    third = baresip(office, "1003", plays="callee-late")
    caller.dial("1002")
    desk.wait_event("CALL_ESTABLISHED")
    desk.command("transfer", f"sip:*68@{office.address}")
    desk.wait_event("CALL_CLOSED")
    third.dial("*681")
    third.wait_event("CALL_ESTABLISHED")
    talk_and_end(office, voices, caller, third)


@pytest.mark.slow
def test_three_telephones_in_one_conference_hear_each_other(
    office: Server, baresip: Phone, voices: dict
) -> None:
    """The caller takes a third in by keys: each of the three hears the two others, and not himself."""
    phones = {
        "caller-late": baresip(office, "1001", plays="caller-late"),
        "callee-late": baresip(office, "1002", plays="callee-late"),
        "other-late": baresip(office, "1003", plays="other-late"),
    }
    first, second, third = phones.values()
    first.dial("1002")
    first.wait_event("CALL_ESTABLISHED")
    first.press("*3")
    first.press("1003#")
    third.wait_event("CALL_ESTABLISHED")
    settle(list(phones.values()), LATE_S + TALK_S)
    third.hang_up()
    third.wait_event("CALL_CLOSED")
    first.hang_up()
    second.wait_event("CALL_CLOSED")
    for listener, phone in phones.items():
        for speaker in phones:
            what, heard = f"{speaker} at {listener}", phone.heard()
            if speaker == listener:
                assert_not_heard(voices[speaker].samples, heard, what)
            else:  # two speak at once: each is some seven tenths of what is heard
                assert_heard(voices[speaker].samples, heard, what, least=0.5)
    office.wait_idle()


@pytest.mark.slow
def test_a_ringing_call_is_picked_up_by_another(
    office: Server, baresip: Phone, voices: dict
) -> None:
    caller = baresip(office, "1001", plays="caller-late")
    rung = baresip(office, "1002", plays="other", answer="manual")
    third = baresip(office, "1003", plays="callee-late")
    caller.dial("1002")
    rung.wait_event("CALL_INCOMING")
    third.dial("*81002")
    third.wait_event("CALL_ESTABLISHED")
    caller.wait_event("CALL_ESTABLISHED")
    rung.wait_event("CALL_CLOSED")
    talk_and_end(office, voices, caller, third)
