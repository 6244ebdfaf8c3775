"""The call flows of RFC 3665 section 3 between two stacks, and what else two ends can do."""

from __future__ import annotations

import pytest

from softswitch.errors import LocalProtocolError
from softswitch.sip.events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Failed,
    InfoReceived,
    InviteReceived,
    Progressed,
    ReofferAnswered,
    ReofferFailed,
    ReofferReceived,
    RequestReceived,
    ResponseReceived,
)
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.terse import RETRY_AFTER_MAX_S, RETRY_AFTER_MIN_S


def established(pair, sdp):
    """A call that is up: (world, alice, bob, Alice's session, Bob's session)."""
    world, alice, bob = pair
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("answer", theirs, sdp[1])
    return world, alice, bob, mine, theirs


def test_session_establishment_and_hang_up_by_the_caller(pair, sdp):
    # RFC 3665 3.1
    world, alice, bob = pair
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    assert bob.last(InviteReceived).sdp == sdp[0]
    bob.do("progress", theirs, 180)
    bob.do("answer", theirs, sdp[1])
    assert alice.last(Answered).sdp == sdp[1]
    cause = ReasonHeader("Q.850", 16, "Normal call clearing")
    alice.do("hang_up", mine, cause=cause)
    assert world.wire == [
        "alice> INVITE",
        "bob> 100 INVITE",
        "bob> 180 INVITE",
        "bob> 200 INVITE",
        "alice> ACK",
        "alice> BYE",
        "bob> 200 BYE",
    ]
    assert alice.names() == ["Progressed", "Answered", "Ended"]
    assert bob.names() == ["InviteReceived", "Confirmed", "Ended"]
    assert alice.last(Ended).by == "local"
    assert bob.last(Ended) == Ended(theirs, "remote", cause)
    world.run()
    world.assert_empty()
    assert world.now_s <= 32.001


def test_hang_up_by_the_callee(pair, sdp):
    world, alice, bob, mine, theirs = established(pair, sdp)
    bob.do("hang_up", theirs)
    assert alice.last(Ended) == Ended(mine, "remote", None)
    assert world.wire[-2:] == ["bob> BYE", "alice> 200 BYE"]
    world.run()
    world.assert_empty()


def test_hang_up_crossing(pair, sdp):
    world, alice, bob, mine, theirs = established(pair, sdp)
    alice.stack.hang_up(mine, now_s=world.now_s)
    bob.stack.hang_up(theirs, now_s=world.now_s)
    world.settle()
    assert alice.names().count("Ended") == 1
    assert bob.names().count("Ended") == 1
    assert sorted(world.wire[-4:]) == ["alice> 200 BYE", "alice> BYE", "bob> 200 BYE", "bob> BYE"]
    world.run()
    world.assert_empty()


def test_hang_up_twice_is_once(pair, sdp):
    world, alice, _bob, mine, _ = established(pair, sdp)
    alice.do("hang_up", mine)
    alice.do("hang_up", mine)
    assert world.wire.count("alice> BYE") == 1
    assert alice.stack.snapshot()["late_commands"] == 1


def test_early_media(pair, sdp):
    _world, alice, bob = pair
    alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("progress", theirs, 183, sdp[1])
    assert alice.last(Progressed).sdp == sdp[1]
    bob.do("answer", theirs, sdp[1])
    assert alice.names() == ["Progressed", "Answered"]


def test_unsuccessful_busy(pair):
    # RFC 3665 3.9
    world, alice, bob = pair
    mine = alice.call(bob)
    bob.do("reject", bob.last(InviteReceived).session, 486, headers=[("Retry-After", "9")])
    failed = alice.last(Failed)
    assert (failed.session, failed.status, failed.reason) == (mine, 486, "Busy Here")
    assert failed.response.headers.get("Retry-After") == "9"
    assert world.wire[-2:] == ["bob> 486 INVITE", "alice> ACK"]
    assert bob.last(Ended).by == "local"
    world.run()
    world.assert_empty()


def test_unsuccessful_no_answer_is_cancelled(pair):
    # RFC 3665 3.8
    world, alice, bob = pair
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("progress", theirs, 180)
    alice.do("hang_up", mine, cause=ReasonHeader("SIP", 200, "Call completed elsewhere"))
    assert world.wire[-4:] == [
        "alice> CANCEL",
        "bob> 200 CANCEL",
        "bob> 487 INVITE",
        "alice> ACK",
    ]
    assert bob.last(Cancelled) == Cancelled(
        theirs, ReasonHeader("SIP", 200, "Call completed elsewhere")
    )
    assert alice.names() == ["Progressed", "Ended"]
    world.run()
    world.assert_empty()


