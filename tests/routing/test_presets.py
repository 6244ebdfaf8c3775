"""Asterisk's eight strategies and mod_callcenter's nine against their published formulas."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from routing.errors import RoutingConfigError
from routing.events import (
    AgentStateSet,
    ContactArrived,
    ContactEnded,
    OfferAccepted,
    OfferRejected,
)
from routing.model import AgentState, LevelRule, Membership, QueueConfig, RonaRule
from routing.registry import Registry
from routing.strategies.presets import PRESETS, penalty_rule, tier_rule

NAMES = [f"a{n}" for n in range(5)]
NEVER_TWICE = RonaRule(after=0, again_s=1000.0)


def members(agent, penalties):
    return [
        agent(name, Membership(queue_id="q", level=level, position=number))
        for number, (name, level) in enumerate(zip(NAMES, penalties, strict=False))
    ]


def offered_order(office, contact_id: str = "probe", count: int = 5) -> list[str]:
    """Who is asked, one after the other, when everybody declines."""
    office.arrive(contact_id)
    for _ in range(count - 1):
        if not office.all("OfferTo", contact_id=contact_id):
            break
        office.tell(OfferRejected(office.offer_of(contact_id).offer_id))
    return office.offered(contact_id)


def asterisk_order(
    strategy: str, facts: dict[str, dict], now_s: float, rrpos: int = 0
) -> list[str]:
    """Sorted by the metric of app_queue's calc_metric, lowest first."""

    def metric(name: str) -> float:
        fact = facts[name]
        penalty = fact["penalty"] * 1e6
        match strategy:
            case "leastrecent":
                last = fact["last"]
                return penalty + (0 if last is None else 1e6 - (now_s - last))
            case "fewestcalls":
                return fact["calls"] + penalty
            case _:
                position = fact["position"]
                return penalty + (position if position >= rrpos else 1000 + position)

    return sorted(facts, key=lambda name: (metric(name), facts[name]["position"]))


@pytest.mark.parametrize(
    "strategy", ["leastrecent", "fewestcalls", "rrmemory", "rrordered", "linear"]
)
@pytest.mark.parametrize("seed", range(4))
def test_asterisk_metric(desk, agent, strategy: str, seed: int):
    chance = random.Random(seed)
    penalties = [chance.choice((0, 0, 1)) for _ in NAMES]
    queue = QueueConfig(id="q", route=(f"asterisk.{strategy}",), rona=NEVER_TWICE)
    office = desk(queue, members(agent, penalties))
    facts = {
        name: {"penalty": penalties[n], "position": n, "calls": 0, "last": None}
        for n, name in enumerate(NAMES)
    }
    rrpos = 0
    for number in range(6):
        for name in NAMES:
            state = AgentState.AVAILABLE if chance.random() < 0.4 else AgentState.UNAVAILABLE
            office.tell(AgentStateSet(name, state))
        if not any(office.engine.view_agent(n).state is AgentState.AVAILABLE for n in NAMES):
            continue
        served = office.serve(f"c{number}")
        office.wait(chance.randrange(1, 50))
        facts[served]["calls"] += 1
        facts[served]["last"] = office.engine._floor.agents[served].last_end_s
        rrpos = facts[served]["position"] + 1
    for name in NAMES:
        office.tell(AgentStateSet(name, AgentState.AVAILABLE))
    start = rrpos if strategy.startswith("rr") else 0
    expected = asterisk_order(strategy, facts, office.now_s, start)
    if strategy.startswith("rr"):
        # The pointer moves with each offer, so within a penalty the round goes on from there.
        assert offered_order(office, count=1) == expected[:1]
    else:
        assert offered_order(office) == expected


def test_asterisk_rrmemory_goes_round(desk, agent):
    queue = QueueConfig(id="q", route=("asterisk.rrmemory",))
    office = desk(queue, members(agent, [0, 0, 0]))
    assert [office.serve(f"c{n}") for n in range(7)] == ["a0", "a1", "a2", "a0", "a1", "a2", "a0"]


def test_asterisk_linear_starts_at_the_top_for_each_caller(desk, agent):
    queue = QueueConfig(id="q", route=("asterisk.linear",), rona=NEVER_TWICE)
    office = desk(queue, members(agent, [0, 0, 0]))
    assert [office.serve(f"c{n}") for n in range(3)] == ["a0", "a0", "a0"]
    assert offered_order(office, "probe", 3) == ["a0", "a1", "a2"]


def test_asterisk_quirks_are_not_copied(desk, agent):
    """There, 11.6 days idle beat "never called", and a never-called member of penalty 1 ties with
    one of penalty 0 who has just hung up."""
    queue = QueueConfig(id="q", route=("asterisk.leastrecent",), rona=NEVER_TWICE)
    office = desk(queue, members(agent, [0, 0]))
    assert office.serve("c1") == "a0"
    office.wait(12 * 24 * 3600)
    assert offered_order(office, count=2) == ["a1", "a0"]
    office = desk(queue, members(agent, [0, 1]))
    office.serve("c1")
    assert offered_order(office, count=2) == ["a0", "a1"]


