"""Digest challenges to our own requests: answered with configured credentials and never else."""

from __future__ import annotations

import pytest

from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import Challenge, NonceBox, ha1, parse_authorization
from softswitch.sip.events import (
    Answered,
    Failed,
    InfoReceived,
    InviteReceived,
    RequestReceived,
    ResponseReceived,
)
from softswitch.sip.gate import Admitted, Refuse
from softswitch.sip.uri import NameAddr

CREDENTIALS = Credentials("office", "trunk-secret")


class Registrar:
    """Challenges whoever carries no credentials, and every method if told so."""

    def __init__(self, realm="carrier", stale_first=False, always=False, proxy=False):
        self.realm = realm
        self.always = always
        self.names = (
            (407, "Proxy-Authenticate", "Proxy-Authorization")
            if proxy
            else (401, "WWW-Authenticate", "Authorization")
        )
        self.box = NonceBox(b"secret")
        self.seen = []

    def admit(self, request, flow, now_s):
        status, asks, answers = self.names
        value = request.headers.get(answers)
        self.seen.append(value)
        if value is None or self.always:
            challenge = Challenge(self.realm, self.box.issue(now_s, flow.remote[0]))
            return Refuse(status, [(asks, str(challenge))])
        return Admitted("office")


def test_invite_is_repeated_with_credentials(world, sdp):
    gate = Registrar()
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=gate)
    mine = alice.call(bob, credentials=CREDENTIALS)
    assert world.wire == [
        "alice> INVITE",
        "bob> 401 INVITE",
        "alice> ACK",
        "alice> INVITE",
        "bob> 100 INVITE",
    ]
    request = bob.last(InviteReceived).request
    assert request.cseq.number == 2
    proof = parse_authorization(request.headers.get("Authorization"))
    assert (proof.username, proof.realm) == ("office", "carrier")
    assert ha1("office", "carrier", "trunk-secret") not in request.headers.get("Authorization")
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    assert alice.last(Answered)
    alice.do("hang_up", mine)
    world.run()
    world.assert_empty()


def test_the_ack_carries_the_credentials_of_the_invite(world, sdp):
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=Registrar(proxy=True))
    acks = []
    world.cut = lambda data, flow: acks.append(data) if data.startswith(b"ACK") else False
    alice.call(bob, credentials=CREDENTIALS)
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    assert b"Proxy-Authorization: Digest" not in acks[0]
    assert b"Proxy-Authorization: Digest" in acks[-1]


def test_wrong_password_gives_up_after_the_second_try(world):
    gate = Registrar(always=True)
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=gate)
    alice.call(bob, credentials=CREDENTIALS)
    assert alice.last(Failed).status == 401
    assert world.wire.count("alice> INVITE") == 2
    world.run()
    world.assert_empty()


def test_a_stale_nonce_is_worth_another_try(world):
    class Stale(Registrar):
        def admit(self, request, flow, now_s):
            self.always = len(self.seen) == 1
            verdict = super().admit(request, flow, now_s)
            if isinstance(verdict, Refuse) and self.always:
                name, value = verdict.headers[0]
                return Refuse(verdict.status, [(name, f"{value}, stale=true")])
            return verdict

    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=Stale())
    alice.call(bob, credentials=CREDENTIALS)
    assert world.wire.count("alice> INVITE") == 3
    assert bob.names() == ["InviteReceived"]


@pytest.mark.parametrize("proxy", [False, True])
def test_no_credentials_no_answer(world, proxy):
    gate = Registrar(proxy=proxy)
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=gate)
    alice.call(bob)
    assert alice.last(Failed).status == (407 if proxy else 401)
    assert gate.seen == [None]


def test_a_foreign_realm_gets_nothing(world):
    gate = Registrar(realm="phisher")
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=gate)
    alice.call(bob, credentials=Credentials("office", "trunk-secret", ("carrier",)))
    assert alice.last(Failed).status == 401
    assert gate.seen == [None]


