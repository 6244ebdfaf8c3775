"""What strangers get: the gate, stateless answers, wrong sources, garbage, limits."""

from __future__ import annotations

import random

import pytest

from softswitch.sip.events import Confirmed, InviteReceived, RequestReceived
from softswitch.sip.gate import Admitted, Drop, Refuse
from softswitch.sip.stack_config import StackConfig

STRANGER = ("198.51.100.7", 40000)


def message(
    method="INVITE",
    *,
    branch="z9hG4bKstranger1",
    cseq=1,
    call_id="c1@198.51.100.7",
    to_tag="",
    from_tag="f1",
    uri="sip:bob@10.0.0.2",
    via="SIP/2.0/UDP 192.0.2.99:5060",
    extra="",
    body="",
):
    tag = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: {via};branch={branch};rport\r\n"
        f"Max-Forwards: 70\r\n"
        f"From: <sip:mallory@198.51.100.7>;tag={from_tag}\r\n"
        f"To: <sip:bob@10.0.0.2>{tag}\r\n"
        f"Call-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\n"
        f"Contact: <sip:mallory@198.51.100.7:40000>\r\n"
        f"{extra}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class RuleGate:
    """Says what it is told to, and counts."""

    def __init__(self, verdict):
        self.verdict = verdict
        self.asked = 0

    def admit(self, request, flow, now_s):
        self.asked += 1
        return self.verdict


def status(world, position=-1):
    return world.raw[position][0].split(b" ", 2)[1].decode()


@pytest.fixture
def bob(world):
    return world.station("bob", "10.0.0.2")


def test_refusal_is_stateless_repeats_itself_and_absorbs_the_ack(world):
    gate = RuleGate(Refuse(401, [("WWW-Authenticate", 'Digest realm="r", nonce="n"')]))
    bob = world.station("bob", "10.0.0.2", gate=gate)
    world.inject(message(), bob, STRANGER)
    world.inject(message(), bob, STRANGER)
    assert bob.gauges() == {}
    assert len(world.raw) == 2
    first, second = world.raw
    assert first == second
    assert first[1].remote == STRANGER
    assert b"401" in first[0]
    assert b"WWW-Authenticate" in first[0]
    tag = first[0].split(b"\r\nTo: ")[1].split(b"tag=")[1].split(b"\r\n")[0].decode()
    world.inject(message("ACK", to_tag=tag), bob, STRANGER)
    world.inject(message("ACK", to_tag="guess"), bob, STRANGER)
    counters = bob.stack.snapshot()
    assert (counters["acks_absorbed"], counters["acks_unmatched"]) == (1, 1)
    assert len(world.raw) == 2
    assert bob.events == []


def test_different_requests_get_different_tags(world):
    bob = world.station("bob", "10.0.0.2", gate=RuleGate(Refuse(403)))
    world.inject(message(call_id="one"), bob, STRANGER)
    world.inject(message(call_id="two"), bob, STRANGER)
    tags = {data.split(b";tag=")[-1].split(b"\r\n")[0] for data, _ in world.raw}
    assert len(tags) == 2


def test_dropped_means_silence(world):
    bob = world.station("bob", "10.0.0.2", gate=RuleGate(Drop()))
    for method in ("INVITE", "REGISTER", "OPTIONS", "FOO"):
        world.inject(message(method), bob, STRANGER)
    assert world.raw == []
    assert bob.stack.snapshot()["dropped"] == 4
    assert bob.gauges() == {}


def test_no_trying_before_admission(world):
    bob = world.station("bob", "10.0.0.2", gate=RuleGate(Refuse(401)))
    world.inject(message(), bob, STRANGER)
    assert [data[:11] for data, _ in world.raw] == [b"SIP/2.0 401"]


def test_identity_reaches_the_event(world):
    bob = world.station("bob", "10.0.0.2", gate=RuleGate(Admitted("trunk:carrier")))
    world.inject(message(), bob, STRANGER)
    assert bob.last(InviteReceived).identity == "trunk:carrier"
    world.inject(message("OPTIONS", branch="z9hG4bKo", call_id="o"), bob, STRANGER)
    assert bob.last(RequestReceived).identity == "trunk:carrier"