@pytest.mark.parametrize("name", ["asterisk.ringall", "freeswitch.ring-all"])
def test_ring_all_rings_everybody_of_one_rank(desk, agent, name: str):
    office = desk(QueueConfig(id="q", route=(name,)), members(agent, [0, 0, 1]))
    office.arrive("c")
    expected = {"a0", "a1"} if name.startswith("asterisk") else {"a0", "a1", "a2"}
    assert set(office.offered("c")) == expected


def first_of_many(desk, agent, route: str, penalties, count: int = 3000) -> Counter:
    office = desk(QueueConfig(id="q", route=(route,)), members(agent, penalties), seed=3)
    counts: Counter = Counter()
    engine, floor = office.engine, office.engine._floor
    for number in range(count):
        engine.handle(ContactArrived(contact_id=f"c{number}", queue_id="q"), office.now_s)
        (offer,) = floor.offers.values()
        counts[offer.agent.id] += 1
        engine.handle(OfferAccepted(offer.id), office.now_s)
        engine.handle(ContactEnded(f"c{number}"), office.now_s)
    return counts


def test_asterisk_random_is_even_within_a_penalty(desk, agent):
    counts = first_of_many(desk, agent, "asterisk.random", [0, 0, 1])
    assert set(counts) == {"a0", "a1"}
    assert abs(counts["a0"] - 1500) < 5 * (3000 * 0.25) ** 0.5


def test_asterisk_wrandom_uses_the_penalty_as_a_weight_only(desk, agent):
    """P(u0 < u1), u0 uniform below 1000, u1 below 2000: three quarters."""
    counts = first_of_many(desk, agent, "asterisk.wrandom", [0, 1])
    assert abs(counts["a0"] - 2250) < 5 * (3000 * 0.1875) ** 0.5


def test_penalties_are_ignored_in_small_queues(desk, agent):
    rule = penalty_rule([], penalty_members_limit=2)
    queue = QueueConfig(id="q", route=("asterisk.fewestcalls",), levels=rule, rona=NEVER_TWICE)
    small = desk(queue, members(agent, [1, 0]))
    assert offered_order(small, count=2) == ["a0", "a1"]
    larger = desk(queue, members(agent, [1, 0, 0]))
    assert offered_order(larger, count=3) == ["a1", "a2", "a0"]


def test_penalty_window_moves_with_the_wait(desk, agent):
    """QUEUE_MAX_PENALTY 1; after 30 s +2; after 60 s from 2 on."""
    rule = penalty_rule(["30,+2", "60,,2"], maximum=1, minimum=0)
    steps = [(s.after_s, s.minimum, s.maximum) for s in rule.steps]
    assert steps == [(0.0, 0, 1), (30.0, 0, 3), (60.0, 2, 3)]
    queue = QueueConfig(
        id="q", route=("asterisk.linear",), levels=rule, ring_s=500.0, rona=NEVER_TWICE
    )
    office = desk(queue, members(agent, [3, 2, 1]))
    office.tell(AgentStateSet("a2", AgentState.UNAVAILABLE))
    office.arrive("c")
    assert office.offered("c") == []
    office.wait(30)
    assert office.offered("c") == ["a1"]


@pytest.mark.parametrize(
    ("change", "order"),
    [
        ("0,,,2", ["a0", "a1", "a2", "a3"]),  # 0 and 1 count as 2
        ("0,,1,2", ["a0", "a1", "a2", "a3"]),  # raised into the window
        ("0,,1,r2", ["a1", "a2", "a3"]),  # 0 is outside and is not raised
    ],
)
def test_raised_penalties(desk, agent, change: str, order: list[str]):
    queue = QueueConfig(
        id="q", route=("asterisk.linear",), levels=penalty_rule([change]), rona=NEVER_TWICE
    )
    office = desk(queue, members(agent, [0, 1, 2, 3]))
    assert offered_order(office, count=len(order)) == order


@pytest.mark.parametrize("text", ["", "60", "x,1", "60,a", "60,1,1,1,1"])
def test_penalty_rules_are_checked(text: str):
    with pytest.raises(RoutingConfigError):
        penalty_rule([text])


# --- mod_callcenter ---


def freeswitch_order(strategy: str, facts: dict[str, dict]) -> list[str]:
    """ORDER BY of mod_callcenter."""
    keys = {
        "longest-idle-agent": lambda f: (f["level"], f["end"], f["position"]),
        "agent-with-least-talk-time": lambda f: (f["level"], f["talk"], f["position"]),
        "agent-with-fewest-calls": lambda f: (f["level"], f["calls"], f["position"]),
        "sequentially-by-agent-order": lambda f: (f["level"], f["position"], f["end"]),
        "top-down": lambda f: (f["level"], f["position"]),
    }
    return sorted(facts, key=lambda name: keys[strategy](facts[name]))


