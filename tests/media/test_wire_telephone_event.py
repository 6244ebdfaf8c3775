"""Telephone events: one digit is one digit, whatever the network and the sender do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from media.wire import telephone_event as te


def hear(receiver, packets, now_s=0.0, stream=0):
    """Feed (timestamp, event, end, duration) tuples as one batch; return what is reported."""
    if not packets:
        return []
    rows = np.array(packets, np.int64).reshape(-1, 4)
    payload = te.build(rows[:, 1], rows[:, 2].astype(bool), rows[:, 3])
    columns = te.parse(payload, np.zeros(len(rows), int), np.full(len(rows), 4))
    streams = np.full(len(rows), stream)
    timestamps = (rows[:, 0] & 0xFFFFFFFF).astype(np.uint32)
    return listed(receiver.receive(streams, timestamps, columns, now_s))


def listed(reports):
    return [
        (te.digit_of(int(event)), bool(ended), int(duration))
        for event, ended, duration in zip(
            reports.event, reports.ended, reports.duration, strict=True
        )
    ]


def digit(event, start, *, samples=800, step=160, ends=3):
    """The packets of one digit as RFC 4733 section 2.5.1 sends them."""
    steps = [(start, event, False, at) for at in range(step, samples, step)]
    return steps + [(start, event, True, samples)] * ends


def test_codes_and_digits() -> None:
    assert [te.digit_of(code) for code in range(17)] == list("0123456789*#ABCD!")
    assert [te.event_of(text) for text in "09*#d!"] == [0, 9, 10, 11, 15, 16]
    for bad in ("", "x", "12", "²"):
        with pytest.raises(KeyError):
            te.event_of(bad)


@given(hnp.arrays(np.uint8, (7, 4)))
def test_a_payload_survives_parsing_and_building(payload) -> None:
    columns = te.parse(payload, np.zeros(7, int), np.full(7, 4))
    again = te.build(columns.event, columns.end, columns.duration, columns.volume)
    payload[:, 1] &= 0xBF  # the reserved bit is sent as zero
    assert (again == payload).all()


def test_a_payload_must_be_whole() -> None:
    batch = np.zeros((4, 16), np.uint8)
    ok = te.parse(batch, np.array([12, 12, 13, -1]), np.array([4, 3, 4, 4])).ok
    assert ok.tolist() == [True, False, False, False]


def test_a_digit_is_begun_and_ended_once() -> None:
    assert hear(te.EventReceiver(1), digit(5, 1000)) == [("5", False, 160), ("5", True, 800)]


@pytest.mark.parametrize("kept", range(1, 8))
def test_any_single_packet_is_enough(kept) -> None:
    packets = digit(7, 4000)
    receiver = te.EventReceiver(1)
    told = hear(receiver, [packets[kept - 1]] * 2) + listed(receiver.expire(1.0))
    assert [(text, ended) for text, ended, _ in told] == [("7", False), ("7", True)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 15), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.integers(0, 2**32 - 1),
)
def test_loss_and_duplicates_never_change_the_number(digits, random, start) -> None:
    packets = []
    for number, event in enumerate(digits):
        sent = digit(event, start + 1600 * number)
        # Whatever is lost, something of the digit arrives; much of it twice.
        kept = [packet for packet in sent if random.random() < 0.5] or [random.choice(sent)]
        packets += [packet for packet in kept for _ in range(random.choice([1, 1, 2]))]
    receiver = te.EventReceiver(1)
    told = []
    for at in range(0, len(packets), 4):
        told += hear(receiver, packets[at : at + 4], now_s=at / 100)
    told += listed(receiver.expire(100.0))
    wanted = [te.digit_of(event) for event in digits]
    assert [text for text, ended, _ in told if not ended] == wanted
    assert [text for text, ended, _ in told if ended] == wanted


def test_the_next_digit_ends_one_without_end_packets() -> None:
    told = hear(te.EventReceiver(1), digit(1, 0, ends=0) + digit(1, 1600))
    assert told == [("1", False, 160), ("1", True, 640), ("1", False, 160), ("1", True, 800)]


def test_packets_of_an_older_digit_are_not_a_new_one() -> None:
    packets = [*digit(1, 0), *digit(2, 1600), (0, 1, True, 800), (1600, 2, True, 800)]
    assert [text for text, ended, _ in hear(te.EventReceiver(1), packets) if ended] == ["1", "2"]


def test_reordering_within_a_digit() -> None:
    packets = digit(9, 0)
    packets[1], packets[2] = packets[2], packets[1]
    assert hear(te.EventReceiver(1), packets) == [("9", False, 160), ("9", True, 800)]


def test_silence_ends_a_digit_whose_ends_are_all_lost() -> None:
    receiver = te.EventReceiver(2)
    hear(receiver, digit(3, 0, ends=0), now_s=10.0, stream=1)
    assert listed(receiver.expire(10.2)) == []
    assert listed(receiver.expire(10.25)) == [("3", True, 640)]
    assert listed(receiver.expire(11.0)) == []
    # A straggler afterwards is no new digit.
    assert hear(receiver, digit(3, 0)[-1:], now_s=11.0, stream=1) == []


def test_a_digit_of_twenty_seconds_comes_in_segments() -> None:
    segment = 0xFFFF
    packets = [(0, 4, False, at) for at in range(8000, segment, 8000)] + [(0, 4, False, segment)]
    packets += [(segment, 4, False, at) for at in range(8000, segment, 8000)]
    packets += [(segment, 4, False, segment), (2 * segment, 4, True, 28930)]
    receiver = te.EventReceiver(1)
    told = [
        told for at in range(0, len(packets), 5) for told in hear(receiver, packets[at : at + 5])
    ]
    assert told == [("4", False, 8000), ("4", True, 160000)]


def test_a_sender_that_steps_the_timestamp_within_a_digit() -> None:
    packets = [(160 * k, 6, k >= 5, 160 * (k + 1)) for k in range(6)]
    packets += [(960, 6, True, 960), (1120, 6, True, 960)]
    assert [ended for _, ended, _ in hear(te.EventReceiver(1), packets)] == [False, True]


def test_the_same_digit_twice_with_the_shortest_pause_is_two() -> None:
    packets = digit(8, 0, samples=400) + digit(8, 400 + 320, samples=400)
    told = hear(te.EventReceiver(1), packets)
    assert [ended for _, ended, _ in told] == [False, True, False, True]


def test_a_sender_that_begins_anew_with_old_timestamps_is_heard() -> None:
    receiver = te.EventReceiver(1)
    hear(receiver, digit(1, 500000), now_s=0.0)
    assert len(hear(receiver, digit(1, 100), now_s=6.0)) == 2
    receiver.reset(0)
    assert len(hear(receiver, digit(1, 50), now_s=6.1)) == 2


def test_other_events_are_dropped_and_counted() -> None:
    receiver = te.EventReceiver(1)
    assert hear(receiver, [(0, 17, False, 1), (0, 255, True, 1)]) == []
    assert receiver.dropped == 2
    assert [text for text, _, _ in hear(receiver, [(9, 16, True, 400)])] == ["!", "!"]


def test_a_flood_is_bounded_at_sixteen_packets_a_stream_and_batch() -> None:
    flood = [(k * 4000, k % 10, True, 800) for k in range(te.PACKETS_PER_STREAM_MAX + 1)]
    receiver = te.EventReceiver(1)
    assert len(hear(receiver, flood[:-1])) == 2 * te.PACKETS_PER_STREAM_MAX
    assert receiver.dropped == 0
    receiver = te.EventReceiver(1)
    assert len(hear(receiver, flood)) == 2 * te.PACKETS_PER_STREAM_MAX
    assert receiver.dropped == 1


def test_streams_do_not_mix() -> None:
    receiver = te.EventReceiver(8)
    packets = [(stream, packet) for stream in range(8) for packet in digit(stream, 77 * stream)]
    packets = packets[::3] + packets[1::3] + packets[2::3]
    told: dict[int, list[tuple[int, bool]]] = {}
    for at in range(0, len(packets), 16):
        part = packets[at : at + 16]
        rows = np.array([packet for _, packet in part])
        payload = te.build(rows[:, 1], rows[:, 2].astype(bool), rows[:, 3])
        reports = receiver.receive(
            np.array([stream for stream, _ in part]),
            rows[:, 0].astype(np.uint32),
            te.parse(payload, np.zeros(len(part), int), np.full(len(part), 4)),
            0.0,
        )
        for stream, event, ended in zip(reports.stream, reports.event, reports.ended, strict=True):
            told.setdefault(int(stream), []).append((int(event), bool(ended)))
    assert told == {stream: [(stream, False), (stream, True)] for stream in range(8)}


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(20))),
    st.integers(0, 2**32 - 1),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_garbage_never_raises(batch, timestamp, random) -> None:
    receiver = te.EventReceiver(3)
    count = len(batch)
    at = np.array([random.randrange(-4, 24) for _ in range(count)])
    octets = np.array([random.randrange(0, 24) for _ in range(count)])
    columns = te.parse(batch, at, octets)
    timestamps = np.array([timestamp + random.randrange(2000) for _ in range(count)]) & 0xFFFFFFFF
    streams = np.array([random.randrange(3) for _ in range(count)])
    reports = receiver.receive(streams, timestamps.astype(np.uint32), columns, 1.0)
    ended = receiver.expire(9.0)
    begun = int((~reports.ended).sum())
    assert begun == int(reports.ended.sum()) + len(ended.stream)
    assert not receiver.active.any()


def test_a_sent_digit_is_the_packets_of_the_rfc() -> None:
    sender = te.EventSender(3)
    sender.start(1, 11, 0x1_0000_0005, duration=400, pause=320, volume=12)
    with pytest.raises(ValueError, match="still sending"):
        sender.start(1, 1, 0)
    got = []
    ticks = 0
    while sender.busy.any():
        packets = sender.tick(160)
        ticks += 1
        got += zip(packets.marker.tolist(), packets.payload.tolist(), strict=True)
        assert packets.stream.tolist() in ([1], [])
        assert set(packets.timestamp.tolist()) <= {5}
    assert got == [
        (True, [11, 12, 0, 160]),
        (False, [11, 12, 1, 64]),
        (False, [11, 0x8C, 1, 144]),
        (False, [11, 0x8C, 1, 144]),
        (False, [11, 0x8C, 1, 144]),
    ]
    assert ticks == 5


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(1, 4000)), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_what_is_sent_is_what_is_heard(digits) -> None:
    sender, receiver = te.EventSender(1), te.EventReceiver(1)
    told, clock = [], 0
    for event, duration in digits:
        sender.start(0, event, clock, duration=duration, pause=400)
        while sender.busy[0]:
            packets = sender.tick(160)
            clock += 160
            count = len(packets.stream)
            columns = te.parse(packets.payload, np.zeros(count, int), np.full(count, 4))
            told += listed(
                receiver.receive(packets.stream, packets.timestamp, columns, clock / 8000)
            )
    assert [(text, lasted) for text, ended, lasted in told if ended] == [
        (te.digit_of(event), duration) for event, duration in digits
    ]


def test_stop_frees_the_row() -> None:
    sender = te.EventSender(1)
    sender.start(0, 1, 0)
    sender.stop(0)
    assert len(sender.tick(160).stream) == 0
    sender.start(0, 2, 0)
    assert sender.tick(160).payload[0, 0] == 2
