"""The torture messages of RFC 4475 and RFC 5118, judged by what index.tsv demands of each."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from softswitch.errors import RemoteProtocolError
from softswitch.sip.framing import StreamFramer
from softswitch.sip.message import SipMessage, SipRequest, SipResponse
from softswitch.sip.parser import ParseError, parse_message
from softswitch.sip.sdp import SessionDescription
from softswitch.sip.uri import NameAddr, SipUri, Via
from softswitch.sip.validation import validate_request

_HOME = Path(os.environ.get("SOFTSWITCH_VECTORS", Path(__file__).parents[3] / "shared"))
_TORTURE = _HOME / "torture"
_INDEX = _TORTURE / "index.tsv"

pytestmark = pytest.mark.skipif(
    not _INDEX.is_file(), reason=f"no torture messages in {_TORTURE} (set SOFTSWITCH_VECTORS)"
)

# file -> None (accepted), "discard" (a response nobody may act on), or the status to refuse with;
# the stage says whether the parser or the validation of a request has to notice.
_VERDICTS: dict[str, tuple[str, int | str | None]] = {
    "badinv01": ("parse", 400),
    "clerr": ("parse", 400),
    "ncl": ("parse", 400),
    "scalar02": ("parse", 400),
    "scalarlg": ("parse", "discard"),
    "quotbal": ("parse", 400),
    "ltgtruri": ("parse", 400),
    "lwsruri": ("parse", 400),
    "lwsstart": ("parse", 400),
    "trws": ("parse", 400),
    "escruri": ("validate", 400),
    "baddate": ("accept", None),  # tolerated: Date is not needed, so it is ignored
    "regbadct": ("validate", 400),
    "badaspec": ("parse", 400),
    "baddn": ("parse", 400),
    "baddn-terminated": ("parse", 400),
    "badvers": ("parse", 505),
    "mismatch01": ("parse", 400),
    "mismatch02": ("parse", 400),
    "bigcode": ("parse", "discard"),
    "badbranch": ("validate", 400),
    "insuf": ("parse", 400),
    "unkscm": ("validate", 416),
    "novelsc": ("validate", 416),
    "unksm2": ("validate", 400),
    "bext01": ("validate", 420),
    "invut": ("validate", 415),
    "multi01": ("parse", 400),
    "mcl01": ("parse", 400),
    "sdp01": ("validate", 406),
    "test": ("parse", 400),
    "ipv6-bad": ("validate", 400),
    "intmeth": ("validate", 501),
    "esc02": ("validate", 501),
    "mpart01": ("validate", 405),  # tolerated here: the syntax layer does not handle MESSAGE
}


def _files() -> list[str]:
    if not _INDEX.is_file():
        return []
    with _INDEX.open(newline="", encoding="utf-8") as lines:
        return [row["file"] for row in csv.DictReader(lines, delimiter="\t")]


def _octets(name: str) -> bytes:
    return next(_TORTURE.rglob(f"{name}.dat")).read_bytes()


def _request(name: str) -> SipRequest:
    message = parse_message(_octets(name))
    assert isinstance(message, SipRequest)
    return message


def test_the_index_is_complete() -> None:
    files = _files()
    assert sum(f.startswith("rfc4475/") for f in files) == 50  # 49 and the stray test.dat
    assert sum(f.startswith("rfc5118/") for f in files) == 12


@pytest.mark.parametrize("file", [*_files(), "rfc4475-derived/baddn-terminated.dat"])
def test_each_message_gets_its_answer(file: str) -> None:
    data = (_TORTURE / file).read_bytes()
    stage, verdict = _VERDICTS.get(Path(file).stem, ("accept", None))
    if stage == "parse":
        with pytest.raises(ParseError) as caught:
            parse_message(data)
        error = caught.value
        if verdict == "discard":
            assert error.status_hint is None
            assert error.request is None
            return
        assert error.status_hint == verdict
        assert error.request is not None
        answer = error.request.response(verdict, to_tag="t1")
        assert answer.headers.get("Via") == error.request.headers.get("Via")
        assert answer.serialise().startswith(f"SIP/2.0 {verdict} ".encode())
        return
    message = parse_message(data)
    again = parse_message(message.serialise())
    assert again == message
    assert again.serialise() == message.serialise()
    if isinstance(message, SipRequest):
        refusal = validate_request(message)
        assert (refusal.status if refusal else None) == verdict
        answer = parse_message(message.response(verdict or 200, to_tag="t1").serialise())
        assert answer.cseq == message.cseq


@pytest.mark.parametrize("file", _files())
def test_a_stream_gives_the_same_or_closes(file: str) -> None:
    data = (_TORTURE / file).read_bytes()
    framer = StreamFramer()
    items = framer.feed(data)
    name = Path(file).stem
    if name in ("ncl", "mcl01", "inv2543"):  # the last has no Content-Length: datagrams only
        assert items == []
        assert framer.error is not None
        assert framer.error.status_hint == 400
        assert framer.error.request is not None
    elif name in ("clerr", "baddn", "baddn-terminated"):  # octets are missing: the deadline's case
        assert items == []
        assert framer.pending > 0
    elif framer.error is None:
        assert items
        first = items[0]
        assert isinstance(first, bytes)
        assert data.startswith(first)


class TestValues:
    def test_wsinv(self) -> None:
        invite = _request("wsinv")
        assert [via.host for via in invite.vias] == [
            "192.0.2.2",
            "spindle.example.com",
            "192.168.255.111",
        ]
        assert [via.branch for via in invite.vias] == [
            "390skdjuw",
            "z9hG4bK9ikj8",
            "z9hG4bK30239",
        ]
        assert invite.max_forwards == 68
        assert (invite.cseq.number, invite.cseq.method) == (9, "INVITE")
        assert invite.from_.display_name == 'J Rosenberg \\"'
        assert invite.from_.tag == "98asjd8"
        assert invite.to.tag == "1918181833n"
        assert invite.headers.get("Subject") == ""
        assert (
            invite.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
        )
        assert invite.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
        (contact,) = invite.contacts
        assert contact.display_name == 'Quoted string ""'
        assert contact.param("newparam") == "newvalue"
        assert contact.param("secondparam") == ""
        assert contact.param("q") == "0.33"
        assert invite.routes[0].uri.param("lr") == ""

    def test_intmeth(self) -> None:
        request = _request("intmeth")
        assert request.method == "!interesting-Method0123456789_*+`.%indeed'~"
        assert request.to.display_name == "BEL:\x07 NUL:\x00 DEL:\x7f"
        assert request.from_.param("fromparam''~+*_!.-%") == "работающий"
        assert request.from_.tag == "_token~1'+`*%!-."
        uri = request.request_uri
        assert uri.host == "example.com"
        assert uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"

    def test_esc01(self) -> None:
        invite = _request("esc01")
        assert invite.request_uri.scheme == "sip"
        assert invite.request_uri.username == "sips:user@example.com"
        plain = SipUri.parse("sip:user@example.com")
        assert invite.to.uri.equivalent(plain)
        assert invite.contacts[0].uri.param("lr") == ""
        assert invite.headers.get("Contact", "").find("%25%34%31") > 0

    def test_escnull(self) -> None:
        register = _request("escnull")
        first, second = (contact.uri for contact in register.contacts)
        assert first.username == "\0"
        assert second.username == "\0\0"
        assert not first.equivalent(second)
        assert register.to.uri.username == "null-\0-null"

    def test_esc02(self) -> None:
        request = _request("esc02")
        assert request.method != "REGISTER"
        assert request.to.display_name == "%Z%45"
        assert len(request.contacts) == 2
        assert "C%6Fntact" in request.headers

    def test_lwsdisp(self) -> None:
        source = _request("lwsdisp").from_
        assert (source.display_name, source.uri_text) == ("caller", "sip:caller@example.com")

    def test_longreq(self) -> None:
        invite = _request("longreq")
        assert len(invite.vias) == 34
        assert len(invite.serialise()) > 3300

    def test_dblreq(self) -> None:
        register = _request("dblreq")
        assert register.method == "REGISTER"
        assert register.body == b""
        assert b"INVITE" not in register.serialise()

    def test_semiuri(self) -> None:
        uri = _request("semiuri").request_uri
        assert uri.username == "user;par=u@example.net"
        assert uri.params == ()

    def test_transports(self) -> None:
        vias = _request("transports").vias
        assert [via.transport for via in vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]

    def test_mpart01(self) -> None:
        message = _request("mpart01")
        assert message.content_type == "multipart/mixed"
        assert b"\0" in message.body

    def test_reason_phrases(self) -> None:
        for name, status in (("unreason", 200), ("noreason", 100)):
            message = parse_message(_octets(name))
            assert isinstance(message, SipResponse)
            assert message.status == status
        assert message.reason == ""

    def test_scalars_are_clamped(self) -> None:
        with pytest.raises(ParseError) as caught:
            parse_message(_octets("scalar02"))
        assert "CSeq" in str(caught.value)
        repaired = _octets("scalar02").replace(b"36893488147419103232 REGISTER", b"1 REGISTER")
        message = parse_message(repaired)
        assert message.max_forwards == 255
        assert message.expires == 2**32 - 1

    def test_contact_parameters(self) -> None:
        outside = _request("cparam01").contacts[0]
        assert outside.param("unknownparam") == ""
        assert outside.uri.param("unknownparam") is None
        inside = _request("cparam02").contacts[0]
        assert inside.param("unknownparam") is None
        assert inside.uri.param("unknownparam") == ""

    def test_unknown_credentials_are_no_credentials(self) -> None:
        from softswitch.sip.digest import parse_authorization

        (value,) = _request("regaut01").headers.get_all("Authorization")
        assert parse_authorization(value) is None

    def test_inv2543(self) -> None:
        invite = _request("inv2543")
        assert invite.top_via.branch is None
        assert invite.from_.tag is None
        assert invite.max_forwards is None
        assert invite.body.startswith(b"v=0")
        assert SessionDescription.parse(invite.body).media[0].port == 49217

    def test_unsupported_lists_every_tag(self) -> None:
        refusal = validate_request(_request("bext01"))
        assert refusal is not None
        assert refusal.headers == (
            ("Unsupported", "nothingSupportsThis, nothingSupportsThisEither"),
        )


class TestIpv6:
    def test_hosts_have_no_brackets(self) -> None:
        assert _request("ipv6-good").request_uri.host == "2001:db8::10"

    def test_port_is_never_guessed(self) -> None:
        ambiguous = _request("port-ambiguous").request_uri
        assert (ambiguous.host, ambiguous.port) == ("2001:db8::10:5070", None)
        plain = _request("port-unambiguous").request_uri
        assert (plain.host, plain.port) == ("2001:db8::10", 5070)

    def test_received_with_and_without_brackets(self) -> None:
        bracketed = _request("via-received-param-with-delim").top_via.received
        bare = _request("via-received-param-no-delim").top_via.received
        assert bracketed is not None
        assert ":" in bracketed
        assert "[" not in bracketed
        assert bare is not None
        assert bracketed == bare

    def test_three_colons_are_two(self) -> None:
        wrong = _request("ipv6-bug-abnf-3-colons").request_uri
        right = _request("ipv6-correct-abnf-2-colons").request_uri
        assert wrong.equivalent(right)
        assert ":::" not in str(wrong)

    def test_mapped_addresses_parse(self) -> None:
        invite = _request("ipv4-mapped-ipv6")
        assert [via.host for via in invite.vias] == ["::ffff:192.0.2.10", "::ffff:192.0.2.2"]

    def test_each_medium_has_its_own_address(self) -> None:
        description = SessionDescription.parse(_request("mult-ip-in-sdp").body)
        hosts = [description.host_of(media) for media in description.media]
        assert len(set(hosts)) == 2
        description = SessionDescription.parse(_request("ipv6-in-sdp").body)
        assert description.origin.host.startswith("2001:db8")


@pytest.mark.parametrize("file", _files())
def test_typed_views_raise_nothing_else(file: str) -> None:
    try:
        message = parse_message((_TORTURE / file).read_bytes())
    except ParseError:
        return
    assert isinstance(message, SipMessage)
    for name in ("vias", "contacts", "routes", "record_routes", "expires", "content_type"):
        try:
            value = getattr(message, name)
        except RemoteProtocolError:
            continue
        for element in value if isinstance(value, list) else ():
            assert type(element).parse(str(element)) == element
            assert isinstance(element, NameAddr | Via)