@pytest.mark.parametrize(
    "strategy",
    [
        "longest-idle-agent",
        "agent-with-least-talk-time",
        "agent-with-fewest-calls",
        "sequentially-by-agent-order",
        "top-down",
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_mod_callcenter_order(desk, agent, strategy: str, seed: int):
    chance = random.Random(seed)
    levels = [chance.choice((1, 1, 2)) for _ in NAMES]
    queue = QueueConfig(id="q", route=(f"freeswitch.{strategy}",), rona=NEVER_TWICE)
    office = desk(queue, members(agent, levels))
    facts = {
        name: {"level": levels[n], "position": n, "calls": 0, "talk": 0.0, "end": float("-inf")}
        for n, name in enumerate(NAMES)
    }
    for number in range(8):
        for name in NAMES:
            state = AgentState.AVAILABLE if chance.random() < 0.4 else AgentState.UNAVAILABLE
            office.tell(AgentStateSet(name, state))
        if not any(office.engine.view_agent(n).state is AgentState.AVAILABLE for n in NAMES):
            continue
        office.arrive(f"c{number}")
        name = office.offer_of(f"c{number}").agent_id
        office.accept(f"c{number}")
        talk_s = float(chance.randrange(1, 300))
        office.wait(talk_s)
        office.end(f"c{number}")
        facts[name]["calls"] += 1
        facts[name]["talk"] += talk_s
        facts[name]["end"] = office.now_s
    for name in NAMES:
        office.tell(AgentStateSet(name, AgentState.AVAILABLE))
    assert offered_order(office) == freeswitch_order(strategy, facts)


def test_mod_callcenter_round_robin_and_random(desk, agent):
    office = desk(QueueConfig(id="q", route=("freeswitch.round-robin",)), members(agent, [1, 1, 1]))
    assert [office.serve(f"c{n}") for n in range(4)] == ["a0", "a1", "a2", "a0"]
    counts = first_of_many(desk, agent, "freeswitch.random", [1, 1, 2])
    assert set(counts) == {"a0", "a1"}


def test_mod_callcenter_ring_progressively(desk, agent):
    queue = QueueConfig(
        id="q", route=("freeswitch.ring-progressively",), progressive_s=5.0, ring_s=60.0
    )
    office = desk(queue, members(agent, [1, 1, 1]))
    office.arrive("c")
    assert office.offered("c") == ["a0"]
    office.wait(5)
    assert office.offered("c") == ["a0", "a1"]
    office.wait(5)
    assert office.offered("c") == ["a0", "a1", "a2"]
    office.accept("c")
    cancelled = office.all("CancelOffer", contact_id="c", reason="answered-elsewhere")
    assert {d.agent_id for d in cancelled} == {"a0", "a1"}


def test_mod_callcenter_score_is_seconds_waited_plus_base_score(desk, agent):
    office = desk(QueueConfig(id="q", route=("freeswitch.top-down",)), members(agent, [1]))
    office.arrive("talking")
    office.accept("talking")
    office.arrive("waits-30")
    office.wait(30)
    office.arrive("base-29", priority=29.0)
    office.arrive("base-31", priority=31.0)
    order = []
    for _ in range(3):
        office.end(order[-1] if order else "talking")
        order.append(office.all("OfferTo")[-1].contact_id)
        office.accept(order[-1])
    assert order == ["base-31", "waits-30", "base-29"]


def test_tier_rules():
    assert [(s.after_s, s.maximum) for s in tier_rule([1, 2, 3], 10.0).steps] == [
        (0.0, 1),
        (10.0, None),
    ]
    assert [(s.after_s, s.maximum) for s in tier_rule([1, 2, 3], 10.0, multiply=True).steps] == [
        (0.0, 1),
        (20.0, 2),
        (30.0, 3),
    ]
    assert tier_rule([], 10.0).steps == ()


@pytest.mark.parametrize(("no_wait", "expected"), [(True, ["a1"]), (False, [])])
def test_an_empty_tier_is_passed_over_at_once_or_not(desk, agent, no_wait: bool, expected):
    rule = tier_rule([1, 2], 10.0, no_agent_no_wait=no_wait)
    queue = QueueConfig(id="q", route=("freeswitch.longest-idle-agent",), levels=rule)
    office = desk(queue, members(agent, [1, 2]))
    office.tell(AgentStateSet("a0", AgentState.UNAVAILABLE, "lunch"))
    office.arrive("c")
    assert office.offered("c") == expected
    office.wait(10)
    assert office.offered("c") == ["a1"]


def test_all_presets_are_there_and_make_queues(desk):
    registry = Registry()
    asterisk = [name for name in PRESETS if name.startswith("asterisk.")]
    freeswitch = [name for name in PRESETS if name.startswith("freeswitch.")]
    assert len(asterisk) == 8 + 1  # roundrobin is rrmemory's old name
    assert len(freeswitch) == 9
    for name in PRESETS:
        queue, criteria, order = registry.pipeline(
            QueueConfig(id="q", route=(name,)), random.Random(1)
        )
        assert queue.route[-1] == order.name
        assert criteria
        assert queue.levels == LevelRule()
        assert desk(QueueConfig(id="q", route=(name,)), ["a"]).serve("c") == "a"
