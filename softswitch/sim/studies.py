"""Studies of the engine on virtual time: Erlang's tables, and how good announced waits are.

For tests, for `bench/acd.py` and for whoever wants to see for himself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from routing.decisions import Connect, ContactQueued, Decision
from routing.engine import AcdEngine
from routing.erlang import ErlangA, ErlangC
from routing.events import Event
from routing.model import AcdConfig, AgentConfig, Outcome, QueueConfig
from routing.simulation import Behaviour, Simulation, exponential, lognormal

LOAD, HANDLE_S = 10.0, 180.0
BATCHES = 20


def plain_office(agents: int, queue: QueueConfig | None = None, seed: int = 1) -> AcdEngine:
    """One queue, agents who are all alike."""
    config = AcdConfig(
        queues=(queue or QueueConfig(id="q"),),
        agents=tuple(AgentConfig(id=f"a{n}", queues=("q",)) for n in range(agents)),
    )
    return AcdEngine(config, random.Random(seed))


def erlang_run(agents: int, patience_s: float | None, calls: int, seed: int) -> list[list[float]]:
    """Twenty batches of (waited, gave up, answered within 20 s) shares, the warm-up left out."""
    chance = random.Random(seed)
    behaviour = Behaviour(
        exponential(chance, HANDLE_S),
        None if patience_s is None else exponential(chance, patience_s),
    )
    rate = LOAD / HANDLE_S
    run = Simulation(plain_office(agents), chance, behaviour, lambda now_s: rate, rate, "q")
    run.staff()
    run.run(calls=calls)
    callers = list(run.callers.values())[calls // 20 :]
    size = len(callers) // BATCHES
    batches = [callers[n * size : (n + 1) * size] for n in range(BATCHES)]
    return [
        [
            sum(c.delayed for c in batch) / size,
            sum(c.outcome is Outcome.ABANDONED for c in batch) / size,
            sum(c.answered_s is not None and c.answered_s - c.arrived_s <= 20 for c in batch)
            / size,
        ]
        for batch in batches
    ]


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Of batches: so the correlation of neighbouring callers is in the standard error."""
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return mean, spread / math.sqrt(len(values))


def theory(agents: int, patience_s: float | None) -> list[float]:
    """The same shares by Erlang C (endless patience) or A."""
    if patience_s is None:
        patient = ErlangC(agents, LOAD, HANDLE_S)
        return [patient.waits, 0.0, patient.answered_within(20)]
    hasty = ErlangA(agents, LOAD, HANDLE_S, patience_s)
    return [hasty.waits, hasty.abandons, hasty.answered_within(20)]


def two_peaks(capacity_per_s: float) -> Callable[[float], float]:
    """A twelve-hour day with two hours over capacity."""

    def rate(now_s: float) -> float:
        hour = now_s / 3600 % 12
        peaks = 0.55 * math.exp(-((hour - 3) ** 2)) + 0.5 * math.exp(-((hour - 8.5) ** 2))
        return capacity_per_s * (0.7 + peaks)

    return rate


@dataclass(frozen=True, slots=True)
class WaitStudy:
    """Mean errors in seconds of Asterisk's moving average and ours, against what delayed callers really had to
    wait; `covered`, the share of waits within our 80 % quantile."""

    callers: int
    asterisk_s: float
    ours_s: float
    covered: float

    @property
    def ratio(self) -> float:
        return self.ours_s / self.asterisk_s


def wait_study(
    agents: int, handle_s: float, patience_s: float, variation: float, days: int, seed: int
) -> WaitStudy:
    """Mean errors against the true offered wait of delayed callers, Asterisk's and ours, and the
    share of waits within our 80 % quantile; all rates learned on the way."""
    chance = random.Random(seed)
    behaviour = Behaviour(lognormal(chance, handle_s, variation), exponential(chance, patience_s))
    capacity = agents / handle_s
    hold_s = 0
    announced: dict[str, int] = {}

    def watch(event: Event, decisions: list[Decision], now_s: float) -> None:
        nonlocal hold_s
        for decision in decisions:
            if isinstance(decision, Connect):
                hold_s = (3 * hold_s + int(decision.waited_s)) >> 2
            elif isinstance(decision, ContactQueued):
                announced[decision.contact_id] = hold_s

    run = Simulation(
        plain_office(agents),
        chance,
        behaviour,
        two_peaks(capacity),
        capacity * 1.3,
        "q",
        watch=watch,
    )
    run.staff()
    run.run(until_s=days * 12 * 3600)
    asterisk = ours = covered = count = 0.0
    for caller in list(run.callers.values())[1000:]:
        wait_s, estimate = caller.offered_wait_s, caller.estimate
        if estimate is None or wait_s is None or not caller.delayed:
            continue
        count += 1
        asterisk += abs(announced[caller.contact_id] - wait_s)
        ours += abs(estimate.median_s - wait_s)
        covered += wait_s <= estimate.quantile_s(0.8)
    return WaitStudy(int(count), asterisk / count, ours / count, covered / count)