def test_cancel_waits_for_a_provisional_response(pair):
    world, alice, bob = pair
    world.cut = lambda data, flow: data.startswith(b"SIP/2.0 1")
    mine = alice.call(bob)
    alice.do("hang_up", mine)
    assert "alice> CANCEL" not in world.wire
    world.cut = lambda data, flow: False
    world.run(0.6)
    # The retransmitted INVITE fetched the 100 again.
    assert world.wire.count("alice> CANCEL") == 1
    assert bob.names() == ["InviteReceived", "Cancelled"]
    world.run()
    world.assert_empty()


def test_cancel_crosses_the_answer(pair, sdp):
    world, alice, bob = pair
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.stack.answer(theirs, sdp[1], world.now_s)
    alice.stack.hang_up(mine, now_s=world.now_s)
    world.settle()
    assert alice.names() == ["Ended"]
    assert bob.names() == ["InviteReceived", "Confirmed", "Ended"]
    assert "alice> ACK" in world.wire
    assert "alice> BYE" in world.wire
    world.run()
    world.assert_empty()


def test_hang_up_before_the_answer_refuses(pair):
    world, alice, bob = pair
    alice.call(bob)
    bob.do("hang_up", bob.last(InviteReceived).session, cause=ReasonHeader("Q.850", 17))
    assert alice.last(Failed).status == 486
    world.run()
    world.assert_empty()


def test_timeout_cancels_and_reports_408(pair):
    world, alice, bob = pair
    alice.call(bob, timeout_s=20.0)
    bob.do("progress", bob.last(InviteReceived).session, 180)
    world.run(19.9)
    assert alice.names() == ["Progressed"]
    world.run(0.2)
    assert alice.last(Failed).status == 408
    assert bob.names() == ["InviteReceived", "Cancelled"]
    world.run()
    world.assert_empty()


def test_silence_fails_early_and_a_late_answer_is_hung_up(pair, sdp):
    world, alice, bob = pair
    world.cut = lambda data, flow: True
    alice.call(bob, silence_s=2.0)
    world.run(2.1)
    assert alice.last(Failed).status == 408
    world.cut = lambda data, flow: False
    bob.on_event = lambda event: (
        bob.stack.answer(event.session, sdp[1], world.now_s)
        if isinstance(event, InviteReceived)
        else None
    )
    world.run(2.0)
    assert bob.last(Ended).by == "remote"
    world.run()
    world.assert_empty()
    assert alice.names() == ["Failed"]


def test_no_answer_at_all_is_408_after_timer_b(pair):
    world, alice, _bob = pair
    world.cut = lambda data, flow: True
    alice.call(_bob)
    world.run()
    assert alice.last(Failed).status == 408
    assert world.now_s == 32.0
    # RFC 3261 17.1.1.2: at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s.
    assert world.wire == ["alice> INVITE"] * 7
    world.assert_empty()


def test_transport_failure_is_503(pair):
    world, alice, bob = pair
    world.cut = lambda data, flow: True
    alice.call(bob)
    alice.stack.transport_failed(alice.flow_to(bob), world.now_s)
    world.settle()
    assert alice.last(Failed).status == 503
    world.assert_empty()


def test_late_offer(pair, sdp):
    world, alice, bob = pair
    mine = alice.call(bob, sdp=None)
    received = bob.last(InviteReceived)
    assert received.sdp is None
    bob.do("answer", received.session, sdp[0])
    assert alice.last(Answered).sdp == sdp[0]
    assert "alice> ACK" not in world.wire
    alice.do("ack_with", mine, sdp[1])
    assert bob.last(Confirmed).sdp == sdp[1]
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


def test_late_offer_given_up_owes_an_ack_first(pair, sdp):
    world, alice, bob = pair
    mine = alice.call(bob, sdp=None)
    bob.do("answer", bob.last(InviteReceived).session, sdp[0])
    alice.do("hang_up", mine)
    assert world.wire[-3:] == ["alice> ACK", "alice> BYE", "bob> 200 BYE"]
    world.run()
    world.assert_empty()


def test_callee_that_hangs_up_before_the_ack_waits_for_it(pair, sdp):
    world, alice, bob = pair
    world.cut = lambda data, flow: data.startswith(b"ACK")
    alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("answer", theirs, sdp[1])
    bob.do("hang_up", theirs)
    assert bob.last(Ended).by == "local"
    assert "bob> BYE" not in world.wire
    world.cut = lambda data, flow: False
    world.run(0.6)
    assert "bob> BYE" in world.wire
    assert alice.last(Ended).by == "remote"
    world.run()
    world.assert_empty()


