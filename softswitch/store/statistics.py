"""What happened in queues and to agents, in numbers; the read side of the call centre.

Every number is a count or a sum of rows that can be listed (`Visits`), and every figure made of
numbers is a `Ratio` that shows them. Contacts belong to the period in which they entered the queue,
handling to the one in which it ended (wrap-up included). Nothing is rounded and nothing is computed at
the time of the call: any formula can be chosen later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import sqlalchemy as sa

from routing.stats import AgentTimes, Ratio, ServiceCounts
from softswitch.store.database import Database
from softswitch.store.periods import Span, Stretch
from softswitch.store.reading import reading
from softswitch.store.schema_centre import agent_offers, agent_states, handlings, queue_visits

Per = Literal["all", "queue", "agent", "region"]
PER: tuple[Per, ...] = ("all", "queue", "agent", "region")
WITHIN_S = 20.0
_PAGE_MAX = 1_000
_WORKING = ("available", "offered", "on-contact", "wrap-up", "unavailable")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is counted. Empty means all. `within_s` is the service level's T by queue; `default_s`
    is that of queues not named."""

    queues: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    within_s: Mapping[str, float] = field(default_factory=dict)
    default_s: float = WITHIN_S


@dataclass(slots=True)
class VisitCounts:
    """Contacts of one period and queue (agent, region). `abandoned_in_time` are the short abandons;
    the waits are sums in seconds of those who were answered, of all who left, and the longest."""

    entered: int = 0
    answered: int = 0
    answered_in_time: int = 0
    abandoned: int = 0
    abandoned_in_time: int = 0
    overflowed: int = 0
    withdrawn: int = 0
    callbacks: int = 0
    requeued: int = 0
    lost: int = 0
    waiting: int = 0
    wait_answered_s: float = 0.0
    wait_s: float = 0.0
    wait_s_max: float = 0.0

    def add(self, other: VisitCounts) -> None:
        """Take another's counts in."""
        for part in fields(self):
            mine, its = getattr(self, part.name), getattr(other, part.name)
            setattr(self, part.name, max(mine, its) if part.name == "wait_s_max" else mine + its)

    @property
    def service(self) -> ServiceCounts:
        """What the formulas of `routing.stats` are computed from."""
        return ServiceCounts(
            answered=self.answered,
            answered_in_time=self.answered_in_time,
            abandoned=self.abandoned,
            abandoned_in_time=self.abandoned_in_time,
            flowed_out=self.overflowed + self.withdrawn,
        )

    @property
    def average_answer_s(self) -> Ratio:
        """ASA: the wait of the answered."""
        return Ratio(self.wait_answered_s, self.answered)

    @property
    def average_wait_s(self) -> Ratio:
        """The wait of all who are no longer waiting."""
        return Ratio(self.wait_s, self.entered - self.waiting)


@dataclass(slots=True)
class OfferCounts:
    """How often agents were rung, and what came of it."""

    offered: int = 0
    accepted: int = 0
    missed: int = 0
    rejected: int = 0


@dataclass(slots=True)
class StateTimes:
    """Seconds an agent spent in each state; `unavailable_s` by reason as well."""

    seconds: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, float] = field(default_factory=dict)

    @property
    def online_s(self) -> float:
        """Logged in."""
        return sum(self.seconds.get(state, 0.0) for state in _WORKING)


Key = tuple[str, str]
"""Period and queue, agent or region; both "" where they are all taken together."""


