"""RTCP: reports survive the wire, garbage does not hurt, the round trip is right."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.wire import rtcp
from media.wire.rtcp import Bye, ReceiverReport, ReportBlock, SenderReport, SourceDescription

U8 = st.integers(0, 255)
U32 = st.integers(0, 0xFFFFFFFF)
BLOCK = st.builds(ReportBlock, U32, U8, st.integers(-(2**23), 2**23 - 1), U32, U32, U32, U32)
BLOCKS = st.lists(BLOCK, max_size=31).map(tuple)
REPORT = st.one_of(
    st.builds(ReceiverReport, U32, BLOCKS),
    st.builds(SenderReport, U32, st.integers(0, 2**64 - 1), U32, U32, U32, BLOCKS),
)
NAME = st.text(min_size=1, max_size=60).filter(lambda text: "\ud800" not in text)


@given(REPORT, st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=150, deadline=None)
def test_reports_survive_the_wire(report, cname) -> None:
    data = rtcp.build_report(report, cname)
    assert len(data) % 4 == 0
    assert rtcp.parse(data) == [report, SourceDescription(((report.ssrc, cname),))]


@given(
    st.lists(
        st.tuples(U32, U32, U32, U32, U32, U8, st.integers(0, 2**23 - 1), U32, U32, U32, U32),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**64 - 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_reports_built_together_are_those_built_one_by_one(rows, ntp, cname) -> None:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    words = rtcp.build_sender_reports(rtcp.SenderReports(ntp, *columns), cname)
    for row, built in zip(rows, words, strict=True):
        ssrc, timestamp, packets, octets, *block = row
        report = SenderReport(ssrc, ntp, timestamp, packets, octets, (ReportBlock(*block),))
        assert built.tobytes() == rtcp.build_report(report, cname)


@given(st.lists(U32, min_size=1, max_size=31), st.text(st.characters(codec="ascii"), max_size=90))
def test_a_goodbye_survives_the_wire(ssrcs, reason) -> None:
    got = rtcp.parse(rtcp.build_bye(ssrcs, "a@b", reason))
    assert got[-1] == Bye(tuple(ssrcs), reason)
    assert isinstance(got[0], ReceiverReport)


def test_bounds_of_what_is_built() -> None:
    for count in (0, 32):
        with pytest.raises(ValueError, match="1 to 31"):
            rtcp.build_bye([1] * count, "x")
    block = ReportBlock(1, 2, 3, 4, 5, 6, 7)
    many = rtcp.parse(rtcp.build_report(ReceiverReport(9, (block,) * 32), "c" * 400))
    assert many == [ReceiverReport(9, (block,) * 31), SourceDescription(((9, "c" * 255),))]
    wild = ReportBlock(1, 255, 2**40, 2**33 + 1, -5, 0, 2**40)
    got = rtcp.parse(rtcp.build_report(ReceiverReport(9, (wild,)), ""))[0]
    assert got == ReceiverReport(9, (ReportBlock(1, 255, 2**23 - 1, 1, 0, 0, 0xFFFFFFFF),))


def test_unknown_packets_padding_and_several_chunks() -> None:
    unknown = struct.pack(">BBHI", 0x80, 207, 1, 5)
    padded = struct.pack(">BBHI", 0xA0, 201, 2, 77) + b"\0\0\0\4"
    chunks = b"\0\0\0\1\2\3abc\1\2me\0\0\0" + b"\0\0\0\2\1\3you\0\0\0"
    described = struct.pack(">BBH", 0x82, 202, len(chunks) // 4) + chunks
    assert rtcp.parse(unknown + padded + described) == [
        ReceiverReport(77),
        SourceDescription(((1, "me"), (2, "you"))),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\xc9\x00",
        b"\x40\xc9\x00\x01\0\0\0\1",  # version 1
        b"\x80\xc9\x00\x02\0\0\0\1",  # longer than the datagram
        b"\x81\xc9\x00\x01\0\0\0\1",  # a block is missing
        b"\x80\xc8\x00\x01\0\0\0\1",  # half a sender report
        b"\xa0\xc9\x00\x01\0\0\0\x09",  # more padding than there is
        b"\xa0\xc9\x00\x01\0\0\0\x00",  # padding of no octets
        b"\x82\xcb\x00\x01\0\0\0\1",  # a source is missing
    ],
)
def test_broken_packets_say_nothing(data) -> None:
    assert rtcp.parse(data) == []


def test_no_more_than_32_packets_are_read() -> None:
    one = struct.pack(">BBHI", 0x80, 201, 1, 5)
    assert len(rtcp.parse(one * rtcp.PACKETS_MAX)) == rtcp.PACKETS_MAX
    assert len(rtcp.parse(one * (rtcp.PACKETS_MAX + 1))) == rtcp.PACKETS_MAX


@given(st.binary(max_size=200), st.sampled_from([200, 201, 202, 203]), U8)
@settings(max_examples=400, deadline=None)
def test_garbage_never_raises(octets, kind, first) -> None:
    rtcp.parse(octets)
    body = octets[: len(octets) // 4 * 4]
    rtcp.parse(struct.pack(">BBH", 0x80 | first, kind, len(body) // 4) + body)


def test_the_round_trip_of_the_rfc_example() -> None:
    # RFC 3550 figure 2: 6.125 s between departure of the SR and arrival, 5.250 s held at the far end.
    now = (0xB7103700 << 32) | 0x20000000
    sent = rtcp.compact_ntp((0xB71036F9 << 32) | 0xFE000000)
    held = ReportBlock(1, 0, 0, 0, 0, sent, 0x00054000)
    passed = ((rtcp.compact_ntp(now) - sent) & 0xFFFFFFFF) / 65536
    assert rtcp.round_trip_s(now, held) == pytest.approx(passed - 5.25)
    assert rtcp.round_trip_s(now, ReportBlock(1, 0, 0, 0, 0, 0, 0)) is None
    assert rtcp.round_trip_s(now, ReportBlock(1, 0, 0, 0, 0, sent, 0x00800000)) is None
    slightly = ReportBlock(1, 0, 0, 0, 0, rtcp.compact_ntp(now), 3)
    assert rtcp.round_trip_s(now, slightly) == 0.0


def test_ntp_time() -> None:
    assert rtcp.ntp_of(0.0) == 2208988800 << 32
    assert rtcp.ntp_of(0.5) & 0xFFFFFFFF == 1 << 31
