"""Ranks from the octets, and refusals written from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.sip.flow import Flow
from softswitch.sip.message import SipResponse
from softswitch.sip.parser import parse_message
from softswitch.sip.rank import HEAD_OCTETS_SEEN, Kind, kind_of
from softswitch.sip.terse import RETRY_AFTER_MAX_S, RETRY_AFTER_MIN_S, Terse, retry_after_s

FLOW = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 40000))
TOKEN = "0a1b2c3d4e5f6071"


def invite(
    *,
    via: str = "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;rport",
    to: str = "To: <sip:1002@x>",
    more: str = "",
    method: str = "INVITE",
) -> bytes:
    return (
        f"{method} sip:1002@x SIP/2.0\r\n{via}\r\n{more}From: <sip:1001@x>;tag=f\r\n{to}\r\n"
        f"Call-ID: c1@x\r\nCSeq: 7 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"SIP/2.0 200 OK\r\nTo: <sip:x>;tag=1\r\n\r\n", Kind.WITHIN),
        (invite(method="ACK"), Kind.WITHIN),
        (invite(method="BYE"), Kind.WITHIN),
        (invite(), Kind.BEGINNING),
        (invite(to="t: <sip:1002@x>;tag=1"), Kind.WITHIN),
        (invite(to="To : <sip:1002@x> ; tag = 1"), Kind.WITHIN),
        (invite(to="To: <sip:1002@x;tag2=1>"), Kind.BEGINNING),
        (invite(method="CANCEL"), Kind.BEGINNING),
        (invite(method="REGISTER"), Kind.OTHER),
        (invite(method="OPTIONS"), Kind.OTHER),
        (invite(more=f"X: {'x' * HEAD_OCTETS_SEEN}\r\n", to="To: <sip:x>;tag=1"), Kind.BEGINNING),
        (b"", Kind.OTHER),
        (b"\r\n\r\n", Kind.OTHER),
    ],
)
def test_what_a_message_is_about(data: bytes, kind: Kind) -> None:
    assert kind_of(data) is kind


def test_a_refusal_is_the_answer_that_the_parser_would_have_led_to() -> None:
    second = "Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKb\r\n"
    answer = Terse(TOKEN).refusal(invite(more=second), FLOW)
    assert answer is not None
    parsed = parse_message(answer)
    assert isinstance(parsed, SipResponse)
    request = parse_message(invite(more=second))
    assert parsed.status == 503
    assert [str(v) for v in parsed.headers.get_all("Via")] == [
        "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;rport=40000;received=198.51.100.7",
        "SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKb",
    ]
    for name in ("From", "Call-ID", "CSeq"):
        assert parsed.headers.get(name) == request.headers.get(name)
    assert parsed.to.uri == request.to.uri
    assert parsed.to.tag
    assert RETRY_AFTER_MIN_S <= int(parsed.headers.get("Retry-After") or 0) <= RETRY_AFTER_MAX_S


def test_without_rport_only_the_address_is_told() -> None:
    answer = Terse(TOKEN).refusal(invite(via="v: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa"), FLOW)
    assert answer is not None
    assert b"v: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;received=198.51.100.7\r\n" in answer


def test_a_retransmission_gets_the_same_octets_and_another_call_another_tag() -> None:
    terse = Terse(TOKEN)
    first = terse.refusal(invite(), FLOW)
    assert first == terse.refusal(invite(), FLOW)
    other = terse.refusal(invite().replace(b"c1@x", b"c2@x"), FLOW)
    assert first is not None
    assert other is not None
    assert parse_message(first).to.tag != parse_message(other).to.tag


@pytest.mark.parametrize(
    "data",
    [
        invite(more="Subject: a\r\n folded\r\n"),
        invite(via="Via: SIP/2.0/UDP a;branch=z9hG4bKa, SIP/2.0/UDP b;branch=z9hG4bKb"),
        invite(via="Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;rport=5"),
        invite(via="Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa;received=10.0.0.2"),
        invite().replace(b"Call-ID: c1@x\r\n", b""),
        invite().replace(b"CSeq: 7 INVITE\r\n", b""),
        invite()[:-2],
        invite(to="To: <sip:1002@x> ; Tag=1"),
        b"INVITE " + b"x" * 5000,
    ],
)
def test_what_does_not_look_as_usual_is_left_to_the_parser(data: bytes) -> None:
    assert Terse(TOKEN).refusal(data, FLOW) is None


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_octets_hurt(before: bytes, after: bytes) -> None:
    terse = Terse(TOKEN)
    for data in (before, invite() + after, b"INVITE " + before + invite() + after):
        terse.refusal(data, FLOW)
        kind_of(data)
        terse.is_acknowledged(data)


def test_the_ack_of_a_refusal_is_known_and_nobody_elses() -> None:
    terse = Terse(TOKEN)
    answer = terse.refusal(invite(), FLOW)
    assert answer is not None
    tag = parse_message(answer).to.tag
    assert terse.is_acknowledged(invite(method="ACK", to=f"To: <sip:1002@x>;tag={tag}"))
    assert not terse.is_acknowledged(invite(method="ACK", to="To: <sip:1002@x>;tag=other"))
    assert not terse.is_acknowledged(invite(method="BYE", to=f"To: <sip:1002@x>;tag={tag}"))
    assert not Terse("another").is_acknowledged(
        invite(method="ACK", to=f"To: <sip:1002@x>;tag={tag}")
    )


def test_who_is_turned_away_together_does_not_come_back_together() -> None:
    later = [retry_after_s(f"{number}@x".encode()) for number in range(9_000)]
    counts = [later.count(s) for s in range(RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S + 1)]
    assert sum(counts) == 9_000
    assert min(counts) > 800
    assert max(counts) < 1200
