"""What happened in queues and to agents, in numbers; the read side of the call centre.

Every number is a count or a sum of rows that can be listed (`Visits`), and every figure made of
numbers is a `Ratio` that shows them. Contacts belong to the period in which they entered the queue,
handling to the one in which it ended (wrap-up included). Nothing is rounded and nothing is computed at
the time of the call: any formula can be chosen later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from routing.stats import AgentTimes, VisitCounts
from softswitch.store.counting import TICKET, counted, region_of, visit_columns
from softswitch.store.database import Database
from softswitch.store.days import DAY_S
from softswitch.store.grouped import (
    Counted,
    Key,
    Labels,
    Source,
    Summed,
    Sums,
    grouped,
    paged,
    period_of,
    pieces,
    runs_of,
    within,
)
from softswitch.store.periods import Span, Stretch
from softswitch.store.reading import reading
from softswitch.store.rolls import lasting
from softswitch.store.schema_centre import agent_offers, agent_states, handlings, queue_visits
from softswitch.store.schema_days import agent_days, handling_days, state_days, visit_days
from softswitch.store.schema_rolls import (
    BOUNDS_S,
    HANDLED_SUMS,
    OFFER_COUNTS,
    SLOT_S,
    VISIT_COUNTS,
    VISIT_SUMS,
    agent_rolls,
    handling_rolls,
    state_rolls,
    visit_rolls,
)
from softswitch.store.tallies import packed_handlings, packed_offers, packed_visits
from softswitch.turns import done

Per = Literal["all", "queue", "agent", "region"]
PER: tuple[Per, ...] = ("all", "queue", "agent", "region")
TALKS = ("call", "callback", "chat")
"""Media of which somebody waits for an answer: what reports count where nothing else is asked. A ticket in
hand for days is no handle time of anybody's."""
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

    @property
    def among(self) -> dict[str, tuple[str, ...]]:
        """The names that are asked for, by what they are of."""
        return {
            "queue": self.queues,
            "agent": self.agents,
            "media": self.media,
            "region": self.regions,
        }


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
            *among(table.queue_id, chosen.queues),
            *among(table.agent_id, chosen.agents),
            *among(table.media, chosen.media),
            *among(table.region, chosen.regions),
        ]
        if per == "agent":
            clauses.append(table.agent_id != "")
        raw = Counted(table.entered_at_s, columns.get(per), _visit_columns(chosen), clauses)
        found: dict[Key, VisitCounts] = {}

        def take(key: Key, row: tuple[Any, ...]) -> None:
            counts = VisitCounts(*row)
            so_far = found.setdefault(key, counts)
            if so_far is not counts:
                so_far.add(counts)

        await grouped(self._database, span, raw, _visit_sums(chosen, per), take)
        return found

    async def list_visits(
        self,
        span: Span,
        chosen: Chosen,
        *,
        outcome: str | None = None,
        waited_s: tuple[float, float | None] = (0.0, None),
        limit: int = 50,
        before: int | None = None,
    ) -> list[Any]:
        """The contacts behind a figure, newest first, as rows of `queue_visits`; `before`: the last of the page
        before, by its `seq`."""
        table = queue_visits.c
        query = (
            sa.select(queue_visits)
            .where(
                table.entered_at_s >= span.start_s,
                table.entered_at_s < span.end_s,
                *among(table.queue_id, chosen.queues),
                *among(table.agent_id, chosen.agents),
                *among(table.media, chosen.media),
                *among(table.region, chosen.regions),
            )
            # In the order of the index of time: of a year's contacts no more than a page is read.
            .order_by(table.entered_at_s.desc(), table.seq.desc())
            .limit(max(0, min(limit, _PAGE_MAX)))
        )
        if outcome is not None:
            query = query.where(table.outcome == outcome)
        if waited_s[0] > 0:
            query = query.where(table.waited_s >= waited_s[0])
        if waited_s[1] is not None:
            query = query.where(table.waited_s <= waited_s[1])
        if before is not None:
            last = queue_visits.alias("last").c
            its_s = sa.select(last.entered_at_s).where(last.seq == before).scalar_subquery()
            query = query.where(
                table.entered_at_s <= sa.func.coalesce(its_s, span.end_s),
                sa.or_(table.entered_at_s < its_s, table.seq < before),
            )
        async with reading(self._database) as connection:
            return list((await connection.execute(query)).all())

    async def handled(self, span: Span, chosen: Chosen, per: Per) -> dict[Key, AgentTimes]:
        """Talk, hold and wrap-up of handled contacts by the period they were done in."""
        table, region = handlings.c, region_of(handlings)
        columns = {"queue": table.queue_id, "agent": table.agent_id, "region": region}
        clauses = [
            table.outcome != "failed",
            *among(table.queue_id, chosen.queues),
            *among(table.agent_id, chosen.agents),
            *among(table.media, chosen.media),
            *among(region, chosen.regions),
        ]
        sums: list[Any] = [sa.func.sum(table[name]) for name in HANDLED_SUMS]
        raw = Counted(table.at_s, columns.get(per), [*sums, sa.func.count()], clauses)
        found: dict[Key, AgentTimes] = {}

        def take(key: Key, row: tuple[Any, ...]) -> None:
            if not row[3]:
                return  # the half-hours of agents who were only rung
            times = found.setdefault(key, AgentTimes())
            times.talk_s += row[0]
            times.hold_s += row[1]
            times.wrap_up_s += row[2]
            times.handled += row[3]

        told = chosen
        if per == "agent" and chosen.media == TALKS and not await self._has_tickets():
            told = replace(chosen, media=())  # half-hours of agents tell no media
        await grouped(self._database, span, raw, _handling_sums(told, per), take)
        return found

    async def _has_tickets(self) -> bool:
        """Whether tickets are in what was added up."""
        query = sa.select(handling_rolls.c.slot).where(handling_rolls.c.media == TICKET).limit(1)
        async with reading(self._database) as connection:
            return (await connection.execute(query)).first() is not None

    async def offers(self, span: Span, chosen: Chosen, per: Per) -> dict[Key, OfferCounts]:
        """Offers by the period they were made in."""
        table = agent_offers.c
        columns = {"queue": table.queue_id, "agent": table.agent_id}
        clauses = [
            *among(table.queue_id, chosen.queues),
            *among(table.agent_id, chosen.agents),
        ]
        counts: list[Any] = [
            sa.func.count(),
            counted(table.outcome == "answered"),
            counted(table.outcome == "no-answer"),
            counted(table.outcome == "rejected"),
        ]
        raw = Counted(table.offered_at_s, columns.get(per), counts, clauses)
        found: dict[Key, OfferCounts] = {}

        def take(key: Key, row: tuple[Any, ...]) -> None:
            if not row[0]:
                return  # who was handed contacts without being rung
            rung = found.setdefault(key, OfferCounts())
            rung.offered += row[0]
            rung.accepted += row[1]
            rung.missed += row[2]
            rung.rejected += row[3]

        await grouped(self._database, span, raw, _offer_sums(chosen, per), take)
        return found

    async def states(
        self, span: Span, agents: tuple[str, ...], now_s: float
    ) -> dict[Key, StateTimes]:
        """Time in each state, by period and agent; what lasts still lasts until `now_s`."""
        found: dict[Key, StateTimes] = {}
        async with reading(self._database) as connection:
            for piece, source in await pieces(connection, span, _STATES):
                for part in runs_of(span, piece, source):
                    told: Callable[[Sequence[Any]], Iterator[Any]]
                    if source == "contacts":
                        told = _Raw(span, part, now_s).each
                        rows = _raw_states(connection, part, agents)
                    else:
                        told = Labels(span, part.offset_s).each
                        rows = self._summed_states(connection, span, part, source, agents)
                    async for some in rows:
                        await done(_add_up(found, told(some)))
        return found

    def _summed_states(
        self,
        connection: AsyncConnection,
        span: Span,
        piece: Stretch,
        source: Source,
        agents: tuple[str, ...],
    ) -> AsyncIterator[Sequence[Any]]:
        summed = _STATES.days if source == "days" else _STATES.halves
        assert summed is not None
        table = summed.table.c
        at_s = summed.number * float(SLOT_S)
        period = period_of(span, piece, source, summed, at_s, self._database.dialect)
        # Where all of it is one period, that of its first day.
        first: Any = sa.literal_column(str(int((piece.start_s + piece.offset_s) // DAY_S)))
        number = first if period is None else period
        groups = [table.agent_id, table.state, table.reason]
        query = (
            sa.select(number, *groups, *summed.counts)
            .where(*within(summed.number, piece, source), *among(table.agent_id, agents))
            .group_by(*groups, *(() if period is None else (sa.literal_column("1"),)))
        )
        return paged(connection, query)


def _raw_states(
    connection: AsyncConnection, piece: Stretch, agents: tuple[str, ...]
) -> AsyncIterator[Sequence[Any]]:
    table = agent_states.c
    query = sa.select(
        table.agent_id, table.state, table.reason, table.started_at_s, table.ended_at_s
    ).where(lasting(piece.start_s, piece.end_s), *among(table.agent_id, agents))
    return paged(connection, query)


_State = tuple[str, str, str, str, float]
"""Period, agent, state, reason, seconds."""


@dataclass(frozen=True, slots=True)
class _Raw:
    """States as they are, cut at the ends of periods."""

    span: Span
    piece: Stretch
    now_s: float

    def each(self, rows: Sequence[Any]) -> Iterator[_State]:
        for agent, state, reason, started_s, ended_s in rows:
            since_s = max(started_s, self.piece.start_s)
            until_s = min(self.now_s if ended_s is None else ended_s, self.piece.end_s)
            for period, length_s in self.span.cuts(since_s, until_s):
                yield period, agent, state, reason, length_s


def _add_up(found: dict[Key, StateTimes], rows: Iterator[_State]) -> Iterator[None]:
    for period, agent, state, reason, length_s in rows:
        times = found.setdefault((period, agent), StateTimes())
        times.seconds[state] = times.seconds.get(state, 0.0) + length_s
        if state == "unavailable":
            times.reasons[reason] = times.reasons.get(reason, 0.0) + length_s
        yield


def _sums(columns: Any, *names: str) -> list[Any]:
    return [sa.func.sum(columns[name]) for name in names]


_STATES = Sums(
    Summed(state_rolls, None, _sums(state_rolls.c, "seconds"), []),
    Summed(state_days, None, _sums(state_days.c, "seconds"), []),
)


def _visit_sums(chosen: Chosen, per: Per) -> Sums:
    """What was added up of contacts and can tell what is asked."""
    named = "" if per == "all" else per
    packed = packed_visits(
        named, chosen.among, chosen.default_s, chosen.within_s, served=per == "agent"
    )
    if per == "agent" or chosen.agents or not _is_counted(chosen):
        return Sums(packed=packed)

    def of(table: sa.Table) -> Summed:
        columns = table.c
        asked = (("queue_id", chosen.queues), ("media", chosen.media), ("region", chosen.regions))
        told = {"queue": "queue_id", "region": "region"}.get(per)
        return Summed(
            table,
            None if told is None else columns[told],
            _summed_visit_columns(chosen, table),
            [clause for name, names in asked for clause in among(columns[name], names)],
        )

    return Sums(of(visit_rolls), of(visit_days), packed)


def _handling_sums(chosen: Chosen, per: Per) -> Sums:
    told = {"queue": "queue_id", "agent": "agent_id"}.get(per)
    names = {"queue_id": chosen.queues, "media": chosen.media, "agent_id": chosen.agents}
    packed = packed_handlings("" if per == "all" else per, chosen.among)

    def of(table: sa.Table, *asked: str) -> Summed:
        return Summed(
            table,
            None if told is None else table.c[told],
            _sums(table.c, *HANDLED_SUMS, "handled"),
            [clause for name in asked for clause in among(table.c[name], names[name])],
        )

    if per == "region" or chosen.regions:
        return Sums(packed=packed)
    if per == "agent" and not (chosen.queues or chosen.media):
        return Sums(of(agent_rolls, "agent_id"), of(agent_days, "agent_id"), packed)
    if per != "agent" and not chosen.agents:
        asked = ("queue_id", "media")
        return Sums(of(handling_rolls, *asked), of(handling_days, *asked), packed)
    return Sums(packed=packed)


def _offer_sums(chosen: Chosen, per: Per) -> Sums:
    among_these = {"queue": chosen.queues, "agent": chosen.agents}
    packed = packed_offers(per if per in among_these else "", among_these)
    if per == "queue" or chosen.queues:
        return Sums(packed=packed)
    halves, days = (
        Summed(
            table,
            table.c.agent_id if per == "agent" else None,
            _sums(table.c, *OFFER_COUNTS),
            among(table.c.agent_id, chosen.agents),
        )
        for table in (agent_rolls, agent_days)
    )
    return Sums(halves, days, packed)


def _is_counted(chosen: Chosen) -> bool:
    """Whether the T of all queues are counted beforehand."""
    return {chosen.default_s, *chosen.within_s.values()} <= set(BOUNDS_S)


def _visit_columns(chosen: Chosen) -> list[Any]:
    table = queue_visits.c
    limit: Any = chosen.default_s
    if chosen.within_s:
        limit = sa.case(dict(chosen.within_s), value=table.queue_id, else_=limit)
    columns = visit_columns()
    in_time = table.waited_s <= limit
    columns["answered_in_time"] = counted(sa.and_(table.outcome == "answered", in_time))
    columns["abandoned_in_time"] = counted(sa.and_(table.outcome == "abandoned", in_time))
    return [columns[part.name] for part in fields(VisitCounts)]


def _summed_visit_columns(chosen: Chosen, rolls: sa.Table) -> list[Any]:
    table = rolls.c

    def in_time(outcome: str) -> Any:
        def bound(within_s: float) -> Any:
            return table[f"{outcome}_{int(within_s)}"]

        own = {queue: bound(t) for queue, t in chosen.within_s.items()}
        general = bound(chosen.default_s)
        return sa.case(own, value=table.queue_id, else_=general) if own else general

    columns: dict[str, Any] = {
        name: sa.func.sum(table[name]) for name in (*VISIT_COUNTS, *VISIT_SUMS)
    }
    columns["wait_s_max"] = sa.func.max(table.wait_s_max)
    columns["answered_in_time"] = sa.func.sum(in_time("answered"))
    columns["abandoned_in_time"] = sa.func.sum(in_time("abandoned"))
    return [columns[part.name] for part in fields(VisitCounts)]


def among(column: sa.ColumnElement[str], names: tuple[str, ...]) -> list[Any]:
    """A condition, where there are names."""
    return [column.in_(names)] if names else []
