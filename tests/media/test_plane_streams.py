"""The counters of streams: batches are noted and added up later, and nothing is lost or kept for long."""

from __future__ import annotations

import numpy as np

from media.plane.streams import Arrived, Streams
from media.protocol import (
    CommandRefused,
    ConfigureStream,
    Connect,
    OpenStream,
    ReleaseStream,
    SetEcho,
    StreamClosed,
    StreamParams,
    StreamStats,
)


def batch(rows, sizes, *, sequence=0, timestamp=0, now_s=0.0):
    """Packets of `rows`, of so many octets each, one number if they are alike."""
    words = np.zeros((len(rows), 3), np.uint32)
    words[:, 0] = np.uint32(0x80000000) + np.asarray(sequence, np.uint32)
    words[:, 1] = timestamp
    sizes = sizes if isinstance(sizes, int) else np.array(sizes, np.int32)
    return Arrived(np.array(rows), words, sizes, now_s)


def test_what_is_noted_is_in_every_account():
    streams = Streams(4)
    rows = [streams.take() for _ in range(3)]
    streams.came(batch([rows[0], rows[1], rows[0]], [172, 92, 172]))
    streams.went(np.array([rows[2]]), np.array([32], np.int32))
    assert streams.packets_in(rows[0]) == 2
    first, third = streams.stats(rows[0]), streams.stats(rows[2])
    assert (first.packets_in, first.octets_in) == (2, 320)
    assert (third.packets_out, third.octets_out) == (1, 20)


def test_batches_of_one_size_of_several_and_of_another_are_added_up_together():
    streams = Streams(2)
    one, other = streams.take(), streams.take()
    for sizes in ([172, 172], [172, 92], [32, 32]):
        alike = sizes[0] if sizes[0] == sizes[1] else sizes
        streams.came(batch([one, other], alike))
        streams.went(np.array([other, one]), alike if isinstance(alike, int) else np.array(alike))
    assert streams.stats(one).octets_in == streams.stats(other).octets_out == 160 + 160 + 20
    assert streams.stats(other).octets_in == streams.stats(one).octets_out == 160 + 80 + 20
    assert streams.stats(one).packets_in == streams.stats(one).packets_out == 3


def test_the_highest_number_wraps_and_what_comes_late_does_not_lead_back():
    streams = Streams(2)
    one, other = streams.take(), streams.take()
    streams.begin_sequence(one, 65_534)
    streams.begin_sequence(other, 10)
    for sequence, second in ((65_534, 10), (65_535, 12), (0, 11), (2, 9)):
        streams.came(batch([one, other], 172, sequence=[sequence, second]))
    streams.came(batch([one, one], 172, sequence=[5, 4]))
    assert streams.extended[one] == 65_536 + 5
    assert streams.extended[other] == 12
    assert streams.expected(one) == (8, 2)


def test_the_last_packet_says_when_somebody_was_heard_and_what_time_it_was_there():
    streams = Streams(2)
    one, other = streams.take(), streams.take()
    streams.came(batch([one, other], 172, timestamp=[160, 800], now_s=1.0))
    streams.came(batch([one], 172, timestamp=320, now_s=2.0))
    assert streams.heard_s.tolist() == ([2.0, 1.0] if one == 0 else [1.0, 2.0])
    assert int(streams.timestamp[one]) == 320
    assert int(streams.timestamp[other]) == 800


def test_a_row_that_is_taken_again_has_nothing_of_the_one_before():
    streams = Streams(1)
    row = streams.take()
    streams.came(batch([row], 172))
    streams.went(np.array([row]), 172)
    streams.give_back(row)
    stats = streams.stats(streams.take())
    assert (stats.packets_in, stats.packets_out) == (0, 0)


def test_rows_are_cleaned_some_together_and_each_is_given_out_once():
    streams, cleaned = Streams(70), []
    streams.also_clean.append(lambda rows: cleaned.append(rows.tolist()))
    taken = [streams.take() for _ in range(70)]
    assert taken == list(range(70))
    assert streams.take() == -1
    assert len(streams) == 70
    assert sorted(row for rows in cleaned for row in rows) == taken
    assert len(cleaned) == 3
    for row in taken[10:20]:
        streams.came(batch([row], 172))
        streams.extended[row] = streams.heard_s[row] = 7
        streams.give_back(row)
    assert len(streams) == 60
    again = [streams.take() for _ in range(10)]
    assert sorted(again) == taken[10:20]
    assert sorted(cleaned[3]) == taken[10:20]
    assert all(streams.stats(row).packets_in == 0 for row in again)
    assert not streams.extended[again].any()
    assert not streams.heard_s[again].any()


