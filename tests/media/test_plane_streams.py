"""The counters of streams: batches are noted and added up later, and nothing is lost or kept for long."""

from __future__ import annotations

import numpy as np

from media.plane.streams import PACKET, Streams
from media.protocol import Connect


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
