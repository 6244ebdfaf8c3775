"""Erlang B, C and A: what a queue of n agents does to calls that come at random.

`load` is in erlangs (arrivals per second x mean handle time). Formulas: Erlang 1917; Palm's model
with impatience (Erlang A) as a birth-death process with death rate min(k, n) mu + (k - n)+ theta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

STATES_MAX = 1_000_000
_TINY = 1e-16


def erlang_b(agents: int, load: float) -> float:
    """Probability that all `agents` lines are taken and a call is lost."""
    if agents < 0 or load < 0:
        raise ValueError("agents and load must not be negative")
    blocked = 1.0
    for k in range(1, agents + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


@dataclass(frozen=True, slots=True)
class ErlangC:
    """`agents` serving an offered `load` of patient callers; unstable when load >= agents."""

    agents: int
    load: float
    handle_s: float

    @property
    def waits(self) -> float:
        """Probability of waiting at all."""
        if self.load >= self.agents:
            return 1.0
        blocked = erlang_b(self.agents, self.load)
        return self.agents * blocked / (self.agents - self.load * (1 - blocked))

    def answered_within(self, target_s: float) -> float:
        """Service level: share answered within `target_s`."""
        if self.load >= self.agents:
            return 0.0
        return 1 - self.waits * math.exp(-(self.agents - self.load) * target_s / self.handle_s)

    @property
    def mean_wait_s(self) -> float:
        """Average speed of answer; infinite when unstable."""
        if self.load >= self.agents:
            return math.inf
        return self.waits * self.handle_s / (self.agents - self.load)


class ErlangA:
    """`agents` serving callers who hang up after an exponential patience of mean `patience_s`."""

    def __init__(self, agents: int, load: float, handle_s: float, patience_s: float) -> None:
        if agents < 1 or load <= 0 or handle_s <= 0 or patience_s <= 0:
            raise ValueError("agents, load, handle_s and patience_s must be positive")
        self.agents = agents
        self._mu = 1 / handle_s
        self._theta = 1 / patience_s
        self._lambda = load / handle_s
        self._states = self._distribution()

    def _distribution(self) -> list[float]:
        """Stationary probabilities of k = 0, 1, ... contacts in the system (unnormalised weights
        are kept near 1 by scaling, so that no load overflows)."""
        weights = [1.0]
        total, k = 1.0, 0
        while k < STATES_MAX:
            k += 1
            death = min(k, self.agents) * self._mu + max(k - self.agents, 0) * self._theta
            weight = weights[-1] * self._lambda / death
            weights.append(weight)
            total += weight
            if weight > 1e200:
                weights = [w / weight for w in weights]
                total /= weight
            if self._lambda < death and weight < total * _TINY:
                break
        return [weight / total for weight in weights]

    @property
    def waits(self) -> float:
        """Probability of waiting at all."""
        return sum(self._states[self.agents :])

    @property
    def mean_queue(self) -> float:
        """Contacts waiting, on average."""
        n = self.agents
        return sum((k - n) * p for k, p in enumerate(self._states) if k > n)

    @property
    def abandons(self) -> float:
        """Share of all callers who hang up: theta E[Lq] / lambda."""
        return self._theta * self.mean_queue / self._lambda

    @property
    def mean_wait_s(self) -> float:
        """Mean wait of all callers, answered or not (Little)."""
        return self.mean_queue / self._lambda

    def answered_within(self, target_s: float) -> float:
        """Share of all offered callers who are answered within `target_s`.

        A caller who finds k >= n waits for k - n + 1 departures with rates n mu + j theta, so
        exp(-theta T) of his virtual wait T is Beta(n mu / theta, k - n + 1) distributed; he is
        answered in time when T <= target and his patience outlasts T.
        """
        answered = 1 - self.waits
        step_count = 400
        for k in range(self.agents, len(self._states)):
            if self._states[k] < 1e-13:
                continue
            share = self._served_in_time(k - self.agents, target_s, step_count)
            answered += self._states[k] * share
        return answered

    def _served_in_time(self, ahead: int, target_s: float, steps: int) -> float:
        """P(T <= target and patience > T) = integral of the density of T times exp(-theta t)."""
        shape = self.agents * self._mu / self._theta
        norm = math.lgamma(shape + ahead + 1) - math.lgamma(shape) - math.lgamma(ahead + 1)

        def integrand(t: float) -> float:
            if t <= 0:
                return self._theta * math.exp(norm) if ahead == 0 else 0.0
            log = (
                norm
                - self._theta * t * (shape + 1)
                + ahead * math.log(-math.expm1(-self._theta * t))
            )
            return self._theta * math.exp(log)

        width = target_s / steps
        odd = sum(integrand((i + 0.5) * width) for i in range(steps))
        even = sum(integrand(i * width) for i in range(1, steps))
        return width / 6 * (integrand(0) + integrand(target_s) + 4 * odd + 2 * even)


def agents_needed(
    load: float, handle_s: float, target: float, within_s: float, patience_s: float | None = None
) -> int:
    """Fewest agents whose service level reaches `target` (share of offered); Erlang A when
    `patience_s` is given, else Erlang C."""
    for agents in range(1, 100_000):
        if patience_s is None:
            level = ErlangC(agents, load, handle_s).answered_within(within_s)
        else:
            level = ErlangA(agents, load, handle_s, patience_s).answered_within(within_s)
        if level >= target:
            return agents
    raise ValueError("no number of agents up to 100,000 is enough")
