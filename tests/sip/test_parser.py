"""Octets to messages: limits at N and N + 1, the traps of the standard library, what an answer copies."""

from __future__ import annotations

import pytest

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip.headers import SINGLE_VALUE, Headers
from softswitch.sip.message import ADDRESSES_MAX, SipRequest, SipResponse
from softswitch.sip.parser import Limits, ParseError, parse_message

BASE = (
    b"OPTIONS sip:100@pbx.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport\r\n"
    b"From: <sip:200@pbx.example>;tag=f\r\n"
    b"To: <sip:100@pbx.example>\r\n"
    b"Call-ID: c1@192.0.2.1\r\n"
    b"CSeq: 7 OPTIONS\r\n"
    b"Max-Forwards: 70\r\n"
)
RESPONSE = BASE.replace(b"OPTIONS sip:100@pbx.example SIP/2.0", b"SIP/2.0 200 OK")


def with_line(line: bytes) -> bytes:
    return BASE + line + b"\r\n\r\n"


def request(data: bytes) -> SipRequest:
    message = parse_message(data)
    assert isinstance(message, SipRequest)
    return message


def refusal(data: bytes, limits: Limits | None = None) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_message(data, limits=limits) if limits else parse_message(data)
    return caught.value


def test_a_plain_request() -> None:
    message = request(BASE + b"\r\n")
    assert (message.method, message.uri, message.body) == ("OPTIONS", "sip:100@pbx.example", b"")
    assert message.top_via.branch == "z9hG4bKa"
    assert message.call_id == "c1@192.0.2.1"
    assert message.serialise() == BASE + b"Content-Length: 0\r\n\r\n"


def test_a_plain_response() -> None:
    message = parse_message(RESPONSE + b"l:3\r\n\r\nabc")
    assert isinstance(message, SipResponse)
    assert (message.status, message.reason, message.body) == (200, "OK", b"abc")


@pytest.mark.parametrize(
    "line",
    [
        b"X\x0b: 1", b"X\x0c: 1", b"X\xa0: 1", b"X\x1f: 1", b"X Y: 1", b": 1", b"X", b"X\xc4\xaa: 1",
        b"X: a\x00b", b"X: a\x7fb", b"X: a\x0bb", b"X: a\nY: b", b"X: a\rY: b", b"X: \\\n", b"X:\r",
        b"Content-Length: +0", b"Content-Length: 0_0", b"Content-Length: 0x0", b"Content-Length: ",
        "Content-Length: ٠".encode(), b"Content-Length: 0\x0b", b"Content-Length: 0 0",
        b"Content-Length: 1", b"Content-Length: -1", b"Content-Length: 00000000000",
        b"Content-Length: 0, 0",
    ],
)  # fmt: skip
def test_bad_lines_are_400_and_answerable(line: bytes) -> None:
    error = refusal(with_line(line))
    assert error.status_hint == 400
    assert error.request is not None
    answer = error.request.response(400)
    assert answer.call_id == "c1@192.0.2.1"
    assert answer.cseq.method == "OPTIONS"


@pytest.mark.parametrize("name", sorted(SINGLE_VALUE))
def test_repeated_single_values_are_400(name: str) -> None:
    value = {"CSeq": "7 OPTIONS", "Content-Length": "0", "Max-Forwards": "70"}.get(
        name, "<sip:a@b>"
    )
    line = f"{name}: {value}\r\n".encode()
    data = BASE + line * (1 if line.split(b":")[0] in BASE else 2) + b"\r\n"
    assert refusal(data).status_hint == 400


@pytest.mark.parametrize("compact", [b"f", b"F", b"FROM", b"t", b"i", b"cSEQ", b"max-forwards "])
def test_a_second_spelling_is_a_second_line(compact: bytes) -> None:
    assert "more than one" in str(refusal(with_line(compact + b": <sip:a@b>")))


@pytest.mark.parametrize("name", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_compulsory_headers(name: bytes) -> None:
    lines = [line for line in BASE.split(b"\r\n") if not line.startswith(name + b":")]
    error = refusal(b"\r\n".join(lines) + b"\r\n")
    assert error.status_hint == 400
    assert error.request is not None
    lines = [name + b":" if line.startswith(name + b":") else line for line in BASE.split(b"\r\n")]
    assert refusal(b"\r\n".join(lines) + b"\r\n").status_hint == 400


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"", None), (b" OPTIONS sip:a@b SIP/2.0", None), (b"OPTIONS  sip:a@b SIP/2.0", 400),
        (b"OPTIONS sip:a@b SIP/2.0 ", 400), (b"OPTIONS\tsip:a@b SIP/2.0", 400),
        (b"OPTIONS sip:a@b SIP/3.0", 505), (b"OPTIONS sip:a@b SIP/7.12", 505),
        (b"OPTIONS sip:a@b SIP/2.", 400), (b"OPTIONS sip:a@b HTTP/1.1", 400),
        (b"OPTIONS <sip:a@b> SIP/2.0", 400), (b"OPTIONS sip:a@b", 400), (b"OPTIONS", None),
        (b"OPTI\xc3\xb6NS sip:a@b SIP/2.0", None), (b"M" * 65 + b" sip:a@b SIP/2.0", None),
    ],
)  # fmt: skip
def test_start_lines(start: bytes, status: int | None) -> None:
    error = refusal(start + BASE[BASE.index(b"\r\n") :] + b"\r\n")
    assert error.status_hint == (status or 400)
    assert (error.request is None) == (status is None)


