"""Expected wait: a distribution, rates learned from what happened, and a record that judges it.

A contact with Q others ahead waits for Q + 1 departures from the head of the line. While j others are
ahead these come at rate a + j theta: `a` is the service rate of the agents the queue can count on
(n mu), theta the rate at which a waiting caller gives up. The wait is so a sum of independent
exponentials, and exp(-theta T) has a Beta(a/theta, Q+1) distribution, which gives every quantile.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

THETA_MIN = 1e-6  # a mean patience of eleven days: as good as endless
FORGET_AFTER = 400.0  # observations a learned rate remembers
RECORD_LENGTH = 400
RECORD_MIN = 40
REFRESH_AFTER = 40
CORRECTION_POINTS = 20
COVERAGE_AT = 0.8
COVERAGE_RANGE = (0.70, 0.90)


@dataclass(frozen=True, slots=True)
class WaitEstimate:
    """The wait ahead: `ahead` others first, `drain_per_s` services a second, `theta` the rate of
    giving up of each."""

    ahead: int
    drain_per_s: float
    theta: float
    # Where the 5 %, 10 %, ... 95 % points of earlier waits lay in their own estimates; () unknown.
    corrections: tuple[float, ...] = ()

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

    @property
    def median_s(self) -> float:
        """The best single figure to tell: as many wait longer as shorter."""
        return self.quantile_s(0.5)

    def quantile_s(self, share: float) -> float:
        """The wait that `share` (0..1) of callers in this position do not exceed, corrected by how
        earlier estimates have turned out."""
        if not 0 < share < 1:
            raise ValueError("share must lie between 0 and 1")
        return self.model_quantile_s(_corrected(share, self.corrections))

    def model_quantile_s(self, share: float) -> float:
        """The quantile of the sum of exponentials as it stands."""
        if self.drain_per_s <= 0:
            return math.inf
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


def _corrected(share: float, corrections: tuple[float, ...]) -> float:
    """`share` moved to where that share of earlier waits really lay."""
    if not corrections:
        return share
    points = (0.0, *corrections, 1.0)
    at = share * (len(points) - 1)
    below = min(int(at), len(points) - 2)
    moved = points[below] + (at - below) * (points[below + 1] - points[below])
    return min(max(moved, 0.001), 0.999)


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
    cut-off observations (Kaplan-Meier). Whether estimates may be told is judged on the corrected
    ones, as they were told."""

    __slots__ = ("_coverage", "_judged", "_levels", "_recent", "_stale")

    def __init__(self) -> None:
        self._recent: deque[tuple[float, bool]] = deque(maxlen=RECORD_LENGTH)
        self._judged: deque[tuple[float, bool]] = deque(maxlen=RECORD_LENGTH)
        self._levels: tuple[float, ...] = ()
        self._coverage: float | None = None
        self._stale = 0

    def add(self, estimate: WaitEstimate, waited_s: float, answered: bool) -> None:
        raw = estimate.within(waited_s)
        self._recent.append((raw, answered))
        self._judged.append((_uncorrected(raw, estimate.corrections), answered))
        self._stale += 1
        if self._stale >= REFRESH_AFTER or len(self._recent) == RECORD_MIN:
            self._refresh()

    def _refresh(self) -> None:
        self._stale = 0
        if len(self._recent) < RECORD_MIN:
            return
        self._coverage = 1 - survival_at(kaplan_meier(self._judged), COVERAGE_AT)
        curve = kaplan_meier(self._recent)
        # Few observations move the estimate little: as if so many had come out as expected.
        trust = len(self._recent) / (len(self._recent) + RECORD_MIN)
        shares = [step / CORRECTION_POINTS for step in range(1, CORRECTION_POINTS)]
        real = _levels(curve, shares)
        self._levels = tuple(
            trust * level + (1 - trust) * share for level, share in zip(real, shares, strict=True)
        )

    def __len__(self) -> int:
        return len(self._recent)

    @property
    def corrections(self) -> tuple[float, ...]:
        """For new estimates."""
        return self._levels

    @property
    def coverage(self) -> float | None:
        """Share of waits within the 80 % quantile told; None with too few on record."""
        return self._coverage if len(self._recent) >= RECORD_MIN else None

    @property
    def calibrated(self) -> bool:
        """Good enough to be said to a caller."""
        coverage = self.coverage
        return coverage is not None and COVERAGE_RANGE[0] <= coverage <= COVERAGE_RANGE[1]

    def state(self) -> list[list[float]]:
        return [
            [raw, told, float(answered)]
            for (raw, answered), (told, _) in zip(self._recent, self._judged, strict=True)
        ]

    def load(self, state: Iterable[Sequence[float]]) -> None:
        for raw, told, answered in state:
            self._recent.append((raw, bool(answered)))
            self._judged.append((told, bool(answered)))
        self._refresh()