def test_answers_go_to_the_source_and_say_what_was_seen(world, bob):
    world.inject(message("OPTIONS"), bob, STRANGER)
    bob.do("respond", bob.last(RequestReceived).handle, 200)
    data, flow = world.raw[-1]
    assert flow.remote == STRANGER
    via = data.split(b"\r\nVia: ")[1].split(b"\r\n")[0]
    assert b"received=198.51.100.7" in via
    assert b"rport=40000" in via
    assert b"192.0.2.99" in via


def test_several_vias_in_one_line_are_all_copied(world, bob):
    via = "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx, SIP/2.0/TCP 192.0.2.2"
    world.inject(message("OPTIONS", via=via), bob, STRANGER)
    bob.do("respond", bob.last(RequestReceived).handle, 200)
    line = world.raw[-1][0].split(b"\r\nVia: ")[1].split(b"\r\n")[0]
    assert line.startswith(b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx;received=198.51.100.7")
    assert line.endswith(b", SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKstranger1;rport")


def test_merged_invite_is_482(world, bob):
    # RFC 3261 8.2.2.2: same From tag, Call-ID, CSeq by another path.
    world.inject(message(), bob, STRANGER)
    world.inject(message(branch="z9hG4bKother"), bob, STRANGER)
    assert status(world) == "482"
    assert bob.names() == ["InviteReceived"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (message(extra="Require: 199rel\r\n"), "420"),
        (message(extra="Require: flying\r\n"), "420"),
        (message("FLY"), "501"),
        (message(uri="urn:service:sos"), "416"),
        (message("REGISTER", uri="tel:+15551234"), "416"),
        (message(extra="Content-Type: text/html\r\n", body="<html>"), "415"),
        (message().replace(b"Max-Forwards: 70", b"Max-Forwards: 0"), "483"),
        (message("BYE", to_tag="nobody"), "481"),
        (message("BYE"), "481"),
        (message("CANCEL"), "481"),
        (message("INFO", to_tag="nobody"), "481"),
        (message(to_tag="nobody"), "481"),
        (message().replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"), "400"),
        (message().replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"), "505"),
        (message(extra="Session-Expires: 20\r\nSupported: timer\r\n"), "422"),
    ],
)
def test_requests_that_cannot_be_served(world, bob, data, expected):
    world.inject(data, bob, STRANGER)
    assert status(world) == expected
    assert bob.events == []
    world.inject(
        message("ACK", to_tag=world.raw[-1][0].split(b";tag=")[-1].split(b"\r\n")[0].decode()),
        bob,
        STRANGER,
    )
    world.run()
    world.assert_empty()


@pytest.mark.parametrize(
    "method", ["BYE", "INVITE", "INFO", "UPDATE", "REFER", "NOTIFY", "MESSAGE"]
)
def test_late_requests_of_a_dialog_that_is_over_are_not_challenged(world, method):
    """A BYE that comes again after everything has been forgotten: 401 would only make the phone
    answer it and try once more."""
    gate = RuleGate(Refuse(401, [("WWW-Authenticate", 'Digest realm="r", nonce="n"')]))
    bob = world.station("bob", "10.0.0.2", gate=gate)
    world.inject(message(method, to_tag="gone"), bob, STRANGER)
    world.inject(message("ACK", to_tag="gone"), bob, STRANGER)
    assert [status(world, i) for i in range(len(world.raw))] == ["481"]
    assert gate.asked == 0
    assert bob.gauges() == {}
    assert bob.stack.snapshot()["no_dialog"] == 1


def test_malformed_late_requests_get_what_everybody_gets(world):
    bob = world.station("bob", "10.0.0.2", gate=RuleGate(Refuse(401)))
    world.inject(message("FLY", to_tag="gone"), bob, STRANGER)
    world.inject(message("INVITE", to_tag="gone", extra="Require: flying\r\n"), bob, STRANGER)
    assert [status(world, i) for i in range(len(world.raw))] == ["501", "420"]


def test_a_request_without_via_is_answered_where_it_came_from(world, bob):
    data = (
        b"INVITE sip:bob@10.0.0.2 SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n"
        b"Call-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"
    )
    world.inject(data, bob, STRANGER)
    assert status(world) == "400"
    assert world.raw[-1][1].remote == STRANGER
    world.inject(b"GET / HTTP/1.1\r\nHost: 10.0.0.2\r\n\r\n", bob, STRANGER)
    assert len(world.raw) == 1


def test_methods_that_are_known_but_not_served_are_405(world):
    bob = world.station("bob", "10.0.0.2", StackConfig(allow=("INVITE", "ACK")))
    world.inject(message("PUBLISH"), bob, STRANGER)
    assert status(world) == "405"
    assert b"Allow: INVITE, ACK\r\n" in world.raw[-1][0]


def test_preloaded_route_to_somebody_else_is_403(world):
    config = StackConfig(local_addresses=(("10.0.0.2", 5060),))
    bob = world.station("bob", "10.0.0.2", config)
    world.inject(message(extra="Route: <sip:192.0.2.1;lr>\r\n"), bob, STRANGER)
    assert status(world) == "403"
    world.inject(
        message(call_id="own", branch="z9hG4bKown", extra="Route: <sip:10.0.0.2;lr>\r\n"),
        bob,
        STRANGER,
    )
    assert bob.names() == ["InviteReceived"]


def test_register_reaches_the_registrar_and_is_answered_once(world, bob):
    data = message("REGISTER", uri="sip:10.0.0.2", extra="Expires: 60\r\n")
    world.inject(data, bob, STRANGER)
    world.inject(data, bob, STRANGER)
    handle = bob.last(RequestReceived).handle
    assert bob.names() == ["RequestReceived"]
    bob.do("respond", handle, 200, None, [("Contact", "<sip:x@y>;expires=60")])
    bob.do("respond", handle, 500)
    world.inject(data, bob, STRANGER)
    assert [status(world, i) for i in range(len(world.raw))] == ["200", "200"]
    assert world.raw[0] == world.raw[1]
    world.run()
    world.assert_empty()


def test_unanswered_request_gets_500_in_the_end(world, bob):
    world.inject(message("MESSAGE"), bob, STRANGER)
    world.run(32.5)
    assert status(world) == "500"
    world.run()
    world.assert_empty()


def test_responses_that_match_nothing_are_counted(world, bob):
    for text in (
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKx\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKx\r\n"
        "Via: SIP/2.0/UDP 255.255.255.255\r\n",
    ):
        data = f"{text}From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\n"
        world.inject(f"{data}CSeq: 1 INVITE\r\n\r\n".encode(), bob, STRANGER)
    assert world.raw == []
    assert bob.stack.snapshot()["responses_unmatched"] == 2


def in_dialog(world, alice, bob, sdp):
    """A call from Alice to Bob, and what a third party would have to know to forge into it."""
    mine = alice.call(bob)
    theirs = bob.last(InviteReceived).session
    bob.do("answer", theirs, sdp[1])
    ids = alice.stack.dialog_of(mine)
    forged = {
        "call_id": ids["call_id"],
        "from_tag": ids["local_tag"],
        "to_tag": ids["remote_tag"],
        "cseq": 50,
        "branch": "z9hG4bKforged",
    }
    return mine, theirs, forged


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE", "UPDATE", "REFER", "MESSAGE"])
def test_in_dialog_request_from_another_host_is_403(pair, sdp, method):
    world, alice, bob = pair
    _, theirs, forged = in_dialog(world, alice, bob, sdp)
    before = bob.names()
    world.inject(message(method, **forged), bob, STRANGER)
    assert status(world) == "403"
    assert bob.names() == before
    assert bob.stack.snapshot()["foreign_source"] == 1
    assert bob.stack.dialog_of(theirs)["remote_cseq"] == 1


def test_foreign_ack_and_cancel_do_nothing(pair, sdp):
    world, alice, bob = pair
    world.cut = lambda data, flow: data.startswith(b"ACK")
    mine, _theirs, forged = in_dialog(world, alice, bob, sdp)
    world.inject(message("ACK", **{**forged, "cseq": 1}), bob, STRANGER)
    assert "Confirmed" not in bob.names()
    assert bob.stack.snapshot()["foreign_source"] == 1
    world.cut = lambda data, flow: False
    world.run(1.0)
    assert bob.last(Confirmed)
    second = alice.call(bob)
    ringing = bob.last(InviteReceived)
    invite = ringing.request
    world.inject(
        message(
            "CANCEL",
            via=f"SIP/2.0/UDP {invite.top_via.host}:{invite.top_via.port}",
            branch=invite.top_via.branch,
            call_id=invite.call_id,
            from_tag=invite.from_.tag,
        ),
        bob,
        STRANGER,
    )
    assert status(world) == "481"
    assert "Cancelled" not in bob.names()
    assert mine != second


def test_permitted_hosts_may_speak_in_the_dialog(world, sdp):
    gate = RuleGate(Admitted("trunk", frozenset({"10.0.0.9"})))
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=gate)
    _, theirs, forged = in_dialog(world, alice, bob, sdp)
    world.inject(message("BYE", **forged), bob, ("10.0.0.9", 5060))
    assert status(world) == "200"
    assert bob.last(type(bob.events[-1])).session == theirs
    assert bob.names()[-1] == "Ended"


def test_a_phone_that_moved_is_known_by_its_identity(world, sdp):
    class Password:
        def admit(self, request, flow, now_s):
            known = "Authorization" in request.headers or flow.remote[0] == "10.0.0.1"
            return Admitted("phone:1001") if known else Refuse(401)

    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=Password())
    _, theirs, forged = in_dialog(world, alice, bob, sdp)
    moved = ("203.0.113.5", 7777)
    world.inject(message("INFO", **forged), bob, moved)
    assert status(world) == "401"
    signed = {**forged, "branch": "z9hG4bKf2", "extra": "Authorization: Digest x\r\n"}
    world.inject(message("INFO", **signed), bob, moved)
    assert status(world) == "200"
    assert bob.stack.dialog_of(theirs)["flow"].remote == moved
    bob.do("hang_up", theirs)
    assert world.raw[-1][1].remote == moved
    assert world.raw[-1][0].startswith(b"BYE ")


