"""Packet times from 10 to 60 ms, and payload types that differ in the two directions."""

from __future__ import annotations

import io

import numpy as np
import pytest

from media.dsp import g711, wav
from media.plane.framing import Framer, frame_samples
from media.plane.packet_io import BATCH
from media.protocol import (
    Connect,
    DigitReceived,
    File,
    JoinRoom,
    PlayFinished,
    ReleaseStream,
    SendDigits,
    StartPlay,
    StartRecording,
)

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 6000)


def ramp(count):
    return g711.decode_ulaw((np.arange(count) % 251 + 2).astype(np.uint8))


def file_of(path, samples):
    data = np.asarray(samples, "<i2").tobytes()
    path.write_bytes(wav.header(wav.WavFormat(), len(data)) + data)
    return File(str(path))


@pytest.mark.parametrize(
    ("codec", "ptime_ms", "expected_ms"),
    [
        ("PCMU", 20, 20),
        ("PCMU", 10, 10),
        ("PCMU", 30, 30),
        ("PCMU", 60, 60),
        ("PCMU", 0, 10),
        ("PCMU", 200, 60),
        ("PCMA", 33, 30),
        ("opus", 30, 20),
        ("opus", 50, 40),
        ("opus", 60, 60),
    ],
)
def test_packet_times_that_can_be_made(codec, ptime_ms, expected_ms):
    assert frame_samples(codec, ptime_ms) == 8 * expected_ms


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
def test_a_file_comes_in_packets_of_the_agreed_time(world, tmp_path, ptime_ms):
    world.open(1, A, ptime_ms=ptime_ms)
    samples = ramp(8000)
    world.do(StartPlay(1, 7, file_of(tmp_path / "p.wav", samples)))
    world.run(1.2)
    packets = world.sent()
    size = 8 * ptime_ms
    assert {len(packet.payload) for packet in packets} == {size}
    numbers = np.arange(len(packets))
    assert [(each.sequence - packets[0].sequence) & 0xFFFF for each in packets] == list(numbers)
    stamps = [(each.timestamp - packets[0].timestamp) & 0xFFFFFFFF for each in packets]
    assert stamps == list(size * numbers)
    heard = g711.decode_ulaw(np.frombuffer(b"".join(each.payload for each in packets), np.uint8))
    assert np.array_equal(heard[:8000], samples)
    assert not heard[8000:].any()
    assert world.events_of(PlayFinished) == [PlayFinished(1, 7, "end")]


@pytest.mark.parametrize(("codec", "payload_type"), [("G722", 9), ("L16", 96)])
@pytest.mark.parametrize("ptime_ms", [10, 30, 60])
def test_other_codecs_too(world, tmp_path, codec, payload_type, ptime_ms):
    world.open(1, A, codec=codec, payload_type=payload_type, ptime_ms=ptime_ms)
    world.do(StartPlay(1, 7, file_of(tmp_path / "p.wav", ramp(4800))))
    world.run(1.0)
    packets = world.sent()
    octets = {"G722": 8, "L16": 16}[codec] * ptime_ms
    assert {len(packet.payload) for packet in packets} == {octets}
    assert len(packets) == 600 // ptime_ms
    gaps = {
        (packets[at + 1].timestamp - packets[at].timestamp) & 0xFFFFFFFF
        for at in range(len(packets) - 1)
    }
    assert gaps == {8 * ptime_ms}


