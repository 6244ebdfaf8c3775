"""Pipelines: priority with ageing, last agent, region, skill with relaxation, levels, final orders."""

from __future__ import annotations

from collections import Counter

import pytest

from routing.errors import RoutingConfigError
from routing.events import (
    AgentLoggedOut,
    AgentSet,
    AgentStateSet,
    ContactUpdated,
    OfferRejected,
    QueueSet,
)
from routing.model import (
    AgentState,
    CustomerConfig,
    LastAgentRule,
    LevelRule,
    LevelStep,
    Membership,
    PriorityRule,
    QueueConfig,
    RegionConfig,
    RegionRule,
    Relaxation,
    RonaRule,
)
from routing.regions import RegionTable

REGIONS = (
    RegionConfig(name="north", prefixes=("+8610", "+8622", "+86311")),
    RegionConfig(name="east", prefixes=("+8621", "+8625", "+86571")),
    RegionConfig(name="china", prefixes=("+86",)),
)


def served_order(office, first: str, count: int) -> list[str]:
    """Who is served next, the only agent hanging up each time."""
    order = [first]
    for _ in range(count):
        office.end(order[-1])
        order.append(office.all("OfferTo")[-1].contact_id)
        office.accept(order[-1])
    return order[1:]


# --- priority ---


def test_first_come_first_served_within_a_priority(desk):
    office = desk(QueueConfig(id="q", priority=PriorityRule(aging_s=None)), ["a"])
    office.arrive("busy")
    office.accept("busy")
    for contact_id, priority in (("n1", 0), ("v1", 5), ("n2", 0), ("v2", 5), ("n3", 0)):
        office.arrive(contact_id, priority=float(priority))
        office.wait(1)
    assert served_order(office, "busy", 5) == ["v1", "v2", "n1", "n2", "n3"]


