"""When calls are to begin: decided before the run and never changed by what the target does.

This is what keeps latencies honest (coordinated omission): a call that starts late because the one
before hung is measured from the moment it should have started.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrivals:
    """`rate` calls a second, reached linearly over `ramp_s`; evenly spaced, or at random (`poisson`).

    `calls` and `duration_s` limit them, whichever is less; 0 is no limit. Of `processes` generators
    number `index` makes every `processes`-th call, so that together they make the same calls as one.
    """

    rate: float
    calls: int = 0
    duration_s: float = 0.0
    ramp_s: float = 0.0
    poisson: bool = False
    index: int = 0
    processes: int = 1
    seed: int = 0

    def times(self) -> Iterator[tuple[int, float]]:
        """Number of the call and seconds since the start, both rising; endless without a limit."""
        rng = random.Random(f"arrivals {self.seed}")
        number, work = 0, 0.0
        while not self.calls or number < self.calls:
            at_s = self._when(work)
            if self.duration_s and at_s >= self.duration_s:
                return
            if number % self.processes == self.index:
                yield number, at_s
            number += 1
            work += rng.expovariate(1.0) if self.poisson else 1.0

    def _when(self, work: float) -> float:
        """The time by which `work` calls are due: the inverse of the integral of the rate."""
        in_ramp = self.rate * self.ramp_s / 2.0
        if work < in_ramp:
            return float((2.0 * work * self.ramp_s / self.rate) ** 0.5)
        return self.ramp_s + (work - in_ramp) / self.rate