def test_both_streams_of_a_call_go_together_while_another_takes_their_row(world, make_talker):
    for stream_id, host in ((1, "10.0.0.1"), (2, "10.0.0.2")):
        world.open(stream_id, (host, 4000), port_id=2 * stream_id)
    world.do(Connect(1, 2))
    talkers = [make_talker(("10.0.0.1", 4000)), make_talker(("10.0.0.2", 4000), ssrc=9)]
    for _ in range(6):
        for port_id, talker in zip((2, 4), talkers, strict=True):
            world.hear(talker, port_id=port_id)
        world.now_s += 0.02
    assert world.engine.snapshot()["feeds"] == 2
    others = (OpenStream(3, 2, None), OpenStream(4, 4, None))
    world.engine.handle_all((ReleaseStream(1), *others, ReleaseStream(2)), world.now_s)
    closed = {event.stream_id: event.stats for event in world.events_of(StreamClosed)}
    assert closed[1].packets_in == closed[2].packets_in == 6
    snapshot = world.engine.snapshot()
    assert (snapshot["rows"], snapshot["claims"], snapshot["feeds"]) == (2, 0, 0)
    assert world.engine.stats(3) == world.engine.stats(4) == StreamStats()
    world.hear(talkers[0], port_id=2)
    assert world.engine.stats(3).packets_in == 0


def agreed(number, **params):
    return StreamParams((f"10.0.0.{number}", 4000), **params)


def opened(number, **params):
    return OpenStream(number, 2 * number, None, None, 7 * number, agreed(number, **params))


def test_commands_that_come_together_do_what_they_do_one_by_one(make_world, make_talker):
    """A packet of a call that begins, and the same with each command alone."""
    said = []
    for together in (True, False):
        world = make_world()
        commands = [opened(1), opened(2), Connect(1, 2), opened(3), SetEcho(3, True), opened(4)]
        commands += [opened(5, inband_dtmf=True)]
        if together:
            world.engine.handle_all(commands, world.now_s)
        else:
            for command in commands:
                world.do(command)
        for number in range(1, 6):
            talker = make_talker((f"10.0.0.{number}", 4000), ssrc=number)
            for _ in range(6):
                world.hear(talker, port_id=2 * number)
        snapshot = world.engine.snapshot()
        assert snapshot["feeds"] == 3
        sent = [(packet.port_id, packet.remote) for packet in world.io.take_sent()]
        said.append((snapshot, sorted(sent)))
    assert said[0] == said[1]


def test_opening_again_with_what_is_agreed_now_changes_a_stream(world):
    world.do(OpenStream(1, 2, None, None, 7))
    world.do(opened(1))
    world.do(opened(1, codec="PCMA", payload_type=8))
    assert world.engine._roster.get(1).params == agreed(1, codec="PCMA", payload_type=8)
    assert world.engine.snapshot()["claims"] == 2
    world.do(ConfigureStream(1, agreed(1)))
    assert world.engine._roster.get(1).params == agreed(1)


def test_a_stream_whose_bridge_cannot_be_is_wired_all_the_same(world):
    world.engine.handle_all((opened(1, inband_dtmf=True), Connect(1, 9)), world.now_s)
    (refused,) = world.events_of(CommandRefused)
    assert refused.command == "Connect"
    stream = world.engine._roster.get(1)
    assert stream.wired
    assert world.engine._hush.watching == 1
    world.engine.handle_all((opened(2), ReleaseStream(2)), world.now_s)
    assert world.engine.snapshot()["rows"] == 1


def test_little_waits_while_packets_flow(world, make_talker):
    world.open(1, ("10.0.0.1", 4000))
    world.open(2, ("10.0.0.2", 4000), port_id=2)
    world.do(Connect(1, 2))
    talker = make_talker(("10.0.0.1", 4000))
    most = 0
    for _ in range(500):
        world.hear(talker)
        world.now_s += 0.002
        streams = world.engine._streams
        most = max(most, len(streams._arrived), len(streams._left))
    assert most <= 10
    assert world.engine.stats(1).packets_in == world.engine.stats(2).packets_out == 500