class Statistics:
    """Counts over the tables that follow from the journal. All methods raise `StoreError` while the
    database cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def visits(self, span: Span, chosen: Chosen, per: Per) -> dict[Key, VisitCounts]:
        """Contacts by the period they entered in. `per` "agent" knows the answered only."""
        table = queue_visits.c
        columns = {"queue": table.queue_id, "agent": table.agent_id, "region": table.region}
        clauses = [
            *_among(table.queue_id, chosen.queues),
            *_among(table.agent_id, chosen.agents),
            *_among(table.media, chosen.media),
            *_among(table.region, chosen.regions),
        ]
        if per == "agent":
            clauses.append(table.agent_id != "")
        counts = _visit_columns(chosen)
        found: dict[Key, VisitCounts] = {}
        for key, row in await self._grouped(
            span, table.entered_at_s, columns.get(per), counts, clauses
        ):
            found.setdefault(key, VisitCounts()).add(VisitCounts(*row))
        return found

    async def list_visits(
        self,
        span: Span,
        chosen: Chosen,
        *,
        outcome: str | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Any]:
        """The contacts behind a figure, newest first, as rows of `queue_visits`."""
        table = queue_visits.c
        query = (
            sa.select(queue_visits)
            .where(
                table.entered_at_s >= span.start_s,
                table.entered_at_s < span.end_s,
                *_among(table.queue_id, chosen.queues),
                *_among(table.agent_id, chosen.agents),
                *_among(table.media, chosen.media),
                *_among(table.region, chosen.regions),
            )
            .order_by(table.seq.desc())
            .limit(max(0, min(limit, _PAGE_MAX)))
        )
        if outcome is not None:
            query = query.where(table.outcome == outcome)
        if before is not None:
            query = query.where(table.seq < before)
        async with reading(self._database) as connection:
            return list((await connection.execute(query)).all())

    async def handled(self, span: Span, chosen: Chosen, per: Per) -> dict[Key, AgentTimes]:
        """Talk, hold and wrap-up of handled contacts by the period they were done in."""
        table = handlings.c
        columns = {"queue": table.queue_id, "agent": table.agent_id}
        clauses = [
            table.outcome != "failed",
            *_among(table.queue_id, chosen.queues),
            *_among(table.agent_id, chosen.agents),
            *_among(table.media, chosen.media),
        ]
        sums = [sa.func.sum(c) for c in (table.talk_s, table.hold_s, table.wrap_up_s)]
        found: dict[Key, AgentTimes] = {}
        for key, row in await self._grouped(
            span, table.at_s, columns.get(per), [*sums, sa.func.count()], clauses
        ):
            times = found.setdefault(key, AgentTimes())
            times.talk_s += row[0]
            times.hold_s += row[1]
            times.wrap_up_s += row[2]
            times.handled += row[3]
        return found

    async def offers(self, span: Span, chosen: Chosen, per: Per) -> dict[Key, OfferCounts]:
        """Offers by the period they were made in."""
        table = agent_offers.c
        columns = {"queue": table.queue_id, "agent": table.agent_id}
        clauses = [
            *_among(table.queue_id, chosen.queues),
            *_among(table.agent_id, chosen.agents),
        ]
        counts: list[Any] = [
            sa.func.count(),
            _count(table.outcome == "answered"),
            _count(table.outcome == "no-answer"),
            _count(table.outcome == "rejected"),
        ]
        found: dict[Key, OfferCounts] = {}
        for key, row in await self._grouped(
            span, table.offered_at_s, columns.get(per), counts, clauses
        ):
            so_far = found.setdefault(key, OfferCounts())
            for part, number in zip(fields(so_far), row, strict=True):
                setattr(so_far, part.name, getattr(so_far, part.name) + number)
        return found

    async def states(
        self, span: Span, agents: tuple[str, ...], now_s: float
    ) -> dict[Key, StateTimes]:
        """Time in each state, by period and agent; what lasts still lasts until `now_s`."""
        table = agent_states.c
        query = sa.select(
            table.agent_id, table.state, table.reason, table.started_at_s, table.ended_at_s
        ).where(
            table.started_at_s < span.end_s,
            sa.or_(table.ended_at_s.is_(None), table.ended_at_s > span.start_s),
            *_among(table.agent_id, agents),
        )
        found: dict[Key, StateTimes] = {}
        async with reading(self._database) as connection:
            for agent, state, reason, started_s, ended_s in await connection.execute(query):
                until_s = now_s if ended_s is None else ended_s
                for period, length_s in span.cuts(started_s, until_s):
                    times = found.setdefault((period, agent), StateTimes())
                    times.seconds[state] = times.seconds.get(state, 0.0) + length_s
                    if state == "unavailable":
                        times.reasons[reason] = times.reasons.get(reason, 0.0) + length_s
        return found

    async def _grouped(
        self,
        span: Span,
        at_s: sa.Column[float],
        column: sa.Column[str] | None,
        counts: list[Any],
        clauses: list[Any],
    ) -> list[tuple[Key, tuple[Any, ...]]]:
        """Rows of aggregates with the period and the name that each belongs to."""
        found: list[tuple[Key, tuple[Any, ...]]] = []
        async with reading(self._database) as connection:
            for stretch in span.stretches():
                period = _period(span, stretch, at_s, self._database.dialect)
                groups = [g for g in (period, column) if g is not None]
                query = (
                    sa.select(*counts, *groups)
                    .where(at_s >= stretch.start_s, at_s < stretch.end_s, *clauses)
                    .group_by(*groups)
                )
                for row in (await connection.execute(query)).all():
                    values = tuple(_plain(value) for value in row[: len(counts)])
                    if not groups and not any(values):
                        continue
                    rest = list(row[len(counts) :])
                    label = "" if period is None else span.label(int(rest[0]), stretch.offset_s)
                    name = "" if column is None else str(rest[-1])
                    found.append(((label, name), values))
        return found


def _period(
    span: Span, stretch: Stretch, at_s: sa.Column[float], dialect: str
) -> sa.ColumnElement[int] | None:
    if span.by == "all":
        return None
    number = (at_s + float(stretch.offset_s)) / float(span.width_s)
    if dialect == "postgresql":  # its casts round
        return sa.cast(sa.func.floor(number), sa.BigInteger)
    return sa.cast(number, sa.Integer)


def _visit_columns(chosen: Chosen) -> list[Any]:
    table = queue_visits.c
    limit: Any = chosen.default_s
    if chosen.within_s:
        limit = sa.case(dict(chosen.within_s), value=table.queue_id, else_=chosen.default_s)
    answered, abandoned = table.outcome == "answered", table.outcome == "abandoned"
    in_time = table.waited_s <= limit
    return [
        sa.func.count(),
        _count(answered),
        _count(sa.and_(answered, in_time)),
        _count(abandoned),
        _count(sa.and_(abandoned, in_time)),
        _count(table.outcome == "overflowed"),
        _count(table.outcome == "withdrawn"),
        _count(table.outcome.like("callback%")),
        _count(table.outcome == "requeued"),
        _count(table.outcome == "lost"),
        _count(table.outcome == "waiting"),
        sa.func.sum(sa.case((answered, table.waited_s), else_=0.0)),
        sa.func.sum(table.waited_s),
        sa.func.max(table.waited_s),
    ]


def _count(clause: sa.ColumnElement[bool]) -> Any:
    return sa.func.sum(sa.case((clause, 1), else_=0))


def _among(column: sa.Column[str], names: tuple[str, ...]) -> list[Any]:
    return [column.in_(names)] if names else []


def _plain(value: Any) -> Any:
    """Of sums: None where there was nothing, `Decimal` from PostgreSQL."""
    if value is None:
        return 0
    return value if isinstance(value, int | float) else float(value)
