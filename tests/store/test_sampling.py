"""Which conversations are listened to, and what may become of an evaluation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from softswitch.store import evaluation_rules as rules
from softswitch.store.ledger import Conflict
from softswitch.store.sampling import Candidate, Rule, pick

WEEK = [
    Candidate(f"c{number}", agent, "support" if number % 2 else "billing", float(number))
    for number in range(40)
    for agent in (("a", "b", "c")[number % 3],)
]


def test_each_agent_is_heard_as_often_as_the_rule_says_and_none_twice() -> None:
    rule = Rule(1, "per-agent", per_week=2)
    first = pick(rule, WEEK[:20], {})
    assert Counter(one.candidate.agent_id for one in first) == {"a": 2, "b": 2, "c": 2}
    assert pick(rule, WEEK[:20], {}) == first, "the same week gives the same"
    assert pick(rule, reversed(WEEK[:20]), {}) == first, "in whatever order it is told"
    chosen = {"a": 2, "b": 1}
    known = frozenset((one.candidate.call_id, one.candidate.agent_id) for one in first)
    more = pick(rule, WEEK, chosen, known)
    assert Counter(one.candidate.agent_id for one in more) == {"b": 1, "c": 2}
    assert not {(one.candidate.call_id, one.candidate.agent_id) for one in more} & known
    assert {one.candidate.call_id for one in first} != {
        one.candidate.call_id for one in pick(Rule(2, "per-agent"), WEEK[:20], {})
    }, "another rule draws other lots"


def test_the_worst_come_first() -> None:
    one = Candidate("c", "a", "support", 1.0)
    asked = [replace(one, call_id=f"c{n}", survey=n) for n in (3, 1, 2, 5)]
    low = pick(Rule(1, "low-survey", per_week=2, threshold=2), [*asked, one], {})
    assert [(p.candidate.survey, p.reason) for p in low] == [
        (1, "the customer gave 1"),
        (2, "the customer gave 2"),
    ]
    held = [replace(one, call_id=f"h{n}", hold_s=float(n)) for n in (59, 60, 600)]
    long = pick(Rule(1, "long-hold", threshold=60), held, {})
    assert [p.candidate.hold_s for p in long] == [600.0, 60.0]
    worded = [replace(one, call_id=f"t{n}", at_s=float(n), matches=n > 1) for n in (1, 2, 3)]
    assert [p.candidate.call_id for p in pick(Rule(1, "ticket-keyword"), worded, {})] == [
        "t3",
        "t2",
    ]


def test_a_rule_may_be_about_some_queues() -> None:
    rule = Rule(1, "per-agent", per_week=99, queues=frozenset({"billing"}))
    assert {p.candidate.queue_id for p in pick(rule, WEEK, {})} == {"billing"}


def test_the_life_of_an_evaluation() -> None:
    life = rules.Life()
    for refused in (
        lambda: rules.publish(life, 1.0, ("greeting",)),
        lambda: rules.acknowledge(life, 1.0),
        lambda: rules.appeal(life, 1.0, "no"),
    ):
        with pytest.raises(Conflict):
            refused()
    life = rules.publish(life, 100.0, ())
    with pytest.raises(Conflict):
        rules.publish(life, 100.0, ())
    life = rules.acknowledge(life, 200.0)
    assert rules.acknowledge(life, 300.0) == life, "once is enough"
    last_s = 100.0 + rules.APPEAL_S
    with pytest.raises(Conflict, match="over"):
        rules.appeal(life, last_s + 1, "late")
    life = rules.appeal(life, last_s, "I did ask")
    with pytest.raises(Conflict):
        rules.appeal(life, last_s, "again")
    with pytest.raises(Conflict, match="somebody else"):
        rules.decide(life, 1e9, "", upheld=True, by="user:a", evaluator="user:a", agent="agent:li")
    with pytest.raises(Conflict):
        rules.decide(
            life, 1e9, "", upheld=True, by="agent:li", evaluator="user:a", agent="agent:li"
        )
    life = rules.decide(
        life, 1e9, "true", upheld=False, by="user:b", evaluator="user:a", agent="agent:li"
    )
    assert (life.status, life.upheld, life.decided_by) == ("decided", False, "user:b")
    with pytest.raises(Conflict):
        rules.decide(life, 1e9, "", upheld=True, by="user:b", evaluator="user:a", agent="agent:li")
