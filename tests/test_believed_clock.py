"""Row 51: what is deleted for its age is not deleted by a clock that was just set by years."""

from __future__ import annotations

import pytest

from softswitch.clock import Believed

DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S


class Clock:
    def __init__(self) -> None:
        self.now_s, self.ahead_s = 1_000.0, 1_795_000_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s + self.ahead_s


@pytest.mark.parametrize("by_s", [10 * YEAR_S, -10 * YEAR_S, DAY_S])
def test_for_a_day_after_it_was_set_it_is_not_believed(
    by_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    believed = Believed(clock)
    assert believed()
    clock.ahead_s += by_s
    for _ in range(24):
        assert not believed()
        clock.now_s += 3_600
    assert believed()
    (line,) = caplog.messages
    assert "nothing is deleted for its age for a day" in line


def test_a_mistake_that_is_mended_counts_from_there() -> None:
    clock = Clock()
    believed = Believed(clock)
    clock.ahead_s += YEAR_S
    assert not believed()
    clock.now_s += DAY_S / 2
    clock.ahead_s -= YEAR_S
    assert not believed()
    clock.now_s += DAY_S - 1
    assert not believed()
    clock.now_s += 1
    assert believed()


def test_summer_time_a_leap_second_and_slow_drift_are_nothing() -> None:
    clock = Clock()
    believed = Believed(clock)
    for by_s in (3_600.0, -3_600.0, 1.0, *[600.0] * 100):
        clock.ahead_s += by_s
        clock.now_s += 3_600
        assert believed()
