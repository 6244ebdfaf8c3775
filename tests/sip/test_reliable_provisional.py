"""Reliable provisional responses and PRACK (RFC 3262), both sides."""

from __future__ import annotations

import pytest

from softswitch.sip.events import (
    Answered,
    Ended,
    Failed,
    InviteReceived,
    Progressed,
    ReofferAnswered,
    ReofferReceived,
)
from softswitch.sip.message import SipRequest
from softswitch.sip.parser import parse_message
from softswitch.sip.reliable import Reliability, rack_of, reliability_of

PEER = ("10.0.0.77", 5060)


class Peer:
    """A user agent by hand, at PEER: sends to and answers one station."""

    def __init__(self, world, station):
        self.world, self.station = world, station
        self.tag = ""

    def send(self, method, cseq, *, sdp=b"", extra=(), copy=""):
        """A request; returns what came back to us at once."""
        tag = f";tag={self.tag}" if self.tag else ""
        lines = [
            f"{method} sip:bob@10.0.0.2 SIP/2.0",
            f"Via: SIP/2.0/UDP 10.0.0.77:5060;branch=z9hG4bK{method}{cseq}{copy}",
            "Max-Forwards: 70",
            "From: <sip:peer@10.0.0.77>;tag=peer",
            f"To: <sip:bob@10.0.0.2>{tag}",
            "Call-ID: by-hand",
            f"CSeq: {cseq} {method}",
            "Contact: <sip:peer@10.0.0.77>",
            *extra,
            *(["Content-Type: application/sdp"] if sdp else []),
            f"Content-Length: {len(sdp)}",
        ]
        return self.give("\r\n".join(lines).encode() + b"\r\n\r\n" + sdp)

    def give(self, data):
        before = len(self.world.raw)
        self.world.inject(data, self.station, PEER)
        return self.heard(before)

    def heard(self, since=0):
        return [parse_message(data) for data, _ in self.world.raw[since:]]

    def prack(self, response, cseq, **options):
        extra = [f"RAck: {response.headers.get('RSeq')} 1 INVITE"]
        self.tag = response.to.tag
        return self.send("PRACK", cseq, extra=extra, **options)


@pytest.fixture
def bob(world):
    return world.station("bob", "10.0.0.2")


@pytest.fixture
def peer(world, bob):
    return Peer(world, bob)


def ring(bob, peer, sdp=None, status=183):
    session = bob.last(InviteReceived).session
    before = len(peer.world.raw)
    bob.do("progress", session, status, sdp)
    return session, peer.heard(before)


