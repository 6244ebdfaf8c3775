"""The longest gap between two fetches, and whose it was."""

from __future__ import annotations

import pytest

from media.plane.gaps import CollectorClock, Gap, Gaps


def test_the_longest_gap_is_told_once_with_its_parts():
    gaps = Gaps()
    gaps.fetched(1.000, 1.000, 0.500, 0.0)
    gaps.fetched(1.003, 1.002, 0.501, 0.0)
    gaps.fetched(1.023, 1.005, 0.504, 0.001)
    gaps.fetched(1.025, 1.025, 0.505, 0.001)
    assert gaps.take() == Gap(20.0, 3.0, 1.0, 18.0)
    assert gaps.take() == Gap()


def test_waiting_for_datagrams_that_are_not_there_is_no_gap():
    gaps = Gaps()
    gaps.fetched(1.0, 1.0, 0.5, 0.0)
    gaps.idle()
    gaps.fetched(1.1, 1.1, 0.5, 0.0)
    assert gaps.take() == Gap()


def test_collections_add_up():
    times = iter([1.0, 1.5, 3.0, 3.25])
    clock = CollectorClock(lambda: next(times))
    for phase in ("start", "stop", "start", "stop"):
        clock(phase, {})
    assert clock.total_s == pytest.approx(0.75)
