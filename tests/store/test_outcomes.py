"""Whether it helped, and whether agents kept to their plans: counted here once more by hand."""

from __future__ import annotations

import random
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from softswitch.store.adherence import Done, Planned, adherence
from softswitch.store.customer_rows import Profile
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.outcomes import AGAIN_S, outcome_report, ticket_report
from softswitch.store.periods import Span
from softswitch.store.report import queue_report
from softswitch.store.schema_columns import COLUMNS
from softswitch.store.statistics import TALKS, Chosen
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
        rows = list(report.rows)
        for row in rows:
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
        assert sum(row["transferred"] for row in rows) == moved
        # What was added up by the day tells the same.
        while await tools.journal.roll_on(MONTH.end_s + 12 * DAY_S, UTC):
            pass
        assert any_store.sql(tmp_path, "SELECT count(*) FROM survey_columns")[0][0] > 0
        again = await outcome_report(tools.store.outcomes, MONTH, Chosen(), "queue")
        assert list(again.rows) == rows
        by_day = Span(MONTH.start_s, MONTH.end_s, UTC, "day")
        days = await outcome_report(tools.store.outcomes, by_day, Chosen(), "agent")
        assert sum(row["known"] for row in days.rows) == sum(r["known"] for r in rows)
        skills = {"support": "lang.zh >= 1", "billing": "lang.zh >= 1"}
        one = await queue_report(
            tools.store.statistics, MONTH, Chosen(), "queue", "offered", skills
        )
        (row,) = one.rows
        assert (row["skill"], row["entered"]) == ("lang.zh >= 1", 400)
        assert row["handled"] == sum(c[3] for c in calls)