class TestCalled:
    """We are called and answer."""

    def test_an_answer_in_a_183_is_repeated_until_its_prack(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        session, (early,) = ring(bob, peer, sdp[1])
        assert early.headers.get("Require") == "100rel"
        assert early.body == sdp[1]
        before = len(world.raw)
        world.run(3.6)  # 0.5, 1.5, 3.5
        assert [r.headers.get("RSeq") for r in peer.heard(before)] == [
            early.headers.get("RSeq")
        ] * 3
        (answer,) = peer.prack(early, 2)
        assert answer.status == 200
        before = len(world.raw)
        world.run(20)
        assert peer.heard(before) == []
        bob.do("answer", session, sdp[1])
        final = peer.heard()[-1]
        assert final.status == 200
        assert final.body == b"", "the answer has been given and is not repeated (RFC 6337 3.1.1)"

    def test_a_2xx_waits_for_the_prack_of_the_answer(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        session, (early,) = ring(bob, peer, sdp[1])
        bob.do("answer", session, sdp[1])
        assert 200 not in [message.status for message in peer.heard()]
        answers = peer.prack(early, 2)
        assert [(a.status, a.cseq.method) for a in answers] == [(200, "PRACK"), (200, "INVITE")]
        peer.send("ACK", 1)
        assert bob.names()[-1] == "Confirmed"
        assert peer.send("BYE", 3)[-1].status == 200

    def test_hanging_up_while_the_2xx_waits(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        session, _ = ring(bob, peer, sdp[1])
        bob.do("answer", session, sdp[1])
        bob.do("hang_up", session)
        assert peer.heard()[-1].status == 480
        peer.tag = peer.heard()[-1].to.tag
        peer.send("ACK", 1)
        world.run()
        world.assert_empty()

    def test_without_a_prack_the_call_fails(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        ring(bob, peer, sdp[1])
        world.run(31.9)
        assert bob.names()[-1] == "InviteReceived"
        world.run(0.2)
        assert peer.heard()[-1].status == 504
        assert bob.last(Ended).by == "timer"
        world.run()
        world.assert_empty()

    def test_one_at_a_time_and_in_order(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Require: 100rel"])
        _, (first,) = ring(bob, peer, None, 180)
        assert first.headers.get("Require") == "100rel"
        for status in (181, 183):
            _, more = ring(bob, peer, None, status)
            assert more == []
        answers = peer.prack(first, 2)
        assert [a.status for a in answers] == [200, 181]
        rseq = [int(r.headers.get("RSeq")) for r in (first, answers[1])]
        assert rseq[1] == rseq[0] + 1
        assert peer.prack(first, 3)[0].status == 481, "that one is done"
        assert [a.status for a in peer.prack(answers[1], 4)] == [200, 183]

    def test_more_than_we_remember_is_left_unsaid(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Require: 100rel"])
        for _ in range(12):
            ring(bob, peer, None, 180)
        said = [r for r in peer.heard() if r.status == 180]
        cseq = 2
        while len(said) < 20:
            answers = peer.prack(said[-1], cseq)
            cseq += 1
            if len(answers) == 1:
                break
            said.append(answers[1])
        assert len(said) == 1 + 8

    def test_plain_ringing_is_not_made_reliable_where_nobody_insists(self, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: timer, 100rel"])
        _, (ringing,) = ring(bob, peer, None, 180)
        assert "RSeq" not in ringing.headers
        assert "Require" not in ringing.headers

    def test_a_caller_without_the_extension_never_sees_it(self, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0])
        _, (early,) = ring(bob, peer, sdp[1])
        assert "RSeq" not in early.headers

    def test_nothing_is_said_where_only_our_offer_could_be(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, extra=["Require: 100rel"])
        session, ringing = ring(bob, peer, None, 180)
        assert ringing == []
        bob.do("answer", session, sdp[0])
        assert (peer.heard()[-1].status, peer.heard()[-1].body) == (200, sdp[0])

    def test_ringing_brings_our_offer_to_who_insists_and_makes_none(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, extra=["Require: 100rel"])
        session, (ringing,) = ring(bob, peer, sdp[0], 180)
        assert (ringing.headers.get("Require"), ringing.body) == ("100rel", sdp[0])
        assert ring(bob, peer, None, 183)[1] == [], "one at a time"
        bob.do("answer", session, sdp[0])
        assert peer.heard()[-1].status == 180, "not before the answer to our offer"
        assert peer.prack(ringing, 2)[0].status == 400, "a PRACK that owes us the answer"
        accepted, again = peer.prack(ringing, 3, sdp=sdp[1], copy="b")
        assert (accepted.status, accepted.cseq.method) == (200, "PRACK")
        assert bob.last(ReofferAnswered).sdp == sdp[1]
        assert (again.status, again.body) == (183, b"")
        peer.prack(again, 4)
        final = peer.heard()[-1]
        assert (final.status, final.body) == (200, b""), "the offer is made and answered"
        peer.send("ACK", 1)
        assert peer.send("UPDATE", 5, sdp=sdp[0]) == []
        bob.do("answer_reoffer", session, sdp[1])
        assert peer.send("BYE", 6)[-1].status == 200
        world.run()
        world.assert_empty()

    def test_our_offer_that_nobody_answers_ends_the_call(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, extra=["Require: 100rel"])
        ring(bob, peer, sdp[0], 180)
        world.run(33)
        assert (peer.heard()[-1].status, bob.names()[-1]) == (504, "Ended")

    def test_a_final_refusal_ends_the_repeating(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        session, (early,) = ring(bob, peer, sdp[1])
        bob.do("reject", session, 486)
        before = len(world.raw)
        world.run(10)
        assert {r.status for r in peer.heard(before)} == {486}
        assert peer.prack(early, 2)[0].status == 481

    def test_an_offer_in_the_prack_and_in_an_early_update(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        session, (early,) = ring(bob, peer, sdp[1])
        assert peer.send("UPDATE", 2, sdp=sdp[0])[0].status == 481, "no tag yet"
        peer.tag = early.to.tag
        assert peer.send("UPDATE", 3, sdp=sdp[0])[0].status == 500, "not before the PRACK"
        assert peer.prack(early, 4, sdp=sdp[0]) == []
        assert bob.last(ReofferReceived).request.method == "PRACK"
        bob.do("answer", session, sdp[1])
        assert 200 not in [message.status for message in peer.heard()]
        bob.do("answer_reoffer", session, sdp[1])
        assert [m.cseq.method for m in peer.heard()[-2:]] == ["PRACK", "INVITE"]
        assert peer.heard()[-2].body == sdp[1]

    def test_early_update_after_the_prack(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        session, (early,) = ring(bob, peer, sdp[1])
        peer.prack(early, 2)
        assert peer.send("UPDATE", 3, sdp=sdp[0]) == []
        bob.do("answer_reoffer", session, sdp[1])
        assert (peer.heard()[-1].status, peer.heard()[-1].body) == (200, sdp[1])
        bob.do("answer", session, sdp[1])
        assert peer.heard()[-1].cseq.method == "INVITE"

    def test_it_goes_on_ringing_every_minute(self, world, bob, peer, sdp):
        peer.send("INVITE", 1, sdp=sdp[0], extra=["Supported: 100rel"])
        _, (early,) = ring(bob, peer, sdp[1])
        peer.prack(early, 2)
        before = len(world.raw)
        world.run(121)
        again = peer.heard(before)
        assert [r.status for r in again] == [183, 183]
        assert all("RSeq" not in r.headers for r in again)


class TestCalling:
    """We call and the callee sends reliable responses."""

    @pytest.fixture
    def invited(self, world, bob, peer, sdp):
        """(session, the INVITE that the peer got)."""
        target = type("Somewhere", (), {"name": "peer", "address": PEER})
        session = bob.call(target)
        (invite,) = peer.heard()
        assert "100rel" in invite.headers.get("Supported")
        return session, invite

    @staticmethod
    def early(invite, rseq, sdp=b"", status=183, tag="them"):
        response = invite.response(status, to_tag=tag)
        response.headers.add("Contact", "<sip:peer@10.0.0.77>")
        if rseq:
            response.headers.add("Require", "100rel")
            response.headers.add("RSeq", str(rseq))
        if sdp:
            response.headers.add("Content-Type", "application/sdp")
            response.body = sdp
        return response

    def test_each_is_acknowledged_once_and_in_order(self, world, bob, peer, invited, sdp):
        _, invite = invited
        first = self.early(invite, 7, sdp[1])
        (prack,) = peer.give(first.serialise())
        assert isinstance(prack, SipRequest)
        assert (prack.method, rack_of(prack)) == ("PRACK", (7, 1, "INVITE"))
        assert prack.cseq.number == 2
        peer.give(prack.response(200).serialise())
        assert peer.give(first.serialise()) == [], "a copy"
        assert peer.give(self.early(invite, 9).serialise()) == [], "before its turn"
        (second,) = peer.give(self.early(invite, 8, status=180).serialise())
        assert rack_of(second) == (8, 1, "INVITE")
        assert [e.status for e in bob.events if isinstance(e, Progressed)] == [183, 180]

    def test_the_answer_that_came_early_counts(self, world, bob, peer, invited, sdp):
        session, invite = invited
        peer.give(self.early(invite, 1, sdp[1]).serialise())
        final = self.early(invite, 0, status=200)
        (ack,) = peer.give(final.serialise())
        assert ack.method == "ACK"
        assert bob.last(Answered).sdp == sdp[1]
        bob.do("hang_up", session)
        assert peer.heard()[-1].cseq.number == 3

    def test_forks_have_numbers_of_their_own(self, world, bob, peer, invited, sdp):
        _, invite = invited
        for tag, rseq in (("one", 5), ("two", 90), ("one", 6), ("two", 91)):
            (prack,) = peer.give(self.early(invite, rseq, tag=tag).serialise())
            assert prack.to.tag == tag

    def test_the_callee_may_offer_again_once_he_has_answered(self, world, bob, peer, invited, sdp):
        session, invite = invited
        peer.give(self.early(invite, 1).serialise())
        ids = {"call_id": invite.call_id, "ours": invite.from_.tag}

        def update(cseq):
            lines = (
                f"UPDATE sip:bob@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.77;branch=z9hG4bKu{cseq}\r\n"
                f"From: <sip:peer@10.0.0.77>;tag=them\r\nTo: <sip:bob@10.0.0.2>;tag={ids['ours']}\r\n"
                f"Call-ID: {ids['call_id']}\r\nCSeq: {cseq} UPDATE\r\nMax-Forwards: 70\r\n"
                "Contact: <sip:peer@10.0.0.77>\r\nContent-Type: application/sdp\r\n\r\n"
            )
            return peer.give(lines.encode() + sdp[0])

        assert update(1)[0].status == 491, "our offer is still open"
        peer.give(self.early(invite, 2, sdp[1]).serialise())
        assert update(2) == []
        bob.do("answer_reoffer", session, sdp[1])
        assert peer.heard()[-1].status == 200
        peer.give(self.early(invite, 0, status=200).serialise())
        assert bob.last(Answered).sdp == sdp[1]

    def test_a_prack_that_fails_changes_nothing(self, world, bob, peer, invited, sdp):
        _, invite = invited
        (prack,) = peer.give(self.early(invite, 1).serialise())
        peer.give(prack.response(481).serialise())
        peer.give(self.early(invite, 0, sdp[1], status=200).serialise())
        assert bob.names()[-1] == "Answered"

    def test_a_late_offer_asks_for_nothing_reliable(self, world, bob, peer):
        target = type("Somewhere", (), {"name": "peer", "address": PEER})
        bob.call(target, sdp=None)
        assert "100rel" not in peer.heard()[-1].headers.get("Supported")

    def test_unacknowledged_pracks_leave_nothing(self, world, bob, peer, invited):
        _, invite = invited
        peer.give(self.early(invite, 1).serialise())
        world.run(70)
        assert bob.last(Failed).status == 408
        world.run()
        world.assert_empty()


def test_both_ends_of_ours(pair, sdp):
    world, alice, bob = pair
    session = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("progress", theirs, 183, sdp[1])
    bob.do("answer", theirs, sdp[1])
    assert alice.last(Answered).sdp == sdp[1]
    assert "alice> PRACK" in world.wire
    assert world.wire.index("bob> 200 PRACK") < world.wire.index("bob> 200 INVITE")
    alice.do("hang_up", session)
    world.run()
    world.assert_empty()


def test_both_ends_of_ours_with_loss(make_world, sdp):
    for seed in range(40):
        world = make_world(seed)
        world.loss, world.duplicate, world.delay_s = 0.2, 0.1, (0.0, 0.3)
        alice, bob = world.station("alice", "10.0.0.1"), world.station("bob", "10.0.0.2")
        session = alice.call(bob)
        world.run(10)
        if "InviteReceived" in bob.names():
            theirs = bob.last(InviteReceived).session
            bob.do("progress", theirs, 183, sdp[1])
            bob.do("answer", theirs, sdp[1])
        world.run(30)
        alice.do("hang_up", session)
        if "InviteReceived" in bob.names():
            bob.do("hang_up", bob.last(InviteReceived).session)
        world.run()
        world.assert_empty()
        assert alice.stack.snapshot()["internal_errors"] == 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Reliability.NONE),
        ([("Supported", "timer, 100rel")], Reliability.SUPPORTED),
        ([("Supported", "100relative")], Reliability.NONE),
        ([("Require", "100rel"), ("Supported", "100rel")], Reliability.REQUIRED),
    ],
)
def test_who_wants_it(headers, expected):
    invite = SipRequest("INVITE", "sip:x")
    for name, value in headers:
        invite.headers.add(name, value)
    assert reliability_of(invite) is expected


@pytest.mark.parametrize(
    "value", ["", "1", "1 2", "x 1 INVITE", "1 2 INVITE 3", "-1 1 INVITE", "\u0661 1 INVITE"]
)
def test_rack_that_is_none(value):
    prack = SipRequest("PRACK", "sip:x")
    prack.headers.add("RAck", value)
    assert rack_of(prack) is None
