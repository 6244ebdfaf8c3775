"""What a request must satisfy, in the order of RFC 3261 8.2."""

from __future__ import annotations

import pytest

from softswitch.sip.headers import Headers
from softswitch.sip.message import SipRequest
from softswitch.sip.validation import Refusal, accepts, validate_request

MINIMAL = [
    ("Via", "SIP/2.0/UDP h;branch=z9hG4bKa"),
    ("From", "<sip:a@b>;tag=1"),
    ("To", "<sip:c@d>"),
    ("Call-ID", "x"),
]


def request(
    method: str = "INVITE",
    *lines: tuple[str, str],
    uri: str = "sip:c@d",
    body: bytes = b"",
) -> SipRequest:
    headers = Headers.of([*MINIMAL, ("CSeq", f"1 {method}"), *lines])
    return SipRequest(method, uri, headers, body)


def refused(message: SipRequest, **options: tuple[str, ...]) -> int | None:
    refusal = validate_request(message, **options)
    assert refusal is None or (isinstance(refusal, Refusal) and refusal.why)
    return refusal.status if refusal else None


@pytest.mark.parametrize(
    "method", ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "UPDATE"]
)
def test_plain_requests_pass(method: str) -> None:
    assert refused(request(method)) is None


def test_methods() -> None:
    for method, status in (("MESSAGE", 405), ("REFER", 405), ("invite", 501), ("FOO", 501)):
        refusal = validate_request(request(method), methods=("INVITE", "BYE"))
        assert refusal is not None
        assert refusal.status == status
        assert refusal.headers == (("Allow", "INVITE, BYE"),)


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("tel:+1", None),
        ("tel:x", 400),
        ("urn:service:sos", 416),
        ("sip:", 400),
        ("sip:a@b?Route=x", 400),
        ("sip:a@b?", None),
        ("sips:a@b", None),
    ],
)
def test_targets(uri: str, status: int | None) -> None:
    assert refused(request(uri=uri)) == status


@pytest.mark.parametrize("name", ["Contact", "Route", "Record-Route", "Via"])
def test_every_address_must_parse(name: str) -> None:
    assert refused(request("INVITE", (name, '"x'))) == 400
    assert refused(request("INVITE", (name, "<sip:a@b>, <"))) == 400


def test_empty_branch_and_foreign_aor() -> None:
    message = request("OPTIONS")
    message.headers.set("Via", "SIP/2.0/UDP h;branch=z9hG4bK")
    assert refused(message) == 400
    message = request("REGISTER")
    message.headers.set("To", "<tel:+1>")
    assert refused(message) == 400


def test_extensions() -> None:
    message = request("INVITE", ("Require", "timer, 100rel"), ("Require", "foo"))
    refusal = validate_request(message, extensions=("timer",))
    assert refusal is not None
    assert refusal.status == 420
    assert refusal.headers == (("Unsupported", "100rel, foo"),)
    assert refused(message, extensions=("timer", "100rel", "foo")) is None
    for method in ("ACK", "CANCEL"):
        assert refused(request(method, ("Require", "foo"))) is None


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([("Content-Type", "application/sdp")], None),
        ([("Content-Type", "APPLICATION/SDP;x=y")], None),
        ([("Content-Type", "text/plain")], 415),
        ([], 415),
        (
            [("Content-Type", "text/plain"), ("Content-Disposition", "x ; handling = OPTIONAL")],
            None,
        ),
        ([("Content-Type", "application/sdp"), ("Content-Encoding", "gzip")], 415),
        ([("Content-Type", "application/sdp"), ("Content-Encoding", "Identity")], None),
        ([("Content-Type", "application/sdp"), ("Accept", "text/plain")], 406),
        ([("Content-Type", "application/sdp"), ("Accept", "")], 406),
        (
            [("Content-Type", "application/sdp"), ("Accept", "text/plain, application/*;q=0.5")],
            None,
        ),
        ([("Content-Type", "application/sdp"), ("Accept", "*/*")], None),
    ],
)
def test_content(lines: list[tuple[str, str]], status: int | None) -> None:
    assert refused(request("INVITE", *lines, body=b"v=0")) == status
    assert refused(request("INFO", *lines, body=b"v=0")) is None


def test_accept_for_others() -> None:
    assert not accepts(request(), "text/plain")
    assert accepts(request("INVITE", ("Accept", "Text/Plain")), "text/plain")
