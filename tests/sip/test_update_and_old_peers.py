"""UPDATE (RFC 3311) from a peer that uses it, and peers of RFC 2543 times."""

from __future__ import annotations

import pytest

from softswitch.sip.events import (
    Confirmed,
    Ended,
    InviteReceived,
    ReofferReceived,
)
from softswitch.sip.parser import parse_message

PEER = ("10.0.0.77", 5060)


def send(world, station, method, cseq, *, to_tag="", branch=None, sdp=b"", extra=()):
    """A request of a peer that is no stack of ours; returns the responses it got."""
    tag = f";tag={to_tag}" if to_tag else ""
    lines = [
        f"{method} sip:bob@10.0.0.2 SIP/2.0",
        f"Via: SIP/2.0/UDP 10.0.0.77:5060;branch={branch or f'z9hG4bK{method}{cseq}'}",
        "Max-Forwards: 70",
        "From: <sip:peer@10.0.0.77>;tag=peer",
        f"To: <sip:bob@10.0.0.2>{tag}",
        "Call-ID: by-hand",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:peer@10.0.0.77>",
        *extra,
    ]
    if sdp:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(sdp)}")
    before = len(world.raw)
    world.inject("\r\n".join(lines).encode() + b"\r\n\r\n" + sdp, station, PEER)
    return [parse_message(data) for data, _ in world.raw[before:]]


WHO = (("P-Asserted-Identity", "<sip:2001@x>"),)


def test_what_is_told_waits_for_the_dialog_and_for_the_update_before_and_is_the_latest(world, sdp):
    alice, bob = world.station("alice", "10.0.0.1"), world.station("bob", "10.0.0.2")
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    world.cut = lambda data, flow: data.startswith(b"ACK")
    bob.do("answer", theirs, sdp[1])
    bob.do("tell", theirs, WHO)
    assert "bob> UPDATE" not in world.wire  # our 200 has no ACK yet
    world.cut = lambda data, flow: False
    world.run(1.0)
    assert world.wire.count("bob> UPDATE") == 1
    world.cut = lambda data, flow: data.startswith(b"UPDATE")
    bob.do("tell", theirs, WHO)
    for number in ("2002", "2003"):
        bob.do("tell", theirs, (("P-Asserted-Identity", f"<sip:{number}@x>"),))
    assert world.wire.count("bob> UPDATE") == 2
    seen = []
    world.cut = lambda data, flow: bool(data.startswith(b"UPDATE") and seen.append(data))
    world.run(3.0)
    assert [b"2003" in data for data in seen] == [False, True]
    bob.do("hang_up", theirs)
    bob.do("tell", theirs, WHO)
    assert "Ended" in alice.names()
    world.run()
    world.assert_empty()
    assert mine != 0


def test_who_refuses_to_be_told_is_told_no_more_and_talks_on(world, sdp):
    alice, bob = world.station("alice", "10.0.0.1"), world.station("bob", "10.0.0.2")
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("answer", theirs, sdp[1])

    def refuse(data):
        return data.replace(b"SIP/2.0 200 OK", b"SIP/2.0 405 No") if b" UPDATE" in data else data

    world.tamper = refuse
    for _ in range(2):
        bob.do("tell", theirs, WHO)
    world.run(30.0)
    assert world.wire.count("bob> UPDATE") == 1
    assert world.wire.count("bob> INVITE") == 0
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


@pytest.fixture
def bob(world):
    return world.station("bob", "10.0.0.2")


@pytest.fixture
def call(world, bob, sdp):
    """(session, our tag) of a confirmed call from the peer."""
    send(world, bob, "INVITE", 1, sdp=sdp[0])
    session = bob.last(InviteReceived).session
    bob.do("answer", session, sdp[1])
    tag = parse_message(world.raw[-1][0]).to.tag
    send(world, bob, "ACK", 1, to_tag=tag)
    assert bob.last(Confirmed)
    return session, tag


def test_update_with_an_offer(world, bob, call, sdp):
    session, tag = call
    assert send(world, bob, "UPDATE", 2, to_tag=tag, sdp=sdp[0]) == []
    assert bob.last(ReofferReceived).request.method == "UPDATE"
    bob.do("answer_reoffer", session, sdp[1])
    answer = parse_message(world.raw[-1][0])
    assert (answer.status, answer.body, str(answer.cseq)) == (200, sdp[1], "2 UPDATE")
    # No ACK follows an UPDATE: the next offer may come at once.
    send(world, bob, "UPDATE", 3, to_tag=tag, sdp=sdp[0])
    bob.do("reject_reoffer", session, 488)
    assert parse_message(world.raw[-1][0]).status == 488


def test_update_without_offer_is_answered_by_the_stack(world, bob, call):
    _, tag = call
    (answer,) = send(world, bob, "UPDATE", 2, to_tag=tag, extra=("Supported: timer",))
    assert answer.status == 200
    assert answer.headers.get("Session-Expires") == "1800;refresher=uac"
    assert "ReofferReceived" not in bob.names()


def test_updates_that_cross(world, bob, call, sdp):
    session, tag = call
    send(world, bob, "UPDATE", 2, to_tag=tag, sdp=sdp[0])
    (answer,) = send(world, bob, "UPDATE", 3, to_tag=tag, sdp=sdp[0])
    assert answer.status == 500
    assert 0 <= int(answer.headers.get("Retry-After")) <= 10
    bob.do("answer_reoffer", session, sdp[1])
    bob.do("reinvite", session, sdp[0])
    (answer,) = send(world, bob, "UPDATE", 4, to_tag=tag, sdp=sdp[0])
    assert answer.status == 491