def test_parties_of_one_room_may_have_different_packet_times(world, make_talker):
    times = [10, 20, 30, 60]
    talkers = []
    for number, ptime_ms in enumerate(times):
        where = (f"10.0.1.{number}", 4000)
        world.open(number, where, ptime_ms=ptime_ms)
        world.do(JoinRoom(1, number))
        talkers.append(make_talker(where, ssrc=number + 1))
    codes = [0xC0, 0xB8, 0x45, 0xD2]
    levels = [int(each) for each in g711.decode_ulaw(np.array(codes, np.uint8))]
    for _ in range(60):
        for talker, code in zip(talkers, codes, strict=True):
            world.io.deliver(0, talker.address, talker.packet(bytes([code]) * 160))
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    packets = world.sent()
    for number, ptime_ms in enumerate(times):
        own = [packet for packet in packets if packet.remote == talkers[number].address]
        assert {len(packet.payload) for packet in own} == {8 * ptime_ms}
        assert abs(len(own) - 1200 // ptime_ms) <= 1
        expected = np.array([sum(levels) - levels[number]], np.int16)
        assert set(own[-1].payload) == set(g711.encode_ulaw(expected).tolist())


def test_what_waited_for_a_packet_does_not_come_in_a_later_one(world, make_talker, tmp_path):
    world.open(1, A, ptime_ms=60)
    world.do(StartPlay(1, 7, file_of(tmp_path / "p.wav", ramp(8000))))
    world.run(0.1)
    world.do(StartPlay(1, 8, file_of(tmp_path / "q.wav", np.full(4800, 0))))
    world.run(1.0)
    world.do(ReleaseStream(1))
    world.open(2, A, ptime_ms=60)
    world.do(StartPlay(2, 9, file_of(tmp_path / "r.wav", np.full(4800, 0))))
    world.sent()
    world.run(1.0)
    assert {octet for packet in world.sent() for octet in packet.payload} == {0xFF}


@pytest.mark.parametrize("count", [BATCH, BATCH + 1])
def test_more_rows_than_a_batch_holds_each_get_their_own(count):
    framer = Framer(count)
    rows = np.arange(count)[::-1].copy()
    sizes = np.full(count, 240)
    sizes[0] = 480
    samples = np.repeat(rows.astype(np.int16)[:, None], 160, axis=1)
    got = dict.fromkeys(range(count), 0)
    for _ in range(6):
        for part, frames in framer.push(rows, sizes, samples, np.zeros(count, np.bool_)):
            assert (frames == rows[part].astype(np.int16)[:, None]).all()
            for row in rows[part].tolist():
                got[row] += frames.shape[1]
    assert set(got.values()) == {960}


def test_each_direction_has_its_own_payload_types(world, make_talker):
    numbers = {"payload_type": 96, "receive_payload_type": 97, "codec": "L16"}
    numbers |= {"dtmf_payload_type": 101, "receive_dtmf_payload_type": 102}
    world.open(1, A, **numbers)
    world.open(2, B, port_id=2, codec="L16", payload_type=99)
    world.do(Connect(1, 2))
    a, b = make_talker(A, payload_type=97), make_talker(B, payload_type=99, ssrc=9)
    for _ in range(10):
        world.hear(a, bytes(320))
        world.hear(b, bytes(320), port_id=2)
        world.now_s += 0.02
    sent = world.sent()
    assert {packet.payload_type for packet in sent if packet.remote == B} == {99}
    assert {packet.payload_type for packet in sent if packet.remote == A} == {96}
    digit = bytes([5, 0x80 | 10, 800 >> 8, 800 & 0xFF])
    world.io.deliver(0, A, a.packet(digit, payload_type=102))
    world.engine.poll(world.now_s)
    assert [event.digit for event in world.events_of(DigitReceived)] == ["5"]
    before = world.engine.stats(1).packets_in
    world.io.deliver(0, A, a.packet(bytes(320), payload_type=96))
    world.engine.poll(world.now_s)
    assert world.engine.stats(1).packets_in == before
    assert world.engine.stats(1).dropped == {"payload_type": 1}


def test_digits_go_out_with_the_number_of_the_peer(world, make_talker):
    world.open(1, A, dtmf_payload_type=101, receive_dtmf_payload_type=102)
    world.do(SendDigits(1, "7"))
    world.run(0.4)
    assert {packet.payload_type for packet in world.sent()} == {101}


def test_a_recorded_stream_with_its_own_numbers_is_decoded(world, make_talker):
    world.open(1, A, codec="L16", payload_type=96, receive_payload_type=97)
    a = make_talker(A, payload_type=97)
    world.do(StartRecording(5, 1, None, "5.wav"))
    loud = np.full(160, 1000, ">i2").tobytes()
    for _ in range(60):
        world.hear(a, loud)
        world.now_s += 0.02
    world.engine.finish()
    rate_hz, samples = wav.read(io.BytesIO((world.recordings / "5.wav").read_bytes()))
    assert rate_hz == 8000
    assert (samples[0] == 1000).all()
