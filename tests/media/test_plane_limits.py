"""Limits at N and N+1, and octets that nobody agreed on."""

from __future__ import annotations

import random

import numpy as np
import pytest

from media.errors import ProtocolViolation
from media.plane.lookup import KeyTable
from media.protocol import (
    CommandRefused,
    Connect,
    DigitReceived,
    JoinRoom,
    OpenStream,
    ReleaseStream,
    SetEcho,
    StartRecording,
    StreamClosed,
    encode,
    unpack_commands,
    unpack_events,
)


def test_last_row_and_one_more(make_world):
    world = make_world(streams_max=16)
    for stream_id in range(17):
        world.do(OpenStream(stream_id, 0))
    (refused,) = world.events_of(CommandRefused)
    assert (refused.command, refused.stream_id) == ("OpenStream", 16)
    world.do(ReleaseStream(3))
    world.do(OpenStream(16, 0))
    assert world.engine.snapshot()["streams"] == 16
    assert len(world.events_of(CommandRefused)) == 1


def test_a_worker_holds_8192_streams(make_world, make_talker):
    world = make_world(streams_max=8192)
    for stream_id in range(8192):
        remote = (f"10.1.{stream_id >> 8}.{stream_id & 255}", 4000)
        world.open(stream_id, remote, port_id=2 * (stream_id % 8))
    last = 8191
    world.do(Connect(last, 0))
    talker = make_talker((f"10.1.{last >> 8}.{last & 255}", 4000))
    said = [world.hear(talker, port_id=2 * (last % 8)) for _ in range(5)]
    assert [packet.payload for packet in world.sent()] == said
    for stream_id in range(8192):
        world.do(ReleaseStream(stream_id))
    assert len(world.events_of(StreamClosed)) == 8192
    snapshot = world.engine.snapshot()
    assert (snapshot["rows"], snapshot["claims"], snapshot["feeds"]) == (0, 0, 0)


def test_commands_for_streams_that_are_not_there(world):
    for command in (Connect(1, 2), SetEcho(1, True), JoinRoom(1, 1), StartRecording(1, 1, 2, "x")):
        world.do(command)
    world.do(ReleaseStream(9))
    assert len(world.events_of(CommandRefused)) == 4


def test_key_table_at_its_limit():
    table = KeyTable(4)
    keys = [2**64 - 2, 0, 77, 2**63]
    for row, key in enumerate(keys):
        table.put(key, row)
    with pytest.raises(IndexError):
        table.put(5, 9)
    table.put(77, 12)
    rows, known = table.find(np.array([*keys, 5, 2**64 - 1], np.uint64))
    assert rows[:4].tolist() == [0, 1, 12, 3]
    assert known.tolist()[:5] == [True] * 4 + [False]
    for key in (5, *keys, *keys):
        table.remove(key)
    assert len(table) == 0
    assert table.get(77) == -1


def test_key_table_agrees_with_a_dict():
    rng = random.Random(11)
    table, model = KeyTable(300), {}
    for step in range(4000):
        key = rng.choice((rng.randrange(400), rng.getrandbits(63)))
        if rng.random() < 0.5 and len(model) < 300:
            model[key] = row = rng.randrange(1000)
            table.put(key, row)
        else:
            key = rng.choice(list(model)) if model and rng.random() < 0.8 else key
            model.pop(key, None)
            table.remove(key)
        # A search now and then, after few changes and after many.
        if step % 400 < 10 or step % 97 == 0:
            assert_agree(table, model)
    assert len(table) == len(model)
    assert_agree(table, model)


def assert_agree(table, model):
    keys = [*model, *range(400)]
    rows, known = table.find(np.array(keys, np.uint64))
    for key, row, found in zip(keys, rows.tolist(), known.tolist(), strict=True):
        assert found == (key in model)
        assert not found or row == model[key] == table.get(key)


def test_what_changes_between_two_searches_is_bounded():
    table = KeyTable(300)
    for key in range(10_000):
        table.put(key, key)
        table.remove(key)
        assert len(table._changed) < 64


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x80", b"not msgpack", encode(OpenStream(1, 2))[:-1]]
)
def test_what_is_no_message_is_refused(data):
    for decode in (unpack_commands, unpack_events):
        with pytest.raises(ProtocolViolation):
            decode(data)


def mutated(rng, talkers):
    """A packet of one of them, bent a little."""
    talker = rng.choice(talkers)
    packet = bytearray(talker.packet())
    for _ in range(rng.choice((0, 0, 1, 2, 8))):
        packet[rng.randrange(rng.choice((1, 2, 12, len(packet))))] = rng.getrandbits(8)
    if rng.random() < 0.3:
        packet = packet[: rng.randrange(len(packet) + 1)]
    if rng.random() < 0.1:
        packet += rng.randbytes(rng.randrange(1600))
    return talker.address, bytes(packet)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bent_packets_never_raise_and_true_ones_still_pass(make_world, make_talker, seed):
    rng = random.Random(seed)
    world = make_world()
    talkers = []
    for number in range(12):
        remote = (f"10.0.2.{number}", 4000)
        alaw = {"codec": "PCMA", "payload_type": 8} if number % 3 == 0 else {}
        world.open(
            number,
            remote,
            nat=number % 4 == 0,
            dtmf_payload_type=101,
            rtcp_mux=number % 5 == 0,
            **alaw,
        )
        kind = alaw.get("payload_type", 0)
        talkers.append(make_talker(remote, ssrc=number + 1, payload_type=kind))
    for number in (0, 2, 4):
        world.do(Connect(number, number + 1))
    for number in (6, 7, 8):
        world.do(JoinRoom(1, number))
    world.do(SetEcho(9, True))
    world.do(StartRecording(1, 0, 1, f"{seed}.wav"))
    for _ in range(400):
        for _ in range(rng.randrange(40)):
            address, packet = mutated(rng, talkers)
            world.io.deliver(rng.choice((0, 0, 0, 1)), address, packet)
        world.engine.poll(world.now_s)
        world.now_s += rng.choice((0.0, 0.003, 0.02, 0.1))
    world.now_s += 2.0
    world.engine.poll(world.now_s)
    world.run(0.3, talkers[4])
    world.sent()
    said = [world.hear(talkers[4]) for _ in range(10)]
    heard = [packet.payload for packet in world.sent() if packet.remote == talkers[5].address]
    assert heard == said
    for number in range(12):
        world.do(ReleaseStream(number))
    snapshot = world.engine.snapshot()
    held = {
        key: count for key, count in snapshot.items() if count and key not in ("unknown_sources",)
    }
    assert held == {}
    assert len(world.events_of(DigitReceived)) < 100