def test_a_point_is_worth_seconds_so_that_nobody_starves(desk):
    office = desk(QueueConfig(id="q", priority=PriorityRule(aging_s=10.0)), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("patient")
    office.wait(49)
    office.arrive("vip-1", priority=5.0)
    office.wait(2)
    office.arrive("vip-2", priority=5.0)
    assert served_order(office, "busy", 3) == ["vip-1", "patient", "vip-2"]


def test_strict_priority_lets_low_ones_wait(desk):
    office = desk(QueueConfig(id="q", priority=PriorityRule(aging_s=None)), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("patient")
    office.wait(86400)
    office.arrive("vip", priority=1.0)
    assert served_order(office, "busy", 2) == ["vip", "patient"]


def test_without_the_criterion_priorities_are_not_read(desk):
    office = desk(QueueConfig(id="q", route=("longest-idle",)), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("first")
    office.arrive("vip", priority=9.0)
    assert served_order(office, "busy", 2) == ["first", "vip"]


def test_a_customers_priority_and_one_given_by_hand(desk):
    customers = (CustomerConfig(id="wang", phones=("+861",), priority=5.0, tags=("vip",)),)
    strict = QueueConfig(id="q", priority=PriorityRule(aging_s=None))
    office = desk(strict, ["a"], customers=customers)
    office.arrive("busy")
    office.accept("busy")
    office.arrive("nobody", caller="+862")
    office.arrive("wang", caller="+861")
    office.arrive("raised", caller="+863")
    office.tell(ContactUpdated(contact_id="raised", priority=7.0))
    assert served_order(office, "busy", 3) == ["raised", "wang", "nobody"]
    assert office.all("Connect", contact_id="wang")[0].customer_id == "wang"


def test_weight_of_a_queue_is_priority_between_queues(desk, agent):
    strict = PriorityRule(aging_s=None)
    queues = (
        QueueConfig(id="light", priority=strict),
        QueueConfig(id="heavy", priority=strict, weight=3.0),
    )
    office = desk(queues, [agent("a", "light", "heavy")])
    office.arrive("busy", "light")
    office.accept("busy")
    office.arrive("l1", "light", priority=2.0)
    office.arrive("l2", "light", priority=4.0)
    office.arrive("h1", "heavy")
    assert served_order(office, "busy", 3) == ["l2", "h1", "l1"]


# --- last agent ---

LAST = ("priority", "last-agent", "longest-idle")


def test_the_last_agent_gets_his_customer_again(desk):
    office = desk(QueueConfig(id="q", route=LAST), ["a", "b"])
    assert office.serve("c1", caller="+861") == "a"
    office.wait(100)
    assert office.serve("c2", caller="+862") == "b"
    office.wait(100)
    assert office.serve("c3", caller="+862") == "b"
    assert office.serve("c4", caller="+861") == "a"


def test_he_is_waited_for_and_then_released(desk):
    rule = LastAgentRule(wait_s=20.0)
    office = desk(QueueConfig(id="q", route=LAST, last_agent=rule), ["a", "b"])
    office.serve("c1", caller="+861")
    office.arrive("c2", last_agent_id="a", caller="+869")
    office.accept("c2")
    office.arrive("c3", caller="+861")
    assert office.offered("c3") == []
    office.wait(19.9)
    assert office.offered("c3") == []
    office.wait(0.1)
    assert office.offered("c3") == ["b"]


def test_a_window_limits_the_memory(desk):
    rule = LastAgentRule(within_s=3600.0)
    office = desk(QueueConfig(id="q", route=LAST, last_agent=rule), ["a", "b"])
    office.serve("c1", caller="+861")
    office.wait(3601)
    assert office.serve("c2", caller="+861") == "b"


def test_an_absent_last_agent_is_not_waited_for(desk):
    office = desk(QueueConfig(id="q", route=LAST), ["a", "b"])
    office.serve("c1", caller="+861")
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE, "lunch"))
    office.arrive("c2", caller="+861")
    assert office.offered("c2") == ["b"]
    waiting = LastAgentRule(wait_for_absent=True)
    office.tell(QueueSet(QueueConfig(id="q", route=LAST, last_agent=waiting)))
    office.accept("c2")
    office.end("c2")
    office.arrive("c3", caller="+861", last_agent_id="a")
    assert office.offered("c3") == []


def test_he_leaves_while_he_is_waited_for(desk):
    office = desk(QueueConfig(id="q", route=LAST), ["a", "b"])
    office.serve("c1", caller="+861")
    office.arrive("c2", last_agent_id="a")
    office.accept("c2")
    office.arrive("c3", caller="+861")
    office.wait(5)
    office.tell(AgentLoggedOut("a"))
    assert office.offered("c3") == ["b"]


def test_he_goes_before_region_and_level_but_not_before_skill(desk, agent):
    route = ("last-agent", "region", "skill", "longest-idle")
    agents = [
        agent("north", regions=("north",), skills={"billing": 3}),
        agent("east", regions=("east",), skills={}),
    ]
    office = desk(QueueConfig(id="q", route=route), agents, regions=REGIONS)
    office.arrive("c1", caller="+8610", last_agent_id="east")
    assert office.offered("c1") == ["east"]
    office.tell(OfferRejected(office.offer_of("c1").offer_id))
    office.arrive("c2", caller="+8610", last_agent_id="east", skill="billing")
    assert office.offered("c2") == ["north"]


# --- region ---

NEAR = ("priority", "region", "longest-idle")


def test_longest_prefix():
    table = RegionTable(REGIONS)
    assert table.region_of("+861055551000") == "north"
    assert table.region_of("+86571123") == "east"
    assert table.region_of("+869911") == "china"
    assert table.region_of("+861") == "china"
    assert table.region_of("+4930") == ""
    assert table.region_of("") == ""
    with pytest.raises(RoutingConfigError, match="also in"):
        RegionTable((*REGIONS, RegionConfig(name="again", prefixes=("+8610",))))


def test_region_first_then_any(desk, agent):
    agents = [agent("n", regions=("north",)), agent("e", regions=("east",))]
    office = desk(QueueConfig(id="q", route=NEAR), agents, regions=REGIONS)
    office.arrive("c1", caller="+862100")
    assert office.offered("c1") == ["e"]
    office.accept("c1")
    office.arrive("c2", caller="+862100")
    office.wait(14.9)
    assert office.offered("c2") == []
    office.wait(0.1)
    assert office.offered("c2") == ["n"]


def test_callers_of_no_region_go_to_anybody(desk, agent):
    office = desk(
        QueueConfig(id="q", route=NEAR), [agent("n", regions=("north",))], regions=REGIONS
    )
    office.arrive("c", caller="+4930")
    assert office.offered("c") == ["n"]


@pytest.mark.parametrize(("skip", "expected"), [(True, ["n"]), (False, [])])
def test_a_region_with_nobody_at_work(desk, agent, skip: bool, expected):
    agents = [agent("n", regions=("north",)), agent("e", regions=("east",))]
    queue = QueueConfig(id="q", route=NEAR, region=RegionRule(skip_absent=skip))
    office = desk(queue, agents, regions=REGIONS)
    office.tell(AgentStateSet("e", AgentState.UNAVAILABLE, "lunch"))
    office.arrive("c", caller="+862100")
    assert office.offered("c") == expected


def test_a_region_can_be_preferred_only(desk, agent):
    agents = [agent("n", regions=("north",)), agent("e", regions=("east",))]
    office = desk(QueueConfig(id="q", route=NEAR, prefer=("region",)), agents, regions=REGIONS)
    office.arrive("c1", caller="+862100")
    office.arrive("c2", caller="+862100")
    assert (office.offered("c1"), office.offered("c2")) == (["e"], ["n"])


# --- skill ---

SKILL = ("priority", "skill", "longest-idle")


def test_only_the_skilled(desk, agent):
    agents = [agent("zh", skills={"lang.zh": 3}), agent("en", skills={"lang.en": 5})]
    office = desk(QueueConfig(id="q", route=SKILL, skill="lang.zh >= 3"), agents)
    office.arrive("c1")
    office.arrive("c2")
    assert (office.offered("c1"), office.offered("c2")) == (["zh"], [])


def test_rules_relax_and_tighten_with_time(desk, agent):
    relax = (
        Relaxation(after_s=10.0, also="sales >= 2"),
        Relaxation(after_s=20.0, require="senior"),
        Relaxation(after_s=30.0, skill=""),
    )
    agents = [
        agent("s", skills={"sales": 2}),
        agent("x", skills={"sales": 3, "senior": 1}),
        agent("plain", skills={}),
    ]
    queue = QueueConfig(
        id="q",
        route=SKILL,
        skill="billing",
        relax=relax,
        ring_s=1000.0,
        rona=RonaRule(again_s=500.0),
    )
    office = desk(queue, agents)
    office.tell(AgentStateSet("s", AgentState.UNAVAILABLE))
    office.tell(AgentStateSet("x", AgentState.UNAVAILABLE))
    office.arrive("c")
    office.wait(10)
    office.tell(AgentStateSet("s", AgentState.AVAILABLE))
    assert office.offered("c") == ["s"]
    office.wait(10)
    office.tell(OfferRejected(office.offer_of("c").offer_id))
    assert office.engine.view_contact("c", office.now_s).rule == (
        "skill (billing >= 1 | sales >= 2) & senior >= 1",
    )
    office.tell(AgentStateSet("x", AgentState.AVAILABLE))
    assert office.offered("c") == ["s", "x"]
    office.tell(OfferRejected(office.offer_of("c").offer_id))
    office.wait(10)
    assert office.offered("c") == ["s", "x", "plain"]


def test_a_contacts_own_demand_counts_even_without_the_criterion(desk, agent):
    agents = [agent("zh", skills={"lang.zh": 3}), agent("en", skills={})]
    office = desk(QueueConfig(id="q", route=("longest-idle",)), agents)
    office.arrive("c1", skill="lang.zh")
    office.arrive("c2", skill="lang.zh")
    assert (office.offered("c1"), office.offered("c2")) == (["zh"], [])


def test_a_broken_demand_does_not_lose_the_contact(desk):
    office = desk(None, ["a"])
    office.arrive("c", skill="lang.zh >=")
    office.accept("c")
    assert "level" in office.all("Connect")[0].attributes["skill_error"]


def test_the_best_skilled_first(desk, agent):
    agents = [agent("ok", skills={"law": 1}), agent("best", skills={"law": 5})]
    office = desk(QueueConfig(id="q", route=SKILL, skill="law", prefer=("skill",)), agents)
    office.arrive("c1")
    office.arrive("c2")
    assert (office.offered("c1"), office.offered("c2")) == (["best"], ["ok"])


def test_new_skills_count_at_once(desk, agent):
    office = desk(QueueConfig(id="q", route=SKILL, skill="law"), [agent("a")])
    office.arrive("c")
    office.tell(AgentSet(agent("a", skills={"law": 1})))
    assert office.offered("c") == ["a"]


# --- levels ---


def test_levels_open_one_after_the_other(desk, agent):
    rule = LevelRule(steps=(LevelStep(maximum=1), LevelStep(after_s=30.0, maximum=2)))
    agents = [
        agent("first", Membership(queue_id="q", level=1)),
        agent("second", Membership(queue_id="q", level=2)),
    ]
    office = desk(QueueConfig(id="q", route=("level", "longest-idle"), levels=rule), agents)
    office.arrive("c1")
    office.arrive("c2")
    assert (office.offered("c1"), office.offered("c2")) == (["first"], [])
    office.accept("c1")
    office.wait(30)
    assert office.offered("c2") == ["second"]


def test_levels_may_differ_by_queue(desk, agent):
    low, high = LevelRule(steps=(LevelStep(maximum=1),)), LevelRule()
    queues = (
        QueueConfig(id="q1", route=("level", "longest-idle"), levels=low),
        QueueConfig(id="q2", route=("level", "longest-idle"), levels=high),
    )
    two = agent("a", Membership(queue_id="q1", level=2), Membership(queue_id="q2", level=1))
    office = desk(queues, [two])
    office.arrive("c1", "q1")
    office.arrive("c2", "q2")
    assert (office.offered("c1"), office.offered("c2")) == ([], ["a"])


# --- final orders ---


def sequence(desk, agent, order: str, count: int = 6, **queue) -> list[str]:
    agents = [
        agent(f"a{n}", Membership(queue_id="q", position=n, weight=1.0 + 2 * n)) for n in range(3)
    ]
    office = desk(QueueConfig(id="q", route=(order,), **queue), agents)
    served = []
    for number in range(count):
        office.arrive(f"c{number}")
        served.append(office.offer_of(f"c{number}").agent_id)
        office.accept(f"c{number}")
        office.wait(10 + 7 * (number % 3))
        office.end(f"c{number}")
        office.wait(1)
    return served


def test_longest_idle(desk, agent):
    assert sequence(desk, agent, "longest-idle") == ["a0", "a1", "a2", "a0", "a1", "a2"]


def test_fewest_calls_and_least_talk_time(desk, agent):
    assert Counter(sequence(desk, agent, "fewest-calls", 9)) == {"a0": 3, "a1": 3, "a2": 3}
    # Talk times 10, 17, 24, 10, ...: who has talked least is next.
    assert sequence(desk, agent, "least-talk-time") == ["a0", "a1", "a2", "a0", "a1", "a0"]


def test_least_occupied_weighs_wrap_up_and_forgets_slowly(desk, agent):
    office = desk(QueueConfig(id="q", route=("least-occupied",), wrap_up_s=60.0), ["a", "b"])
    office.arrive("long")
    office.accept("long")
    office.wait(600)
    office.end("long")
    office.wait(60)
    office.arrive("short")
    assert office.offered("short") == ["b"]
    office.accept("short")
    office.wait(5)
    office.end("short")
    office.wait(3600)
    office.arrive("next")
    assert office.offered("next") == ["b"], "five minutes of wrap-up and talk against eleven"
    view = office.engine.view_agent("a")
    assert 0.0 < view.occupancy < 0.2


def test_round_robin_and_top_down(desk, agent):
    assert sequence(desk, agent, "round-robin") == ["a0", "a1", "a2", "a0", "a1", "a2"]
    assert sequence(desk, agent, "top-down") == ["a0"] * 6
    assert sequence(desk, agent, "sequential") == ["a0"] * 6


def test_random_orders_draw_by_weight(desk, agent):
    even = Counter(sequence(desk, agent, "random", 900))
    assert all(abs(count - 300) < 5 * 200**0.5 for count in even.values())
    weighted = Counter(sequence(desk, agent, "weighted-random", 900))
    for name, share in (("a0", 1 / 9), ("a1", 3 / 9), ("a2", 5 / 9)):
        assert abs(weighted[name] - 900 * share) < 5 * (900 * share * (1 - share)) ** 0.5


def test_ring_all_takes_the_first_answer_and_newcomers_join(desk, agent):
    office = desk(QueueConfig(id="q", route=("ring-all",), ring_max=3), ["a", "b", "c", "d"])
    office.tell(AgentStateSet("c", AgentState.UNAVAILABLE))
    office.tell(AgentStateSet("d", AgentState.UNAVAILABLE))
    office.arrive("x")
    assert office.offered("x") == ["a", "b"]
    office.tell(AgentStateSet("c", AgentState.AVAILABLE))
    office.tell(AgentStateSet("d", AgentState.AVAILABLE))
    assert office.offered("x") == ["a", "b", "c"], "ring_max"
    office.accept("x")
    assert office.all("Connect")[0].agent_id == "c"
    assert {d.agent_id for d in office.all("CancelOffer")} == {"a", "b"}
    states = [office.engine.view_agent(name).state for name in "abd"]
    assert states == [AgentState.AVAILABLE] * 3


@pytest.mark.parametrize(
    ("queue", "problem"),
    [
        ({"route": ()}, "must end with an order"),
        ({"route": ("priority",)}, "must end with an order"),
        ({"route": ("nonsense", "longest-idle")}, "unknown criterion"),
        ({"route": ("skill", "skill", "longest-idle")}, "twice"),
        ({"route": ("longest-idle", "ring-all")}, "unknown criterion"),
        ({"skill": "a"}, "no skill"),
        ({"relax": (Relaxation(after_s=1.0, skill=""),)}, "no skill"),
        ({"levels": LevelRule(steps=(LevelStep(maximum=1),))}, "no level"),
        ({"prefer": ("region",)}, "no region"),
        ({"route": ("skill", "longest-idle"), "skill": "a >="}, "level"),
        ({"hours": "nowhere"}, "nowhere"),
        ({"ring_s": 0.0}, "above 0"),
        ({"priority": PriorityRule(aging_s=0.0)}, "above 0"),
    ],
)
def test_what_cannot_work_is_refused(desk, queue, problem: str):
    with pytest.raises(RoutingConfigError, match=problem):
        desk(QueueConfig(id="q", **queue))
    office = desk()
    before = office.engine.snapshot()
    with pytest.raises(RoutingConfigError):
        office.tell(QueueSet(QueueConfig(id="q", **queue)))
    assert office.engine.snapshot() == before
    assert office.serve("c") == "a"