def test_answer_is_repeated_until_its_ack_and_then_the_call_ends(pair, sdp):
    world, alice, bob = pair
    world.cut = lambda data, flow: data.startswith(b"ACK")
    alice.call(bob)
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    world.run(31.9)
    # 13.3.1.4: T1 doubling up to T2, so at 0, .5, 1.5, 3.5, then every 4 s.
    assert world.wire.count("bob> 200 INVITE") == 11
    assert world.wire.count("alice> ACK") == 11
    assert "Confirmed" not in bob.names()
    world.run(0.2)
    assert bob.last(Ended).by == "timer"
    assert alice.last(Ended).by == "remote"
    world.run()
    world.assert_empty()


def test_hold_and_retrieve_by_either_end(pair, sdp):
    world, alice, bob, mine, theirs = established(pair, sdp)
    for asking, answering, first, second in (
        (alice, bob, mine, theirs),
        (bob, alice, theirs, mine),
    ):
        asking.do("reinvite", first, sdp[0])
        assert answering.last(ReofferReceived).sdp == sdp[0]
        answering.do("answer_reoffer", second, sdp[1])
        assert asking.last(ReofferAnswered) == ReofferAnswered(first, sdp[1])
        assert world.wire[-3:] == [
            f"{asking.name}> INVITE",
            f"{answering.name}> 200 INVITE",
            f"{asking.name}> ACK",
        ]
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


def test_reinvite_without_offer(pair, sdp):
    _world, alice, bob, mine, theirs = established(pair, sdp)
    alice.do("reinvite", mine, None)
    assert bob.last(ReofferReceived).sdp is None
    bob.do("answer_reoffer", theirs, sdp[1])
    assert alice.last(ReofferAnswered).sdp == sdp[1]
    alice.do("ack_with", mine, sdp[0])
    assert bob.last(ReofferAnswered).sdp == sdp[0]


def test_refused_reinvite_leaves_the_call_alone(pair, sdp):
    _world, alice, bob, mine, theirs = established(pair, sdp)
    alice.do("reinvite", mine, sdp[0])
    bob.do("reject_reoffer", theirs, 488)
    assert alice.last(ReofferFailed) == ReofferFailed(mine, 488)
    alice.do("reinvite", mine, sdp[0])
    bob.do("answer_reoffer", theirs, sdp[1])
    assert alice.last(ReofferAnswered).sdp == sdp[1]


def test_reinvite_glare_is_retried(pair, sdp):
    world, alice, bob, mine, theirs = established(pair, sdp)

    def accept(station):
        def on_event(event):
            if isinstance(event, ReofferReceived):
                station.stack.answer_reoffer(event.session, sdp[1], world.now_s)

        return on_event

    alice.on_event, bob.on_event = accept(alice), accept(bob)
    alice.stack.reinvite(mine, sdp[0], world.now_s)
    bob.stack.reinvite(theirs, sdp[0], world.now_s)
    world.settle()
    assert world.wire.count("alice> 491 INVITE") == 1
    assert world.wire.count("bob> 491 INVITE") == 1
    world.run(5.0)
    # Bob, who did not make the Call-ID, tries first (RFC 3261 14.1); then both have succeeded.
    assert alice.names().count("ReofferAnswered") == 1
    assert bob.names().count("ReofferAnswered") == 1
    assert bob.names().index("ReofferAnswered") <= bob.names().index("ReofferReceived")
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


def test_reinvites_while_busy_are_queued_and_the_last_counts(pair, sdp):
    world, alice, bob, mine, theirs = established(pair, sdp)
    alice.do("reinvite", mine, sdp[0])
    alice.do("reinvite", mine, b"v=0\r\nthrown away")
    alice.do("reinvite", mine, b"v=0\r\nlast")
    bob.do("answer_reoffer", theirs, sdp[1])
    assert bob.last(ReofferReceived).sdp == b"v=0\r\nlast"
    assert world.wire.count("alice> INVITE") == 3


def test_reinvite_cancelled_by_hang_up_of_the_peer(pair, sdp):
    world, alice, bob, mine, theirs = established(pair, sdp)
    alice.do("reinvite", mine, sdp[0])
    alice.do("hang_up", mine)
    assert bob.last(Ended).by == "remote"
    bob.do("answer_reoffer", theirs, sdp[1])  # late: ignored
    world.run()
    world.assert_empty()


