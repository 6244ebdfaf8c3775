"""Who may speak: latching, injection, bleeding, floods, silence."""

from __future__ import annotations

import pytest

from media.plane.ingress import PACKETS_PER_S_MAX
from media.protocol import (
    ConfigureStream,
    Connect,
    DigitReceived,
    MediaTimedOut,
    OpenStream,
    StreamLatched,
    StreamParams,
)

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 6000)
NAT = ("203.0.113.5", 50_123)
STRANGER = ("198.51.100.66", 9999)


@pytest.fixture
def bridge(world):
    def make(**params):
        world.open(1, A, **params)
        world.open(2, B, port_id=2)
        world.do(Connect(1, 2))
        return world

    return make


def to_b(world):
    return [packet.payload for packet in world.sent() if packet.remote == B]


def test_signalled_source_is_heard_at_once_and_locked_after_four(bridge, make_talker):
    world, a = bridge(), make_talker(A)
    said = [world.hear(a) for _ in range(3)]
    assert to_b(world) == said
    assert not world.events_of(StreamLatched)
    world.hear(a)
    assert world.events_of(StreamLatched) == [StreamLatched(1, A)]


def test_a_gap_starts_the_count_of_four_anew(bridge, make_talker):
    world, a = bridge(), make_talker(A)
    for number in range(9):
        if number % 3 == 0:
            a.sequence += 1
        world.hear(a)
    assert not world.events_of(StreamLatched)


def test_strangers_are_never_heard_before_during_and_after(bridge, make_talker):
    world = bridge(nat=True)
    a, stranger = make_talker(A), make_talker(STRANGER, ssrc=0x1234)
    said = []
    for _ in range(20):
        for port_id in (0, 2):
            world.hear(stranger, port_id=port_id)
        said.append(world.hear(a))
        world.hear(stranger)
        world.now_s += 0.02
    packets = world.sent()
    assert [packet.payload for packet in packets] == said
    assert {packet.remote for packet in packets} == {B}
    assert world.engine.snapshot()["unknown_sources"] == 60


def test_nothing_is_sent_to_a_learned_address_before_the_lock(bridge, make_talker):
    world = bridge(nat=True)
    world.configure(1, ("192.168.1.7", 4000), nat=True, signalled_host=NAT[0])
    behind, b = make_talker(NAT), make_talker(B, ssrc=9)
    for _ in range(3):
        world.hear(behind)
        world.hear(b, port_id=2)
        world.now_s += 0.02
    packets = world.sent()
    assert {packet.remote for packet in packets} == {("192.168.1.7", 4000)}
    world.hear(behind)
    world.hear(b, port_id=2)
    assert world.events_of(StreamLatched)[0] == StreamLatched(1, NAT)
    assert [packet.remote for packet in world.sent()] == [B, NAT]


def test_any_port_of_the_host_only_behind_nat(bridge, make_talker):
    world = bridge()
    other_port = make_talker((A[0], 4444))
    world.run(0.2, other_port)
    assert world.sent() == []
    assert not world.events_of(StreamLatched)


def test_locked_stream_ignores_other_ports_of_the_host(bridge, make_talker):
    world = bridge(nat=True)
    a, neighbour = make_talker(A), make_talker((A[0], 4444), ssrc=5)
    world.run(0.2, a)
    world.sent()
    said = []
    for _ in range(20):
        said.append(world.hear(a))
        world.hear(neighbour)
        world.now_s += 0.02
    assert to_b(world) == said


def test_forged_ssrc_cannot_mix_in_while_the_true_one_speaks(bridge, make_talker):
    world = bridge()
    a, forger = make_talker(A), make_talker(A, ssrc=0xBAD)
    world.run(0.2, a)
    world.sent()
    said = []
    for _ in range(30):
        said.append(world.hear(a))
        for _ in range(6):
            world.hear(forger)
        world.now_s += 0.02
    assert to_b(world) == said
    assert world.engine.stats(1).dropped["ssrc"] == 180


def test_new_ssrc_of_the_right_source_is_taken_after_four(bridge, make_talker):
    world = bridge()
    world.run(0.2, make_talker(A))
    before = world.sent()[-1]
    renewed = make_talker(A, ssrc=77, sequence=9, timestamp=1)
    said = world.run(0.2, renewed)
    packets = world.sent()
    assert [packet.payload for packet in packets] == said[3:]
    assert packets[0].sequence == before.sequence + 1
    assert packets[0].ssrc == before.ssrc


