"""One INVITE, several answers; route sets; where in-dialog requests go."""

from __future__ import annotations

import pytest

from softswitch.sip.credentials import Credentials
from softswitch.sip.dialog import Dialog
from softswitch.sip.digest import Challenge
from softswitch.sip.events import Answered, Progressed
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Admitted
from softswitch.sip.message import SipRequest
from softswitch.sip.next_hop import next_hop
from softswitch.sip.parser import parse_message
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.uri import NameAddr

PROXY = ("10.0.0.50", 5060)


class Elsewhere:
    """Something that is no stack of ours: answers by hand."""

    address = PROXY
    name = "proxy"


@pytest.fixture
def alice(world):
    return world.station("alice", "10.0.0.1")


def reply(world, alice, status, tag, *, sdp=None, contact="sip:callee@10.0.0.60:5080", routes=()):
    """Answer the last INVITE seen at the proxy with a response of the fork `tag`."""
    invites = [data for data, _ in world.raw if data.startswith(b"INVITE")]
    request = parse_message(invites[-1])
    response = request.response(status, to_tag=tag)
    response.headers.add("Contact", f"<{contact}>")
    for route in routes:
        response.headers.add("Record-Route", route)
    if sdp is not None:
        response.headers.add("Content-Type", "application/sdp")
        response.body = sdp
    world.inject(response.serialise(), alice, PROXY)


def sent(world, method):
    return [parse_message(data) for data, _ in world.raw if data.startswith(method.encode())]


def test_forked_answers_beyond_the_first_are_hung_up(world, alice, sdp):
    session = alice.call(Elsewhere)
    reply(world, alice, 183, "one", sdp=sdp[1])
    reply(world, alice, 180, "two")
    assert [event.status for event in alice.events if isinstance(event, Progressed)] == [183, 180]
    assert alice.stack.snapshot()["dialogs"] == 2
    reply(world, alice, 200, "two", sdp=sdp[1])
    reply(world, alice, 200, "one", sdp=sdp[1])
    assert alice.names() == ["Progressed", "Progressed", "Answered"]
    assert alice.stack.dialog_of(session)["remote_tag"] == "two"
    assert [ack.to.tag for ack in sent(world, "ACK")] == ["two", "one"]
    assert [bye.to.tag for bye in sent(world, "BYE")] == ["one"]
    reply(world, alice, 200, "one", sdp=sdp[1])
    reply(world, alice, 200, "two", sdp=sdp[1])
    assert [ack.to.tag for ack in sent(world, "ACK")] == ["two", "one", "one", "two"]
    assert len(sent(world, "BYE")) == 1
    assert alice.stack.snapshot()["dialogs"] == 1
    alice.do("hang_up", session)
    world.run()
    world.assert_empty()


@pytest.mark.limit("telephones a call forks to elsewhere")
def test_forks_are_bounded(world, sdp):
    alice = world.station("alice", "10.0.0.1", StackConfig(max_forks=3))
    alice.call(Elsewhere)
    for number in range(4):
        reply(world, alice, 180, f"fork{number}")
    assert alice.names() == ["Progressed"] * 3
    assert alice.stack.snapshot()["dialogs"] == 3
    reply(world, alice, 200, "fork3", sdp=sdp[1])
    assert isinstance(alice.events[-1], Answered)
    assert alice.stack.snapshot()["dialogs"] == 1


def test_record_route_becomes_the_route_set_in_reverse(world, alice, sdp):
    session = alice.call(Elsewhere)
    reply(
        world,
        alice,
        200,
        "one",
        sdp=sdp[1],
        routes=("<sip:10.0.0.52;lr>, <sip:10.0.0.51;lr>", "<sip:10.0.0.50;lr>"),
    )
    alice.do("hang_up", session)
    for request in (sent(world, "ACK")[0], sent(world, "BYE")[0]):
        assert [route.uri.host for route in request.routes] == [
            "10.0.0.50",
            "10.0.0.51",
            "10.0.0.52",
        ]
        assert request.uri == "sip:callee@10.0.0.60:5080"


