"""RTP headers over arrays: round trips, the rare shapes, and garbage that must not hurt."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from media.wire import rtp

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)


def batch_of(*packets: bytes, width: int = 256) -> tuple[np.ndarray, np.ndarray]:
    batch = np.zeros((len(packets), width), np.uint8)
    for row, packet in enumerate(packets):
        batch[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    return batch, np.array([len(packet) for packet in packets], np.int32)


@given(st.lists(st.tuples(st.integers(0, 127), st.booleans(), U16, U32, U32), min_size=1))
def test_what_is_built_is_parsed(rows) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    packets = np.zeros((len(rows), 172), np.uint8)
    rtp.build(*columns, out=packets[:, :12])
    assert (rtp.build(*columns) == packets[:, :12]).all()
    parsed = rtp.parse(packets, np.full(len(rows), 172))
    assert parsed.ok.all()
    for got, put in zip(
        (parsed.payload_type, parsed.marker, parsed.sequence, parsed.timestamp, parsed.ssrc),
        columns,
        strict=True,
    ):
        assert (got == put).all()
    assert (parsed.payload_at == 12).all()
    assert (parsed.payload_octets == 160).all()


def test_one_header_is_as_the_rfc_draws_it() -> None:
    header = rtp.build(
        8, np.array([True]), np.array([0x1234]), np.array([0x01020304]), np.array([-1])
    )
    assert header.tobytes() == bytes.fromhex("8088123401020304ffffffff")


def test_values_are_taken_modulo_their_width() -> None:
    header = rtp.build(0, False, np.array([65536 + 7]), np.array([2**32 + 9]), np.array([2**33]))
    parsed = rtp.parse(np.pad(header, ((0, 0), (0, 4))), np.array([12]))
    assert (parsed.sequence[0], parsed.timestamp[0], parsed.ssrc[0]) == (7, 9, 0)


def test_csrc_extension_and_padding_move_the_payload() -> None:
    fixed = struct.pack(">HII", 1, 2, 3)
    payload = b"abcdefgh"
    plain = b"\x80\x00" + fixed + payload
    csrc = b"\x82\x00" + fixed + bytes(8) + payload
    extension = b"\x90\x00" + fixed + b"\xbe\xde\0\2" + bytes(8) + payload
    padding = b"\xa0\x00" + fixed + payload + b"\0\0\0\4"
    everything = b"\xb1\x00" + fixed + bytes(4) + b"\0\0\0\0" + payload + b"\1"
    batch, lengths = batch_of(plain, csrc, extension, padding, everything)
    parsed = rtp.parse(batch, lengths)
    assert parsed.ok.all()
    assert parsed.payload_at.tolist() == [12, 20, 24, 12, 20]
    assert parsed.payload_octets.tolist() == [8] * 5
    got = rtp.gather_payload(batch, parsed.payload_at, 8)
    assert [bytes(row) for row in got] == [payload] * 5
    assert bytes(rtp.gather_payload(batch[:1], parsed.payload_at[:1], 8)[0]) == payload


def test_what_does_not_fit_is_not_ok() -> None:
    fixed = struct.pack(">HII", 1, 2, 3)
    broken = [
        b"\x80\x00" + fixed[:9],  # a short header
        b"\x00\x00" + fixed,  # version 0
        b"\x40\x00" + fixed,  # version 1
        b"\xc0\x00" + fixed,  # version 3
        b"\x8f\x00" + fixed + bytes(59),  # 15 CSRC need 60 octets
        b"\x90\x00" + fixed + b"\0\0\0",  # half an extension header
        b"\x90\x00" + fixed + b"\0\0\xff\xff" + bytes(100),  # an extension of 256 KiB
        b"\xa0\x00" + fixed,  # padding of SSRC's last octet: 3 > 0 left
        b"\xa0\x00" + fixed + b"abc\0",  # padding of no octets
        b"\xa0\x00" + fixed + b"abc\5",  # padding longer than what there is
    ]
    assert not rtp.parse(*batch_of(*broken)).ok.any()
    whole = [
        b"\x80\x00" + fixed,
        b"\x8f\x00" + fixed + bytes(60),
        b"\x90\x00" + fixed + b"\0\0\0\0",
        b"\xa0\x00" + fixed + b"abc\4",
    ]
    parsed = rtp.parse(*batch_of(*whole))
    assert parsed.ok.all()
    assert not parsed.payload_octets.any()


def test_a_length_beyond_the_array_is_not_ok() -> None:
    batch, _ = batch_of(b"\x80" + bytes(31), width=32)
    assert rtp.parse(batch, np.array([32])).ok.all()
    assert not rtp.parse(batch, np.array([33])).ok.any()


def test_classify_tells_the_four_apart() -> None:
    kinds = {
        b"\x80\x00" + bytes(10): rtp.RTP,
        b"\x80\x08" + bytes(10): rtp.RTP,
        b"\x80\xe0" + bytes(10): rtp.RTP,  # payload type 96 with the marker
        b"\x80\xbf" + bytes(10): rtp.RTP,  # payload type 63 with the marker
        b"\x81\xc8" + bytes(10): rtp.RTCP,
        b"\x80\xcf" + bytes(10): rtp.RTCP,
        b"\x00\x01" + bytes(18): rtp.STUN,
        b"\x16\xfe" + bytes(18): rtp.DTLS,
        b"\x45\x00" + bytes(18): rtp.OTHER,
        b"\xff\x00" + bytes(18): rtp.OTHER,
        b"\x80\x00" + bytes(5): rtp.OTHER,
        b"": rtp.OTHER,
    }
    assert rtp.classify(*batch_of(*kinds)).tolist() == list(kinds.values())


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(0, 20), st.integers(12, 80))),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_garbage_never_raises_and_never_points_outside(batch, data) -> None:
    lengths = np.array(
        data.draw(st.lists(st.integers(0, 90), min_size=len(batch), max_size=len(batch))), np.int32
    )
    kinds = rtp.classify(batch, lengths)
    assert len(kinds) == len(batch)
    parsed = rtp.parse(batch, lengths)
    good = parsed.ok
    assert (parsed.payload_at[good] >= 12).all()
    assert (parsed.payload_octets[good] >= 0).all()
    assert ((parsed.payload_at + parsed.payload_octets)[good] <= lengths[good]).all()
    assert ((batch[good, 0] >> 6) == 2).all()
    rtp.gather_payload(batch, parsed.payload_at, 160)


@given(U16, st.integers(-0x8000, 0x7FFF))
def test_sequence_differences_wrap(start, step) -> None:
    assert rtp.sequence_delta((start + step) & 0xFFFF, start) == step


@given(U32, st.integers(-(2**31), 2**31 - 1))
def test_timestamp_differences_wrap(start, step) -> None:
    assert rtp.timestamp_delta((start + step) & 0xFFFFFFFF, start) == step
