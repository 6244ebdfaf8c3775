"""Relay of packets between two streams, as the peers see it."""

from __future__ import annotations

import itertools
import struct

from media.dsp import g711
from media.protocol import (
    ConfigureStream,
    Connect,
    Disconnect,
    ReleaseStream,
    SetEcho,
    StreamClosed,
    StreamParams,
)

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 6000)


def bridged(world, make_talker, **params):
    world.open(1, A, **params)
    world.open(2, B, port_id=2, **params)
    world.do(Connect(1, 2))
    return make_talker(A, ssrc=1), make_talker(B, ssrc=2)


def test_payload_is_byte_identical_both_ways(world, make_talker):
    a, b = bridged(world, make_talker)
    for _ in range(50):
        said_a, said_b = world.hear(a), world.hear(b, port_id=2)
        first, second = world.sent()
        assert (first.payload, first.remote, first.port_id) == (said_a, B, 2)
        assert (second.payload, second.remote, second.port_id) == (said_b, A, 0)
        world.now_s += 0.02


def test_sequence_and_timestamp_go_on_when_the_source_changes(world, make_talker):
    world.open(1, A)
    world.open(2, B, port_id=2)
    world.open(3, ("10.0.0.3", 7000), port_id=4)
    a = make_talker(A, ssrc=1, sequence=65_530, timestamp=4_294_967_000)
    c = make_talker(("10.0.0.3", 7000), ssrc=3, sequence=20, timestamp=77)
    world.do(Connect(1, 2))
    for _ in range(20):
        world.hear(a)
        world.now_s += 0.02
    world.do(Connect(3, 2))
    for _ in range(20):
        world.hear(c, port_id=4)
        world.now_s += 0.02
    packets = [packet for packet in world.sent() if packet.remote == B]
    assert len(packets) == 40
    assert len({packet.ssrc for packet in packets}) == 1
    steps = itertools.pairwise(packets)
    for before, after in steps:
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 160
    assert packets[20].marker


def test_law_conversion(world, make_talker):
    world.open(1, A)
    world.open(2, B, port_id=2, codec="PCMA", payload_type=8)
    world.do(Connect(1, 2))
    a, b = make_talker(A, ssrc=1), make_talker(B, ssrc=2, payload_type=8)
    every = bytes(range(160)), bytes(range(96, 256))
    for payload in every * 5:
        world.hear(a, payload)
        world.hear(b, payload, port_id=2)
        to_b, to_a = world.sent()
        assert to_b.payload_type == 8
        assert to_b.payload == g711.ULAW_TO_ALAW[list(payload)].tobytes()
        assert to_a.payload_type == 0
        assert to_a.payload == g711.ALAW_TO_ULAW[list(payload)].tobytes()
        world.now_s += 0.02


def test_echo_returns_what_was_said(world, make_talker):
    world.open(1, A)
    world.do(SetEcho(1, True))
    a = make_talker(A)
    for _ in range(10):
        said = world.hear(a)
        (packet,) = world.sent()
        assert packet.payload == said
        assert packet.remote == A
        world.now_s += 0.02
    world.do(SetEcho(1, False))
    world.hear(a)
    assert world.sent() == []


def test_extension_csrc_and_padding_are_taken_out(world, make_talker):
    a, _ = bridged(world, make_talker)
    world.run(0.2, a)
    world.sent()
    packet = bytearray(a.packet(b"x" * 160))
    packet[0] = 0x80 | 0x20 | 0x10 | 1
    body = struct.pack(">IHHI", 99, 0xBEDE, 1, 5) + bytes(packet[12:]) + b"\0\0\0\4"
    world.io.deliver(0, A, bytes(packet[:12]) + body)
    world.engine.poll(world.now_s)
    (sent,) = world.sent()
    assert sent.first == 0x80
    assert sent.payload == b"x" * 160


def test_direction_stops_and_resumes(world, make_talker):
    a, b = bridged(world, make_talker)
    world.run(0.1, a)
    assert len(world.sent()) == 5
    world.do(ConfigureStream(2, StreamParams(B, direction="recvonly")))
    world.run(0.1, a)
    assert world.sent() == []
    world.do(ConfigureStream(2, StreamParams(B)))
    world.run(0.1, a)
    packets = world.sent()
    assert len(packets) == 5
    world.do(Disconnect(1, 2))
    world.run(0.1, a)
    assert world.sent() == []
    assert b.ssrc == 2


def test_everything_is_given_back(world, make_talker):
    empty = world.engine.snapshot()
    a, b = bridged(world, make_talker, nat=True)
    world.run(0.2, a)
    world.hear(b, port_id=2)
    world.do(ReleaseStream(1))
    world.do(ReleaseStream(1))
    world.do(ReleaseStream(2))
    after = world.engine.snapshot()
    assert after == empty
    closed = {event.stream_id: event.stats for event in world.events_of(StreamClosed)}
    assert closed[1].packets_in == 10
    assert closed[1].octets_in == 1600
    assert closed[2].packets_out == 10
    assert closed[1].packets_out == 1


def test_loss_and_reordering_are_counted(world, make_talker):
    a, _ = bridged(world, make_talker)
    world.run(0.2, a)
    a.sequence += 5
    a.timestamp += 800
    late = a.packet()
    world.hear(a)
    world.io.deliver(0, A, late)
    world.run(0.1, a)
    assert world.engine.stats(1).lost == 5
