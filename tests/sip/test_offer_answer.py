"""Offers and answers for audio: directions, hold, codec choice, and what later offers must keep."""

from __future__ import annotations

import pytest

from softswitch.errors import LocalProtocolError
from softswitch.sip.sdp import (
    DIRECTIONS,
    SdpError,
    SessionDescription,
    answer_direction,
    make_answer,
    make_offer,
    read_answer,
    reverse,
)

HERE, THERE = "192.0.2.1", "198.51.100.2"


def offer(
    *media: str, host: str | None = THERE, direction: str | None = None
) -> SessionDescription:
    lines = ["v=0", f"o=- 7 1 IN IP4 {THERE}", "s=-"]
    lines += [f"c=IN IP4 {host}"] if host else []
    lines += ["t=0 0"] + ([f"a={direction}"] if direction else [])
    return SessionDescription.parse("\r\n".join([*lines, *media, ""]).encode())


def test_a_call_between_two_of_us() -> None:
    ours = make_offer(HERE, 4000, ["PCMA", "G722"], session_id=1)
    read = SessionDescription.parse(ours.serialise())
    assert read == ours
    answer, theirs = make_answer(read, THERE, 5000, ["G722", "PCMA"], session_id=2)
    mine = read_answer(ours, SessionDescription.parse(answer.serialise()))
    assert (mine.codec, mine.payload_type, mine.dtmf_payload_type) == ("PCMA", 8, 101)
    assert (mine.remote, theirs.remote) == ((THERE, 5000), (HERE, 4000))
    assert (mine.direction, theirs.direction) == ("sendrecv", "sendrecv")
    assert answer.media[0].formats == ("8", "101")


def test_whose_preference_counts() -> None:
    theirs = offer("m=audio 4000 RTP/AVP 0 8 9")
    assert make_answer(theirs, HERE, 1, ["G722", "PCMA"])[1].codec == "PCMA"
    assert make_answer(theirs, HERE, 1, ["G722", "PCMA"], prefer_ours=True)[1].codec == "G722"


# RFC 3264 6.1
@pytest.mark.parametrize(
    ("theirs", "wanted", "answer"),
    [
        ("sendrecv", "sendrecv", "sendrecv"), ("sendrecv", "sendonly", "sendonly"),
        ("sendrecv", "recvonly", "recvonly"), ("sendrecv", "inactive", "inactive"),
        ("sendonly", "sendrecv", "recvonly"), ("sendonly", "sendonly", "inactive"),
        ("sendonly", "recvonly", "recvonly"), ("sendonly", "inactive", "inactive"),
        ("recvonly", "sendrecv", "sendonly"), ("recvonly", "sendonly", "sendonly"),
        ("recvonly", "recvonly", "inactive"), ("recvonly", "inactive", "inactive"),
        ("inactive", "sendrecv", "inactive"), ("inactive", "sendonly", "inactive"),
        ("inactive", "recvonly", "inactive"), ("inactive", "inactive", "inactive"),
    ],
)  # fmt: skip
def test_directions(theirs: str, wanted: str, answer: str) -> None:
    assert answer_direction(theirs, wanted) == answer
    for where in (
        offer("m=audio 4000 RTP/AVP 0", f"a={theirs}"),
        offer("m=audio 4000 RTP/AVP 0", direction=theirs),
    ):
        said, agreed = make_answer(where, HERE, 1, direction=wanted)
        assert said.media[0].direction == answer == agreed.direction
        assert agreed.on_hold == (theirs in ("sendonly", "inactive"))


def test_reverse_is_its_own_inverse() -> None:
    assert [reverse(d) for d in DIRECTIONS] == ["sendrecv", "recvonly", "sendonly", "inactive"]
    assert all(reverse(reverse(d)) == d for d in DIRECTIONS)


@pytest.mark.parametrize("zero", ["0.0.0.0", "0.0.0.1"])
def test_the_old_way_to_hold(zero: str) -> None:
    said, agreed = make_answer(offer("m=audio 4000 RTP/AVP 0", host=zero), HERE, 1)
    assert said.media[0].direction == "recvonly"
    assert agreed.on_hold
    assert agreed.remote is None


