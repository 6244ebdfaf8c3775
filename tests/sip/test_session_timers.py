"""Session timers (RFC 4028): agreed, refreshed, refused when short, fatal when missed."""

from __future__ import annotations

import pytest

from softswitch.sip import session_timer
from softswitch.sip.events import Ended, Failed, InviteReceived
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.stack_config import StackConfig

SHORT = StackConfig(session_expires_s=100, min_se_s=90)


def connect(world, alice, bob, sdp):
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("answer", theirs, sdp[1])
    return mine, theirs


def two(world, first=SHORT, second=SHORT):
    return world.station("alice", "10.0.0.1", first), world.station("bob", "10.0.0.2", second)


def test_caller_refreshes_by_update_and_the_call_lives_on(world, sdp):
    alice, bob = two(world)
    mine, _ = connect(world, alice, bob, sdp)
    world.run(990.0)
    assert world.wire.count("alice> UPDATE") == 19  # every 50 s
    assert world.wire.count("bob> 200 UPDATE") == 19
    assert "bob> UPDATE" not in world.wire
    assert "Ended" not in alice.names() + bob.names()
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


def test_refresh_by_reinvite_where_the_peer_has_no_update(world, sdp):
    allow = ("INVITE", "ACK", "CANCEL", "BYE", "INFO")
    alice, bob = two(world, second=StackConfig(session_expires_s=100, allow=allow))
    connect(world, alice, bob, sdp)

    def accept(event):
        if type(event).__name__ == "ReofferReceived":
            assert event.sdp == sdp[0]
            bob.stack.answer_reoffer(event.session, sdp[1], world.now_s)

    bob.on_event = accept
    world.run(120.0)
    assert world.wire.count("alice> INVITE") == 3
    assert alice.names() == ["Answered"]  # call control did not ask and hears nothing


def test_both_ends_hang_up_when_the_peer_has_vanished(world, sdp):
    alice, bob = two(world)
    mine, theirs = connect(world, alice, bob, sdp)
    world.cut = lambda data, flow: True
    world.run()
    assert (alice.last(Ended).by, bob.last(Ended).by) == ("timer", "timer")
    assert alice.last(Ended).session == mine
    assert bob.last(Ended).session == theirs
    # The refresher notices when its UPDATE is lost (50 + 32 s), the other at 100 - 32 s.
    assert "alice> BYE" in world.wire
    assert "bob> BYE" in world.wire
    assert world.now_s == pytest.approx(82 + 32)
    world.assert_empty()


def test_a_refresh_without_an_answer_is_not_asked_beside_another(world, sdp):
    """A quarter of the interval is less than 64*T1 here: the second UPDATE would come before the first has
    failed, and say nothing that the first does not."""
    short = StackConfig(session_expires_s=90)
    alice, bob = two(world, short, short)
    connect(world, alice, bob, sdp)
    asked = set()

    def cut(data, flow):
        if data.startswith(b"UPDATE"):
            asked.add(data.partition(b"CSeq: ")[2].split(b"\r\n")[0])
        return True

    world.cut = cut
    world.run(76.0)
    assert asked == {b"2 UPDATE"}
    assert "Ended" not in alice.names()
    world.run(78.0)
    assert alice.last(Ended).by == "timer"


def test_a_peer_that_says_422_for_ever_is_not_asked_every_second(world, sdp):
    alice, bob = two(world)
    mine, _ = connect(world, alice, bob, sdp)

    def refuse(data):
        if not data.startswith(b"SIP/2.0 200") or b" UPDATE" not in data:
            return data
        return data.replace(b"SIP/2.0 200 OK", b"SIP/2.0 422 Too Small\r\nMin-SE: 120")

    world.tamper = refuse
    world.run(99.0)
    assert (
        world.wire.count("alice> UPDATE") == 3
    )  # at 50 s, for 120 s a second later, a quarter later
    alice.do("hang_up", mine)


def test_peer_that_forgot_the_dialog_ends_the_call(world, sdp):
    alice, bob = two(world)
    connect(world, alice, bob, sdp)
    del world.stations[bob.address]
    reborn = world.station("bob", "10.0.0.2")
    world.run(60.0)
    assert alice.last(Ended).by == "remote"
    assert alice.last(Ended).cause.cause == 481
    assert reborn.events == []


def test_too_short_an_interval_is_refused_and_asked_again(world, sdp):
    alice, bob = two(world, second=StackConfig(min_se_s=600))
    connect(world, alice, bob, sdp)
    assert world.wire[:4] == ["alice> INVITE", "bob> 422 INVITE", "alice> ACK", "alice> INVITE"]
    request = bob.last(InviteReceived).request
    assert request.headers.get("Session-Expires") == "600"
    assert request.headers.get("Min-SE") == "600"


def test_what_a_peer_wanted_by_422_is_granted_when_it_refreshes_itself():
    asked = invite(("Session-Expires", "2400;refresher=uac"), ("Supported", "timer"))
    assert session_timer.granted(asked, StackConfig())[0].interval_s == 1800
    assert session_timer.granted(asked, StackConfig(), 2400)[0].interval_s == 2400