def _levels(curve: Sequence[tuple[float, float]], shares: Sequence[float]) -> list[float]:
    """Where the survival curve has fallen by each of the ascending `shares`; past its end, as far
    as is known."""
    levels: list[float] = []
    last = curve[-1][0] if curve else 0.0
    at = 0
    for share in shares:
        while at < len(curve) and 1 - curve[at][1] < share:
            at += 1
        levels.append(curve[at][0] if at < len(curve) else max(share, last))
    return levels


def _uncorrected(raw: float, corrections: tuple[float, ...]) -> float:
    """The inverse of `_corrected`: which share the corrected estimate gives to shorter waits."""
    if not corrections:
        return raw
    points = (0.0, *corrections, 1.0)
    above = min(bisect_left(points, raw, 1), len(points) - 1)
    low, high = points[above - 1], points[above]
    part = (raw - low) / (high - low) if high > low else 1.0
    return (above - 1 + min(max(part, 0.0), 1.0)) / (len(points) - 1)


@dataclass(frozen=True, slots=True)
class WaitScore:
    """Over `count` answered waits: mean absolute error and bias (positive: expected too much) of
    the expected wait, and the share within the 80 % quantile told (None: too few)."""

    count: int
    error_s: float
    bias_s: float
    coverage: float | None


class WaitModel:
    """What one queue has learned: handle time, patience, its share of its agents' time, and how
    well its estimates have done."""

    __slots__ = (
        "_error_s",
        "_off_s",
        "_own_s",
        "_scored",
        "_total_s",
        "handling",
        "patience",
        "record",
    )

    def __init__(self, handle_guess_s: float, patience_guess_s: float) -> None:
        self.handling = CensoredRate(handle_guess_s)
        self.patience = CensoredRate(patience_guess_s)
        self.record = CalibrationRecord()
        self._own_s = 0.0
        self._total_s = 0.0
        self._scored = 0
        self._error_s = 0.0
        self._off_s = 0.0

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
        drain_per_s = agents * self.share * self.handling.per_s
        return WaitEstimate(ahead, drain_per_s, self.patience.per_s, self.record.corrections)

    def finished(
        self, estimate: WaitEstimate | None, waited_s: float, *, answered: bool, gave_up: bool
    ) -> None:
        """A caller's wait is over: answered, given up, or (neither) cut off by something else."""
        self.patience.observe(waited_s, complete=gave_up)
        if estimate is not None and estimate.drain_per_s > 0:
            self.record.add(estimate, waited_s, answered)
            if answered:
                off_s = estimate.mean_s - waited_s
                self._scored += 1
                self._error_s += abs(off_s)
                self._off_s += off_s

    @property
    def score(self) -> WaitScore:
        """The score so far."""
        count = self._scored
        mean = 1 / count if count else 0.0
        return WaitScore(count, self._error_s * mean, self._off_s * mean, self.record.coverage)

    def take_score(self) -> WaitScore:
        """The score so far; a new one starts."""
        score = self.score
        self._scored, self._error_s, self._off_s = 0, 0.0, 0.0
        return score

    def state(self) -> dict[str, Any]:
        return {
            "handling": self.handling.state(),
            "patience": self.patience.state(),
            "record": self.record.state(),
            "share": [self._own_s, self._total_s],
            "score": [self._scored, self._error_s, self._off_s],
        }

    def load(self, state: dict[str, Any]) -> None:
        self.handling.load(state["handling"])
        self.patience.load(state["patience"])
        self.record.load(state["record"])
        self._own_s, self._total_s = state["share"]
        self._scored, self._error_s, self._off_s = state["score"]
