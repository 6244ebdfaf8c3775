"""Strategies of third parties: registration, the documented example, and their mistakes."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path

import pytest

from routing.errors import RoutingConfigError
from routing.events import AgentSet, OfferRejected
from routing.model import AgentConfig, QueueConfig, RonaRule
from routing.registry import ENTRY_POINT_GROUP, Registry

GUIDE = Path(__file__).parents[2] / "docs" / "routing.md"


def documented_example() -> dict:
    """The strategy of docs/routing.md, run as it is printed there."""
    text = GUIDE.read_text(encoding="utf-8")
    (code,) = [b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "class Floor" in b]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    namespace: dict = {"__name__": "example"}
    exec(compile(code, str(GUIDE), "exec", dont_inherit=True), namespace)
    return namespace


def test_the_documented_example_works(desk, agent):
    registry = Registry([documented_example()["Floor"]])
    agents = [agent("low", attributes={"floor": 1}), agent("high", attributes={"floor": 9})]
    queue = QueueConfig(id="q", route=("floor", "longest-idle"))
    office = desk(queue, agents, registry=registry)
    office.arrive("c1", attributes={"floor": 9})
    office.arrive("c2", attributes={"floor": 9})
    office.arrive("c3")
    assert [office.offered(c) for c in ("c1", "c2", "c3")] == [["high"], [], ["low"]]
    office.accept("c1")
    office.accept("c3")
    office.end("c3")
    assert office.offered("c2") == []
    office.wait(30)
    assert office.offered("c2") == ["low"]


def test_every_strategy_named_in_the_guide_exists():
    text = GUIDE.read_text(encoding="utf-8")
    registry = Registry()
    for name in [*registry.criteria_names, *registry.preset_names]:
        assert name.split(".")[-1] in text, name
    assert ENTRY_POINT_GROUP in text


class ByName:
    """An order that ranks anew each time."""

    name = "by-name"

    def rank(self, seat, contact, now_s):
        return seat.agent.id != contact.attributes.get("wanted"), seat.agent.id


def test_an_order_may_look_at_the_contact(desk, agent):
    office = desk(
        QueueConfig(id="q", route=("by-name",), rona=RonaRule(after=0, again_s=99.0)),
        list("abc"),
        registry=Registry([ByName]),
    )
    office.arrive("c", attributes={"wanted": "b"})
    office.tell(OfferRejected(office.offer_of("c").offer_id))
    assert office.offered("c") == ["b", "a"]
    record = office.offer_of("c").why.record()
    assert [c["agent_id"] for c in record["candidates"]] == ["a", "c"]


class Moody:
    """Every call into it fails."""

    def judge(self, seat):
        raise RuntimeError("bad day")

    def __str__(self):
        return "moody"


class MoodyCriterion:
    name = "moody"

    def demand(self, contact, waited_s):
        if contact.attributes.get("fails"):
            raise ValueError("no")
        return Moody(), inf


class MoodyOrder:
    name = "moody-order"

    def rank(self, seat, contact, now_s):
        raise RuntimeError("bad day")


def test_a_mistake_of_a_third_party_stops_nobody_else(desk):
    registry = Registry([MoodyCriterion, MoodyOrder])
    queues = [
        QueueConfig(id="q", route=("moody", "longest-idle")),
        QueueConfig(id="q2", route=("moody-order",)),
    ]
    office = desk(queues, [], registry=registry)
    office.tell(AgentSet(AgentConfig(id="a", queues=("q", "q2"))))
    office.log_in("a")
    office.arrive("excluded")
    assert office.offered("excluded") == []
    office.arrive("unasked", attributes={"fails": True})
    assert office.offered("unasked") == ["a"]
    office.accept("unasked")
    office.arrive("last", "q2")
    office.end("unasked")
    assert office.offered("last") == ["a"]
    record = office.offer_of("last").why.record()
    assert record["agent_id"] == "a"


@pytest.mark.parametrize(
    "strategy",
    [
        type("NoName", (), {"demand": None}),
        type("NoMethod", (), {"name": "x"}),
        type("Taken", (), {"name": "skill", "demand": None}),
        type("Preset", (), {"name": "asterisk.linear", "rank": None}),
    ],
)
def test_what_is_no_strategy_is_refused(strategy):
    with pytest.raises(RoutingConfigError):
        Registry([strategy])
