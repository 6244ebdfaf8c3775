"""The counters of streams: batches are noted and added up later, and nothing is lost or kept for long."""

from __future__ import annotations

import numpy as np

from media.plane.streams import PACKET, Streams
from media.protocol import Connect, OpenStream, ReleaseStream, StreamClosed, StreamStats


def packets(*octets):
    return np.array(octets, np.uint64) + np.uint64(PACKET)


def test_what_is_noted_is_in_every_account():
    streams = Streams(4)
    rows = [streams.take() for _ in range(3)]
    streams.count_in(np.array([rows[0], rows[1], rows[0]]), packets(160, 80, 160))
    streams.count_out(np.array([rows[2]]), packets(20))
    assert streams.packets_in(rows[0]) == 2
    first, third = streams.stats(rows[0]), streams.stats(rows[2])
    assert (first.packets_in, first.octets_in) == (2, 320)
    assert (third.packets_out, third.octets_out) == (1, 20)


def test_a_row_that_is_taken_again_has_nothing_of_the_one_before():
    streams = Streams(1)
    row = streams.take()
    streams.count_in(np.array([row]), packets(160))
    streams.count_out(np.array([row]), packets(160))
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
        streams.count_in(np.array([row]), packets(160))
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
        most = max(most, len(streams._in[0]), len(streams._out[0]))
    assert most <= 10
    assert world.engine.stats(1).packets_in == world.engine.stats(2).packets_out == 500