def test_update_before_the_answer(world, bob, sdp):
    send(world, bob, "INVITE", 1, sdp=sdp[0])
    session = bob.last(InviteReceived).session
    bob.do("progress", session, 180)
    tag = parse_message(world.raw[-1][0]).to.tag
    (answer,) = send(world, bob, "UPDATE", 2, to_tag=tag, sdp=sdp[0])
    assert answer.status == 500
    (answer,) = send(world, bob, "UPDATE", 3, to_tag=tag)
    assert answer.status == 200
    (answer,) = send(world, bob, "PRACK", 4, to_tag=tag)
    assert answer.status == 400, "without RAck"
    (answer,) = send(world, bob, "PRACK", 5, to_tag=tag, extra=["RAck: 1 1 INVITE"])
    assert answer.status == 481, "nothing was sent reliably"
    assert bob.names() == ["InviteReceived"]


def test_bye_before_the_answer(world, bob, sdp):
    send(world, bob, "INVITE", 1, sdp=sdp[0])
    bob.do("progress", bob.last(InviteReceived).session, 180)
    tag = parse_message(world.raw[-1][0]).to.tag
    answers = send(world, bob, "BYE", 2, to_tag=tag)
    assert [(answer.status, answer.cseq.method) for answer in answers] == [
        (200, "BYE"),
        (487, "INVITE"),
    ]
    assert bob.names()[-1] == "Cancelled"
    world.run()
    world.assert_empty()


@pytest.mark.parametrize("branch", ["", "1", "z9hG4bK"])
def test_a_caller_of_rfc_2543(world, bob, sdp, branch):
    """No branch of ours to go by, no From tag, one ACK for everything."""
    old = (
        "{method} sip:bob@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.77:5060{branch}\r\n"
        "From: <sip:old@10.0.0.77>\r\nTo: <sip:bob@10.0.0.2>{tag}\r\nCall-ID: old@10.0.0.77\r\n"
        "CSeq: {cseq} {method}\r\nContact: <sip:old@10.0.0.77>\r\n{type}\r\n"
    )
    param = f";branch={branch}" if branch else ""

    def speak(method, cseq, tag="", body=b""):
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = old.format(method=method, cseq=cseq, branch=param, tag=tag, type=kind)
        world.inject(text.encode() + body, bob, PEER)

    if branch == "z9hG4bK":
        speak("INVITE", 1, body=sdp[0])
        assert parse_message(world.raw[-1][0]).status == 400  # RFC 4475 3.2.1
        return
    speak("INVITE", 1, body=sdp[0])
    speak("INVITE", 1, body=sdp[0])
    assert bob.names() == ["InviteReceived"]
    session = bob.last(InviteReceived).session
    bob.do("answer", session, sdp[1])
    tag = f";tag={parse_message(world.raw[-1][0]).to.tag}"
    speak("ACK", 1, tag)
    assert bob.names()[-1] == "Confirmed"
    speak("BYE", 2, tag)
    assert bob.last(Ended).by == "remote"
    assert parse_message(world.raw[-1][0]).status == 200
    world.run()
    world.assert_empty()


def test_a_refused_caller_of_rfc_2543(world, bob, sdp):
    send(world, bob, "INVITE", 1, branch="old", sdp=sdp[0])
    bob.do("reject", bob.last(InviteReceived).session, 486)
    world.run(1.0)
    tag = parse_message(world.raw[-1][0]).to.tag
    count = len(world.raw)
    send(world, bob, "ACK", 1, branch="old", to_tag=tag)
    world.run(6.0)
    assert len(world.raw) == count
    world.run()
    world.assert_empty()


@pytest.mark.parametrize("final", [481, 200, None])
def test_a_reinvite_that_a_bye_overtakes_gets_its_ack(world, bob, call, sdp, final):
    """RFC 3261 15.1.2: pending requests are still answered after BYE, and what answers an INVITE is
    acknowledged; a peer that says nothing is waited for 64*T1."""
    session, tag = call
    bob.do("reinvite", session, sdp[1])
    invite = parse_message(world.raw[-1][0])
    send(world, bob, "BYE", 2, to_tag=tag)
    assert bob.last(Ended).by == "remote"
    del world.raw[:]
    if final is not None:
        answer = invite.response(final)
        answer.headers.add("Contact", "<sip:peer@10.0.0.77>")
        for _ in range(2):
            world.inject(answer.serialise(), bob, PEER)
        acks = [parse_message(data) for data, _ in world.raw]
        assert [ack.method for ack in acks] == ["ACK", "ACK"], "the copy is acknowledged too"
        assert acks[0].cseq.number == invite.cseq.number
    assert [type(event) for event in bob.events][-1] is Ended
    world.run()
    world.assert_empty()


def test_byes_that_cross_with_a_reinvite_open(world, bob, call, sdp):
    session, tag = call
    bob.do("reinvite", session, sdp[1])
    invite = parse_message(world.raw[-1][0])
    bob.do("hang_up", session)
    bye = parse_message(world.raw[-1][0])
    assert bye.method == "BYE"
    send(world, bob, "BYE", 2, to_tag=tag)
    world.inject(bye.response(200).serialise(), bob, PEER)
    del world.raw[:]
    world.inject(invite.response(487).serialise(), bob, PEER)
    assert parse_message(world.raw[-1][0]).method == "ACK"
    world.run()
    world.assert_empty()