def test_register_with_credentials(world):
    gate = Registrar()
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=gate)
    bob.on_event = lambda event: (
        bob.stack.respond(event.handle, 200, now_s=world.now_s)
        if isinstance(event, RequestReceived)
        else None
    )
    own = NameAddr("sip:office@carrier.example")
    handle = alice.do(
        "request",
        "REGISTER",
        "sip:carrier.example",
        alice.flow_to(bob),
        from_=own,
        to=own,
        headers=[("Expires", "300")],
        credentials=CREDENTIALS,
        cseq=7,
    )
    received = alice.last(ResponseReceived)
    assert (received.handle, received.response.status) == (handle, 200)
    assert [str(r.request.cseq) for r in bob.events] == ["8 REGISTER"]
    assert alice.names() == ["ResponseReceived"]
    world.run()
    world.assert_empty()


def challenge_everything_in_dialog(world, bob, method, response_status=401):
    """Make Bob challenge `method` inside the dialog, whatever it carries."""
    seen = []
    real = bob.stack.receive_datagram

    def receive(data, flow, now_s):
        if data.startswith(method.encode() + b" ") and b"Authorization: Digest" not in data:
            from softswitch.sip.flow import Outgoing
            from softswitch.sip.parser import parse_message

            request = parse_message(data)
            seen.append(request)
            response = request.response(response_status)
            response.headers.add("WWW-Authenticate", str(Challenge("carrier", "n" * 52)))
            bob.stack._transactions.outbox.append(Outgoing(response.serialise(), flow))
        else:
            real(data, flow, now_s)

    bob.stack.receive_datagram = receive
    return seen


@pytest.mark.parametrize("method", ["BYE", "INVITE", "REFER"])
def test_challenge_inside_the_dialog_of_a_trunk_is_answered(pair, sdp, method):
    world, alice, bob = pair
    mine = alice.call(bob, credentials=CREDENTIALS)
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    seen = challenge_everything_in_dialog(world, bob, method)
    if method == "BYE":
        alice.do("hang_up", mine)
        assert bob.names()[-1] == "Ended"
    elif method == "INVITE":
        alice.do("reinvite", mine, sdp[0])
        assert bob.names()[-1] == "ReofferReceived"
    else:
        alice.do("request_in_dialog", mine, "REFER")
        assert bob.names()[-1] == "RequestReceived"
    assert len(seen) == 1


def test_every_request_of_a_long_call_has_tries_of_its_own(pair, sdp):
    """Two digits by INFO had used up what there was for the whole call, and its BYE stayed refused."""
    world, alice, bob = pair
    mine = alice.call(bob, credentials=CREDENTIALS)
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    for digit in b"123":
        challenge_everything_in_dialog(world, bob, "INFO")
        alice.do("info", mine, "application/dtmf-relay", b"Signal=%c" % digit)
    assert [e.body for e in bob.events if isinstance(e, InfoReceived)] == [
        b"Signal=1",
        b"Signal=2",
        b"Signal=3",
    ]
    challenge_everything_in_dialog(world, bob, "BYE")
    alice.do("hang_up", mine)
    assert bob.names()[-1] == "Ended"
    world.run()
    world.assert_empty()


def test_challenge_from_a_phone_to_bye_and_reinvite_gets_no_digest(pair, sdp):
    world, alice, bob = pair
    mine = alice.call(bob)
    bob.do("answer", bob.last(InviteReceived).session, sdp[1])
    sent = []
    world.cut = lambda data, flow: sent.append(data) or False
    challenge_everything_in_dialog(world, bob, "INVITE")
    alice.do("reinvite", mine, sdp[0])
    assert alice.names()[-1] == "ReofferFailed"
    challenge_everything_in_dialog(world, bob, "BYE")
    alice.do("hang_up", mine)
    assert not [data for data in sent if b"uthorization:" in data]
