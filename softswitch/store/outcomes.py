"""Whether it helped: satisfaction, resolution at the first contact, transfers, tickets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from routing.stats import Ratio
from softswitch.store.counting import counted
from softswitch.store.days import (
    AGAIN_S,
    OUTCOMES,
    came_again,
    was_first_contact,
    was_passed_on,
)
from softswitch.store.grouped import NOTHING, Counted, Key, Summed, Sums, grouped
from softswitch.store.periods import Span
from softswitch.store.reading import reading
from softswitch.store.report import Report, Row, in_order
from softswitch.store.schema_centre import handlings, queue_visits, surveys
from softswitch.store.schema_days import agent_handling_days, outcome_days
from softswitch.store.schema_tickets import tickets
from softswitch.store.statistics import Chosen, Statistics, among

_PAGE_MAX = 1_000
GOOD = 4
"""From this score on (of 5) a caller is satisfied."""
OutcomePer = Literal["all", "queue", "agent"]
TicketPer = Literal["all", "department", "assignee", "priority", "kind", "source", "queue"]


@dataclass(slots=True)
class OutcomeCounts:
    """`known` answered contacts had a caller's number, `resolved` of them did not come again in time;
    `asked` were asked for a score, `rated` gave one, `good` a good one."""

    known: int = 0
    resolved: int = 0
    handled: int = 0
    transferred: int = 0
    asked: int = 0
    rated: int = 0
    good: int = 0
    score: float = 0.0

    @property
    def first_contact(self) -> Ratio:
        return Ratio(self.resolved, self.known)

    @property
    def transfers(self) -> Ratio:
        return Ratio(self.transferred, self.handled)

    @property
    def satisfaction(self) -> Ratio:
        """The share of good scores; the mean is `mean_score`."""
        return Ratio(self.good, self.rated)

    @property
    def mean_score(self) -> Ratio:
        return Ratio(self.score, self.rated)

    @property
    def response(self) -> Ratio:
        """The share of those asked who gave a score."""
        return Ratio(self.rated, self.asked)


@dataclass(slots=True)
class TicketCounts:
    """Opened by when they were opened, the rest by when they were solved; sums of calendar time and of the
    office's open time in seconds. `late`: solved after what was promised."""

    opened: int = 0
    solved: int = 0
    late: int = 0
    solve_s: float = 0.0
    open_time_s: float = 0.0