def test_wrong_payload_type_is_dropped(bridge, make_talker):
    world, a = bridge(), make_talker(A)
    world.run(0.2, a)
    world.sent()
    for payload_type in (8, 18, 96, 101, 127):
        world.io.deliver(0, A, a.packet(payload_type=payload_type))
    world.engine.poll(world.now_s)
    assert world.sent() == []
    assert world.engine.stats(1).dropped == {"payload_type": 5}


@pytest.mark.parametrize("octets", [0, 1, 7, 11, 1501, 1536, 4000])
def test_too_short_and_too_long_is_dropped(bridge, make_talker, octets):
    world, a = bridge(), make_talker(A)
    world.run(0.2, a)
    world.sent()
    packet = a.packet(b"x" * max(0, octets - 12))[:octets]
    world.io.deliver(0, A, packet)
    world.engine.poll(world.now_s)
    assert world.sent() == []
    assert sum(world.engine.stats(1).dropped.values()) == 1


@pytest.mark.parametrize("octets", [12, 13, 1500])
def test_shortest_and_longest_packets_pass(bridge, make_talker, octets):
    world, a = bridge(), make_talker(A)
    world.run(0.2, a)
    world.sent()
    world.hear(a, b"x" * (octets - 12))
    assert to_b(world) == [b"x" * (octets - 12)]


def test_random_octets_from_the_right_source_do_no_harm(bridge, make_talker, world):
    import random

    bridge(dtmf_payload_type=101, nat=True)
    a, rng = make_talker(A), random.Random(3)
    world.run(0.2, a)
    world.sent()
    for _ in range(3000):
        size = rng.choice((0, 3, 12, 13, 16, 20, 60, 172))
        data = bytearray(rng.randbytes(size))
        if size and rng.random() < 0.7:
            data[0] = rng.choice((0x80, 0x90, 0xA0, 0xB3, 0x8F, 0x81))
        world.io.deliver(rng.choice((0, 1, 2, 3)), rng.choice((A, B, (A[0], 4001))), bytes(data))
        if rng.random() < 0.1:
            world.engine.poll(world.now_s)
            world.now_s += 0.02
    world.engine.poll(world.now_s)
    world.now_s += 1.1
    world.run(0.2, a)
    world.sent()
    assert to_b_after(world, a)
    assert not world.events_of(DigitReceived)


def to_b_after(world, talker):
    said = [world.hear(talker) for _ in range(5)]
    return to_b(world) == said


def test_flood_of_one_stream_is_cut_off_and_the_others_are_untouched(world, make_talker):
    world.open(1, A)
    world.open(2, B, port_id=2)
    world.open(3, ("10.0.0.3", 5000))
    world.open(4, ("10.0.0.4", 5000), port_id=4)
    world.do(Connect(1, 2))
    world.do(Connect(3, 4))
    flood, quiet = make_talker(A), make_talker(("10.0.0.3", 5000), ssrc=3)
    said = []
    for _ in range(100):
        for _ in range(100):
            world.io.deliver(0, A, flood.packet(b"f" * 160))
        said.append(world.hear(quiet))
        world.now_s += 0.02
    packets = world.sent()
    heard = [packet.payload for packet in packets if packet.remote == ("10.0.0.4", 5000)]
    assert heard == said
    passed = len(packets) - len(heard)
    assert 2 * PACKETS_PER_S_MAX <= passed <= 2 * (PACKETS_PER_S_MAX + 200)
    assert world.engine.stats(1).dropped["policed"] == 10_000 - passed
    world.now_s += 1.0
    world.engine.poll(world.now_s)
    world.run(0.2, flood)
    assert len(world.sent()) == 10


def test_flood_with_wrong_ssrc_does_not_reach_the_slow_path(bridge, make_talker):
    world = bridge()
    a, forger = make_talker(A), make_talker(A, ssrc=0xBAD)
    world.run(0.2, a)
    world.sent()
    said = []
    for _ in range(40):
        said.append(world.hear(a))
        for _ in range(100):
            world.io.deliver(0, A, forger.packet())
        world.now_s += 0.02
    assert to_b(world) == said
    dropped = world.engine.stats(1).dropped
    assert dropped["policed"] > dropped["ssrc"]