def test_preloaded_route_and_outbound_headers(world, alice):
    alice.call(
        Elsewhere,
        route=("<sip:10.0.0.50;lr>",),
        headers=[("Max-Forwards", "12"), ("P-Asserted-Identity", "<sip:+8610@x>")],
        contact="sip:gw@192.0.2.200:5066",
        call_id="mine",
    )
    invite = sent(world, "INVITE")[0]
    assert invite.headers.get_all("Route") == ["<sip:10.0.0.50;lr>"]
    assert invite.headers.get_all("Max-Forwards") == ["12"]
    assert invite.headers.get("P-Asserted-Identity") == "<sip:+8610@x>"
    assert invite.headers.get("Contact") == "<sip:gw@192.0.2.200:5066>"
    assert invite.call_id == "mine"


@pytest.mark.parametrize("follow", [False, True])
def test_in_dialog_requests_follow_the_contact_only_for_trusted_peers(world, alice, sdp, follow):
    session = alice.call(Elsewhere, follow_contact=follow)
    reply(world, alice, 200, "one", sdp=sdp[1])
    alice.do("hang_up", session)
    remotes = [flow.remote for data, flow in world.raw if data[:3] in (b"ACK", b"BYE")]
    assert remotes == [("10.0.0.60", 5080) if follow else PROXY] * 2


def make_dialog(target, routes=()):
    return Dialog(
        id=("c", "a", "b"),
        call_id="c",
        local="<sip:a@x>;tag=a",
        remote="<sip:b@y>;tag=b",
        local_tag="a",
        remote_tag="b",
        local_cseq=3,
        remote_cseq=None,
        routes=[NameAddr.parse(route) for route in routes],
        target=target,
        flow=Flow("udp", ("10.0.0.1", 5060), PROXY),
    )


@pytest.mark.parametrize(
    ("target", "routes", "expected"),
    [
        ("sip:b@10.0.0.60", (), ("10.0.0.60", 5060)),
        ("sip:b@10.0.0.60", ("<sip:10.0.0.70:5070;lr>",), ("10.0.0.70", 5070)),
        ("sip:b@[2001:db8::1]:5061", (), ("2001:db8::1", 5061)),
        ("sip:b@phone.example", (), PROXY),
        ("tel:+8610", (), PROXY),
        ("sip:b@10.0.0.50", (), PROXY),
    ],
)
def test_next_hop(target, routes, expected):
    assert next_hop(make_dialog(target, routes), True).remote == expected
    assert next_hop(make_dialog(target, routes), False).remote == PROXY


def test_strict_router_becomes_the_request_uri():
    # RFC 3261 12.2.1.1
    request = make_dialog("sip:b@y", ("<sip:strict>", "<sip:next;lr>")).request("BYE")
    assert request.uri == "sip:strict"
    assert request.headers.get_all("Route") == ["<sip:next;lr>", "<sip:b@y>"]
    assert str(request.cseq) == "4 BYE"


def test_cseq_of_the_peer_must_rise():
    dialog = make_dialog("sip:b@y")

    def info(number):
        request = SipRequest("INFO", "sip:a@x")
        request.headers.add("CSeq", f"{number} INFO")
        return dialog.accepts(request)

    assert [info(n) for n in (7, 7, 6, 8, 2**31 - 1, 9)] == [True, False, False, True, True, False]


def test_target_refresh_moves_later_requests(pair, sdp):
    _world, alice, bob = pair
    mine = alice.call(bob)
    theirs = bob.events[-1].session
    bob.do("answer", theirs, sdp[1])
    assert bob.stack.dialog_of(theirs)["target"] == "sip:alice@10.0.0.1:5060"
    alice.stack._sessions.units[mine].machine.terms.contact = "<sip:moved@10.0.0.1:6000>"
    alice.do("reinvite", mine, sdp[0])
    assert bob.stack.dialog_of(theirs)["target"] == "sip:alice@10.0.0.1:5060"
    bob.do("answer_reoffer", theirs, sdp[1])
    assert bob.stack.dialog_of(theirs)["target"] == "sip:moved@10.0.0.1:6000"


class Trusting:
    def admit(self, request, flow, now_s):
        return Admitted("trunk", frozenset(), True)


def test_gate_can_let_in_dialog_requests_follow_the_contact(world, sdp):
    alice = world.station("alice", "10.0.0.1")
    bob = world.station("bob", "10.0.0.2", gate=Trusting())
    alice.call(bob, contact="sip:alice@10.0.0.77:5099")
    theirs = bob.events[-1].session
    bob.do("answer", theirs, sdp[1])
    bob.do("hang_up", theirs)
    assert world.raw[-1][1].remote == ("10.0.0.77", 5099)


