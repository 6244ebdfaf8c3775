"""Parsers of signalling: SIP with its header fields and bodies, WebSocket, STUN, DNS, ICMP."""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from websockets.protocol import State
from websockets.server import ServerProtocol

from media.wire.srtp import choose_crypto
from softswitch.apps.presence import read_presence
from softswitch.call.dialplan import Dialplan, ToTrunks
from softswitch.call.diversion import diversions_of
from softswitch.call.identity import OfficeIdentity, PhoneIdentity, TrunkIdentity
from softswitch.call.info import digit_of_info
from softswitch.call.transfer import Replaces
from softswitch.call.trunk_identity import called_of, caller_of
from softswitch.config import Trunk, parse_office
from softswitch.errors import RemoteProtocolError
from softswitch.sip.digest import Challenge, NonceBox, NonceState, parse_authorization
from softswitch.sip.flow import Flow
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.parser import Limits, ParseError, parse_message
from softswitch.sip.rank import kind_of
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.reliable import rack_of, rseq_of
from softswitch.sip.sdp import SessionDescription, make_answer, make_offer, read_answer
from softswitch.sip.seconds import seconds_in
from softswitch.sip.session_timer import interval_of, min_se_of
from softswitch.sip.subscription import EventId, read_state
from softswitch.sip.tel import TelUri, number_of
from softswitch.sip.terse import Terse
from softswitch.sip.uri import CSeq, NameAddr, SipUri, Via
from softswitch.sip.validation import validate_request
from softswitch.transport.dns_lookup import address_in_hosts
from softswitch.transport.layers import SipFraming
from softswitch.transport.stun import binding_answer
from softswitch.transport.udp import peer_is_gone
from softswitch.transport.ws_framing import OriginList, WebSocketFraming
from tests.reliability.anomalies import HEADERS, SDP, message
from tests.reliability.parsers.register import parser, text_of
from tests.reliability.parsers.sound import CRYPTO, STUN
from tests.sip.test_sip_fuzz import SEEDS, exercise

OFFICE = (Path(__file__).parents[3] / "examples" / "office.toml").read_text()
FLOW = Flow("udp", ("192.0.2.7", 5060), ("192.0.2.1", 5060))


# -- whole messages -----------------------------------------------------------------------------------


@parser("SIP messages", SEEDS)
def take_message(data: bytes) -> None:
    exercise(data)


@parser("SIP on a stream", [SEEDS[1] + b"\r\n\r\n" + SEEDS[1]])
def take_stream(data: bytes) -> None:
    framing = SipFraming(Limits(), client=False)
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        framing.feed(part)
        framing.take_output()


@cache
def _terse() -> Terse:
    return Terse("token")


@parser("SIP before it is read", SEEDS)
def take_at_first_sight(data: bytes) -> None:
    """What an exchange in need looks at, to refuse it without a parser."""
    kind_of(data)
    _terse().is_acknowledged(data)
    refusal = _terse().refusal(data, FLOW)
    assert refusal is None or len(refusal) < 2 * len(data) + 600


# -- header fields ------------------------------------------------------------------------------------


@parser(
    "URIs",
    [
        b"sip:100:pw@pbx.example:5060;user=phone;transport=tcp?x=y",
        b"sips:+86%31@[2001:db8::1];lr",
        b"tel:+49-30-1234;phone-context=x",
        b'"A \\"B\\"" <sip:200@pbx.example;maddr=192.0.2.1>;tag=f;q="0.5"',
        b"SIP / 2.0 / TCP [2001:db8::1]:5060 ;received=192.0.2.9;rport=99",
        b"4294967295 INVITE",
    ],
)
def take_uri(data: bytes) -> None:
    text = text_of(data)
    for read in (SipUri.parse, TelUri.parse, NameAddr.parse, Via.parse, CSeq.parse):
        try:
            found = read(text)
            if isinstance(found, NameAddr):
                _ = number_of(found.uri_text), found.uri, found.param("tag")
            elif isinstance(found, Via):
                _ = found.rport, found.received
        except RemoteProtocolError:
            continue
        assert str(found)


@cache
def _trunk() -> Trunk:
    return parse_office(OFFICE).trunks[0].model_copy(update={"asserted_identity": True})


_HEAD = message(1, body=b"", length=b"0").removesuffix(b"\r\n\r\n")
_PRINTED = bytes(
    octet if (octet > 31 and octet != 127) or octet in b"\t\r\n" else 120 for octet in range(256)
)