class Outcomes(Statistics):
    """Counts over what came of contacts. All methods raise `StoreError` while the database cannot be
    read."""

    async def of_contacts(
        self, span: Span, chosen: Chosen, per: OutcomePer, again_s: float = AGAIN_S
    ) -> dict[Key, OutcomeCounts]:
        """By period and queue or agent."""
        found: dict[Key, OutcomeCounts] = {}
        resolved = _summed(outcome_days, chosen, per, "known", "resolved")
        moved = _summed(agent_handling_days, chosen, per, "handled", "transferred")
        for names, counts, sums in (
            (
                ("known", "resolved"),
                self._first_contacts(chosen, per, again_s),
                Sums(None, resolved, OUTCOMES) if again_s == AGAIN_S else NOTHING,
            ),
            (("handled", "transferred"), self._transfers(chosen, per), Sums(None, moved)),
            (("asked", "rated", "good", "score"), self._scores(chosen, per), NOTHING),
        ):

            def take(key: Key, row: tuple[Any, ...], names: tuple[str, ...] = names) -> None:
                so_far = found.setdefault(key, OutcomeCounts())
                for name, value in zip(names, row, strict=True):
                    setattr(so_far, name, getattr(so_far, name) + value)

            await grouped(self._database, span, counts, sums, take)
        return found

    async def surveys_of(
        self, callers: Sequence[str], limit: int, until_s: float | None = None
    ) -> list[Any]:
        """What some numbers answered when they were asked, newest first, as rows of `surveys`."""
        table = surveys.c
        query = sa.select(surveys).where(table.caller.in_(list(callers)))
        if until_s is not None:
            query = query.where(table.at_s <= until_s)
        query = query.order_by(table.at_s.desc()).limit(max(0, min(limit, _PAGE_MAX)))
        async with reading(self._database) as connection:
            return list((await connection.execute(query)).all())

    def _first_contacts(self, chosen: Chosen, per: OutcomePer, again_s: float) -> Counted:
        table = queue_visits.c
        clauses = [
            *was_first_contact(),
            *among(table.queue_id, chosen.queues),
            *among(table.agent_id, chosen.agents),
        ]
        column = {"queue": table.queue_id, "agent": table.agent_id}.get(per)
        counts: list[Any] = [sa.func.count(), counted(sa.not_(came_again(again_s)))]
        return Counted(table.entered_at_s, column, counts, clauses)

    def _transfers(self, chosen: Chosen, per: OutcomePer) -> Counted:
        table = handlings.c
        clauses = [
            table.outcome != "failed",
            *among(table.queue_id, chosen.queues),
            *among(table.agent_id, chosen.agents),
        ]
        column = {"queue": table.queue_id, "agent": table.agent_id}.get(per)
        counts: list[Any] = [sa.func.count(), counted(was_passed_on())]
        return Counted(table.at_s, column, counts, clauses)

    def _scores(self, chosen: Chosen, per: OutcomePer) -> Counted:
        table = surveys.c
        clauses = [
            *among(table.queue_id, chosen.queues),
            *among(table.agent_id, chosen.agents),
        ]
        column = {"queue": table.queue_id, "agent": table.agent_id}.get(per)
        counts: list[Any] = [
            sa.func.count(),
            sa.func.count(table.score),
            counted(table.score >= GOOD),
            sa.func.coalesce(sa.func.sum(table.score), 0),
        ]
        return Counted(table.at_s, column, counts, clauses)

    async def of_tickets(self, span: Span, per: TicketPer) -> dict[Key, TicketCounts]:
        """Tickets opened and solved by period, without those that were merged into others."""
        table = tickets.c
        column = None if per == "all" else table[per]
        here: list[Any] = [table.merged_into.is_(None)]
        took_s = table.solved_at_s - table.created_at_s
        late = table.solve_spent_s > table.solve_target_s
        opened = Counted(table.created_at_s, column, [sa.func.count()], here)
        sums: list[Any] = [
            sa.func.count(),
            counted(late),
            sa.func.sum(took_s),
            sa.func.sum(table.solve_spent_s),
        ]
        solved = Counted(table.solved_at_s, column, sums, here)
        found: dict[Key, TicketCounts] = {}

        def take_opened(key: Key, row: tuple[Any, ...]) -> None:
            found.setdefault(key, TicketCounts()).opened += row[0]

        def take_solved(key: Key, row: tuple[Any, ...]) -> None:
            counts = found.setdefault(key, TicketCounts())
            counts.solved += row[0]
            counts.late += row[1]
            counts.solve_s += row[2]
            counts.open_time_s += row[3]

        await grouped(self._database, span, opened, NOTHING, take_opened)
        await grouped(self._database, span, solved, NOTHING, take_solved)
        return found


def _summed(table: sa.Table, chosen: Chosen, per: OutcomePer, *names: str) -> Summed:
    told = {"queue": table.c.queue_id, "agent": table.c.agent_id}.get(per)
    clauses = [*among(table.c.queue_id, chosen.queues), *among(table.c.agent_id, chosen.agents)]
    return Summed(table, told, [sa.func.sum(table.c[name]) for name in names], clauses)


_RATIOS = ("first_contact", "transfers", "satisfaction", "mean_score", "response")


async def outcome_report(
    outcomes: Outcomes, span: Span, chosen: Chosen, per: OutcomePer, again_s: float = AGAIN_S
) -> Report:
    """Resolution at the first contact, transfers and satisfaction, by period."""
    counts = ("known", "resolved", "handled", "transferred", "asked", "rated", "good")
    found = await outcomes.of_contacts(span, chosen, per, again_s)
    keys = await in_order(found)

    def rows() -> Iterator[Row]:
        for key in keys:
            one = found.pop(key)
            told = {name: getattr(one, name) for name in (*counts, *_RATIOS)}
            yield {"period": key[0], per: key[1], **told}

    columns = ("period", per, *counts, *_RATIOS)
    return Report("outcomes", columns, frozenset(_RATIOS), rows())


async def ticket_report(outcomes: Outcomes, span: Span, per: TicketPer) -> Report:
    """Tickets opened and solved, and how long that took, by period."""
    found = await outcomes.of_tickets(span, per)
    keys = await in_order(found)

    def rows() -> Iterator[Row]:
        for key in keys:
            one = found.pop(key)
            yield {
                "period": key[0],
                per: key[1],
                "opened": one.opened,
                "solved": one.solved,
                "late": one.late,
                "average_solve_s": Ratio(one.solve_s, one.solved),
                "average_open_time_s": Ratio(one.open_time_s, one.solved),
                "in_time": Ratio(one.solved - one.late, one.solved),
            }

    ratios = ("average_solve_s", "average_open_time_s", "in_time")
    columns = ("period", per, "opened", "solved", "late", *ratios)
    return Report("tickets", columns, frozenset(ratios), rows())