def test_other_media_are_refused_in_place() -> None:
    theirs = offer(
        "m=video 4002 RTP/AVP 99", "a=rtpmap:99 H264/90000",
        "m=audio 4004 RTP/SAVP 0", "m=audio 4006 RTP/AVP 18", "m=audio 4000 RTP/AVPF 8 0",
        "m=audio 4008 RTP/AVP 0", "m=application 4010 TCP/BFCP *", "m=image 4012 udptl t38",
    )  # fmt: skip
    said, agreed = make_answer(theirs, HERE, 9000, ["PCMU", "PCMA"])
    assert [line.port for line in said.media] == [0, 0, 0, 9000, 0, 0, 0]
    assert [line.kind for line in said.media] == [line.kind for line in theirs.media]
    assert [line.protocol for line in said.media] == [line.protocol for line in theirs.media]
    assert (agreed.media_index, agreed.rejected, agreed.remote_port) == (3, 6, 4000)
    assert SessionDescription.parse(said.serialise()) == said


@pytest.mark.parametrize(
    "media",
    [
        (), ("m=audio 0 RTP/AVP 0",), ("m=audio 4000 RTP/AVP 18 3",), ("m=audio 4000 RTP/SAVP 0",),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0",), ("m=video 4000 RTP/AVP 0",),
        ("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"), ("m=audio 4000 RTP/AVP",),
    ],
)  # fmt: skip
def test_nothing_in_common_is_488(media: tuple[str, ...]) -> None:
    with pytest.raises(SdpError) as caught:
        make_answer(offer(*media), HERE, 1)
    assert caught.value.status_hint == 488


def test_an_offer_without_any_address_is_488() -> None:
    with pytest.raises(SdpError):
        make_answer(offer("m=audio 4000 RTP/AVP 0", host=None), HERE, 1)


class TestNumbers:
    def test_the_offerer_s_numbers_are_used(self) -> None:
        theirs = offer(
            "m=audio 4000 RTP/AVP 120 97", "a=rtpmap:120 opus/48000/2",
            "a=rtpmap:97 telephone-event/48000",
        )  # fmt: skip
        said, agreed = make_answer(theirs, HERE, 1, ["opus"])
        assert (agreed.payload_type, agreed.dtmf_payload_type) == (120, 97)
        assert said.media[0].formats == ("120", "97")

    def test_events_must_have_the_codec_s_clock(self) -> None:
        theirs = offer(
            "m=audio 4000 RTP/AVP 120 97 0", "a=rtpmap:120 opus/48000/2",
            "a=rtpmap:97 telephone-event/8000",
        )  # fmt: skip
        assert make_answer(theirs, HERE, 1, ["opus"])[1].dtmf_payload_type is None
        assert make_answer(theirs, HERE, 1, ["PCMU"])[1].dtmf_payload_type == 97
        assert make_answer(theirs, HERE, 1, ["PCMU"], dtmf=False)[1].dtmf_payload_type is None

    def test_our_next_offer_keeps_what_the_peer_numbered(self) -> None:
        theirs = offer(
            "m=audio 4000 RTP/AVP 120 97", "a=rtpmap:120 opus/48000/2",
            "a=rtpmap:97 telephone-event/48000",
        )  # fmt: skip
        said, _ = make_answer(theirs, HERE, 1, ["opus", "PCMA"])
        again = make_offer(HERE, 1, ["opus", "PCMA"], previous=said)
        formats = again.media[0].audio_formats()
        assert formats[120].name == "opus"
        assert formats[97].clock_hz == 48_000
        assert len(formats) == 4

    def test_an_answer_may_renumber(self) -> None:
        ours = make_offer(HERE, 1, ["opus"], session_id=3)
        answer = offer(
            "m=audio 4000 RTP/AVP 99 98", "a=rtpmap:99 opus/48000/2",
            "a=rtpmap:98 telephone-event/48000",
        )  # fmt: skip
        agreed = read_answer(ours, answer)
        assert (agreed.payload_type, agreed.receive_payload_type) == (99, 107)
        assert (agreed.dtmf_payload_type, agreed.receive_dtmf_payload_type) == (98, 101)

    def test_what_is_asked_of_our_encoder_is_agreed_and_ours_says_what_it_can_use(self) -> None:
        asks = "maxaveragebitrate=16000;useinbandfec=1"
        theirs = offer(
            "m=audio 4000 RTP/AVP 120", "a=rtpmap:120 opus/48000/2", f"a=fmtp:120 {asks}"
        )
        said, agreed = make_answer(theirs, HERE, 1, ["opus"])
        assert agreed.fmtp == asks
        assert ("fmtp", "120 useinbandfec=1") in said.media[0].attributes
        ours = make_offer(HERE, 1, ["opus", "PCMA"])
        assert ("fmtp", "107 useinbandfec=1") in ours.media[0].attributes
        assert read_answer(ours, theirs).fmtp == asks
        assert read_answer(ours, offer("m=audio 4000 RTP/AVP 8")).fmtp is None

    def test_the_longest_packet_that_a_peer_takes_is_agreed(self) -> None:
        theirs = offer("m=audio 4000 RTP/AVP 8", "a=maxptime:20")
        assert make_answer(theirs, HERE, 1, ["PCMA"])[1].maxptime_ms == 20
        ours = make_offer(HERE, 1, ["PCMA"])
        assert read_answer(ours, theirs).maxptime_ms == 20
        assert read_answer(ours, offer("m=audio 4000 RTP/AVP 8")).maxptime_ms is None

    def test_numbers_never_collide(self) -> None:
        wished = {"opus": 101, "telephone-event": 108}
        codecs = ["opus", "L16", "PCMU", "G722", "PCMA"]
        media = make_offer(HERE, 1, codecs, payload_types=wished).media[0]
        assert len(set(media.payload_types)) == len(media.payload_types) == 7
        assert media.audio_formats()[101].name == "opus"
        assert media.audio_formats()[108].name == "telephone-event"