def _headers(*names: str) -> bytes:
    return b"".join(b"%s: %s\r\n" % (name.encode(), HEADERS[name]) for name in names)


@parser(
    "header fields",
    lambda: [
        _headers("Diversion", "History-Info", "P-Asserted-Identity", "Privacy"),
        _headers("Session-Expires", "Min-SE", "Supported", "RAck", "RSeq", "Retry-After"),
        _headers("Event", "Subscription-State", "Replaces", "Refer-To", "Reason", "Path"),
        _headers("Route", "Record-Route", "Content-Disposition", "Accept", "Expires"),
        _headers("Authorization", "Call-Info", "Date", "Warning", "Contact"),
    ],
)
def take_fields(data: bytes) -> None:
    """Without control octets, for which "SIP messages" are refused: of five inputs four went no further."""
    try:
        found = parse_message(b"%b\r\n%b\r\n\r\n" % (_HEAD, data.translate(_PRINTED)))
    except ParseError:
        return
    assert isinstance(found, SipRequest)
    found.headers.set("Require", "100rel")
    for of in (EventId.of, read_state, interval_of, min_se_of, rack_of, diversions_of):
        of(found)
    ReasonHeader.of(found, "Q.850")
    for value in found.headers.get_all("Replaces"):
        Replaces.parse(value)
    answer = SipResponse(503, "No", found.headers)
    rseq_of(answer)
    seconds_in(answer, "Retry-After")
    for read in (
        lambda: caller_of(found, _trunk()),
        lambda: called_of(found, _trunk()),
        lambda: [NameAddr.parse(value).uri for value in found.headers.values("Path")],
        lambda: [NameAddr.parse(value).uri for value in found.headers.get_all("Refer-To")],
        lambda: (found.routes, found.record_routes, found.contacts, found.expires),
        lambda: validate_request(found),
    ):
        try:
            read()
        except RemoteProtocolError:
            continue


@parser(
    "digest",
    [
        b'Digest username="1001", realm="office.example", nonce="n", uri="sip:x", response="'
        + b"0" * 64
        + b'", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c", opaque="o"',
        b'Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=MD5, stale=true',
        b'Basic dXNlcjpwYXNz, x="\\"y\\""',
    ],
)
def take_digest(data: bytes) -> None:
    text = text_of(data)
    for found in (parse_authorization(text), Challenge.parse(text)):
        assert found is None or str(found).startswith("Digest ")


_NONCES = NonceBox(b"secret" * 6)


@parser("nonces", lambda: [_NONCES.issue(1000.0 + n, "192.0.2.1").encode() for n in range(4)])
def take_nonce(data: bytes) -> None:
    nonce = text_of(data)
    if _NONCES.verify(nonce, 1010.0, "192.0.2.1") is NonceState.OK:
        _NONCES.claim(nonce, 1, 1010.0)


# -- bodies -------------------------------------------------------------------------------------------

_OFFER = make_offer("192.0.2.7", 9000, ("opus", "G722", "PCMA", "PCMU"), crypto=[CRYPTO.decode()])


def _choose(offered: Sequence[str]) -> tuple[str, str] | None:
    chosen = choose_crypto(offered)
    return None if chosen is None else (str(chosen), str(chosen))


_SECURE = SDP.replace(b"RTP/AVP", b"RTP/SAVP") + b"a=crypto:" + CRYPTO + b"\r\na=ssrc:7 cname:x\r\n"
_SEVERAL = SDP + (
    b"m=video 4002 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 0 RTP/AVP 96\r\n"
    b"c=IN IP6 2001:db8::1\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtcp:4005\r\n"
)


@parser("SDP", [SDP, _SECURE, _SEVERAL, _OFFER.serialise()], RemoteProtocolError)
def take_sdp(data: bytes) -> None:
    found = SessionDescription.parse(data)
    assert SessionDescription.parse(found.serialise()) == found
    for read in (
        lambda: make_answer(found, "192.0.2.7", 9000, srtp="allow", choose_crypto=_choose),
        lambda: read_answer(_OFFER, found),
    ):
        try:
            read()
        except RemoteProtocolError:
            continue


