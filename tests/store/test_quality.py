"""Scorecards, evaluations, calibrations and samples in the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softswitch.store.evaluations import Draft, EvaluationFilter
from softswitch.store.ledger import Conflict, Missing, Stale
from softswitch.store.samples import Sampler, week_of
from softswitch.store.scoring import Answer, Form, Item, Section
from softswitch.store.tickets import Matter

MONDAY_S = 1_764_028_800.0  # 2025-11-25 in UTC is a Tuesday; `week_of` says which Monday
FORM = Form((Section("all", (Item("greeting", "?", 2), Item("rules", "?", 1, critical=True))),))


def talk(tools: Any, call: str, agent: str, at_s: float, **more: Any) -> None:
    """A conversation of an agent, with what follows from it."""
    append = tools.journal.append
    append("call-started", call, {"number_from": "+861065551000"}, at_s - 60)
    queued = {"contact": call, "queue": "support"}
    append("acd-queued", call, queued, at_s - 60)
    handled = {**queued, "agent": agent, "media": "call", "talk_s": 40.0, "wrap_up_s": 5.0}
    append("acd-handled", call, {**handled, "hold_s": more.get("hold_s", 0.0)}, at_s)
    if "survey" in more:
        asked = {"survey": "satisfaction", "queue": "support", "agent": agent}
        append("survey", call, {**asked, "score": more["survey"]}, at_s)
    append("call-ended", call, {}, at_s)


async def test_what_was_judged_stays_as_it_was_judged(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        talk(tools, "c1", "lilei", MONDAY_S)
        await tools.journal.flush()
        cards, evaluations = tools.store.scorecards, tools.store.evaluations
        card = await cards.add("user:a", "Support", FORM)
        with pytest.raises(Missing):
            await evaluations.add("user:a", Draft(card.id, "nothing", "lilei"))
        one = await evaluations.add(
            "user:a", Draft(card.id, "c1", "lilei", answers=(Answer("greeting", 1),))
        )
        assert (one.score, one.number, one.life.status) == (50.0, 1, "draft")
        other_form = Form((Section("all", (Item("greeting", "?", 4),)),))
        changed = await cards.change("user:a", card.id, form=other_form, version=1)
        assert (changed.number, changed.form) == (2, other_form)
        assert (await cards.get(card.id, 1)).form == FORM
        with pytest.raises(Stale):
            await cards.change("user:a", card.id, name="x", version=1)
        with pytest.raises(Conflict, match="asks something"):
            await cards.change("user:a", card.id, form=Form(()))
        with pytest.raises(Conflict, match="not answered yet: rules"):
            await evaluations.publish("user:a", one.id)
        with pytest.raises(Conflict, match="worth 0 to 2"):
            await evaluations.change("user:a", one.id, answers=[Answer("greeting", 3)])
        with pytest.raises(Conflict, match="evaluator's"):
            await evaluations.change("user:b", one.id, summary="mine")
        done = await evaluations.change("user:a", one.id, answers=[Answer("rules", 0, "no")])
        assert (done.score, done.raw_score, done.failed) == (0.0, 25.0, ["rules"])
        await evaluations.remark("user:a", one.id, "whole", None)
        await evaluations.remark("user:a", one.id, "later", 42.5)
        await evaluations.remark("user:a", one.id, "sooner", 3.0)
        assert [r.text for r in await evaluations.remarks(one.id)] == ["whole", "sooner", "later"]
        seen = EvaluationFilter(agent_id="lilei", visible_only=True)
        assert await evaluations.page(seen) == []
        published = await evaluations.publish("user:a", one.id)
        assert await evaluations.page(seen) == [published]
        with pytest.raises(Missing):
            await evaluations.appeal("agent:mary", one.id, "mary", "not mine")
        await evaluations.acknowledge("agent:lilei", one.id, "lilei")
        await evaluations.appeal("agent:lilei", one.id, "lilei", "I did")
        with pytest.raises(Conflict, match="somebody else"):
            await evaluations.decide("user:a", one.id, "", upheld=True)
        same = [Answer("greeting", 1)]
        for nothing in ((), same):
            with pytest.raises(Conflict, match="say which"):
                await evaluations.decide("user:b", one.id, "", upheld=False, answers=nothing)
        decided = await evaluations.decide(
            "user:b", one.id, "he did", upheld=False, answers=[Answer("rules", 1)]
        )
        assert (decided.score, decided.failed, decided.life.upheld) == (75.0, [], False)
        await cards.change("user:a", card.id, archived=True)
        assert await cards.page() == []
        assert len(await cards.page(archived=True)) == 1
        with pytest.raises(Conflict, match="no longer used"):
            await evaluations.add("user:a", Draft(card.id, "c1", "lilei"))
        note = await tools.store.coaching.add("user:a", "lilei", "Ask first", one.id)
        with pytest.raises(Missing):
            await tools.store.coaching.add("user:a", "mary", "x", one.id)
        read = await tools.store.coaching.acknowledge("agent:lilei", "lilei", note.id)
        assert read.acknowledged_at_s is not None
        assert await tools.store.coaching.acknowledge("agent:lilei", "lilei", note.id) == read


async def test_inspectors_are_compared_once_it_is_closed(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        talk(tools, "c1", "lilei", MONDAY_S)
        await tools.journal.flush()
        store = tools.store
        form = Form((Section("all", tuple(Item(f"i{n}", "?", 4) for n in range(4))),))
        card = await store.scorecards.add("user:a", "Support", form)
        calibration = await store.calibrations.add("user:a", card.id, "c1", "lilei")
        given = {"user:a": (0, 2, 4, 4), "user:b": (0, 3, 4, 2)}
        for who, points in given.items():
            mine = await store.calibrations.join(who, calibration.id)
            assert (await store.calibrations.join(who, calibration.id)).id == mine.id
            answers = [Answer(f"i{n}", value) for n, value in enumerate(points)]
            await store.evaluations.change(who, mine.id, answers=answers)
            await store.evaluations.publish(who, mine.id)
        hidden = await store.evaluations.page(EvaluationFilter(seen_by="user:a"))
        assert [one.evaluator for one in hidden] == ["user:a"]
        await store.calibrations.close("user:a", calibration.id)
        with pytest.raises(Conflict):
            await store.calibrations.join("user:c", calibration.id)
        assert len(await store.evaluations.page(EvaluationFilter(seen_by="user:a"))) == 2
        found = await store.calibrations.compare(calibration.id)
        assert found.overall.equal == 0.5
        assert found.overall.difference == pytest.approx(100 * (0 + 0.25 + 0 + 0.5) / 4)
        assert found.items["i0"].equal == 1.0
        assert found.items["i3"].equal == 0.0
        assert found.scores == {"user:a": 62.5, "user:b": 56.25}
        assert 0 < (found.overall.kappa or 0) < 1
        together = await store.calibrations.compare_all(card.id)
        assert together.overall == found.overall
        visible = EvaluationFilter(agent_id="lilei", visible_only=True)
        assert await store.evaluations.page(visible) == [], "it does not count for the agent"


async def test_a_week_is_sampled_as_its_rules_say(tmp_path: Path, any_store: Any) -> None:
    start_s, week = week_of(MONDAY_S, __import__("zoneinfo").ZoneInfo("UTC"))
    assert week == "2025-11-24"
    async with any_store.opened(tmp_path) as tools:
        talk(tools, "before", "lilei", start_s - 3_600, survey=1, hold_s=900.0)
        for number in range(6):
            agent = "lilei" if number % 2 else "mary"
            talk(tools, f"c{number}", agent, start_s + 3_600 * (number + 1), survey=number or None)
        talk(tools, "held", "lilei", start_s + 40_000, hold_s=300.0)
        await tools.journal.flush()
        store = tools.store
        rules = {
            "any": Sampler("any", per_week=1),
            "low": Sampler("low", "low-survey", threshold=2.0),
            "hold": Sampler("hold", "long-hold", threshold=120.0),
            "word": Sampler("word", "ticket-keyword", keyword="refund"),
            "off": Sampler("off", "per-agent", enabled=False, per_week=9),
        }
        made = {
            name: (await store.samples.add_rule("user:a", rule)).id for name, rule in rules.items()
        }
        await store.tickets.add("user:a", Matter(subject="Wants a refund"), links=["call:c4"])
        drawn = await store.samples.draw("system", start_s + 80_000)
        by_rule: dict[int, list[str]] = {}
        for one in drawn:
            by_rule.setdefault(one.rule_id, []).append(one.call_id)
        assert len(by_rule[made["any"]]) == 2, "one of each agent"
        assert sorted(by_rule[made["low"]]) == ["c1", "c2"]
        assert by_rule[made["hold"]] == ["held"]
        assert by_rule[made["word"]] == ["c4"]
        assert made["off"] not in by_rule
        assert await store.samples.draw("system", start_s + 90_000) == [], "none twice"
        card = await store.scorecards.add("user:a", "Support", FORM)
        await store.evaluations.add(
            "user:a", Draft(card.id, "held", "lilei", sample_id=drawn[0].id)
        )
        await store.samples.dismiss("user:a", drawn[1].id)
        with pytest.raises(Missing):
            await store.samples.dismiss("user:a", drawn[1].id)
        waiting = await store.samples.page(status="waiting")
        assert len(waiting) == len(drawn) - 2
        assert len(await store.samples.page(status="done")) == 1
