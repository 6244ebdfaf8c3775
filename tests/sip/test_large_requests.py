"""Requests too large for a datagram (RFC 3261 18.1.1): by TCP where it works, by UDP all the same."""

from __future__ import annotations

import itertools

import pytest

from softswitch.sip.flow import Flow
from softswitch.sip.message import SipRequest
from softswitch.sip.parser import parse_message
from softswitch.sip.stack import OpenGate, SipStack, StackConfig
from softswitch.sip.uri import NameAddr

UDP = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))
TCP = Flow("tcp", ("192.0.2.1", 5062), ("192.0.2.9", 5060))


@pytest.fixture
def stack() -> SipStack:
    numbers = itertools.count(1)
    made = SipStack(StackConfig(), lambda: f"token{next(numbers)}", OpenGate())
    made.use_streams(lambda flow: TCP if flow == UDP else None)
    return made


def call(stack: SipStack, sdp: bytes = b"v=0\r\n" * 400) -> int:
    a, b = NameAddr("sip:a@h"), NameAddr("sip:b@h")
    return stack.invite(
        target="sip:b@h", flow=UDP, from_=a, to=b, sdp=sdp, timeout_s=60.0, now_s=0.0
    )


def only(stack: SipStack) -> tuple[SipRequest, Flow]:
    (outgoing,) = stack.datagrams_to_send()
    request = parse_message(outgoing.data)
    assert isinstance(request, SipRequest)
    return request, outgoing.flow


def test_small_ones_stay_and_large_ones_change(stack: SipStack) -> None:
    call(stack, b"v=0\r\n")
    assert only(stack)[1] == UDP
    call(stack)
    request, flow = only(stack)
    assert flow == TCP
    assert request.top_via.transport == "TCP"
    assert (request.top_via.host, request.top_via.port) == ("192.0.2.1", 5062)


def test_only_udp_changes_and_only_where_the_peer_takes_streams(stack: SipStack) -> None:
    other = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.1", 40_000))
    a = NameAddr("sip:a@h")
    stack.invite(
        target="sip:b@h", flow=other, from_=a, to=a, sdp=b"x" * 2000, timeout_s=60.0, now_s=0.0
    )
    assert only(stack)[1] == other


@pytest.mark.parametrize(("octets", "changes"), [(1300, False), (1301, True)])
def test_the_limit(octets: int, changes: bool, stack: SipStack) -> None:
    to = NameAddr("sip:b@h")
    body = 0
    for body in range(900, 1300):
        stack.request("OPTIONS", "sip:b@h", UDP, from_=to, to=to, body=b"x" * body, now_s=0.0)
        (outgoing,) = stack.datagrams_to_send()
        if outgoing.flow == TCP:
            break
        if len(outgoing.data) == octets:
            assert not changes
            return
    assert changes
    assert len(outgoing.data) == octets, "Via says TCP, as long a word as UDP"


@pytest.mark.parametrize("how", ["refused", "swallowed"])
def test_it_falls_back_to_udp_with_the_same_branch(how: str, stack: SipStack) -> None:
    call(stack)
    over_tcp, _ = only(stack)
    if how == "refused":
        stack.transport_failed(TCP, 0.1)
    else:
        stack.handle_timer(1.0)
    over_udp, flow = only(stack)
    assert flow == UDP
    assert over_udp.top_via.transport == "UDP"
    assert over_udp.top_via.branch == over_tcp.top_via.branch
    assert over_udp.body == over_tcp.body
    stack.handle_timer(1.6)
    assert only(stack)[1] == UDP, "retransmitted, as UDP wants it"


def answer(request: SipRequest, status: int) -> bytes:
    response = request.response(status, to_tag="t")
    response.headers.add("Contact", "<sip:b@192.0.2.9>")
    return response.serialise()


def test_cancel_and_ack_take_the_way_of_the_invite(stack: SipStack) -> None:
    session = call(stack)
    invite, _ = only(stack)
    stack.receive_datagram(answer(invite, 180), TCP, 0.2)
    stack.handle_timer(5.0)
    assert stack.datagrams_to_send() == [], "the stream has answered: no falling back"
    stack.hang_up(session, now_s=6.0)
    cancel, flow = only(stack)
    assert (cancel.method, flow) == ("CANCEL", TCP)
    stack.receive_datagram(answer(cancel, 200), TCP, 6.1)
    stack.receive_datagram(answer(invite, 487), TCP, 6.1)
    ack, flow = only(stack)
    assert (ack.method, flow) == ("ACK", TCP)


def test_a_stream_lost_after_an_answer_is_a_failure(stack: SipStack) -> None:
    call(stack)
    invite, _ = only(stack)
    stack.receive_datagram(answer(invite, 180), TCP, 0.2)
    stack.transport_failed(TCP, 1.0)
    assert stack.datagrams_to_send() == []
    events = []
    while (event := stack.next_event()) is not None:
        events.append(event)
    assert events[-1].status == 503


def test_nothing_is_left_behind(stack: SipStack) -> None:
    call(stack)
    only(stack)
    stack.transport_failed(TCP, 0.1)
    for now_s in range(1, 120):
        stack.handle_timer(float(now_s))
        stack.datagrams_to_send()
    while stack.next_event() is not None:
        pass
    found = stack.snapshot()
    assert {name: found[name] for name in ("transactions", "sessions", "timers")} == {
        "transactions": 0,
        "sessions": 0,
        "timers": 0,
    }