@pytest.mark.parametrize(
    "start",
    [b"SIP/2.0 99 x", b"SIP/2.0 700 x", b"SIP/2.0 2000 x", b"SIP/2.0 20 x", b"SIP/2.0 +20 x",
     b"SIP/2.0  200 x", b"SIP/2.0 200x", b"SIP/3.0 200 x", b"SIP/2.0 2\xd9\xa00 x", b"SIP/2.0"],
)  # fmt: skip
def test_bad_status_lines_are_dropped(start: bytes) -> None:
    error = refusal(start + RESPONSE[RESPONSE.index(b"\r\n") :] + b"\r\n")
    assert error.status_hint is None
    assert error.request is None


def test_broken_responses_are_dropped() -> None:
    for data in (RESPONSE + b"To: x\r\n\r\n", RESPONSE + b"Content-Length: 9\r\n\r\n", RESPONSE):
        error = refusal(data)
        assert (error.status_hint, error.request) == (None, None)


def test_version_and_method_case() -> None:
    assert request(BASE.replace(b"SIP/2.0\r\n", b"sip/2.0\r\n", 1) + b"\r\n").method == "OPTIONS"
    lower = BASE.replace(b"OPTIONS", b"options")
    assert request(lower + b"\r\n").method == "options"  # methods are case-sensitive: unknown
    assert "CSeq" in str(refusal(lower.replace(b"7 options", b"7 OPTIONS") + b"\r\n"))


def test_folding_is_one_space() -> None:
    message = request(with_line(b"Subject: a\r\n\t b \r\n  c\r\n "))
    assert message.headers.get("Subject") == "a b  c"
    assert refusal(BASE.replace(b"\r\n", b"\r\n ", 1) + b"\r\n").status_hint == 400


def test_line_breaks_before_the_start_line() -> None:
    assert request(b"\r\n\r\n" + BASE + b"\r\n") == request(BASE + b"\r\n")
    for noise in (b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"jaK\0"):
        assert refusal(noise).request is None


def test_a_folded_name_is_no_name() -> None:
    assert refusal(with_line(b"Max-For\r\n wards: 1")).status_hint == 400


def test_octets_survive() -> None:
    value = bytes(octet for octet in range(0x80, 0x100)) + "编码".encode()
    message = request(with_line(b"X-Raw: " + value))
    assert b"X-Raw: " + value + b"\r\n" in message.serialise()


class TestLimits:
    limits = Limits(head=400, body=20, headers=12, vias=4)

    def padded(self, octets: int) -> bytes:
        start = BASE + b"Subject: "
        return start + b"x" * (octets - len(start)) + b"\r\n\r\n"

    @pytest.mark.limit("SIP head")
    def test_head(self) -> None:
        assert parse_message(self.padded(400), limits=self.limits).body == b""
        assert refusal(self.padded(401), self.limits).status_hint == 513
        assert refusal(self.padded(401)[:-4] * 2, self.limits).status_hint == 513

    @pytest.mark.limit("SIP body")
    def test_body(self) -> None:
        line = b"Content-Length: %d"
        fits = parse_message(with_line(line % 20) + b"b" * 20, limits=self.limits)
        assert len(fits.body) == 20
        for length in (21, 10**9):
            error = refusal(with_line(line % length) + b"b" * 21, self.limits)
            assert error.status_hint == 413
            assert error.request is not None
        assert refusal(BASE + b"\r\n" + b"b" * 21, self.limits).status_hint == 413

    @pytest.mark.limit("SIP header lines")
    def test_headers(self) -> None:
        line = b"A-B: 1\r\n"
        assert len(parse_message(BASE + line * 6 + b"\r\n", limits=self.limits).headers) == 12
        assert refusal(BASE + line * 7 + b"\r\n", self.limits).status_hint == 513

    @pytest.mark.limit("Via entries")
    def test_vias(self) -> None:
        extra = b"Via: SIP/2.0/UDP a, SIP/2.0/UDP b\r\n"
        fits = parse_message(BASE + extra + b"v: SIP/2.0/UDP c\r\n\r\n", limits=self.limits)
        assert len(fits.vias) == 4
        assert refusal(BASE + extra * 2 + b"\r\n", self.limits).status_hint == 400
        quoted = b'Via: SIP/2.0/UDP a;x=",,,,,,,,"\r\n'
        assert len(parse_message(BASE + quoted + b"\r\n", limits=self.limits).vias) == 2

    @pytest.mark.limit("addresses of a header")
    def test_address_lists(self) -> None:
        line = b"Contact: " + b",".join([b"<sip:a@b>"] * ADDRESSES_MAX)
        assert len(request(with_line(line)).contacts) == ADDRESSES_MAX
        with pytest.raises(RemoteProtocolError):
            request(with_line(line + b",<sip:a@b>")).contacts  # noqa: B018

    def test_defaults(self) -> None:
        defaults = Limits()
        assert (defaults.head, defaults.body) == (65_536, 65_536)
        assert (defaults.headers, defaults.vias) == (256, 70)


