"""How long datagrams gather before they are fetched: adaptive batching."""

from __future__ import annotations

import numpy as np
import pytest

from media.plane.worker import cycle_s


def test_with_few_packets_each_is_fetched_at_once():
    assert cycle_s(0.0) == cycle_s(200.0) == 0.0


def test_with_hundreds_of_calls_they_gather_and_with_thousands_less_so():
    by_calls = {calls: cycle_s(100.0 * calls) for calls in (10, 40, 100, 400, 800, 2000)}
    assert by_calls[10] < by_calls[40] < by_calls[100]
    assert by_calls[100] > by_calls[400] > by_calls[800] > by_calls[2000] == 0.002


def test_after_commands_of_which_there_are_many_the_next_fetch_is_milliseconds_off():
    assert cycle_s(100.0) == 0.0
    assert cycle_s(100.0, commanded=True) == cycle_s(40_000.0, commanded=True) == 0.0035
    assert cycle_s(0.0, commanded=True) == 0.01  # nobody's packet waits


def test_it_changes_without_a_jump_and_never_makes_half_a_cycle_more_than_two_milliseconds():
    rates = np.arange(0.0, 200_000.0, 10.0)
    cycles = np.array([cycle_s(rate) for rate in rates])
    assert np.abs(np.diff(cycles)).max() < 0.0001
    # What comes at any moment waits half a cycle on the average: the bar of the delay is 2 ms.
    assert cycles.max() / 2 < 0.002
    assert cycles.max() == pytest.approx(0.0035)