class TestLaterOffers:
    def test_the_version_rises_with_changes_only(self) -> None:
        first = make_offer(HERE, 4000, session_id=5)
        same = make_offer(HERE, 4000, session_id=5, previous=first)
        held = make_offer(HERE, 4000, session_id=5, previous=same, direction="sendonly")
        moved = make_offer("192.0.2.3", 4002, previous=held)
        versions = [d.origin.version for d in (first, same, held, moved)]
        assert versions == [1, 1, 2, 3]
        assert {d.origin.session_id for d in (first, same, held, moved)} == {"5"}
        assert same.same_session(first)
        assert not held.same_session(first)

    def test_answers_count_too(self) -> None:
        theirs = offer("m=audio 4000 RTP/AVP 0")
        first, _ = make_answer(theirs, HERE, 1, session_id=5)
        assert make_answer(theirs, HERE, 1, previous=first)[0] is first
        held = offer("m=audio 4000 RTP/AVP 0", "a=sendonly")
        second, agreed = make_answer(held, HERE, 1, previous=first)
        assert (second.origin.version, agreed.direction) == (2, "recvonly")

    def test_media_lines_never_go_away(self) -> None:
        theirs = offer("m=video 4002 RTP/AVP 99", "m=audio 4000 RTP/AVP 0")
        said, _ = make_answer(theirs, HERE, 9000)
        again = make_offer(HERE, 9000, previous=said, direction="sendonly")
        assert [(line.kind, line.port) for line in again.media] == [("video", 0), ("audio", 9000)]
        answer = offer("m=video 0 RTP/AVP 99", "m=audio 4000 RTP/AVP 0", "a=recvonly")
        agreed = read_answer(again, answer)
        assert (agreed.media_index, agreed.direction, agreed.on_hold) == (1, "sendonly", False)


def test_where_media_goes_is_an_address_and_no_name() -> None:
    for host, remote in (
        (THERE, (THERE, 4000)),
        ("media.example", None),
        ("localhost", None),
    ):
        assert make_answer(offer("m=audio 4000 RTP/AVP 0", host=host), HERE, 1)[1].remote == remote
    mapped = offer("m=audio 4000 RTP/AVP 0", "c=IN IP6 ::ffff:198.51.100.2")
    assert make_answer(mapped, HERE, 1)[1].remote == (THERE, 4000)


