"""Adding half-hours up, once they are two days old.

What has been added up is true of the tables it was made from at any moment: a late entry (a callback that is
done after days, a ticket that was waiting) has its half-hour added up anew in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.column_fill import (
    Packed,
    columns_to,
    fill,
    forget_columns,
    keep,
    set_columns_to,
)
from softswitch.store.counting import numbered, slot_of, visit_query
from softswitch.store.days import forget_all_days, forget_days, make_day
from softswitch.store.schema_centre import (
    agent_offers,
    agent_states,
    facts,
    handlings,
    queue_visits,
    surveys,
)
from softswitch.store.schema_rolls import (
    HANDLED_SUMS,
    OFFER_COUNTS,
    ROLLS,
    SLOT_S,
    agent_rolls,
    handling_rolls,
    state_rolls,
    visit_rolls,
)

Instant = float | sa.BindParameter[float]

LAG_S = 2 * 86_400.0
"""Younger half-hours are counted from the contacts: much of them still changes."""
AGAIN_MAX = 96
"""Half-hours that a late entry has added up anew at once."""
LONG_S = 86_400.0
"""States that last longer are found by an index of their own, whose condition this is."""
_LONG = sa.text("ended_at_s - started_at_s > 86400.0")
ROLLED_TO = "rolled-to"
"""Fact: the first half-hour that is not added up."""


async def rolled_to(connection: AsyncConnection) -> int:
    """The first half-hour that is not added up; 0 for none at all."""
    query = sa.select(facts.c.value).where(facts.c.name == ROLLED_TO)
    found = (await connection.execute(query)).scalar()
    return 0 if found is None else int(found)


Stage = Literal["sums", "columns", "days", ""]
"""What is made first, then, and last of all."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far the adding up has come: the half-hours of `stage` from `first` to before `at` are made, those to
    before `end` can be; "" where all is made."""

    stage: Stage = ""
    first: int = 0
    at: int = 0
    end: int = 0


async def roll_on(
    connection: AsyncConnection, now_s: float, zone: ZoneInfo, width: int, packed: Packed | None
) -> Step:
    """Add `width` more half-hours up or, where all are, keep what was `packed` of them or add a day of the
    office's `zone` up; in the caller's transaction."""
    end = int((now_s - LAG_S) // SLOT_S)
    first_s = await _first_s(connection)
    if first_s is None:
        return Step()
    first = int(first_s // SLOT_S)
    start = await rolled_to(connection) or first
    if start >= end:
        step = await _pack_on(connection, first, start, packed)
        if step.stage or not await make_day(connection, zone, start * float(SLOT_S)):
            return step
        return Step("days")
    stop = min(start + width, end)
    await roll(connection, start, stop)
    here = facts.c.name == ROLLED_TO
    done = await connection.execute(
        sa.update(facts).where(here).values(value=str(stop)).returning(facts.c.name)
    )
    if done.first() is None:
        row = {"name": ROLLED_TO, "value": str(stop)}
        await connection.execute(sa.insert(facts).values(row))
    return Step("sums", first, stop, end)


async def _pack_on(
    connection: AsyncConnection, first: int, end: int, packed: Packed | None
) -> Step:
    """Keep what was packed, if that is what comes next, and say what does then. Half-hours in which nothing was
    take no step (a clock that was set ten years back leaves 175,000)."""
    start = await columns_to(connection)
    if packed is not None and start <= packed.start and packed.stop <= end:
        await keep(connection, packed)
        start = packed.stop
        await set_columns_to(connection, start)
    if start >= end:
        return Step()
    next_s = await _first_s(connection, start * float(SLOT_S))
    begins = end if next_s is None else max(start, int(next_s // SLOT_S))
    return Step("columns", first, begins, end) if begins < end else Step()


async def roll_again(connection: AsyncConnection, at_s: Iterable[float], to: int) -> None:
    """Add the half-hours of some instants up anew, of those below `to`."""
    for slot in sorted({int(at // SLOT_S) for at in at_s}):
        if slot < to:
            await roll(connection, slot, slot + 1)


async def roll_from(connection: AsyncConnection, start: int, to: int) -> int:
    """Something has changed in all half-hours from `start` on, of those below `to`: add them up anew. The first
    that is not added up then: more than `AGAIN_MAX` are left to the background (a clock that was set ten years
    back would hold the journal up for minutes)."""
    if to - start <= AGAIN_MAX:
        await roll(connection, start, to)
        return to
    await forget_days(connection, start * float(SLOT_S), to * float(SLOT_S))
    here = facts.c.name == ROLLED_TO
    await connection.execute(sa.update(facts).where(here).values(value=str(start)))
    if start < await columns_to(connection):
        await set_columns_to(connection, start)
    return start


async def unroll(connection: AsyncConnection) -> None:
    """Forget all sums, to be made anew."""
    for table in ROLLS:
        await connection.execute(sa.delete(table))
    await forget_all_days(connection)
    await forget_columns(connection)
    await connection.execute(sa.delete(facts).where(facts.c.name == ROLLED_TO))


async def roll(connection: AsyncConnection, start: int, stop: int) -> None:
    """Add the half-hours from `start` to before `stop` up, anew if they were."""
    dialect = connection.dialect.name
    await forget_days(connection, start * float(SLOT_S), stop * float(SLOT_S))
    deletions, additions, states = _statements(dialect)
    for deletion in deletions:
        await connection.execute(deletion, {"start": start, "stop": stop})
    span = {"start_s": start * float(SLOT_S), "end_s": stop * float(SLOT_S)}
    for addition in additions:
        await connection.execute(addition, span)
    for slot in range(start, stop):
        span = {"start_s": slot * float(SLOT_S), "end_s": (slot + 1) * float(SLOT_S)}
        await connection.execute(states, {"number": slot, **span})
    packed = min(stop, await columns_to(connection))
    if start < packed:
        await fill(connection, start, packed)


_START_S, _END_S = (sa.bindparam(name, type_=sa.Double) for name in ("start_s", "end_s"))


@cache
def _statements(dialect: str) -> tuple[list[sa.Delete], list[sa.Insert], sa.Insert]:
    """What `roll` executes, made once: to make it took longer than to execute it."""
    start, stop = (sa.bindparam(name, type_=sa.BigInteger) for name in ("start", "stop"))
    deletions = [sa.delete(t).where(t.c.slot >= start, t.c.slot < stop) for t in ROLLS]
    additions = [
        _insert(target, query)
        for target, query in (
            (visit_rolls, _visits(dialect)),
            (handling_rolls, _handlings(dialect)),
            (agent_rolls, _agents(dialect)),
        )
    ]
    return deletions, additions, _insert(state_rolls, _states())


def _insert(target: sa.Table, query: sa.Select[Any]) -> sa.Insert:
    return sa.insert(target).from_select([column.name for column in target.columns], query)


async def _first_s(connection: AsyncConnection, since_s: float = 0.0) -> float | None:
    """When the first was that sums are made of, not before `since_s`; None for none."""
    found = []
    for column in (
        queue_visits.c.entered_at_s,
        handlings.c.at_s,
        agent_offers.c.offered_at_s,
        agent_states.c.started_at_s,
        surveys.c.at_s,
    ):
        query = sa.select(sa.func.min(column)).where(column >= since_s)
        first_s = (await connection.execute(query)).scalar()
        if first_s is not None:
            found.append(first_s)
    return min(found, default=None)


def _visits(dialect: str) -> sa.Select[Any]:
    table = queue_visits.c
    groups = [slot_of(table.entered_at_s, dialect), table.queue_id, table.media, table.region]
    return visit_query(groups, _START_S, _END_S).group_by(*numbered(groups))


def _handlings(dialect: str) -> sa.Select[Any]:
    table = handlings.c
    groups = [slot_of(table.at_s, dialect), table.queue_id, table.media]
    sums = [sa.func.sum(table[name]) for name in HANDLED_SUMS]
    return (
        sa.select(*groups, sa.func.count(), *sums)
        .where(table.at_s >= _START_S, table.at_s < _END_S, table.outcome != "failed")
        .group_by(*numbered(groups))
    )


def _agents(dialect: str) -> sa.Select[Any]:
    done, rung = handlings.c, agent_offers.c
    zero: Any = sa.literal_column("0")
    nothing: Any = sa.literal_column("0.0")
    one: Any = sa.literal_column("1")
    handled = sa.select(
        slot_of(done.at_s, dialect).label("slot"),
        done.agent_id.label("agent_id"),
        one.label("handled"),
        *(done[name].label(name) for name in HANDLED_SUMS),
        *(zero.label(name) for name in OFFER_COUNTS),
    ).where(done.at_s >= _START_S, done.at_s < _END_S, done.outcome != "failed")
    outcomes = {"accepted": "answered", "missed": "no-answer", "rejected": "rejected"}
    offered = sa.select(
        slot_of(rung.offered_at_s, dialect),
        rung.agent_id,
        zero,
        *(nothing for _ in HANDLED_SUMS),
        one,
        *(sa.case((rung.outcome == outcome, 1), else_=0) for outcome in outcomes.values()),
    ).where(rung.offered_at_s >= _START_S, rung.offered_at_s < _END_S)
    both = sa.union_all(handled, offered).subquery()
    names = ("handled", *HANDLED_SUMS, *OFFER_COUNTS)
    return sa.select(
        both.c.slot, both.c.agent_id, *(sa.func.sum(both.c[name]) for name in names)
    ).group_by(both.c.slot, both.c.agent_id)


def _states() -> sa.Select[Any]:
    table = agent_states.c
    start_s, end_s = _START_S, _END_S
    slot = sa.bindparam("number", type_=sa.BigInteger)
    until = sa.case(
        (sa.or_(table.ended_at_s.is_(None), table.ended_at_s > end_s), end_s),
        else_=table.ended_at_s,
    )
    since = sa.case((table.started_at_s < start_s, start_s), else_=table.started_at_s)
    return (
        sa.select(slot, table.agent_id, table.state, table.reason, sa.func.sum(until - since))
        # A state that ended before it began, by a clock that was set back, lasted for no time.
        .where(lasting(start_s, end_s), until > since)
        .group_by(table.agent_id, table.state, table.reason)
    )


def lasting(start_s: Instant, end_s: Instant) -> sa.ColumnElement[bool]:
    """Which states lie in a span: those that began in it or up to `LONG_S` before (nearly all), those that
    last longer, and those that still last. Each by an index, however old the span is."""
    table = agent_states.c
    found = table.seq.in_(
        sa.union_all(
            sa.select(table.seq).where(
                table.started_at_s >= start_s - LONG_S,
                table.started_at_s < end_s,
                sa.or_(table.ended_at_s.is_(None), table.ended_at_s > start_s),
            ),
            sa.select(table.seq).where(
                _LONG,
                table.ended_at_s > start_s,
            ),
            sa.select(table.seq).where(
                table.ended_at_s.is_(None), table.started_at_s < start_s - LONG_S
            ),
        )
    )
    # Not among the conditions of the long ones: SQLite would take the wrong index for them.
    return sa.and_(found, table.started_at_s < end_s)
