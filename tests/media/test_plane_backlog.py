"""Packets that wait for the tick are heard as if they had been decoded at once."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import g711
from media.plane.backlog import KEPT_MAX, WIDTH, Backlog
from media.plane.streams import NONE, Streams
from media.plane.timeline import DELAY, TICK_SAMPLES
from media.plane.timelines import Timelines
from media.plane.voices import Voices


@pytest.fixture
def parts():
    streams, voices, timelines = Streams(8), Voices(8), Timelines()
    slots = [timelines.take(8000), timelines.take(8000)]
    # Row r lies in slot r: two slots, two rows.
    streams.slot[slots] = slots
    return streams, timelines.narrow, slots, Backlog(streams, voices, timelines)


def take(backlog, slots, number, *, octets=160, arrival_s=0.0):
    """One packet of each slot: what the slot at place p says in packet n is the code 16 p + n."""
    count = len(slots)
    packets = np.zeros((count, 1536), np.uint8)
    packets.view(">u4")[:, 1] = number * octets
    for place in range(count):
        packets[place, 12 : 12 + octets] = (16 * place + number) % 256
    lengths = np.full(count, 12 + octets, np.int32)
    backlog.take(packets, np.arange(count), lengths, np.array(slots), arrival_s)
    packets[:] = 0xEE  # the receive buffer is used again at once


def heard(timeline, slot, number):
    start = timeline.now + DELAY + number * TICK_SAMPLES
    return set(timeline.read([slot], start, start + TICK_SAMPLES)[0].tolist())


def value(code):
    return int(g711.decode_ulaw(np.array([code, code], np.uint8))[0])


def test_packets_are_laid_at_the_flush(parts):
    _, timeline, slots, backlog = parts
    for number in range(3):
        take(backlog, slots, number)
    assert len(backlog) == 6
    assert heard(timeline, slots[0], 1) == {0}
    backlog.flush()
    assert len(backlog) == 0
    for number in range(3):
        found = [heard(timeline, slot, number) for slot in slots]
        assert found == [{value(number)}, {value(16 + number)}]


def test_a_first_packet_lies_by_the_time_of_its_arrival_however_long_it_waited(parts):
    _, timeline, slots, backlog = parts
    take(backlog, slots[:1], 0, arrival_s=5.0)
    take(backlog, slots[1:], 0, arrival_s=5.06)
    timeline.note_time(timeline.now + 10 * TICK_SAMPLES, 5.2)
    backlog.flush()
    assert heard(timeline, slots[0], 0) == {value(0)}
    assert heard(timeline, slots[1], 3) == {value(0)}
    assert heard(timeline, slots[1], 2) == {0}


def test_of_packets_that_waited_a_jump_of_the_time_stamp_costs_three_as_ever(parts):
    _, timeline, slots, backlog = parts
    take(backlog, slots[:1], 0, arrival_s=5.0)
    for number in range(1_000, 1_008):
        take(backlog, slots[:1], number, arrival_s=5.02 + 0.02 * (number - 1_000))
    timeline.note_time(timeline.now + 9 * TICK_SAMPLES, 5.18)
    backlog.flush()
    place = [number for number in range(12) if heard(timeline, slots[0], number) != {0}]
    # The fourth lies where it came, a tick later than the anchor for what the delay has grown.
    assert place == [0, *range(5, 10)]


@pytest.mark.parametrize(("octets", "waiting"), [(WIDTH - 12, 2), (WIDTH - 10, 0)])
def test_what_is_too_long_to_wait_is_decoded_at_once(parts, octets, waiting):
    _, _, slots, backlog = parts
    take(backlog, slots, 1, octets=octets)
    assert len(backlog) == waiting


def test_a_full_backlog_is_emptied_before_it_takes_more(parts):
    _, _, slots, backlog = parts
    for _ in range(KEPT_MAX // 2):
        take(backlog, slots, 1)
    assert len(backlog) == KEPT_MAX
    take(backlog, slots, 2)
    assert len(backlog) == 2


def test_a_late_packet_is_counted_when_it_is_decoded(parts):
    streams, timeline, slots, backlog = parts
    timeline.play(slots[0], True)
    take(backlog, slots, 0)
    backlog.flush()
    for _ in range(6):
        timeline.advance()
    take(backlog, slots[:1], 1)
    assert int(streams.late[slots[0]]) == 0
    backlog.flush()
    assert int(streams.late[slots[0]]) == 1


def test_what_waits_for_a_slot_that_is_given_up_is_left_out(parts):
    streams, timeline, slots, backlog = parts
    take(backlog, slots, 1)
    streams.slot[slots[0]] = NONE
    backlog.flush()
    assert heard(timeline, slots[0], 1) == {0}
    assert heard(timeline, slots[1], 0) == {value(17)}