class TestReadingAnswers:
    ours = make_offer(HERE, 4000, ["PCMA", "PCMU"], session_id=1, rtcp_mux=True)

    def test_the_first_codec_that_was_offered(self) -> None:
        assert read_answer(self.ours, offer("m=audio 4000 RTP/AVP 18 0 8")).codec == "PCMU"

    @pytest.mark.parametrize(
        "media",
        [(), ("m=audio 0 RTP/AVP 8",), ("m=audio 4000 RTP/AVP 18",), ("m=video 1 RTP/AVP 8",)],
    )
    def test_refusals_are_488(self, media: tuple[str, ...]) -> None:
        with pytest.raises(SdpError) as caught:
            read_answer(self.ours, offer(*media))
        assert caught.value.status_hint == 488
        with pytest.raises(SdpError):
            read_answer(self.ours, offer("m=audio 4000 RTP/AVP 8", host=None))

    def test_the_peer_may_hold_in_its_answer(self) -> None:
        agreed = read_answer(self.ours, offer("m=audio 4000 RTP/AVP 8", "a=inactive"))
        assert (agreed.direction, agreed.on_hold) == ("inactive", True)

    def test_an_answer_cannot_widen_our_offer(self) -> None:
        held = make_offer(HERE, 4000, direction="sendonly")
        agreed = read_answer(held, offer("m=audio 4000 RTP/AVP 8", "a=sendrecv"))
        assert agreed.direction == "sendonly"

    def test_no_events_unless_both(self) -> None:
        assert read_answer(self.ours, offer("m=audio 4000 RTP/AVP 8")).dtmf_payload_type is None


class TestPacketsAndPorts:
    @pytest.mark.parametrize(
        ("lines", "ptime_ms"),
        [((), 20), (("a=ptime:30",), 30), (("a=ptime:25",), 20), (("a=ptime:1000",), 20),
         (("a=maxptime:10",), 10), (("a=ptime:60", "a=maxptime:40"), 40), (("a=maxptime:1",), 20)],
    )  # fmt: skip
    def test_packet_time(self, lines: tuple[str, ...], ptime_ms: int) -> None:
        _, agreed = make_answer(offer("m=audio 4000 RTP/AVP 0", *lines), HERE, 1)
        assert agreed.ptime_ms == ptime_ms

    def test_rtcp(self) -> None:
        plain = offer("m=audio 4000 RTP/AVP 0")
        muxed = offer("m=audio 4000 RTP/AVP 0", "a=rtcp-mux")
        named = offer("m=audio 4000 RTP/AVP 0", f"a=rtcp:4444 IN IP4 {THERE}")
        short = offer("m=audio 4000 RTP/AVP 0", "a=rtcp:4444")
        third = offer("m=audio 4000 RTP/AVP 0", "a=rtcp:4444 IN IP4 192.0.2.77")
        last = offer("m=audio 65535 RTP/AVP 0")
        wrong = offer("m=audio 4000 RTP/AVP 0", "a=rtcp:99999")
        assert make_answer(plain, HERE, 1, rtcp_mux=True)[1].remote_rtcp_port == 4001
        said, agreed = make_answer(muxed, HERE, 1, rtcp_mux=True)
        assert (agreed.rtcp_mux, agreed.remote_rtcp_port) == (True, 4000)
        assert said.media[0].attribute("rtcp-mux") == ""
        assert not make_answer(muxed, HERE, 1)[1].rtcp_mux
        for sdp in (named, short):
            agreed = make_answer(sdp, HERE, 1)[1]
            assert agreed.remote_rtcp_port == agreed.named_rtcp_port == 4444
        for sdp in (plain, third, wrong):
            agreed = make_answer(sdp, HERE, 1)[1]
            assert (agreed.remote_rtcp_port, agreed.named_rtcp_port) == (4001, None), (
                "no third party"
            )
        assert make_answer(muxed, HERE, 1, rtcp_mux=True)[1].named_rtcp_port is None
        assert make_answer(last, HERE, 1)[1].named_rtcp_port is None
        assert make_answer(wrong, HERE, 1)[1].remote_rtcp_port == 4001

    def test_our_own_mistakes_are_ours(self) -> None:
        with pytest.raises(LocalProtocolError):
            make_offer(HERE, 1, ["SILK"])
        with pytest.raises(LocalProtocolError):
            make_offer(HERE, 1, [])
        with pytest.raises(LocalProtocolError):
            read_answer(offer("m=video 1 RTP/AVP 99"), offer())