def test_an_answer_that_crosses_our_cancel_is_a_dialog_until_its_bye_is_answered(world, alice, sdp):
    """Of a fork that had rung before: its own BYE may cross ours and gets 200."""
    session = alice.call(Elsewhere)
    reply(world, alice, 180, "one")
    alice.do("hang_up", session)
    reply(world, alice, 200, "one", sdp=sdp[1])
    assert [bye.to.tag for bye in sent(world, "BYE")] == ["one"]
    assert alice.stack.snapshot()["dialogs"] == 1


def test_the_bye_of_a_late_fork_does_not_end_the_call_that_stands(world, alice, sdp):
    session = alice.call(Elsewhere)
    reply(world, alice, 200, "one", sdp=sdp[1])
    alice.do("hang_up", session)
    reply(world, alice, 200, "two", sdp=sdp[1])
    ours, late = sent(world, "BYE")
    assert (ours.to.tag, late.to.tag) == ("one", "two")
    world.inject(late.response(200).serialise(), alice, PROXY)
    assert alice.stack.snapshot()["dialogs"] == 1
    world.inject(ours.response(200).serialise(), alice, PROXY)
    assert alice.stack.snapshot()["dialogs"] == 0


def challenge(world, alice, request):
    response = request.response(407)
    response.headers.add("Proxy-Authenticate", str(Challenge("carrier", "n" * 52)))
    world.inject(response.serialise(), alice, PROXY)


def test_the_challenged_bye_of_a_late_fork_counts_in_its_own_dialog(world, alice, sdp):
    """RFC 3261 12.2.1.1: the numbers of the call that stands have gone on meanwhile."""
    session = alice.call(Elsewhere, credentials=Credentials("office", "secret"))
    reply(world, alice, 200, "one", sdp=sdp[1])
    for _ in range(5):
        alice.do("info", session, "application/dtmf-relay", b"Signal=1")
    reply(world, alice, 200, "two", sdp=sdp[1])
    (bye,) = sent(world, "BYE")
    assert (bye.to.tag, bye.cseq.number) == ("two", 2)
    challenge(world, alice, bye)
    again = sent(world, "BYE")[-1]
    assert (again.to.tag, again.cseq.number) == ("two", 3)
    assert "Proxy-Authorization" in again.headers
    alice.do("hang_up", session)
    ours = sent(world, "BYE")[-1]
    assert (ours.to.tag, ours.cseq.number) == ("one", 7)


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_bye_of_a_fork_counts_on_from_its_pracks(world, alice, sdp, cancelled):
    session = alice.call(Elsewhere)
    for tag in ("one", "two"):
        invite = sent(world, "INVITE")[-1]
        response = invite.response(183, to_tag=tag)
        for name, value in (
            ("Contact", "<sip:callee@10.0.0.60:5080>"),
            ("Require", "100rel"),
            ("RSeq", "1"),
        ):
            response.headers.add(name, value)
        world.inject(response.serialise(), alice, PROXY)
    assert [(prack.to.tag, prack.cseq.number) for prack in sent(world, "PRACK")] == [
        ("one", 2),
        ("two", 2),
    ]
    if cancelled:
        alice.do("hang_up", session)
    reply(world, alice, 200, "one", sdp=sdp[1])
    reply(world, alice, 200, "two", sdp=sdp[1])
    byes = [(bye.to.tag, bye.cseq.number) for bye in sent(world, "BYE")]
    assert byes == [("one", 3), ("two", 3)][0 if cancelled else 1 :]


def test_forks_that_answer_late_are_bounded(world, sdp):
    """Those that had rung are remembered for their numbers, those whose BYE has been sent longest are not."""
    alice = world.station("alice", "10.0.0.1", StackConfig(max_forks=2))
    session = alice.call(Elsewhere)
    reply(world, alice, 180, "rang")
    for number in range(9):
        reply(world, alice, 200, f"fork{number}", sdp=sdp[1])
    assert len(sent(world, "BYE")) == 8
    machine = alice.stack._sessions.units[session].machine
    assert list(machine._late) == ["rang", "fork6", "fork7", "fork8"]
