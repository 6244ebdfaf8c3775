"""URIs, addresses, Via and CSeq as values."""

from __future__ import annotations

import pytest

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import PARAMS_MAX
from softswitch.sip.uri import CSeq, NameAddr, SipUri, Via


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@atlanta.example",
        "sip:alice:secret@atlanta.example:5070;transport=tcp;lr?subject=x&priority=urgent",
        "sips:*72#@[2001:db8::1]:5061;maddr=239.255.255.1;ttl=15",
        "sip:+1-212-555-1212:1234@gateway.example;user=phone",
        "sip:host_with_underscore",
        "sip:a;b=c?d@host",
    ],
)
def test_uris_round_trip(text: str) -> None:
    uri = SipUri.parse(text)
    assert str(uri) == text
    assert SipUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip:@host",
        "sip:a@",
        "sip:a b@host",
        "sip:a@host:0",
        "sip:a@host:65536",
        "sip:a@host:5_0",
        "sip:a@host:\u0665",
        "sip:a@host:5060 ",
        "sip:a@host\n",
        "sip:a@ho\u017ft",
        "sip:%zz@host",
        "sip:a@host;;lr",
        "sip:a@[::1",
        "sip:a@[:::::]",
        "sip:a@[fe80::1%25eth0]",
        "sip:a@2001:db8::10",
        "<sip:a@host>",
        "sip:a@b@c",
        "sip:a@-host",
    ],
)
def test_bad_uris_are_400(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        SipUri.parse(text)
    assert caught.value.status_hint == 400


@pytest.mark.parametrize("text", ["tel:+123", "http://x/", "urn:service:sos", "soap.beep://a:1"])
def test_other_schemes_are_416(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        SipUri.parse(text)
    assert caught.value.status_hint == 416
    assert NameAddr.parse(f"<{text}>").uri_text == text


# The examples of RFC 3261 19.1.4.
@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", True),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", True),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            True,
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            True,
        ),
        ("sip:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", False),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", False),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", False),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False),
        ("sip:a@b", "sips:a@b", False),
    ],
)
def test_equivalence(one: str, other: str, equal: bool) -> None:
    first, second = SipUri.parse(one), SipUri.parse(other)
    assert first.equivalent(second) is equal
    assert second.equivalent(first) is equal


def test_uri_parameters() -> None:
    uri = SipUri.parse("sip:a@b;LR;transport=TCP?x=y")
    assert uri.param("lr") == ""
    assert uri.transport == "tcp"
    assert str(uri.with_params(ob=None, transport="udp")) == "sip:a@b;LR;transport=udp;ob?x=y"
    assert str(uri.without_params("lr")) == "sip:a@b;transport=TCP"
    assert str(uri.without_params()) == "sip:a@b"
    assert SipUri.parse("sip:%e4%bd%a0@b").username == "\u4f60"


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ("<sip:a@b>;tag=1", None, "sip:a@b", "1"),
        ("sip:a@b;tag=1", None, "sip:a@b", "1"),
        ("sip:a@b ; tag = 1", None, "sip:a@b", "1"),
        ('"A \\"B\\"" <sip:a@b;x=1>;tag=1;y="z;,>"', 'A "B"', "sip:a@b;x=1", "1"),
        ("Al Bo <sip:a@b>", "Al Bo", "sip:a@b", None),
        ('"" <sip:a@b>', "", "sip:a@b", None),
        ("\u738b\u82b3 <sip:a@b>", "\u738b\u82b3", "sip:a@b", None),
        ("<tel:+49;phone-context=x>", None, "tel:+49;phone-context=x", None),
        ("*", None, "*", None),
    ],
)
def test_addresses(text: str, display: str | None, uri: str, tag: str | None) -> None:
    address = NameAddr.parse(text)
    assert (address.display_name, address.uri_text, address.tag) == (display, uri, tag)
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        '"x <sip:a@b>',
        '"x" sip:a@b',
        '"x" y <sip:a@b>',
        "Bell, A <sip:a@b>",
        "< sip:a@b>",
        "<sip:a@b >",
        "sip:a@b?x=y",
        "sip:a,b@c",
        "<sip:a@b>;",
        "<sip:a@b>;;tag=1",
        "<sip:a@b>tag=1",
        '<sip:a@b>;x="',
        "<sip:a@b>, <sip:c@d>",
        "*;x",
        "a@b",
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        NameAddr.parse(text)


def test_with_param_replaces_or_appends() -> None:
    address = NameAddr.parse("<sip:a@b>;tag=1;x")
    assert str(address.with_param("tag", "2")) == "<sip:a@b>;tag=2;x"
    assert str(address.with_param("ob", None)) == "<sip:a@b>;tag=1;x;ob"


def test_via() -> None:
    via = Via.parse(
        "SIP / 2.0 / udp  [2001:db8::9:1] : 5062 ;branch=z9hG4bKa ; rport;received=[::1]"
    )
    assert (via.transport, via.host, via.port) == ("UDP", "2001:db8::9:1", 5062)
    assert (via.branch, via.rport, via.received) == ("z9hG4bKa", 0, "::1")
    assert via.with_param("rport", "99").rport == 99
    assert Via.parse(str(via)) == via
    assert Via.parse("SIP/2.0/TCP h").rport is None
    assert Via.parse("SIP/2.0/TCP h;rport=9_9").rport == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.1/UDP h",
        "HTTP/2.0/UDP h",
        "SIP/2.0/UDP h:99999",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h h2",
        "SIP/2.0/UDP h;;",
        "SIP/2.0/UDP [::g]",
        "SIP/2.0/UDP h;branch=a b",
    ],
)
def test_bad_vias(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Via.parse(text)


def test_cseq_bounds() -> None:
    assert CSeq.parse("0 INVITE") == CSeq(0, "INVITE")
    assert CSeq.parse("00002147483647   \tBYE") == CSeq(2**31 - 1, "BYE")
    for text in ("2147483648 BYE", "-1 BYE", "1_0 BYE", "+1 BYE", "\u0661 BYE", "1", "1BYE",
                 "1 B YE", " BYE", "99999999999 BYE"):  # fmt: skip
        with pytest.raises(RemoteProtocolError):
            CSeq.parse(text)


@pytest.mark.limit("parameters of an address")
def test_parameter_limit() -> None:
    most = "<sip:a@b>" + ";p" * PARAMS_MAX
    assert len(NameAddr.parse(most).params) == PARAMS_MAX
    with pytest.raises(RemoteProtocolError):
        NameAddr.parse(most + ";p")
