"""The engine on virtual time against theory: Erlang's tables, expected wait, a long run."""

from __future__ import annotations

import random
from typing import Any

import pytest

from routing.audit import audit
from routing.decisions import CancelOffer, Connect, ContactClosed, OfferTo
from routing.engine import AcdEngine
from routing.events import OfferRejected
from routing.model import (
    AcdConfig,
    AgentConfig,
    Outcome,
    QueueConfig,
    RegionConfig,
    Relaxation,
)
from routing.simulation import Behaviour, Simulation, exponential, lognormal
from softswitch.sim.studies import LOAD, erlang_run, mean_and_error, theory, two_peaks, wait_study


def assert_within_three_errors(batches: list[list[float]], expected: list[float]) -> None:
    """Batch means, so that the correlation of neighbouring callers is in the standard error."""
    for number, want in enumerate(expected):
        mean, error = mean_and_error([batch[number] for batch in batches])
        assert abs(mean - want) <= 3 * error + 1e-9, (number, mean, want, error)


@pytest.mark.parametrize(("agents", "patience_s"), [(12, 120.0), (13, None)])
def test_erlang_reproduced(agents: int, patience_s: float | None):
    assert_within_three_errors(
        erlang_run(agents, patience_s, 12_000, agents), theory(agents, patience_s)
    )


@pytest.mark.soak
@pytest.mark.parametrize("patience_s", [None, 120.0, 300.0])
@pytest.mark.parametrize("agents", [9, 11, 12, 13, 14, 15])
def test_erlang_reproduced_at_length(agents: int, patience_s: float | None):
    if patience_s is None and agents <= LOAD:
        pytest.skip("Erlang C has no answer at 10 agents or fewer")
    calls = 400_000 if patience_s is None else 200_000
    assert_within_three_errors(
        erlang_run(agents, patience_s, calls, 7 * agents), theory(agents, patience_s)
    )


# --- expected wait ---


@pytest.mark.unhurried
def test_expected_wait_beats_asterisk_and_is_honest():
    bench = wait_study(10, 240.0, 300.0, 1.0, 6, 1)
    assert bench.callers > 2000
    assert bench.ratio <= 0.65, bench
    assert 0.77 <= bench.covered <= 0.83, bench


@pytest.mark.soak
@pytest.mark.parametrize(
    ("agents", "patience_s", "variation", "days"),
    [(10, 300.0, 1.0, 40), (10, 120.0, 1.4, 40), (4, 300.0, 1.0, 80), (40, 300.0, 1.0, 10)],
)
def test_expected_wait_at_length(agents: int, patience_s: float, variation: float, days: int):
    bench = wait_study(agents, 240.0, patience_s, variation, days, 2)
    assert bench.ratio <= 0.66, bench
    assert 0.77 <= bench.covered <= 0.83, bench


# --- everything at once ---

LANGUAGES = ("zh", "en", "de")