def test_a_peer_that_never_gives_in_fails_the_call(world):
    alice, bob = two(world, second=StackConfig(min_se_s=600))
    real = bob.stack.receive_datagram
    bob.stack.receive_datagram = lambda data, flow, now_s: real(
        data.replace(b"Session-Expires: 600", b"Session-Expires: 100"), flow, now_s
    )
    alice.call(bob)
    assert alice.last(Failed).status == 422
    assert world.wire.count("alice> INVITE") == 3
    world.run()
    world.assert_empty()


def test_switched_off(world, sdp):
    off = StackConfig(session_timers=False)
    alice, bob = two(world, off, off)
    mine, _ = connect(world, alice, bob, sdp)
    assert "Session-Expires" not in bob.last(InviteReceived).request.headers
    world.run(10_000.0)
    assert "Ended" not in alice.names()
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


@pytest.mark.parametrize("calls_out", [True, False])
@pytest.mark.parametrize("answers", ["200", "488", "nothing"])
def test_a_peer_without_session_timers_is_asked_whether_it_is_there(world, sdp, calls_out, answers):
    """It knows neither timers nor UPDATE: re-INVITE every half interval. Any answer will do; none ends the
    call."""
    old = StackConfig(session_timers=False, allow=("INVITE", "ACK", "CANCEL", "BYE"))
    alice, bob = two(world, *((SHORT, old) if calls_out else (old, SHORT)))
    mine, theirs = connect(world, alice, bob, sdp)
    us, them = (alice, bob) if calls_out else (bob, alice)

    def take(event):
        if type(event).__name__ == "ReofferReceived":
            if answers == "200":
                them.stack.answer_reoffer(event.session, sdp[1], world.now_s)
            else:
                them.stack.reject_reoffer(event.session, 488, world.now_s)

    them.on_event = take
    if answers == "nothing":
        world.cut = lambda data, flow: True
    world.run(990.0)
    if answers == "nothing":
        assert us.last(Ended).by == "timer"
        return
    assert "Ended" not in alice.names() + bob.names()
    ours = "alice" if calls_out else "bob"
    assert world.wire.count(f"{ours}> INVITE") == 19 + calls_out
    us.do("hang_up", mine if calls_out else theirs)
    world.run()
    world.assert_empty()


def invite(*lines):
    request = SipRequest("INVITE", "sip:x@y")
    for name, value in lines:
        request.headers.add(name, value)
    return request


@pytest.mark.parametrize(
    ("lines", "interval_s", "we_refresh", "header"),
    [
        ([("Supported", "timer")], 1800, False, "1800;refresher=uac"),
        ([], 1800, True, "1800;refresher=uas"),
        ([("Session-Expires", "600"), ("Supported", "timer")], 600, False, "600;refresher=uac"),
        ([("x", "300;refresher=uas"), ("k", "timer")], 300, True, "300;refresher=uas"),
        ([("Session-Expires", "4000"), ("k", "timer")], 1800, False, "1800;refresher=uac"),
        (
            [("Session-Expires", "4000"), ("Min-SE", "3000"), ("k", "timer")],
            3000,
            False,
            "3000;refresher=uac",
        ),
        ([("Session-Expires", "600;refresher=uac")], 600, True, "600;refresher=uas"),
        ([("Session-Expires", "junk"), ("k", "timer")], 1800, False, "1800;refresher=uac"),
    ],
)
def test_what_we_grant(lines, interval_s, we_refresh, header):
    timer, answer = session_timer.granted(invite(*lines), StackConfig())
    assert (timer.interval_s, timer.we_refresh) == (interval_s, we_refresh)
    assert timer.mutual is any(value == "timer" for _, value in lines)
    assert answer["Session-Expires"] == header
    assert (answer.get("Require") == "timer") is not we_refresh


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1800;refresher=uac", session_timer.SessionTimer(1800, True)),
        ("1800;refresher=uas", session_timer.SessionTimer(1800, False)),
        ("1800", session_timer.SessionTimer(1800, True)),
        ("5", session_timer.SessionTimer(90, True)),
        (None, session_timer.SessionTimer(1800, True, mutual=False)),
        ("-3", session_timer.SessionTimer(1800, True, mutual=False)),
        ("99999999999999", session_timer.SessionTimer(604800, True)),
    ],
)
def test_what_the_peer_agreed_to(value, expected):
    response = SipResponse(200, "OK")
    if value is not None:
        response.headers.add("Session-Expires", value)
    assert session_timer.agreed(response, StackConfig()) == expected
    assert session_timer.agreed(response, StackConfig(session_timers=False)) is None


def test_when_to_refresh_and_when_to_end():
    # RFC 4028 section 10.
    waiting = session_timer.SessionTimer(90, False)
    assert waiting.expires_after_s == 60.0
    assert session_timer.SessionTimer(1800, False).expires_after_s == 1768.0
    assert session_timer.SessionTimer(1800, True).refresh_after_s == 900.0
