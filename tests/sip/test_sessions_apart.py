"""What else may befall a session: a dead transport, a full house, no garbage."""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from softswitch.sip.events import (
    Cancelled,
    Failed,
    InviteReceived,
    RequestFailed,
)
from softswitch.sip.gate import Drop
from softswitch.sip.stack_config import StackConfig


@pytest.fixture
def call(pair, sdp):
    """(world, alice, bob, Alice's session, Bob's session) of a call that is up."""
    world, alice, bob = pair
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("answer", theirs, sdp[1])
    return world, alice, bob, mine, theirs


def test_dead_transport_ends_a_ringing_caller(pair):
    world, alice, bob = pair
    alice.call(bob, transport="tcp")
    received = bob.last(InviteReceived)
    world.cut = lambda data, flow: True
    bob.stack.transport_failed(received.flow, world.now_s)
    world.settle()
    assert isinstance(bob.last(Cancelled), Cancelled)
    assert bob.gauges() == {}


def test_dead_transport_fails_every_request_on_it_and_no_other(pair):
    world, alice, bob = pair
    carol = world.station("carol", "10.0.0.3")
    world.cut = lambda data, flow: True
    first, second, third = alice.call(bob), alice.call(bob), alice.call(carol)
    alice.stack.transport_failed(alice.flow_to(bob), world.now_s)
    world.settle()
    failed = [event for event in alice.events if isinstance(event, Failed)]
    assert [(event.session, event.status) for event in failed] == [(first, 503), (second, 503)]
    assert alice.gauges()["sessions"] == 1
    assert third not in {event.session for event in failed}


def test_dead_transport_during_a_bye_still_ends_the_session(call):
    world, alice, bob, mine, _ = call
    world.cut = lambda data, flow: True
    alice.do("hang_up", mine)
    alice.stack.transport_failed(alice.flow_to(bob), world.now_s)
    world.settle()
    assert "sessions" not in alice.gauges()


@pytest.mark.limit("events not handled yet")
def test_unread_events_keep_new_calls_out(world):
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", StackConfig(max_events=0))
    alice.call(bob)
    assert alice.last(Failed).status == 503
    assert bob.stack.snapshot()["overload"] == 1


def test_a_banned_source_gets_no_answer_to_cancel_either(world):
    class Banned:
        def admit(self, request, flow, now_s):
            return Drop()

    bob = world.station("bob", "10.0.0.2", gate=Banned())
    data = (
        b"CANCEL sip:bob@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKq\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 CANCEL\r\n\r\n"
    )
    world.inject(data, bob, ("192.0.2.1", 5060))
    assert world.raw == []


def test_a_peer_that_says_100_to_a_reinvite_and_nothing_more(call, sdp):
    world, alice, bob, mine, theirs = call
    alice.do("reinvite", mine, sdp[0])
    world.run(59.0)
    assert "alice> CANCEL" not in world.wire
    world.run(2.0)
    # Bob's call control is asleep, but his stack heeds the CANCEL.
    assert world.wire[-4:] == ["alice> CANCEL", "bob> 200 CANCEL", "bob> 487 INVITE", "alice> ACK"]
    assert alice.names()[-1] == "ReofferFailed"
    bob.do("answer_reoffer", theirs, sdp[1])  # too late
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


def test_request_in_a_dialog_that_is_gone_fails_at_once(call):
    _world, alice, _bob, mine, _ = call
    alice.do("hang_up", mine)
    handle = alice.do("request_in_dialog", mine, "REFER")
    assert alice.last(RequestFailed) == RequestFailed(handle, 481)


def test_calls_leave_no_reference_cycles(pair, sdp):
    """A server may keep the cycle collector asleep; reference counts alone must free a call."""
    world, alice, bob = pair
    kinds = {"SessionUnit", "ServerTransaction", "ClientTransaction", "SipRequest", "SipResponse"}
    gc.collect()
    before = Counter(type(thing).__name__ for thing in gc.get_objects())  # other tests keep some
    gc.disable()
    try:
        for _ in range(5):
            mine = alice.call(bob)
            theirs = bob.last(InviteReceived).session
            bob.do("progress", theirs, 180)
            bob.do("answer", theirs, sdp[1])
            alice.do("reinvite", mine, sdp[0])
            bob.do("answer_reoffer", theirs, sdp[1])
            bob.do("reinvite", theirs, sdp[0])
            alice.do("hang_up", mine)
            cancelled = alice.call(bob)
            alice.do("hang_up", cancelled)
            world.run()
        alice.events.clear()
        bob.events.clear()
        left = Counter(type(thing).__name__ for thing in gc.get_objects()) - before
        assert {name: left[name] for name in kinds - {"SipRequest"} if left[name]} == {}
    finally:
        gc.enable()


def test_a_header_that_breaks_late_leaves_no_transaction_behind(pair, sdp):
    """What only the session looks into must be answered like what the parser refuses."""
    world, alice, bob = pair
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("answer", theirs, sdp[1])
    breakage = (
        (b"Session-Expires: 1800", b"Session-Expires: 1800;ref\xb5resh=<"),
        (b"Contact: <sip:alice@", b"Contact: <sip:alice@@@"),
        (b"Contact: <sip:", b"Contact: <sip:"),
    )
    for old, new in breakage:
        world.tamper = lambda data, old=old, new=new: (
            data.replace(old, new) if data.startswith(b"INVITE") else data
        )
        alice.do("reinvite", mine, sdp[0])
        if bob.names()[-1] == "ReofferReceived":
            bob.do("answer_reoffer", theirs, sdp[1])
    world.tamper = lambda data: data
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


@pytest.mark.parametrize("contact", [b"<tel:+8610>", b"<<<", b";;", b"", b"<sip:x@y"])
def test_malformed_contact_in_an_answer_ends_in_order(pair, sdp, contact):
    world, alice, bob = pair

    def tamper(data):
        if not data.startswith(b"SIP/2.0 200"):
            return data
        return data.replace(b"Contact: <sip:bob@10.0.0.2:5060>", b"Contact: " + contact)

    world.tamper = tamper
    alice.call(bob, timeout_s=20.0)
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    if "Answered" in alice.names():
        alice.do("hang_up", 1)
    world.run()
    world.assert_empty()
    assert alice.names()[-1] in ("Failed", "Ended")
    assert bob.names()[-1] == "Ended"