@parser(
    "bodies of INFO and PUBLISH",
    [
        b"Signal=5\r\nDuration=160\r\n",
        b"#",
        b'<presence><tuple id="t"><status><basic>open</basic></status><note xml:lang="en">Out</note>'
        b"</tuple></presence>",
    ],
)
def take_body(data: bytes) -> None:
    for kind in ("application/dtmf-relay", "application/dtmf; x=y"):
        assert digit_of_info(kind, data) in (*"0123456789*#ABCD", "")
    _, note = read_presence(data)
    assert note.isprintable()


# -- numbers ------------------------------------------------------------------------------------------


@cache
def _plan() -> Dialplan:
    return Dialplan(parse_office(OFFICE))


@parser(
    "numbers",
    [b"+8613800000009", b"00441632960001", b"9013800000001", b"1001", b"*9791001", b"110", b"7000"],
)
def take_number(data: bytes) -> None:
    number, plan = text_of(data), _plan()
    whole = plan.numbering.e164(number)
    assert whole is None or whole.startswith("+")
    plan.numbering.permission(number)
    for identity in (PhoneIdentity("1001"), TrunkIdentity("main"), OfficeIdentity("support")):
        route = plan.route(number, identity)
        assert not isinstance(route, ToTrunks) or route.number


# -- WebSocket ----------------------------------------------------------------------------------------

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: office.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Origin: https://office.example:8443\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)
FRAMES = [
    b"\x82\x84\1\2\3\4" + bytes(a ^ b for a, b in zip(b"\r\n\r\n", b"\1\2\3\4", strict=True)),
    b"\x01\xfe\x00\x80\0\0\0\0" + b"A" * 128 + b"\x80\x80\0\0\0\0",
    b"\x82\xff\0\0\0\0\0\1\0\0\0\0\0\0" + b"B" * 64,
    b"\x88\x82\0\0\0\0\x03\xe8\x89\x80\0\0\0\0",
]


_FRAME_MAX = Limits().head + 4 + Limits().body
_LOG = logging.getLogger("websockets.server")


@parser("HTTP and WebSocket frames", [HANDSHAKE, *FRAMES])
def take_frames(data: bytes) -> None:
    """What begins as a request is one; anything else comes after a good handshake, which is left out: it took
    most of the time."""
    framing = WebSocketFraming(Limits(), OriginList())
    if data[:4] != b"GET ":
        framing._protocol = ServerProtocol(state=State.OPEN, max_size=_FRAME_MAX, logger=_LOG)
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        framing.feed(part)
    framing.take_output()


@parser("origins", [b"https://office.example:8443", b"null", b"https://[2001:db8::1]:1/"])
def take_origin(data: bytes) -> None:
    origins = OriginList(("https://pbx.example",))
    text = data.decode("latin-1")
    assert origins(text, "office.example") in (True, False)
    assert origins("https://office.example", text) in (True, False)


# -- what the network says ----------------------------------------------------------------------------


@parser("STUN of telephones", STUN)
def take_stun(data: bytes) -> None:
    answer = binding_answer(data, ("192.0.2.1", 5060))
    assert answer is None or len(answer) == 32


DNS = [
    bytes.fromhex(
        "0001818000010002000000010473697073076578616d706c6503636f6d0000210001"
        "c00c00210001000000200010000000051" "3c4" "02703103636f6d00"
    ),
]  # fmt: skip


@parser("DNS answers", DNS)
def take_dns(data: bytes) -> None:
    import dns.exception
    import dns.message

    from softswitch.transport.dns_lookup import record_of

    try:
        answer = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):  # as `DnsLookup.query` takes them
        return
    for rrset in answer.answer:
        for each in rrset:
            kind = {1: "A", 28: "AAAA", 33: "SRV", 35: "NAPTR"}.get(int(each.rdtype))
            if kind and int(each.rdclass) == 1 and type(each).__name__ != "GenericRdata":
                record_of(each, kind)


@parser("hosts files", [b"# a\n127.0.0.1 localhost pbx # b\n::1\tlocalhost\n10.0.0.1 gate\n"])
def take_hosts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for kind in ("A", "AAAA"):
        assert len(address_in_hosts(text, "pbx", kind)) <= 32


@parser("ICMP", [struct.pack("@IBBBBII", errno.ECONNREFUSED, 2, 3, 3, 0, 0, 0)])
def take_icmp(data: bytes) -> None:
    assert peer_is_gone([(socket.IPPROTO_IP, 11, data), (1, 29, data)]) in (True, False)
