"""Whether it helped, and whether agents kept to their plans: counted here once more by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from softswitch.store.adherence import Done, Planned, adherence
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.outcomes import AGAIN_S, outcome_report, ticket_report
from softswitch.store.periods import Span
from softswitch.store.report import queue_report
from softswitch.store.statistics import Chosen
from softswitch.store.tickets import Matter

UTC = ZoneInfo("UTC")
START_S = 1_790_000_000.0 - 1_790_000_000.0 % 86_400
DAY_S = 86_400.0
MONTH = Span(START_S, START_S + 30 * DAY_S, UTC, "all")


async def test_resolution_transfers_and_satisfaction(tmp_path: Path, any_store: Any) -> None:
    rng = random.Random(5)
    async with any_store.opened(tmp_path) as tools:
        append = tools.journal.append
        calls: list[tuple[float, str, str, bool]] = []
        scores: list[tuple[str, int | None]] = []
        moved = 0
        for number in range(400):
            at_s = START_S + number * 30 * DAY_S / 400
            caller = f"+8610{rng.randint(0, 60)}" if rng.random() < 0.9 else ""
            queue = rng.choice(["support", "billing"])
            answered = rng.random() < 0.8
            call = f"c{number}"
            about = {"contact": call, "queue": queue, "caller": caller}
            append("acd-queued", call, about, at_s)
            if answered:
                append("acd-connected", call, {**about, "agent": "li", "waited_s": 1.0}, at_s + 1)
                outcome = rng.choice(["ended", "ended", "transferred"])
                moved += outcome == "transferred"
                done = {**about, "agent": "li", "media": "call", "outcome": outcome}
                append("acd-handled", call, done, at_s + 60)
                score = rng.choice([None, 1, 2, 3, 4, 5])
                scores.append((queue, score))
                asked = {"survey": "s", "queue": queue, "agent": "li", "score": score}
                append("survey", call, asked, at_s + 61)
            closed = {**about, "outcome": "answered" if answered else "abandoned", "waited_s": 1.0}
            append("acd-closed", call, closed, at_s + 62)
            calls.append((at_s, caller, queue, answered))
        assert await tools.journal.flush()
        report = await outcome_report(tools.store.outcomes, MONTH, Chosen(), "queue")
        for row in report.rows:
            known = [c for c in calls if c[3] and c[1] and c[2] == row["queue"]]
            resolved = [
                c
                for c in known
                if not any(o[1] == c[1] and c[0] < o[0] <= c[0] + AGAIN_S for o in calls)
            ]
            assert (row["known"], row["resolved"]) == (len(known), len(resolved))
            given = [s for q, s in scores if q == row["queue"] and s is not None]
            assert row["rated"] == len(given)
            assert row["asked"] == sum(q == row["queue"] for q, _ in scores)
            assert row["satisfaction"].numerator == sum(s >= 4 for s in given)
            assert row["mean_score"].value == pytest.approx(sum(given) / len(given))
        assert sum(row["transferred"] for row in report.rows) == moved
        # What was added up by the day tells the same.
        while await tools.journal.roll_on(MONTH.end_s + 12 * DAY_S, UTC):
            pass
        assert any_store.sql(tmp_path, "SELECT count(*) FROM outcome_days")[0][0] > 0
        again = await outcome_report(tools.store.outcomes, MONTH, Chosen(), "queue")
        assert again.rows == report.rows
        by_day = Span(MONTH.start_s, MONTH.end_s, UTC, "day")
        days = await outcome_report(tools.store.outcomes, by_day, Chosen(), "agent")
        assert sum(row["known"] for row in days.rows) == sum(r["known"] for r in report.rows)
        skills = {"support": "lang.zh >= 1", "billing": "lang.zh >= 1"}
        one = await queue_report(
            tools.store.statistics, MONTH, Chosen(), "queue", "offered", skills
        )
        assert [(r["skill"], r["entered"]) for r in one.rows] == [("lang.zh >= 1", 400)]
        assert one.rows[0]["handled"] == sum(c[3] for c in calls)


async def test_tickets_are_counted_when_they_are_opened_and_solved(
    tmp_path: Path, any_store: Any
) -> None:
    now_s = START_S
    async with any_store.opened(tmp_path, wall_s=lambda: now_s) as tools:
        tickets = tools.store.tickets
        made = []
        for number in range(4):
            now_s = START_S + number * DAY_S
            made.append(await tickets.add("user:a", Matter(subject="x", department="it")))
        for ticket, took_s in ((made[0], 3_600.0), (made[1], 3 * DAY_S)):
            now_s = ticket.life.created_at_s + took_s
            await tickets.change("user:a", ticket.id, {"status": "solved"})
        await tickets.merge("user:a", made[2].id, made[3].id)
        report = await ticket_report(tools.store.outcomes, MONTH, "department")
        (row,) = report.rows
        assert (row["department"], row["opened"], row["solved"], row["late"]) == ("it", 3, 2, 1)
        assert row["average_solve_s"].value == (3_600 + 3 * DAY_S) / 2
        by_day = Span(MONTH.start_s, MONTH.end_s, UTC, "day")
        days = await ticket_report(tools.store.outcomes, by_day, "all")
        assert [(r["opened"], r["solved"]) for r in days.rows] == [(1, 1), (1, 0), (1, 0), (0, 1)]


def test_five_minutes_late_on_an_hour() -> None:
    plan = [Planned(0, 3_600)]
    late = [Done(300, 3_600, "available")]
    assert adherence(plan, late).adherence.value == pytest.approx(55 / 60)
    made_up = [*late, Done(3_600, 3_900, "on-contact")]
    assert adherence(plan, made_up).adherence.value == pytest.approx(55 / 60)
    assert adherence(plan, made_up).conformance.value == pytest.approx(1.0)
    six_of_four = adherence([Planned(0, 4 * 3_600)], [Done(0, 6 * 3_600, "available")])
    assert six_of_four.conformance.value == pytest.approx(1.5)
    lunch = Planned(0, 1_800, "lunch")
    for done, right in (
        (Done(0, 1_800, "unavailable", "lunch"), 1.0),
        (Done(0, 1_800, "unavailable"), 1.0),
        (Done(0, 1_800, "unavailable", "training"), 0.0),
        (Done(0, 1_800, "logged-out"), 1.0),
        (Done(0, 1_800, "on-contact"), 0.0),
    ):
        assert adherence([lunch], [done]).adherence.value == right
    assert adherence([], []).adherence.value is None


async def test_plans_may_be_changed_afterwards(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        append, shifts = tools.journal.append, tools.store.shifts
        for at_s, state in ((300, "available"), (3_600, "unavailable"), (5_400, "logged-out")):
            told = {
                "agent": "li",
                "new": state,
                "reason": "lunch" if state == "unavailable" else "",
            }
            append("acd-agent-state", None, told, START_S + at_s)
        await tools.journal.flush()
        await shifts.add("user:a", "li", Planned(START_S, START_S + 3_600))
        with pytest.raises(Conflict, match="overlaps"):
            await shifts.add("user:a", "li", Planned(START_S + 3_599, START_S + 3_700))
        with pytest.raises(Conflict, match="at most a day"):
            await shifts.add("user:a", "li", Planned(START_S, START_S + DAY_S + 1))
        lunch = await shifts.add(
            "user:a", "li", Planned(START_S + 3_600, START_S + 5_400, "training")
        )
        day = Span(START_S, START_S + DAY_S, UTC, "hour")
        first, second = (await shifts.adherence(day, (), START_S + DAY_S)).values()
        assert first.adherence.value == pytest.approx(55 / 60)
        assert second.adherence.value == 0.0
        await shifts.remove("user:a", lunch.id)
        with pytest.raises(Missing):
            await shifts.remove("user:a", lunch.id)
        await shifts.add("user:a", "li", Planned(START_S + 3_600, START_S + 5_400, "lunch"))
        found = await shifts.adherence(day, ("li",), START_S + DAY_S)
        assert [one.adherence.value for one in found.values()] == [pytest.approx(55 / 60), 1.0]
        assert len(await shifts.page(START_S, START_S + DAY_S)) == 2