class Contact:
    """What one contact came to, from a seed."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.name = f"c{number}"
        self.at_s = START_S + number * 20 * DAY_S / 300
        self.caller = f"+8610{rng.randint(0, 40)}" if rng.random() < 0.9 else ""
        self.region = rng.choice(["north", "east", ""])
        self.queue = rng.choice(["support", "billing", "sales"])
        self.agent = rng.choice(["li", "han"]) if rng.random() < 0.8 else ""
        self.outcome = rng.choice(["ended", "ended", "transferred"])
        self.talk_s = float(rng.randint(10, 300))
        self.score = rng.choice([None, 1, 3, 4, 5])

    def journal(self, append: Any) -> None:
        about = {"contact": self.name, "queue": self.queue, "caller": self.caller}
        about["region"] = self.region
        append("acd-queued", self.name, about, self.at_s)
        done = {**about, "outcome": "abandoned", "waited_s": 1.0}
        if self.agent:
            by = {"contact": self.name, "queue": self.queue, "agent": self.agent}
            append("acd-connected", self.name, {**by, "waited_s": 1.0}, self.at_s + 1)
            # Some are done on the next day.
            handled = {**by, "media": "call", "outcome": self.outcome, "talk_s": self.talk_s}
            append("acd-handled", self.name, handled, self.at_s + 4_000)
            append("survey", self.name, {**by, "survey": "s", "score": self.score}, self.at_s + 90)
            done["outcome"] = "answered"
        append("acd-closed", self.name, done, self.at_s + 4_001)
        if self.agent == "li":
            self._write_down(append)

    def _write_down(self, append: Any) -> None:
        """A ticket about him: he did not come again by that, and it is in hand for days."""
        name = f"ticket-{self.name}"
        about = {"contact": name, "queue": self.queue, "caller": self.caller, "media": "ticket"}
        about |= {"agent": self.agent, "region": self.region}
        append("acd-queued", name, about, self.at_s + 60)
        append("acd-connected", name, {**about, "waited_s": 1.0}, self.at_s + 61)
        append(
            "acd-handled", name, {**about, "talk_s": 2 * DAY_S, "outcome": "ended"}, self.at_s + 62
        )

    def came_again(self, contacts: list[Contact], again_s: float) -> bool:
        return any(
            o.caller == self.caller and self.at_s < o.at_s <= self.at_s + again_s for o in contacts
        )


def by_hand(
    contacts: list[Contact], every: list[Contact], again_s: float = AGAIN_S
) -> dict[str, float]:
    answered = [c for c in contacts if c.agent]
    known = [c for c in answered if c.caller]
    rated = [c.score for c in answered if c.score is not None]
    return {
        "known": len(known),
        "resolved": sum(not c.came_again(every, again_s) for c in known),
        "handled": len(answered),
        "transferred": sum(c.outcome == "transferred" for c in answered),
        "asked": len(answered),
        "rated": len(rated),
        "good": sum(score >= 4 for score in rated),
    }


SKILLS = {"support": "lang.zh >= 1", "billing": "lang.zh >= 1", "sales": ""}


@pytest.mark.parametrize(
    "crossed", [False, pytest.param(True, marks=pytest.mark.soak, id="every-way")]
)
async def test_by_region_and_by_skill_it_is_what_is_counted_by_hand(
    tmp_path: Path, any_store: Any, crossed: bool
) -> None:
    rng = random.Random(6)
    every = [Contact(rng, number) for number in range(300)]
    async with any_store.opened(tmp_path) as tools:
        for contact in every:
            contact.journal(tools.journal.append)
        assert await tools.journal.flush()
        outcomes = tools.store.outcomes

        async def check() -> None:
            for choice, (chosen, fits) in enumerate(
                (
                    (Chosen(media=TALKS), lambda c: True),
                    (Chosen(("support",), media=TALKS), lambda c: c.queue == "support"),
                    (
                        Chosen(media=TALKS, regions=("north", "")),
                        lambda c: c.region in ("north", ""),
                    ),
                    (
                        Chosen((), ("li",), TALKS, ("east",)),
                        lambda c: (c.agent, c.region) == ("li", "east"),
                    ),
                )
            ):
                some = [c for c in every if fits(c)]
                groupings = enumerate(
                    (
                        ("region", lambda c: c.region),
                        ("queue", lambda c: c.queue),
                        ("agent", lambda c: c.agent),
                        ("skill", lambda c: SKILLS[c.queue]),
                    )
                )
                for (grouping, (per, told)), which in product(groupings, (0, 1)):
                    # Each choice and each grouping is met with both; all with all take twice as long.
                    if not crossed and which != (choice + grouping) % 2:
                        continue
                    skills = SKILLS if per == "skill" else None
                    given: Any = "queue" if per == "skill" else per
                    names = {told(c) for c in some if c.agent}
                    again_s = (2 * DAY_S, 12.5 * DAY_S)[which]
                    report = await outcome_report(outcomes, MONTH, chosen, given, again_s, skills)
                    rows = {row[per]: row for row in report.rows}
                    assert rows.keys() == names
                    for name, row in rows.items():
                        wanted = by_hand([c for c in some if told(c) == name], every, again_s)
                        assert {key: row[key] for key in wanted} == wanted, (chosen, per, name)
            # By the half-hour and the hour they are what the month is made of.
            for by, per in product(("half-hour", "hour"), ("region", "queue", "agent")):
                # Whole days, and parts of days at both ends.
                start_s, end_s = MONTH.start_s, MONTH.end_s
                if per == "agent":
                    start_s, end_s = start_s + 5 * 3_600, start_s + 19.5 * DAY_S + 1_800
                fine = Span(start_s, end_s, UTC, by)  # type: ignore[arg-type]
                came: dict[tuple[str, str], list[Contact]] = {}
                within = [c for c in every if start_s <= c.at_s < end_s]
                for contact in within:
                    key = (fine.label_at(contact.at_s), getattr(contact, per))
                    came.setdefault(key, []).append(contact)
                rows = [*(await outcome_report(outcomes, fine, Chosen(media=TALKS), per)).rows]  # type: ignore[arg-type]
                assert len({row["period"] for row in rows}) > 50
                for row in rows:
                    wanted = by_hand(came.get((row["period"], row[per]), []), every)
                    assert row["known"] == wanted["known"], (by, per, row)
                    assert row["resolved"] == wanted["resolved"], (by, per, row)
                known = sum(bool(c.agent and c.caller) for c in within)
                assert sum(row["known"] for row in rows) == known
            # How long the callers of a region were spoken with.
            for chosen in (
                Chosen(media=TALKS),
                Chosen(media=TALKS, regions=("east",)),
                Chosen((), ("han",), TALKS),
            ):
                report = await queue_report(tools.store.statistics, MONTH, chosen, "region")
                for row in report.rows:
                    spoken = [
                        c.talk_s
                        for c in every
                        if c.region == row["region"] and c.agent in (chosen.agents or ("li", "han"))
                    ]
                    assert (row["handled"], row["talk_s"]) == (len(spoken), sum(spoken))

        await check()
        # As an older version left them: looked up, and noted when their days are added up.
        async with tools.journal.exclusive, tools.store._database.transaction() as writer:
            await writer.execute(sa.text("UPDATE handlings SET region = NULL WHERE seq % 3 > 0"))
        await check()
        while await tools.journal.roll_on(MONTH.end_s + 12 * DAY_S, UTC):
            pass
        for table in COLUMNS[:3] + COLUMNS[4:]:  # nobody was rung
            assert any_store.sql(tmp_path, f"SELECT count(*) FROM {table}")[0][0] > 0, table
        await check()
        # A late entry counts at once, whatever was added up.
        late = Contact(rng, 40)
        late.name, late.agent, late.region = "late", "li", "north"
        late.journal(tools.journal.append)
        every.append(late)
        assert await tools.journal.flush()
        await check()
        # So does what a caller of then says only now.
        asked = (await outcome_report(outcomes, MONTH, Chosen(), "region")).rows
        before = {row["region"]: (row["asked"], row["good"]) for row in asked}
        about = {"contact": late.name, "queue": late.queue, "agent": "li", "score": 5}
        tools.journal.append("survey", late.name, {**about, "survey": "s"}, late.at_s + 3 * DAY_S)
        assert await tools.journal.flush()
        asked = (await outcome_report(outcomes, MONTH, Chosen(), "region")).rows
        after = {row["region"]: (row["asked"], row["good"]) for row in asked}
        assert after == {**before, "north": (before["north"][0] + 1, before["north"][1] + 1)}


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
        await tools.store.ticket_parts.merge("user:a", made[2].id, made[3].id)
        report = await ticket_report(tools.store.outcomes, MONTH, "department")
        (row,) = report.rows
        assert (row["department"], row["opened"], row["solved"], row["late"]) == ("it", 3, 2, 1)
        assert row["average_solve_s"].value == (3_600 + 3 * DAY_S) / 2
        by_day = Span(MONTH.start_s, MONTH.end_s, UTC, "day")
        days = await ticket_report(tools.store.outcomes, by_day, "all")
        assert [(r["opened"], r["solved"]) for r in days.rows] == [(1, 1), (1, 0), (1, 0), (0, 1)]


async def test_tickets_of_a_region_a_skill_and_an_agent(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path, wall_s=lambda: START_S) as tools:
        store = tools.store
        north = (await store.customers.add("user:a", Profile(name="n", region="north"))).id
        nowhere = (await store.customers.add("user:a", Profile(name="w"))).id
        for matter in (
            Matter(queue="support", customer_id=north, assignee="li"),
            Matter(queue="billing", customer_id=north),
            Matter(queue="billing", customer_id=nowhere, skill="tax >= 1"),
            Matter(assignee="han"),
        ):
            await store.tickets.add("user:a", matter)

        async def opened(per: Any, chosen: Chosen | None = None) -> dict[str, int]:
            report = await ticket_report(store.outcomes, MONTH, per, chosen, SKILLS)
            return {row[per]: row["opened"] for row in report.rows}

        assert await opened("region") == {"north": 2, "": 2}
        assert await opened("skill") == {"lang.zh >= 1": 2, "tax >= 1": 1, "": 1}
        assert await opened("queue", Chosen(regions=("north",))) == {"support": 1, "billing": 1}
        assert await opened("all", Chosen(queues=("billing",))) == {"": 2}
        assert await opened("region", Chosen(agents=("li", "han"))) == {"north": 1, "": 1}


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


@pytest.mark.parametrize(
    ("by", "zone"),
    [
        ("all", "UTC"),
        ("hour", "Asia/Kathmandu"),
        ("day", "America/New_York"),
        ("week", "Asia/Shanghai"),
    ],
)
async def test_plans_kept_are_those_of_every_state_beside_every_stretch(
    tmp_path: Path, any_store: Any, by: Any, zone: str
) -> None:
    """Whole half-hours that are added up and the ends of stretches give what comparing everything gives."""
    rng = random.Random(f"{by} {zone}")
    start_s = datetime(2026, 10, 30, tzinfo=UTC).timestamp()  # New York changes its clocks within
    end_s = start_s + 4 * DAY_S
    done: dict[str, list[Done]] = {}
    plans: list[tuple[str, Planned]] = []
    async with any_store.opened(tmp_path) as tools:
        for agent in ("li", "han"):
            at_s, states = start_s - DAY_S, []
            while at_s < end_s:
                state = rng.choice(["available", "on-contact", "unavailable", "logged-out"])
                reason = rng.choice(["lunch", ""]) if state == "unavailable" else ""
                states.append((at_s, state, reason))
                at_s += rng.choice([600.0, 1_800.0, 7_200.0, rng.uniform(1, 40_000), 100_000.0])
            for since_s, state, reason in states:
                told = {"agent": agent, "new": state, "reason": reason}
                tools.journal.append("acd-agent-state", None, told, since_s)
            ends = [*(since_s for since_s, _, _ in states[1:]), end_s]
            done[agent] = [
                Done(since_s, until_s, state, reason)
                for (since_s, state, reason), until_s in zip(states, ends, strict=True)
            ]
            at_s = start_s - 7_200
            while at_s < end_s:
                length_s = rng.choice([900.0, 1_800.0, 8 * 3_600.0, rng.uniform(60, DAY_S)])
                planned = Planned(at_s, at_s + length_s, rng.choice(["work", "work", "lunch"]))
                plans.append((agent, planned))
                await tools.store.shifts.add("user:a", agent, planned)
                at_s += length_s + rng.choice([0.0, 1_800.0, rng.uniform(0, 20_000)])
        await tools.journal.flush()
        span = Span(start_s + 5_000, end_s - 7_000, ZoneInfo(zone), by)
        expected: dict[tuple[str, str], list[float]] = {}
        for agent, planned in plans:
            at_s = max(planned.start_s, span.start_s)
            for period, length_s in span.cuts(planned.start_s, planned.end_s):
                piece = Planned(at_s, at_s + length_s, planned.activity)
                found = adherence([piece], done[agent])
                sums = expected.setdefault((period, agent), [0.0, 0.0])
                sums[0] += found.planned_s
                sums[1] += found.adherent_s
                at_s += length_s
        for rolled in (False, True):
            while rolled and await tools.journal.roll_on(end_s - DAY_S / 2, span.zone):
                pass
            counted = await tools.store.shifts.adherence(span, (), end_s)
            told = {key: [one.planned_s, one.adherent_s] for key, one in counted.items()}
            assert told.keys() == expected.keys()
            for key, sums in expected.items():
                assert told[key] == pytest.approx(sums, abs=0.01), (rolled, key)


async def test_more_plans_than_can_be_compared_are_refused(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("softswitch.store.plans_kept.PIECES_MAX", 2)
    async with any_store.opened(tmp_path) as tools:
        span = Span(START_S, START_S + DAY_S, UTC, "all")
        for number in range(3):
            at_s = START_S + number * 3_600
            await tools.store.shifts.add("user:a", "li", Planned(at_s, at_s + 60))
            if number < 2:
                assert await tools.store.shifts.adherence(span, (), START_S + DAY_S)
        with pytest.raises(Conflict, match="less of it"):
            await tools.store.shifts.adherence(span, (), START_S + DAY_S)
