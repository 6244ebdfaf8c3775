"""Expected wait: a distribution, rates learned from what happened, and a record that judges it.

A contact with Q others ahead waits for Q + 1 departures from the head of the line. While j others are
ahead these come at rate a + j theta: `a` is the service rate of the agents the queue can count on
(n mu), theta the rate at which a waiting caller gives up. The wait is so a sum of independent
exponentials, and exp(-theta T) has a Beta(a/theta, Q+1) distribution, which gives every quantile.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

THETA_MIN = 1e-6  # a mean patience of eleven days: as good as endless
FORGET_AFTER = 400.0  # observations a learned rate remembers
RECORD_LENGTH = 200
RECORD_MIN = 40
COVERAGE_AT = 0.8
COVERAGE_RANGE = (0.70, 0.90)


@dataclass(frozen=True, slots=True)
class WaitEstimate:
    """The wait ahead: `ahead` others first, `drain_per_s` services a second, `theta` the rate of
    giving up of each."""

    ahead: int
    drain_per_s: float
    theta: float

    @property
    def mean_s(self) -> float:
        """Sum over j = 0..Q of 1 / (a + j theta)."""
        a, theta = self.drain_per_s, self.theta
        if a <= 0:
            return math.inf
        if self.ahead < 64:
            return sum(1 / (a + j * theta) for j in range(self.ahead + 1))
        if theta < THETA_MIN:
            return (self.ahead + 1) / a
        return (_digamma(a / theta + self.ahead + 1) - _digamma(a / theta)) / theta

    def quantile_s(self, share: float) -> float:
        """The wait that `share` (0..1) of callers in this position do not exceed."""
        if self.drain_per_s <= 0:
            return math.inf
        if not 0 < share < 1:
            raise ValueError("share must lie between 0 and 1")
        low, high = 0.0, max(2 * self.mean_s, 1.0)
        while self.within(high) < share:
            low, high = high, high * 2
        for _ in range(40):
            middle = (low + high) / 2
            if self.within(middle) < share:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def within(self, wait_s: float) -> float:
        """Probability that the wait is over within `wait_s`."""
        if wait_s <= 0 or self.drain_per_s <= 0:
            return 0.0
        theta = max(self.theta, THETA_MIN * self.drain_per_s)
        x = math.exp(-theta * wait_s)
        return 1 - regularized_beta(self.drain_per_s / theta, self.ahead + 1, x)

    def after(self, waited_s: float, share: float = 0.5) -> float:
        """The `share` quantile of what is left, for who has waited `waited_s` with nobody ahead
        having moved: conditional on not being over yet, so it never grows for having waited."""
        gone = self.within(waited_s)
        if gone > 1 - 1e-9:
            return 1 / self.drain_per_s
        return max(0.0, self.quantile_s(gone + share * (1 - gone)) - waited_s)


def _digamma(x: float) -> float:
    total = 0.0
    while x < 8:
        total -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    return (
        total
        + math.log(x)
        - 0.5 / x
        - inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    )


def regularized_beta(a: float, b: float, x: float) -> float:
    """The incomplete beta function I_x(a, b), by Lentz's continued fraction."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 20_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + numerator * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + numerator / c
            c = c if abs(c) > tiny else tiny
            step = c * d
            result *= step
        if abs(step - 1) < 1e-12:
            break
    return result


class CensoredRate:
    """Rate of an exponential time from complete and cut-off observations: events / time at risk,
    the maximum-likelihood estimate, with old observations forgotten exponentially.

    `guess_s` is the mean assumed at the start; it counts as `guess_weight` observations.
    """

    __slots__ = ("_events", "_keep", "_time_s")

    def __init__(self, guess_s: float, guess_weight: float = 2.0) -> None:
        self._events = guess_weight
        self._time_s = guess_weight * guess_s
        self._keep = 1 - 1 / FORGET_AFTER

    def observe(self, time_s: float, complete: bool) -> None:
        """`complete` False: the time was cut off at `time_s` by something else."""
        self._events *= self._keep
        self._time_s = self._time_s * self._keep + max(time_s, 0.0)
        if complete:
            self._events += 1

    @property
    def per_s(self) -> float:
        return self._events / self._time_s if self._time_s > 0 else 0.0

    def state(self) -> list[float]:
        return [self._events, self._time_s]

    def load(self, state: Sequence[float]) -> None:
        self._events, self._time_s = state


