"""Whether it helped: satisfaction, resolution at the first contact, transfers, tickets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from routing.stats import Ratio
from softswitch.store.column_counts import Take
from softswitch.store.counting import counted, region_of, was_passed_on
from softswitch.store.first_contacts import first_contacts
from softswitch.store.grouped import NOTHING, Counted, Key, Sums, grouped
from softswitch.store.periods import Span
from softswitch.store.reading import reading
from softswitch.store.report import Report, Row, by_skill, in_order
from softswitch.store.schema_centre import handlings, surveys
from softswitch.store.schema_customers import customers
from softswitch.store.schema_tickets import tickets
from softswitch.store.statistics import Chosen, Statistics, among
from softswitch.store.tallies import packed_scores, packed_transfers

_PAGE_MAX = 1_000
AGAIN_S = 7 * 86_400.0
"""Who calls again within it was not helped the first time, unless a report asks for another time."""
GOOD = 4
"""From this score on (of 5) a caller is satisfied."""
OutcomePer = Literal["all", "queue", "agent", "region"]
TicketPer = Literal[
    "all", "department", "assignee", "priority", "kind", "source", "queue", "region", "skill"
]


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
        """By period and queue, agent or region."""
        found: dict[Key, OutcomeCounts] = {}

        def adding(*names: str) -> Take:
            def take(key: Key, row: tuple[Any, ...]) -> None:
                so_far = found.setdefault(key, OutcomeCounts())
                for name, value in zip(names, row, strict=True):
                    setattr(so_far, name, getattr(so_far, name) + value)

            return take

        named = "" if per == "all" else per
        of_surveys = {name: some for name, some in chosen.among.items() if name != "media"}
        await first_contacts(
            self._database, span, named, chosen.among, again_s, adding("known", "resolved")
        )
        for counts, packed, take in (
            (
                self._transfers(chosen, per),
                packed_transfers(named, chosen.among),
                adding("handled", "transferred"),
            ),
            (
                self._scores(chosen, per),
                packed_scores(named, of_surveys, GOOD),
                adding("asked", "rated", "good", "score"),
            ),
        ):
            await grouped(self._database, span, counts, Sums(packed=packed), take)
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

    def _transfers(self, chosen: Chosen, per: OutcomePer) -> Counted:
        column, clauses = _told(handlings, region_of(handlings), chosen, per)
        counts: list[Any] = [sa.func.count(), counted(was_passed_on())]
        clauses.append(handlings.c.outcome != "failed")
        return Counted(handlings.c.at_s, column, counts, clauses)

    def _scores(self, chosen: Chosen, per: OutcomePer) -> Counted:
        column, clauses = _told(surveys, region_of(surveys), chosen, per)
        score = surveys.c.score
        counts: list[Any] = [
            sa.func.count(),
            sa.func.count(score),
            counted(score >= GOOD),
            sa.func.coalesce(sa.func.sum(score), 0),
        ]
        return Counted(surveys.c.at_s, column, counts, clauses)

    async def of_tickets(
        self,
        span: Span,
        per: TicketPer,
        chosen: Chosen | None = None,
        skills: Mapping[str, str] | None = None,
    ) -> dict[Key, TicketCounts]:
        """Tickets opened and solved by period, without those that were merged into others. An agent's are those
        of which he is the assignee, a region's those of its customers; `skills` (queue -> what it asks of
        agents) are for those that ask for none of their own."""
        table = tickets.c
        chosen = chosen or Chosen()
        region: Any = sa.func.coalesce(customers.c.region, "")
        source: sa.FromClause | None = None
        if (
            per == "region" or chosen.regions
        ):  # joined: PostgreSQL looks up one by one what a query asks for each
            source = tickets.outerjoin(customers, customers.c.id == table.customer_id)
        asked: Any = sa.case(dict(skills), value=table.queue, else_="") if skills else ""
        told: dict[str, Any] = {
            "region": region,
            "skill": sa.case((table.skill != "", table.skill), else_=asked),
        }
        column = None if per == "all" else told.get(per, table.get(per))
        here: list[Any] = [
            table.merged_into.is_(None),
            *among(table.queue, chosen.queues),
            *among(table.assignee, chosen.agents),
            *among(region, chosen.regions),
        ]
        took_s = table.solved_at_s - table.created_at_s
        late = table.solve_spent_s > table.solve_target_s
        opened = Counted(table.created_at_s, column, [sa.func.count()], here, source)
        sums: list[Any] = [
            sa.func.count(),
            counted(late),
            sa.func.sum(took_s),
            sa.func.sum(table.solve_spent_s),
        ]
        solved = Counted(table.solved_at_s, column, sums, here, source)
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


def _told(
    table: sa.Table, region: sa.ColumnElement[str], chosen: Chosen, per: OutcomePer
) -> tuple[sa.ColumnElement[str] | None, list[Any]]:
    """What tells the rows of a table apart, and which of them are asked for."""
    columns = {"queue": table.c.queue_id, "agent": table.c.agent_id, "region": region}
    clauses = [
        *(among(table.c.media, chosen.media) if "media" in table.c else []),
        *among(table.c.queue_id, chosen.queues),
        *among(table.c.agent_id, chosen.agents),
        *among(region, chosen.regions),
    ]
    return columns.get(per), clauses


_RATIOS = ("first_contact", "transfers", "satisfaction", "mean_score", "response")


async def outcome_report(
    outcomes: Outcomes,
    span: Span,
    chosen: Chosen,
    per: OutcomePer,
    again_s: float = AGAIN_S,
    skills: Mapping[str, str] | None = None,
) -> Report:
    """Resolution at the first contact, transfers and satisfaction, by period. With `skills` (queue -> what it
    asks of agents) queues of the same skill are taken together."""
    counts = ("known", "resolved", "handled", "transferred", "asked", "rated", "good")
    found = await outcomes.of_contacts(span, chosen, per, again_s)
    told: str = per
    if skills is not None and per == "queue":
        told, found = "skill", await by_skill(found, skills)
    keys = await in_order(found)

    def rows() -> Iterator[Row]:
        while keys:
            key = keys.popleft()
            one = found.pop(key)
            values = {name: getattr(one, name) for name in (*counts, *_RATIOS)}
            yield {"period": key[0], told: key[1], **values}

    columns = ("period", told, *counts, *_RATIOS)
    return Report("outcomes", columns, frozenset(_RATIOS), rows())


async def ticket_report(
    outcomes: Outcomes,
    span: Span,
    per: TicketPer,
    chosen: Chosen | None = None,
    skills: Mapping[str, str] | None = None,
) -> Report:
    """Tickets opened and solved, and how long that took, by period; as `Outcomes.of_tickets`."""
    found = await outcomes.of_tickets(span, per, chosen, skills)
    keys = await in_order(found)

    def rows() -> Iterator[Row]:
        while keys:
            key = keys.popleft()
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
