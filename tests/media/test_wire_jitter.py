"""Reception counters and play-out delay, against a plain one-packet-at-a-time account."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.wire.jitter import DROPOUT_MAX, PACKETS_PER_STREAM_MAX, PlayoutDelay, ReceptionStats

ROW = np.array([1])


def feed(stats, sequences, *, start_s=0.0, step_s=0.02, stream=1, batch=7):
    fresh = []
    for at in range(0, len(sequences), batch):
        part = np.array(sequences[at : at + batch])
        when = start_s + step_s * (at + np.arange(len(part)))
        timestamp = (part * 160 & 0xFFFFFFFF).astype(np.uint32)
        streams = np.full(len(part), stream)
        told = stats.receive(streams, (part & 0xFFFF).astype(np.uint16), timestamp, when)
        fresh += told.tolist()
    return fresh


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.sampled_from(["ok", "lost", "twice", "late"]), min_size=3, max_size=120),
    st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_counters_across_the_wrap(start, fates, batch) -> None:
    sent, held = [], []
    for number, fate in enumerate(["ok", *fates, "ok"]):
        sequence = start + number
        if fate == "lost":
            continue
        if fate == "late":
            held.append((number + 3, sequence))
        else:
            sent += [sequence] * (2 if fate == "twice" else 1)
        sent += [late for due, late in held if due <= number]
        held = [item for item in held if item[0] > number]
    sent += [late for _, late in held]
    stats = ReceptionStats(3)
    fresh = feed(stats, sent, batch=batch)
    unique = set(sent)
    assert int(stats.highest[1]) == max(sent)
    assert int(stats.received[1]) == len(sent)
    assert int(stats.duplicates[1]) == len(sent) - len(unique)
    assert int(stats.expected(ROW)[0]) == len(fates) + 2
    assert int(stats.lost(ROW)[0]) == len(fates) + 2 - len(unique)
    assert sum(fresh) == len(unique)
    assert int(stats.reordered[1]) == sum(
        b < max(sent[: i + 1]) and b not in sent[: i + 1] for i, b in enumerate(sent[1:])
    )
    assert not stats.started[[0, 2]].any()


def test_a_window_of_64_packets_tells_duplicates() -> None:
    stats = ReceptionStats(2)
    feed(stats, list(range(100, 200)))
    assert feed(stats, [199, 199 - 63]) == [False, False]
    assert int(stats.duplicates[1]) == 2
    assert feed(stats, [199 - 64]) == [True]


def test_report_is_that_of_the_rfc() -> None:
    stats = ReceptionStats(2)
    feed(stats, [n for n in range(65500, 65600) if n % 10])
    report = stats.report(ROW)
    # 65500 was lost before anything came: nobody expected it. 9 of 99 are missing.
    assert int(report.cumulative_lost[0]) == 9
    assert int(report.fraction_lost[0]) == 256 * 9 // 99
    assert int(report.highest_sequence[0]) == 65599
    feed(stats, list(range(65600, 65700)), start_s=2.0)
    report = stats.report(ROW)
    assert int(report.fraction_lost[0]) == 0
    assert int(report.cumulative_lost[0]) == 9
    feed(stats, [65699] * 20, start_s=4.0)
    assert int(stats.report(ROW).cumulative_lost[0]) == -11
    assert int(stats.lost(ROW)[0]) == 9


def test_jitter_is_that_of_appendix_a_8() -> None:
    rng = np.random.default_rng(1)
    arrival = 0.02 * np.arange(400) + rng.uniform(0, 0.012, 400)
    stats = ReceptionStats(1)
    wanted, previous = 0.0, None
    for number, when in enumerate(arrival):
        transit = when * 8000 - 160 * number
        if previous is not None:
            wanted += (abs(transit - previous) - wanted) / 16
        previous = transit
        stats.receive(
            np.array([0]), np.array([number], np.uint16), np.array([160 * number], np.uint32), when
        )
    assert stats.jitter[0] == pytest.approx(wanted)
    assert int(stats.report(np.array([0])).jitter[0]) == int(wanted)


def test_a_jump_needs_two_packets_and_keeps_the_totals() -> None:
    stats = ReceptionStats(2)
    feed(stats, [n for n in range(100) if n != 50])
    assert feed(stats, [99 + DROPOUT_MAX, 30000], start_s=2.0) == [False, False]
    assert int(stats.restarts[1]) == 0
    assert feed(stats, [30001, 30002], start_s=2.1) == [True, True]
    assert int(stats.restarts[1]) == 1
    assert int(stats.received[1]) == 101
    assert int(stats.lost(ROW)[0]) == 1
    assert int(stats.expected(ROW)[0]) == 2
    assert int(stats.report(ROW).cumulative_lost[0]) == 0
    feed(stats, [30002 + DROPOUT_MAX - 1], start_s=3.0)
    assert int(stats.lost(ROW)[0]) == 1 + DROPOUT_MAX - 2


def test_a_flood_is_bounded() -> None:
    for extra in (0, 1):
        stats = ReceptionStats(2)
        count = PACKETS_PER_STREAM_MAX + extra
        feed(stats, list(range(count)), batch=count)
        assert stats.excess == extra
        assert int(stats.received[1]) == PACKETS_PER_STREAM_MAX


def test_reset_forgets_and_nothing_is_nothing() -> None:
    stats = ReceptionStats(2)
    feed(stats, list(range(10)))
    stats.reset(1, 48000.0)
    assert not stats.started[1]
    assert int(stats.lost(ROW)[0]) == 0
    assert int(stats.report(ROW).cumulative_lost[0]) == 0
    empty = np.zeros(0, np.uint16)
    assert len(stats.receive(np.zeros(0, int), empty, empty.astype(np.uint32), 0.0)) == 0
    PlayoutDelay(2).receive(np.zeros(0, int), empty.astype(np.uint32), 0.0)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 65535), st.integers(0, 2**32 - 1), st.floats(-10, 1e6)
        )
    )
)
@settings(max_examples=150, deadline=None)
def test_no_packets_raise(packets) -> None:
    columns = [np.array(column) for column in zip(*packets, strict=True)] or [np.zeros(0)] * 4
    stream = columns[0].astype(int)
    timestamp = columns[2].astype(np.uint32)
    stats, delay = ReceptionStats(3), PlayoutDelay(3)
    stats.receive(stream, columns[1].astype(np.uint16), timestamp, columns[3])
    delay.receive(stream, timestamp, columns[3])
    rows = np.arange(3)
    assert (stats.lost(rows) >= 0).all()
    stats.report(rows)
    assert ((delay.target_s >= 0.02) & (delay.target_s <= 0.3)).all()


def stream_of(delay, jitter_s, count, *, seed=1, clock=1.0, start=0, row=1):
    rng = np.random.default_rng(seed)
    for number in range(start, start + count):
        late = float(rng.uniform(0, jitter_s)) if jitter_s else 0.0
        timestamp = np.array([number * 160], np.uint32)
        delay.receive(np.array([row]), timestamp, number * 0.02 * clock + late)


def test_the_delay_follows_the_jitter_up_and_down() -> None:
    delay = PlayoutDelay(2)
    stream_of(delay, 0.004, 300)
    assert delay.target_s[1] == pytest.approx(0.02)
    stream_of(delay, 0.08, 200, start=300)
    assert 0.07 <= delay.target_s[1] <= 0.1
    stream_of(delay, 0.5, 200, start=500)
    assert delay.target_s[1] == pytest.approx(0.3)
    stream_of(delay, 0.004, 4000, start=700)
    assert delay.target_s[1] <= 0.03


def test_hardly_any_packet_is_late_at_the_delay_chosen() -> None:
    rng = np.random.default_rng(3)
    delay = PlayoutDelay(1)
    late = 0
    for number in range(3000):
        wait = float(rng.exponential(0.012))
        if number > 500 and wait > delay.target_s[0]:
            late += 1
        timestamp = np.array([number * 160], np.uint32)
        delay.receive(np.array([0]), timestamp, number * 0.02 + wait)
    assert late / 2500 < 0.02
    assert delay.target_s[0] < 0.1


@pytest.mark.parametrize("ppm", [-300.0, 0.0, 300.0])
def test_the_delay_does_not_grow_with_a_clock_that_runs_wrong(ppm) -> None:
    delay = PlayoutDelay(2, min_s=0.0)
    rng = np.random.default_rng(2)
    for number in range(6000):  # two minutes: 36 ms apart at the end
        when = number * 0.02 * (1 + ppm * 1e-6) + float(rng.uniform(0, 0.01))
        delay.receive(np.array([1]), np.array([number * 160], np.uint32), when)
        assert number < 500 or number % 50 or 0.005 < delay.target_s[1] <= 0.015


def test_timestamps_wrap() -> None:
    delay = PlayoutDelay(1)
    for number in range(100):
        timestamp = np.array([(2**32 - 8000 + 160 * number) & 0xFFFFFFFF], np.uint32)
        delay.receive(np.array([0]), timestamp, 0.02 * number)
    assert delay.target_s[0] == pytest.approx(0.02)
