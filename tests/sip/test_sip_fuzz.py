"""Whatever arrives: a message, or ParseError; and typed views that raise RemoteProtocolError only."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.errors import RemoteProtocolError
from softswitch.sip.causes import q850_of_status
from softswitch.sip.digest import Challenge, parse_authorization
from softswitch.sip.framing import StreamFramer
from softswitch.sip.headers import Headers
from softswitch.sip.message import SipMessage, SipRequest, SipResponse
from softswitch.sip.parser import ParseError, parse_message
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.sdp import SessionDescription, make_answer
from softswitch.sip.uri import CSeq, NameAddr, SipUri, Via
from softswitch.sip.validation import validate_request

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    b"m=video 4002 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n"
)
SEEDS = [
    b"INVITE sip:100:pw@pbx.example;user=phone?x=y SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport, SIP / 2.0 / TCP [2001:db8::1]\r\n"
    b'From: "A \\"B\\"" <sip:200@pbx.example>;tag=f\r\nTo: sip:100@pbx.example;x="y"\r\n'
    b"Call-ID: c1@192.0.2.1\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\n"
    b'm: <sip:200@192.0.2.1>;expires=3600, "C, D" <sip:e@f>\r\nRoute: <sip:p;lr>\r\n'
    b"Record-Route: <sip:q;lr>\r\n <sip:r>\r\nExpires: 60\r\nRequire: timer\r\n"
    b'Authorization: Digest username="u", realm="r", nonce="n", uri="sip:x", response="00"\r\n'
    b'Reason: Q.850;cause=16;text="ok"\r\nAccept: application/sdp, */*;q=0.1\r\n'
    b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(SDP) + SDP,
    b"SIP/2.0 401 Unauthorized\r\nv: SIP/2.0/TLS h.example;received=192.0.2.9;rport=99\r\n"
    b"f: <tel:+49301234>;tag=a\r\nt: <sip:a@b>;tag=c\r\ni: x\r\nCSeq: 1 REGISTER\r\n"
    b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=MD5\r\n'
    b"l: 0\r\n\r\n",
]
TOKENS = [
    b"\r\n", b"\r\n ", b"\n", b"\r", b"\t", b" ", b",", b";", b":", b"<", b">", b'"', b"\\", b"=",
    b"@", b"%", b"%00", b"\x00", b"\x7f", b"\xff", b"\xc4\xb1", b"\xd9\xa0", b"99999999999999999999",
    b"-1", b"0x", b"1_0", b"[", b"]", b"[::1]", b"SIP/2.0", b"Via: ", b"l: 5\r\n", b"To: x\r\n",
    b"*", b"?", b"/", b"sip:", b"tel:", b"a=rtpmap:", b"m=audio", b"\r\n\r\n", b";;", b'""',
]  # fmt: skip
VIEWS = (
    "top_via", "vias", "from_", "to", "call_id", "cseq", "contacts", "routes", "record_routes",
    "max_forwards", "content_type", "expires",
)  # fmt: skip


def mutate(data: bytes, source: random.Random) -> bytes:
    octets = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        at = source.randrange(len(octets) + 1)
        span = source.randrange(1, 40)
        match source.randrange(7):
            case 0:
                octets[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                del octets[at : at + span]
            case 2:
                octets[at:at] = source.choice(TOKENS)
            case 3:
                octets[at:at] = source.choice(TOKENS) * source.randrange(1, 90)
            case 4:
                octets[at:at] = octets[at : at + span] * source.randrange(1, 4)
            case 5:
                octets[at : at + len(SEEDS)] = source.choice(TOKENS)
            case _:
                other = source.choice(SEEDS)
                start = source.randrange(len(other))
                octets[at : at + span] = other[start : start + span]
    return bytes(octets)


def exercise(data: bytes) -> bool:
    """Drive everything this package can do with `data`; True when it was a message."""
    try:
        message = parse_message(data)
    except ParseError as error:
        if error.request is not None:
            parse_again(error.request.response(error.status_hint or 400, to_tag="t"))
        return False
    for view in VIEWS:
        if attempt(lambda view=view: getattr(message, view)):
            assert view not in ("top_via", "from_", "to", "call_id", "cseq")
    for name in ("Authorization", "WWW-Authenticate", "Reason"):
        for value in message.headers.get_all(name):
            parse_authorization(value)
            Challenge.parse(value)
            ReasonHeader.parse(value)
    if isinstance(message, SipRequest):
        attempt(lambda: str(message.request_uri))
        refusal = validate_request(message)
        assert refusal is None or 400 <= refusal.status < 600
        parse_again(message.response(200, to_tag="t"))
    else:
        assert q850_of_status(message.status) < 128
    attempt(lambda: negotiate(message.body))
    assert parse_again(message) == message
    return True


def attempt(action) -> bool:
    """True when it failed in the one way it may."""
    try:
        action()
    except RemoteProtocolError:
        return True
    return False


def negotiate(body: bytes) -> None:
    description = SessionDescription.parse(body)
    assert SessionDescription.parse(description.serialise()) == description
    answer, _ = make_answer(description, "192.0.2.7", 9000)
    assert len(answer.media) == len(description.media)


def parse_again(message: SipMessage) -> SipMessage | None:
    try:
        return parse_message(message.serialise())
    except ParseError:
        # An answer to a message with broken headers repeats them: only a whole one parses.
        assert isinstance(message, SipResponse)
        return None


def run(seed: int, count: int) -> int:
    source = random.Random(seed)
    return sum(exercise(mutate(source.choice(SEEDS), source)) for _ in range(count))


def test_seeds_are_messages() -> None:
    assert all(exercise(seed) for seed in SEEDS)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_messages(seed: int) -> None:
    assert 0 < run(seed, 5000) < 5000


def test_mutated_streams() -> None:
    source = random.Random(5)
    for _ in range(1000):
        framer = StreamFramer()
        data = b"".join(mutate(source.choice(SEEDS), source) for _ in range(3))
        whole = framer.feed(data)
        pieces = StreamFramer()
        cut = source.randrange(1, 200)
        parts = [item for i in range(0, len(data), cut) for item in pieces.feed(data[i : i + cut])]
        assert parts == whole
        assert (pieces.error is None) == (framer.error is None)


@given(st.binary(max_size=400))
def test_noise(data: bytes) -> None:
    exercise(data)
    exercise(SEEDS[0][:60] + data)
    attempt(lambda: negotiate(data))


@given(st.text(max_size=60))
def test_values_of_any_text(text: str) -> None:
    for parse in (SipUri.parse, NameAddr.parse, Via.parse, CSeq.parse):
        if not attempt(lambda parse=parse: parse(text)):
            assert parse(str(parse(text))) == parse(text)
    parse_authorization(f"Digest {text}")
    Challenge.parse(f"Digest {text}")
    ReasonHeader.parse(text)
    attempt(lambda: negotiate(text.encode("utf-8", "replace")))


TOKEN = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)
LINE_TEXT = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\x7f", min_codepoint=32),
    max_size=40,
).map(lambda text: text.strip(" "))
FREE_NAME = TOKEN.filter(lambda name: len(name) > 1).map(lambda name: f"X{name}")


@st.composite
def messages(draw: st.DrawFn) -> SipMessage:
    method = draw(TOKEN)
    host = draw(st.sampled_from(["h.example", "192.0.2.1", "[2001:db8::1]"]))
    user = draw(st.text(string.ascii_letters + string.digits + "*#;?&=+$,", min_size=1, max_size=9))
    source = NameAddr(f"sip:{user}@{host}", draw(st.none() | LINE_TEXT)).with_param(
        "tag", draw(TOKEN)
    )
    headers = Headers.of(
        [
            ("Via", f"SIP/2.0/UDP {host};branch={draw(TOKEN)}"),
            ("From", str(source)),
            ("To", f"<sip:{user}@{host}>"),
            ("Call-ID", draw(TOKEN)),
            ("CSeq", f"{draw(st.integers(0, 2**31 - 1))} {method}"),
            *draw(st.lists(st.tuples(FREE_NAME, LINE_TEXT), max_size=6)),
        ]
    )
    body = draw(st.binary(max_size=60))
    if draw(st.booleans()):
        return SipRequest(method, f"sip:{user}@{host}", headers, body)
    return SipResponse(draw(st.integers(100, 699)), draw(LINE_TEXT), headers, body)


@given(messages())
@settings(max_examples=300)
def test_what_is_written_is_read(message: SipMessage) -> None:
    again = parse_message(message.serialise())
    assert again == message
    assert again.from_.display_name == message.from_.display_name
    assert again.serialise() == message.serialise()


@given(st.lists(st.tuples(FREE_NAME, st.binary(max_size=50)), max_size=6))
def test_unknown_headers_are_byte_equal(lines: list[tuple[str, bytes]]) -> None:
    head, body = SEEDS[1].split(b"\r\n\r\n")
    clean = [
        (name, bytes(octet for octet in value if octet >= 32 and octet != 127).strip(b" \t"))
        for name, value in lines
    ]
    extra = b"".join(b"\r\n%s: %s" % (name.encode(), value) for name, value in clean)
    written = parse_message(head + extra + b"\r\n\r\n" + body).serialise()
    assert written.endswith(extra + b"\r\n\r\n")