class TestTypedViews:
    def test_changes_are_seen(self) -> None:
        message = request(BASE + b"\r\n")
        assert message.from_ is message.from_
        message.headers.set("From", "<sip:x@y>;tag=new")
        assert message.from_.tag == "new"
        message.headers.prepend("Via", "SIP/2.0/TCP z")
        assert [via.transport for via in message.vias] == ["TCP", "UDP"]
        assert message.top_via.host == "z"

    def test_numbers(self) -> None:
        message = request(with_line(b"Expires: 3600"))
        assert message.expires == 3600
        for text, expected in (
            ("9" * 5000, 2**32 - 1), ("0" * 5000 + "7", 7), ("1_0", None), ("+1", None),
            ("\u0661", None), ("\u00b2", None), ("", None), ("1.5", None), ("-1", None),
        ):  # fmt: skip
            message.headers.set("Expires", text)
            assert message.expires == expected
        message.headers.set("Max-Forwards", "9" * 5000)
        assert message.max_forwards == 255
        message.headers.set("Max-Forwards", "x")
        with pytest.raises(RemoteProtocolError):
            message.max_forwards  # noqa: B018

    def test_content_type(self) -> None:
        message = request(with_line(b"c: Application / SDP ;charset=utf-8"))
        assert message.content_type == "application/sdp"
        assert request(BASE + b"\r\n").content_type is None

    def test_call_id_is_one_word(self) -> None:
        assert refusal(BASE.replace(b"c1@", b"c 1@") + b"\r\n").status_hint == 400


class TestResponses:
    def test_what_is_copied(self) -> None:
        invite = request(
            with_line(b"Record-Route: <sip:p;lr>\r\nTimestamp: 54\r\nVia: SIP/2.0/UDP b\r\nX: y")
        )
        invite.method = "INVITE"
        trying = invite.response(100)
        assert [name for name, _ in trying.headers.items()] == [
            "Via", "From", "To", "Call-ID", "CSeq", "Timestamp", "Via",
        ]  # fmt: skip
        ringing = invite.response(180, to_tag="t")
        assert ringing.headers.get("Record-Route") == "<sip:p;lr>"
        assert ringing.to.tag == "t"
        assert ringing.reason == "Ringing"
        refused = invite.response(486, "Nope", to_tag="t")
        assert "Record-Route" not in refused.headers
        assert refused.serialise().startswith(b"SIP/2.0 486 Nope\r\n")

    def test_a_tag_is_never_added_twice(self) -> None:
        message = request(
            BASE.replace(b"<sip:100@pbx.example>\r\n", b"sip:100@x;tag=old\r\n") + b"\r\n"
        )
        assert message.response(200, to_tag="new").to.tag == "old"

    def test_an_answer_may_not_carry_line_breaks(self) -> None:
        with pytest.raises(LocalProtocolError):
            SipResponse(200, "OK\r\nVia: x").serialise()
        with pytest.raises(LocalProtocolError):
            SipRequest("BYE", "sip:a\nb").serialise()
        with pytest.raises(LocalProtocolError):
            SipRequest("BYE", "sip:a", Headers.of([("Subject", "\ud800")])).serialise()

    def test_equality_is_of_content(self) -> None:
        message = request(BASE + b"\r\n")
        assert message == parse_message(message.serialise())
        assert message != parse_message(BASE + b"\r\nx")
        assert message != parse_message(RESPONSE + b"\r\n")
        assert "OPTIONS" in repr(message)


def test_lists_of_tokens_cannot_be_wrong_enough_to_raise() -> None:
    headers = Headers.of(
        [("Supported", 'x"y, 100REL'), ("Supported", " timer ,"), ("Require", "timers, a timer")]
    )
    assert headers.lists("Supported", "100rel")
    assert headers.lists("Supported", "timer")
    assert not headers.lists("Supported", "replaces")
    assert not headers.lists("Require", "timer")
    assert not headers.lists("Proxy-Require", "timer")
