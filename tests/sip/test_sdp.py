"""Session descriptions: bounds, sloppy peers, round trips, and addresses nobody should send to."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.sip.sdp import (
    AddressKind,
    MediaDescription,
    SdpError,
    SessionDescription,
    address_kind,
    reflects,
)
from softswitch.sip.sdp.codecs import codec_of
from softswitch.sip.sdp.description import ATTRIBUTES_MAX, FORMATS_MAX, LINES_MAX, MEDIA_MAX

# RFC 8866 5, with media of our trade.
FULL = (
    b"v=0\r\no=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call to John Smith\r\n"
    b"i=SDP Offer #1\r\nu=http://www.jdoe.example.com/home.html\r\n"
    b"e=Jane Doe <jane@jdoe.example.com>\r\np=+1 617 555-6011\r\nc=IN IP4 198.51.100.1\r\n"
    b"b=AS:128\r\nt=3034423619 3042462419\r\na=recvonly\r\n"
    b"m=audio 49170 RTP/AVP 0 8 97\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 useinbandfec=1\r\n"
    b"m=video 51372 RTP/AVP 99\r\ni=camera\r\nc=IN IP6 2001:db8::2\r\na=rtpmap:99 h263-1998/90000\r\n"
)
HEAD = b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def parse(data: bytes) -> SessionDescription:
    return SessionDescription.parse(data)


def audio(lines: bytes = b"", formats: bytes = b"0") -> MediaDescription:
    return parse(HEAD + b"m=audio 4000 RTP/AVP " + formats + b"\r\n" + lines).media[0]


def test_the_whole_grammar_round_trips() -> None:
    description = parse(FULL)
    assert description.serialise() == FULL
    assert parse(description.serialise()) == description
    first, second = description.media
    assert (description.host_of(first), description.host_of(second)) == (
        "198.51.100.1",
        "2001:db8::2",
    )
    assert description.direction_of(first) == "recvonly"
    assert description.origin.version == 3724394405
    assert first.audio_formats()[97].fmtp == "useinbandfec=1"


@pytest.mark.parametrize(
    "sloppy",
    [
        FULL.replace(b"\r\n", b"\n"),
        FULL.rstrip(b"\r\n"),
        FULL.replace(b"v=0\r\n", b""),
        FULL + b"\r\n\r\n",
    ],
)
def test_sloppy_line_ends_and_missing_lines(sloppy: bytes) -> None:
    assert parse(sloppy) == parse(FULL)


def test_missing_origin_name_and_time() -> None:
    description = parse(b"v=0\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0\n")
    assert description.origin.host == "192.0.2.9"
    assert description.media[0].port == 4000
    assert parse(description.serialise()).media == description.media


def test_an_origin_with_spaces_in_the_name() -> None:
    description = parse(HEAD.replace(b"o=-", b"o=My Phone"))
    assert (description.origin.username, description.origin.session_id) == ("My Phone", "1")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n", b"v=1\r\n", b"hello", b"v=0\rs=-\r", b"v=0\r\ns=\0\r\n",
        HEAD + b"m=audio\r\n", HEAD + b"m=audio x RTP/AVP 0\r\n", HEAD + b"m=audio 65536 RTP/AVP 0\r\n",
        HEAD + b"m=audio -1 RTP/AVP 0\r\n", HEAD + b"m=audio 4_0 RTP/AVP 0\r\n",
        HEAD + "m=audio ٤٠ RTP/AVP 0\r\n".encode(), HEAD + b"m=audio 4000 RTP/AVP 0\x0b8\r\n",
        b"c=IN IP4\r\n", b"c=IN IP5 1.2.3.4\r\n", b"c=IN IP4 a b\r\n", b"c=IN IP4 1.2.3.4;rm\r\n",
        b"c=IN IP6 fe80::1%eth0\r\n", b"c=IN IP4 " + b"x" * 256 + b"\r\n", b"c=IN\xc2\xa0IP4 1.2.3.4\r\n",
        b"o=- 1 2 IN IP4\r\n", b"o=- 1 x IN IP4 192.0.2.1\r\n", b"o=- 1 2 IN IP4 <x>\r\n",
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(SdpError) as caught:
        parse(data)
    assert caught.value.status_hint == 400


class TestLimits:
    line = b"m=audio 4000 RTP/AVP 0\r\n"

    @pytest.mark.limit("SDP media lines")
    def test_media_lines(self) -> None:
        assert len(parse(HEAD + self.line * MEDIA_MAX).media) == MEDIA_MAX == 16
        with pytest.raises(SdpError):
            parse(HEAD + self.line * (MEDIA_MAX + 1))

    @pytest.mark.limit("SDP formats a line")
    def test_formats(self) -> None:
        assert len(audio(formats=b" ".join([b"0"] * FORMATS_MAX)).formats) == FORMATS_MAX == 64
        with pytest.raises(SdpError):
            audio(formats=b" ".join([b"0"] * (FORMATS_MAX + 1)))

    @pytest.mark.limit("SDP attributes of a section")
    def test_attributes(self) -> None:
        for head in (HEAD, HEAD + self.line):
            parse(head + b"a=x\r\n" * ATTRIBUTES_MAX)
            with pytest.raises(SdpError):
                parse(head + b"a=x\r\n" * (ATTRIBUTES_MAX + 1))

    @pytest.mark.limit("SDP lines")
    def test_lines(self) -> None:
        fill = LINES_MAX - HEAD.count(b"\n")
        parse(HEAD + b"z=0\r\n" * fill)
        with pytest.raises(SdpError):
            parse(HEAD + b"z=0\r\n" * (fill + 1))

    def test_octets(self) -> None:
        parse(HEAD + b"i=" + b"x" * (65_536 - len(HEAD) - 2))
        with pytest.raises(SdpError):
            parse(HEAD + b"i=" + b"x" * (65_536 - len(HEAD) - 1))


class TestFormats:
    def test_static_types_need_no_rtpmap(self) -> None:
        formats = audio(formats=b"0 8 9 18 13 96").audio_formats()
        assert [formats[n].name for n in formats] == ["pcmu", "pcma", "g722", "g729", "cn"]

    def test_an_rtpmap_overrules_the_static_table(self) -> None:
        assert audio(b"a=rtpmap:0 opus/48000/2\r\n").audio_formats()[0].name == "opus"

    def test_names_are_found_in_any_case(self) -> None:
        formats = audio(b"a=rtpmap:96 OPUS/48000/2\r\n", b"96").audio_formats()
        codec = codec_of(formats[96])
        assert codec is not None
        assert codec.name == "opus"

    def test_misread_g722(self) -> None:
        codec = codec_of(audio(b"a=rtpmap:9 G722/16000\r\n", b"9").audio_formats()[9])
        assert codec is not None
        assert codec.name == "G722"

    @pytest.mark.parametrize(
        "line",
        [b"a=rtpmap:96", b"a=rtpmap:96 opus", b"a=rtpmap:1_0 opus/48000", b"a=rtpmap:96 /8000",
         b"a=rtpmap:96 opus/4800000000", b"a=fmtp:96", b"a=rtpmap", "a=rtpmap:٩٦ opus/48000".encode()],
    )  # fmt: skip
    def test_unreadable_maps_are_ignored(self, line: bytes) -> None:
        assert audio(line + b"\r\n", b"96 0").audio_formats().keys() == {0}

    def test_strange_formats_are_no_payload_types(self) -> None:
        assert audio(formats=b"0 128 999 x 8").payload_types == (0, 8)

    def test_packet_times(self) -> None:
        assert audio(b"a=ptime:30\r\na=maxptime:60\r\n").ptime_ms == 30
        assert audio(b"a=maxptime:60\r\n").maxptime_ms == 60
        assert audio(b"a=ptime: 20.5\r\n").ptime_ms == 20
        assert audio(b"a=ptime:x\r\n").ptime_ms is None
        assert audio().ptime_ms is None


class TestAddresses:
    @pytest.mark.parametrize(
        ("host", "kind"),
        [
            ("192.0.2.1", AddressKind.UNICAST), ("10.0.0.1", AddressKind.UNICAST),
            ("2001:db8::1", AddressKind.UNICAST), ("0.0.0.0", AddressKind.UNSPECIFIED),
            ("0.1.2.3", AddressKind.UNSPECIFIED), ("::", AddressKind.UNSPECIFIED),
            ("127.0.0.53", AddressKind.LOOPBACK), ("::1", AddressKind.LOOPBACK),
            ("::ffff:127.0.0.1", AddressKind.LOOPBACK), ("255.255.255.255", AddressKind.BROADCAST),
            ("224.0.1.75", AddressKind.MULTICAST), ("ff02::1", AddressKind.MULTICAST),
            ("::ffff:224.0.0.1", AddressKind.MULTICAST), ("169.254.1.1", AddressKind.LINK_LOCAL),
            ("fe80::1", AddressKind.LINK_LOCAL), ("240.0.0.1", AddressKind.RESERVED),
            ("pbx.example", AddressKind.NAME), ("fe80::1%eth0", AddressKind.NAME),
            ("127.1", AddressKind.NAME), ("0177.0.0.1", AddressKind.NAME),
        ],
    )  # fmt: skip
    def test_kinds(self, host: str, kind: AddressKind) -> None:
        assert address_kind(host) is kind

    def test_reflection(self) -> None:
        own = ["192.0.2.10", "2001:db8::10"]
        for host in (
            "192.0.2.10", "::ffff:192.0.2.10", "2001:0db8:0::10", "127.0.0.1", "255.255.255.255",
            "224.0.0.1", "240.0.0.1", "LocalHost", "localhost.",
        ):  # fmt: skip
            assert reflects(host, own)
        for host in ("192.0.2.11", "0.0.0.0", "phone.example", "2001:db8::11"):
            assert not reflects(host, own)
        assert not reflects("127.0.0.1", own, allow_loopback=True)


@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    for text in (data, HEAD + data, HEAD + b"m=" + data, HEAD + b"m=audio 1 RTP/AVP 0\na=" + data):
        try:
            description = parse(text)
        except SdpError:
            continue
        assert parse(description.serialise()) == description
        for media in description.media:
            media.audio_formats()


def test_mutations() -> None:
    source = random.Random(3)
    read = 0
    for _ in range(5000):
        octets = bytearray(FULL)
        for _ in range(source.randrange(1, 5)):
            at = source.randrange(len(octets))
            octets[at : at + source.randrange(3)] = source.choice(
                [
                    b"",
                    b"\r\n",
                    b"=",
                    b" ",
                    b":",
                    b"/",
                    b"\xff",
                    b"9" * 30,
                    bytes([source.randrange(256)]),
                ]
            )
        try:
            description = parse(bytes(octets))
        except SdpError:
            continue
        assert parse(description.serialise()) == description
        read += 1
    assert 500 < read < 5000