def kaplan_meier(times: Iterable[tuple[float, bool]]) -> list[tuple[float, float]]:
    """Survival curve of (time, complete) pairs: [(time, share that lasts longer), ...] at each
    complete time. Cut-off times count as at risk until then."""
    ordered = sorted(times, key=lambda item: (item[0], not item[1]))
    curve: list[tuple[float, float]] = []
    at_risk, share = len(ordered), 1.0
    for time_s, complete in ordered:
        if complete:
            share *= 1 - 1 / at_risk
            if curve and curve[-1][0] == time_s:
                curve[-1] = (time_s, share)
            else:
                curve.append((time_s, share))
        at_risk -= 1
    return curve


def survival_at(curve: Sequence[tuple[float, float]], time_s: float) -> float:
    """Share that lasts longer than `time_s`."""
    share = 1.0
    for at_s, left in curve:
        if at_s > time_s:
            break
        share = left
    return share


class CalibrationRecord:
    """Were earlier estimates right? Each finished wait is kept as the probability its own estimate
    had given to a shorter one; for a good estimate these are uniform. Callers who gave up are
    cut-off observations (Kaplan-Meier)."""

    __slots__ = ("_coverage", "_recent", "_stale")

    def __init__(self) -> None:
        self._recent: deque[tuple[float, bool]] = deque(maxlen=RECORD_LENGTH)
        self._coverage: float | None = None
        self._stale = 0

    def add(self, estimate: WaitEstimate, waited_s: float, answered: bool) -> None:
        self._recent.append((estimate.within(waited_s), answered))
        self._stale += 1

    def __len__(self) -> int:
        return len(self._recent)

    @property
    def coverage(self) -> float | None:
        """Share of waits within their own 80 % quantile; None with too few on record."""
        if len(self._recent) < RECORD_MIN:
            return None
        if self._coverage is None or self._stale >= 10:
            curve = kaplan_meier(self._recent)
            self._coverage = 1 - survival_at(curve, COVERAGE_AT)
            self._stale = 0
        return self._coverage

    @property
    def calibrated(self) -> bool:
        """Good enough to be said to a caller."""
        coverage = self.coverage
        return coverage is not None and COVERAGE_RANGE[0] <= coverage <= COVERAGE_RANGE[1]

    def state(self) -> list[list[float]]:
        return [[share, float(answered)] for share, answered in self._recent]

    def load(self, state: Iterable[Sequence[float]]) -> None:
        self._recent.extend((share, bool(answered)) for share, answered in state)
        self._coverage = None


class WaitModel:
    """What one queue has learned: handle time, patience, its share of its agents' time, and how
    well its estimates have done."""

    __slots__ = ("_own_s", "_total_s", "handling", "patience", "record")

    def __init__(self, handle_guess_s: float, patience_guess_s: float) -> None:
        self.handling = CensoredRate(handle_guess_s)
        self.patience = CensoredRate(patience_guess_s)
        self.record = CalibrationRecord()
        self._own_s = 0.0
        self._total_s = 0.0

    def served(self, busy_s: float) -> None:
        """An agent was done with a contact of this queue after `busy_s`, wrap-up included."""
        self.handling.observe(busy_s, True)

    def agent_busy(self, busy_s: float, own: bool) -> None:
        """An agent of this queue has worked `busy_s`, for it (`own`) or for another one."""
        keep = 1 - 1 / FORGET_AFTER
        self._total_s = self._total_s * keep + busy_s
        self._own_s = self._own_s * keep + (busy_s if own else 0.0)

    @property
    def share(self) -> float:
        """Share of its agents' working time this queue gets (Wazo's EP)."""
        return self._own_s / self._total_s if self._total_s > 0 else 1.0

    def estimate(self, ahead: int, agents: int) -> WaitEstimate:
        """For a contact with `ahead` others first, while `agents` are at work for the queue."""
        return WaitEstimate(ahead, agents * self.share * self.handling.per_s, self.patience.per_s)

    def finished(
        self, estimate: WaitEstimate | None, waited_s: float, *, answered: bool, gave_up: bool
    ) -> None:
        """A caller's wait is over: answered, given up, or (neither) cut off by something else."""
        self.patience.observe(waited_s, complete=gave_up)
        if estimate is not None and estimate.drain_per_s > 0:
            self.record.add(estimate, waited_s, answered)

    def state(self) -> dict[str, Any]:
        return {
            "handling": self.handling.state(),
            "patience": self.patience.state(),
            "record": self.record.state(),
            "share": [self._own_s, self._total_s],
        }

    def load(self, state: dict[str, Any]) -> None:
        self.handling.load(state["handling"])
        self.patience.load(state["patience"])
        self.record.load(state["record"])
        self._own_s, self._total_s = state["share"]