def test_info(pair, sdp):
    _world, alice, bob, mine, theirs = established(pair, sdp)
    alice.do("info", mine, "application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
    assert bob.last(InfoReceived) == InfoReceived(
        theirs, "application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"
    )


def test_requests_inside_a_dialog_go_by_handle(pair, sdp):
    world, alice, bob, mine, theirs = established(pair, sdp)
    handle = alice.do(
        "request_in_dialog", mine, "REFER", headers=[("Refer-To", "<sip:carol@10.0.0.3>")]
    )
    received = bob.last(RequestReceived)
    assert (received.session, received.request.method) == (theirs, "REFER")
    bob.do("respond", received.handle, 202)
    answer = alice.last(ResponseReceived)
    assert (answer.handle, answer.response.status) == (handle, 202)
    bob.do("hang_up", theirs)
    late = alice.do("request_in_dialog", mine, "NOTIFY")
    assert alice.events[-1].status == 481
    assert alice.events[-1].handle == late
    world.run()
    world.assert_empty()


def test_find_session_by_dialog_id(pair, sdp):
    _world, alice, bob, mine, theirs = established(pair, sdp)
    ids = alice.stack.dialog_of(mine)
    assert bob.stack.find_session(ids["call_id"], ids["remote_tag"], ids["local_tag"]) == theirs
    assert bob.stack.find_session(ids["call_id"], ids["local_tag"], ids["remote_tag"]) is None


def test_commands_that_the_state_forbids_raise(pair, sdp):
    world, alice, bob = pair
    mine = alice.call(bob)
    with pytest.raises(LocalProtocolError):
        alice.stack.answer(mine, sdp[1], world.now_s)
    with pytest.raises(LocalProtocolError):
        alice.stack.reinvite(mine, sdp[1], world.now_s)
    theirs = bob.last(InviteReceived).session
    with pytest.raises(LocalProtocolError):
        bob.stack.progress(theirs, 200, now_s=world.now_s)
    with pytest.raises(LocalProtocolError):
        bob.stack.reject(theirs, 200, now_s=world.now_s)
    bob.do("answer", theirs, sdp[1])
    with pytest.raises(LocalProtocolError):
        bob.stack.answer(theirs, sdp[1], world.now_s)


def test_ringing_is_repeated_every_minute(pair):
    # 13.3.1.1, for proxies whose timer C is three minutes.
    world, alice, bob = pair
    alice.call(bob, timeout_s=200.0)
    bob.do("progress", bob.last(InviteReceived).session, 180)
    world.run(130.0)
    assert world.wire.count("bob> 180 INVITE") == 3


@pytest.mark.parametrize("after_s", [0.0, 0.2])
def test_trying_at_once_or_after_a_while(world, after_s):
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", StackConfig(trying_after_s=after_s))
    alice.call(bob)
    assert ("bob> 100 INVITE" in world.wire) is (after_s == 0.0)
    world.run(0.3)
    assert world.wire.count("bob> 100 INVITE") == 1


def test_reliable_transport_sends_everything_once(pair, sdp):
    world, alice, bob = pair
    mine = alice.call(bob, transport="tcp")
    theirs = bob.last(InviteReceived).session
    world.run(10.0)
    bob.do("answer", theirs, sdp[1])
    assert world.wire.count("alice> INVITE") == 1
    assert alice.stack.dialog_of(mine)["target"] == "sip:bob@10.0.0.2:5060;transport=tcp"
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


@pytest.mark.limit("legs of all calls")
def test_session_limit_is_503_at_n_plus_one(world):
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", StackConfig(max_sessions=2))
    for _ in range(3):
        alice.call(bob)
    assert bob.names() == ["InviteReceived", "InviteReceived"]
    assert alice.last(Failed).status == 503
    again_s = int(alice.last(Failed).response.headers.get("Retry-After"))
    assert RETRY_AFTER_MIN_S <= again_s <= RETRY_AFTER_MAX_S
    with pytest.raises(LocalProtocolError):
        bob.call(alice)


@pytest.mark.limit("SIP transactions")
def test_transaction_limit_is_503(world, sdp):
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", StackConfig(max_transactions=1))
    alice.call(bob)
    alice.call(bob)
    assert bob.names() == ["InviteReceived"]
    assert alice.last(Failed).status == 503
    assert bob.stack.snapshot()["overload"] == 1


@pytest.mark.limit("SIP transactions")
def test_who_wants_to_hang_up_has_room_where_new_calls_have_none(world, sdp):
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", StackConfig(max_transactions=8))
    calls = [alice.call(bob, sdp=sdp[0]) for _ in range(6)]
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    alice.call(bob, sdp=sdp[0])
    assert bob.names().count("InviteReceived") == 6
    assert alice.last(Failed).status == 503
    alice.do("hang_up", calls[-1])
    assert world.wire[-2:] == ["alice> BYE", "bob> 200 BYE"]