def test_out_of_order_request_is_500(pair, sdp):
    world, alice, bob = pair
    mine, _, forged = in_dialog(world, alice, bob, sdp)
    alice.do("info", mine, "text/plain", b"x")
    source = alice.address
    del world.stations[source]  # so that answers to forged requests can be read
    world.inject(message("INFO", **{**forged, "cseq": 1}), bob, source)
    assert status(world) == "500"
    world.inject(message("INFO", **{**forged, "branch": "z9hG4bKi", "cseq": 9}), bob, source)
    assert status(world) == "200"


def test_keepalives_are_counted_only(world, bob):
    for data in (b"", b"\r\n\r\n", b"\r\n", b"\0\0\0\0"):
        world.inject(data, bob, STRANGER)
    assert bob.stack.snapshot()["keepalives"] == 4
    assert world.raw == []


def test_garbage_never_raises_and_leaves_nothing(world, bob):
    dice = random.Random(7)
    seeds = [
        message(),
        message("REGISTER", extra="Expires: 60\r\n"),
        message("BYE", to_tag="x"),
        message("ACK", to_tag="x"),
        message("CANCEL"),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKx\r\n"
        b"From: <sip:a@b>\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n",
    ]
    for number in range(3000):
        data = bytearray(dice.choice(seeds).replace(b"stranger1", b"s%d" % number))
        for _ in range(dice.randrange(1, 12)):
            at = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    del data[at : at + dice.randrange(1, 40)]
                case 2:
                    data[at:at] = data[at : at + dice.randrange(1, 60)]
                case _:
                    data[at:at] = dice.choice(
                        (b"\r\n", b";", b",", b"<", b'"', b"%", b"\xff", b":")
                    )
            if not data:
                break
        world.inject(bytes(data), bob, STRANGER)
    for event in bob.events:
        if isinstance(event, InviteReceived):
            bob.do("hang_up", event.session)
    world.run()
    world.assert_empty()