def mixed_office(seed: int) -> Simulation:
    """Three queues, forty agents, regions, skills, breaks, missed and declined offers."""
    chance = random.Random(seed)
    routes = (
        ("priority", "last-agent", "region", "skill", "longest-idle"),
        ("priority", "skill", "fewest-calls"),
        ("priority", "level", "round-robin"),
    )
    config = AcdConfig(
        queues=tuple(
            QueueConfig(
                id=f"q{n}",
                route=route,
                relax=(Relaxation(after_s=60.0, skill=""),) if "skill" in route else (),
                wrap_up_s=15.0,
                max_wait_s=600.0,
                max_waiting=60,
                place_held_s=30.0,
                overflow="queue:q0" if n else "voicemail:1",
            )
            for n, route in enumerate(routes)
        ),
        agents=tuple(
            AgentConfig(
                id=f"a{n}",
                queues=tuple(f"q{q}" for q in range(3) if chance.random() < 0.7) or ("q0",),
                skills={f"lang.{lang}": chance.randrange(5) for lang in LANGUAGES},
                regions=(f"r{n % 4}",),
            )
            for n in range(40)
        ),
        regions=tuple(RegionConfig(name=f"r{n}", prefixes=(f"+8{n}",)) for n in range(4)),
        assignment="joint" if seed % 2 else "greedy",
    )
    behaviour = Behaviour(
        lognormal(chance, 200.0, 1.0),
        exponential(chance, 240.0),
        answer_s=exponential(chance, 3.0),
        misses=0.01,
        rejects=0.02,
        break_every_s=7200.0,
    )

    def describe(number: int) -> dict[str, Any]:
        return {
            "queue_id": f"q{int(chance.random() * 3)}",
            "caller": f"+8{int(chance.random() * 5)}{int(chance.random() * 5000)}",
            "skill": f"lang.{LANGUAGES[int(chance.random() * 3)]} >= 2",
            "priority": float(int(chance.random() * 4)),
        }

    rate = 40 / 215.0
    return Simulation(
        AcdEngine(config, random.Random(seed)),
        chance,
        behaviour,
        two_peaks(rate),
        rate * 1.3,
        "q0",
        describe=describe,
        keep=False,
    )


class Ledger:
    """Every contact answered by one agent at a time, and closed once."""

    def __init__(self) -> None:
        self.ringing: dict[int, tuple[str, str]] = {}
        self.serving: dict[str, str] = {}
        self.closed = 0
        self.outcomes: dict[Outcome, int] = {}
        self.decisions = 0

    def watch(self, event, decisions, now_s: float) -> None:
        self.decisions += len(decisions)
        if isinstance(event, OfferRejected):
            self.ringing.pop(event.offer_id, None)
        for decision in decisions:
            if isinstance(decision, OfferTo):
                pair = (decision.agent_id, decision.contact_id)
                busy = {agent for agent, _ in self.ringing.values()}
                assert decision.agent_id not in busy, "an agent in two offers"
                assert decision.contact_id not in self.serving, "offered while served"
                self.ringing[decision.offer_id] = pair
            elif isinstance(decision, CancelOffer):
                self.ringing.pop(decision.offer_id, None)
            elif isinstance(decision, Connect):
                assert self.ringing.pop(decision.offer_id)[0] == decision.agent_id
                assert decision.agent_id not in self.serving.values(), "two conversations"
                self.serving[decision.contact_id] = decision.agent_id
            elif isinstance(decision, ContactClosed):
                self.closed += 1
                self.serving.pop(decision.contact_id, None)
                self.outcomes[decision.outcome] = self.outcomes.get(decision.outcome, 0) + 1


def run_office(seed: int, calls: int) -> tuple[Simulation, Ledger]:
    run = mixed_office(seed)
    ledger = Ledger()
    run.watch = ledger.watch
    run.staff()
    for part in range(1, 5):
        run.run(calls=calls * part // 4) if part == 4 else run.run(until_s=run.now_s + 3000.0)
        assert audit(run.engine, run.now_s) == [], f"seed {seed}, at {run.now_s} s"
    return run, ledger


@pytest.mark.parametrize("seed", [1, 2])
def test_every_caller_is_accounted_for(seed: int):
    run, ledger = run_office(seed, 1500)
    assert ledger.closed == run.count == sum(ledger.outcomes.values())
    assert run.engine.contact_ids == []
    assert set(ledger.outcomes) <= {Outcome.ANSWERED, Outcome.ABANDONED, Outcome.OVERFLOWED}
    assert ledger.outcomes[Outcome.ANSWERED] > 0.6 * run.count


def test_a_seed_is_a_run():
    one, other = run_office(3, 800)[1], run_office(3, 800)[1]
    assert (one.decisions, one.outcomes) == (other.decisions, other.outcomes)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_million_calls(seed: int):
    """100,000 callers a seed; a failure names the seed that replays it."""
    run, ledger = run_office(1000 + seed, 100_000)
    assert ledger.closed == run.count >= 100_000, f"seed {1000 + seed}"
    assert run.engine.contact_ids == []