def test_media_timeout_once_and_sending_stops_until_the_peer_is_back(bridge, make_talker):
    world = bridge()
    a, b = make_talker(A), make_talker(B, ssrc=2)
    for _ in range(10):
        world.hear(a)
        world.hear(b, port_id=2)
        world.now_s += 0.02
    world.run(29.5, b_on_port_2(world, b), step_s=0.5)
    assert not world.events_of(MediaTimedOut)
    world.sent()
    world.run(2.0, b_on_port_2(world, b), step_s=0.5)
    assert world.events_of(MediaTimedOut) == [MediaTimedOut(1)]
    world.sent()
    world.hear(b, port_id=2)
    assert world.sent() == []
    world.hear(a)
    world.hear(b, port_id=2)
    assert [packet.remote for packet in world.sent()] == [B, A]
    world.run(40.0, b_on_port_2(world, b), step_s=0.5)
    assert world.events_of(MediaTimedOut) == [MediaTimedOut(1), MediaTimedOut(1)]


def b_on_port_2(world, talker):
    """`World.run` speaks to port 0; this one speaks to port 2."""

    class There:
        address = talker.address

        def packet(self, payload=None):
            world.io.deliver(2, talker.address, talker.packet(payload))
            return b"\x00" * 12

    return There()


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_no_timeout_while_nothing_is_expected(world, direction):
    world.open(1, A, direction=direction)
    world.run(100.0, step_s=0.5)
    assert not world.events_of(MediaTimedOut)
    world.configure(1, A)
    world.run(29.0, step_s=0.5)
    assert not world.events_of(MediaTimedOut)
    world.run(3.0, step_s=0.5)
    assert world.events_of(MediaTimedOut) == [MediaTimedOut(1)]


def test_configuring_again_keeps_the_lock_and_a_new_remote_breaks_it(bridge, make_talker):
    world, a = bridge(), make_talker(A)
    world.run(0.2, a)
    world.configure(1, A)
    world.sent()
    said = world.hear(a)
    assert to_b(world) == [said]
    assert len(world.events_of(StreamLatched)) == 1
    moved = ("10.0.0.1", 4100)
    world.configure(1, moved)
    world.hear(a)
    assert to_b(world) == []
    roamed = make_talker(moved, ssrc=8)
    said = world.run(0.2, roamed)
    assert to_b(world) == said
    assert world.events_of(StreamLatched)[-1] == StreamLatched(1, moved)


def test_restored_source_is_heard_with_its_first_packet(world, make_talker):
    world.do(OpenStream(1, 0, None, latched=NAT))
    world.configure(1, ("192.168.1.7", 4000), nat=True)
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    said = world.hear(make_talker(NAT))
    assert to_b(world) == [said]


def test_two_streams_of_one_remote_are_told_apart_by_ssrc(world, make_talker):
    for number, target in ((1, B), (2, ("10.0.0.9", 7000))):
        world.open(number, A)
        world.open(10 + number, target, port_id=2)
        world.do(Connect(number, 10 + number))
        if number == 1:
            first = make_talker(A, ssrc=1)
            world.run(0.2, first)
    second = make_talker(A, ssrc=2)
    world.sent()
    said = {B: [], ("10.0.0.9", 7000): []}
    for _ in range(20):
        said[B].append(world.hear(first))
        said["10.0.0.9", 7000].append(world.hear(second))
        world.now_s += 0.02
    heard = {B: [], ("10.0.0.9", 7000): []}
    for packet in world.sent():
        heard[packet.remote].append(packet.payload)
    assert heard == said


def test_announced_ssrcs_tell_streams_of_one_remote_apart_from_the_first_packet(world, make_talker):
    targets = [("10.0.0.9", 7000), ("10.0.0.9", 7002)]
    for number, target in enumerate(targets, start=1):
        world.open(number, A, remote_ssrc=number)
        world.open(10 + number, target, port_id=2)
        world.do(Connect(number, 10 + number))
    talkers = [make_talker(A, ssrc=number) for number in (1, 2)]
    stranger = make_talker(A, ssrc=3)
    for _ in range(10):
        world.hear(stranger)
        for talker, target in zip(talkers, targets, strict=True):
            said = world.hear(talker)
            assert [(packet.payload, packet.remote) for packet in world.sent()] == [(said, target)]
        world.now_s += 0.02


def test_two_callers_behind_one_nat_are_never_mixed_up(world, make_talker):
    for number in (1, 2):
        world.open(number, (f"192.168.1.{number}", 4000), nat=True, signalled_host=NAT[0])
        world.open(10 + number, ("10.0.0.9", 7000 + number), port_id=2)
        world.do(Connect(number, 10 + number))
    world.run(0.4, make_talker(NAT))
    assert world.sent() == []
    world.do(ConfigureStream(2, StreamParams((NAT[0], 50_999))))
    said = world.run(0.4, make_talker(NAT, ssrc=5))
    packets = world.sent()
    assert [packet.payload for packet in packets] == said[3:]
    assert {packet.remote for packet in packets} == {("10.0.0.9", 7001)}
