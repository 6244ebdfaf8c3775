"""Adding days up, of the office's own time zone, once all of their half-hours are.

A day is a row of `rolled_days` as long as its sums are true: who changes something that it was made of
deletes the row (`forget_days`), and it is made anew in the background. Meanwhile reports read the half-hours.
A day on which clocks are changed is never added up: no stretch of constant offset holds it.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.counting import counted, slot_of, visit_query
from softswitch.store.periods import offset_at
from softswitch.store.schema_centre import handlings, queue_visits, surveys
from softswitch.store.schema_days import (
    DAYS,
    OF_HALVES,
    agent_handling_days,
    agent_visit_days,
    outcome_days,
    outcome_halves,
    region_handling_days,
    region_outcome_days,
    repeat_visits,
    rolled_days,
)
from softswitch.store.schema_rolls import HANDLED_SUMS, SLOT_S, visit_rolls

DAY_S = 86_400
AGAIN_S = 7 * 86_400.0
"""Who calls again within it was not helped the first time, unless a report asks for another time."""
TICKET = "ticket"
"""The medium of what lies in queues without anybody waiting for an answer."""
CONTACTS, REGIONS = "contacts", "regions"
REPEATS = "repeats"
OUTCOMES, OUTCOME_HALVES, REGION_OUTCOMES = "outcomes", "outcome-halves", "region-outcomes"
"""Kinds of days: what they hold, and from when on it is known. Each is made in a step of its own, in this
order: outcomes are counted from the repeats."""
LATER_S = {
    CONTACTS: 0.0,
    REGIONS: 0.0,
    REPEATS: AGAIN_S,
    OUTCOMES: AGAIN_S,
    OUTCOME_HALVES: AGAIN_S,
    REGION_OUTCOMES: AGAIN_S,
}


SO_FAR = "repeats-so-far"
"""The one day of which a part is noted: until when, says the row's end."""
CALLERS_A_STEP = 2_500
"""Who came again is noted of so many contacts in a step: each caller is a look somewhere else in the index
of a year, and the journal waits meanwhile."""


async def made_days(connection: AsyncConnection, kind: str, zone: ZoneInfo) -> frozenset[int]:
    """The days whose sums are true."""
    query = sa.select(rolled_days.c.day).where(
        rolled_days.c.kind == kind, rolled_days.c.zone == zone.key
    )
    return frozenset((await connection.execute(query)).scalars())


async def forget_days(connection: AsyncConnection, start_s: float, end_s: float) -> None:
    """Something in this time has changed."""
    await connection.execute(
        sa.delete(rolled_days).where(rolled_days.c.end_s > start_s, rolled_days.c.start_s < end_s)
    )


async def forget_all_days(connection: AsyncConnection) -> None:
    """Empty all tables of days."""
    for table in DAYS:
        await connection.execute(sa.delete(table))


async def make_day(connection: AsyncConnection, zone: ZoneInfo, end_s: float) -> bool:
    """Add the oldest day up that is not, in the caller's transaction; whether there may be more to do.

    Parameters: `zone`, the office's; `end_s`, until when half-hours are added up.
    """
    first = (await connection.execute(sa.select(sa.func.min(visit_rolls.c.slot)))).scalar()
    if first is None:
        return False
    other = sa.select(rolled_days.c.day).where(rolled_days.c.zone != zone.key).limit(1)
    if (await connection.execute(other)).first() is not None:
        await forget_all_days(connection)  # the office has moved
    for kind, later_s in LATER_S.items():
        known_s = end_s - later_s
        made = await made_days(connection, kind, zone)
        day = first_missing(zone, float(first) * SLOT_S, known_s, made)
        if day is not None:
            await _make(connection, kind, zone, *day)
            return True
    return False


def first_missing(
    zone: ZoneInfo, start_s: float, end_s: float, made: frozenset[int]
) -> tuple[int, float] | None:
    """The first whole day before `end_s` that is not made, and when it begins."""
    day = int((start_s + offset_at(start_s, zone)) // DAY_S)
    while True:
        noon_s = (day + 0.5) * DAY_S
        offset_s = offset_at(noon_s - offset_at(noon_s, zone), zone)
        begins_s = day * float(DAY_S) - offset_s
        if begins_s + DAY_S > end_s:
            return None
        ends_s = (begins_s, begins_s + DAY_S - 1)
        is_even = all(offset_at(at_s, zone) == offset_s for at_s in ends_s)
        if day not in made and is_even and offset_s % SLOT_S == 0:
            return day, begins_s
        day += 1


async def _make(
    connection: AsyncConnection, kind: str, zone: ZoneInfo, day: int, start_s: float
) -> None:
    end_s = start_s + DAY_S
    if kind == REPEATS and not await _note_repeats(connection, zone, day, start_s):
        return
    number: Any = sa.literal(day, sa.BigInteger)
    low = int(start_s // SLOT_S)
    high = low + DAY_S // SLOT_S
    queries: list[tuple[sa.Table, sa.Select[Any]]] = []
    if kind == CONTACTS:
        queries = [(days, _of_halves(halves, number, low, high)) for halves, days in OF_HALVES]
        visits = queue_visits.c
        groups = [visits.agent_id, visits.queue_id, visits.media]
        query = visit_query([number, *groups], start_s, end_s).where(visits.agent_id != "")
        queries.append((agent_visit_days, query.group_by(*groups)))
        query = _handlings(number, start_s, end_s, "agent_id", "queue_id", "media")
        queries.append((agent_handling_days, query))
    elif kind == REGIONS:
        await _note_regions(connection, start_s, end_s)
        query = _handlings(number, start_s, end_s, "queue_id", "media", "region")
        queries.append((region_handling_days, query))
    elif kind == OUTCOMES:
        query = _outcomes(connection.dialect.name, number, start_s, end_s, "agent_id", "queue_id")
        queries.append((outcome_days, query))
    elif kind == OUTCOME_HALVES:
        dialect = connection.dialect.name
        slot = slot_of(queue_visits.c.entered_at_s, dialect)
        query = _outcomes(dialect, slot, start_s, end_s, "queue_id", "region", numbered_too=True)
        queries.append((outcome_halves, query))
    elif kind == REGION_OUTCOMES:
        queries.append((region_outcome_days, _of_halves(outcome_halves, number, low, high)))
    for target, query in queries:
        await connection.execute(sa.delete(target).where(*_here(target, day, low, high)))
        names = [column.name for column in target.columns]
        await connection.execute(sa.insert(target).from_select(names, query))
    row = {"kind": kind, "zone": zone.key, "day": day, "start_s": start_s}
    await connection.execute(sa.insert(rolled_days).values({**row, "end_s": end_s + LATER_S[kind]}))


async def _note_repeats(
    connection: AsyncConnection, zone: ZoneInfo, day: int, start_s: float
) -> bool:
    """Note of some more of a day's half-hours when the callers came again; whether that is all of the day."""
    table, visits = repeat_visits.c, queue_visits.c
    here = sa.and_(
        rolled_days.c.kind == SO_FAR, rolled_days.c.zone == zone.key, rolled_days.c.day == day
    )
    so_far = (await connection.execute(sa.select(rolled_days.c.end_s).where(here))).scalar()
    begins_s = start_s if so_far is None else so_far - AGAIN_S
    ends_s = await _until_enough(connection, begins_s, start_s + DAY_S)
    slots = (int(begins_s // SLOT_S), int(ends_s // SLOT_S))
    await connection.execute(
        sa.delete(repeat_visits).where(table.slot >= slots[0], table.slot < slots[1])
    )
    slot = slot_of(visits.entered_at_s, connection.dialect.name)
    # In the order of the index, of which the first is enough: some call a thousand times a week.
    again_at_s = (
        sa.select(_later.entered_at_s)
        .where(*_again(AGAIN_S))
        .order_by(_later.entered_at_s)
        .limit(1)
    )
    looked = (
        sa.select(slot.label("slot"), visits.seq, again_at_s.scalar_subquery().label("again_at_s"))
        .where(visits.entered_at_s >= begins_s, visits.entered_at_s < ends_s, *was_first_contact())
        .subquery()
    )
    found = sa.select(looked).where(looked.c.again_at_s.is_not(None))
    await connection.execute(sa.insert(repeat_visits).from_select(list(looked.c.keys()), found))
    await connection.execute(sa.delete(rolled_days).where(here))
    if ends_s >= start_s + DAY_S:
        return True
    row = {"kind": SO_FAR, "zone": zone.key, "day": day, "start_s": start_s}
    await connection.execute(sa.insert(rolled_days).values({**row, "end_s": ends_s + AGAIN_S}))
    return False


async def _until_enough(connection: AsyncConnection, begins_s: float, end_s: float) -> float:
    """The end of as many half-hours as have `CALLERS_A_STEP` contacts, at least one."""
    at_s = queue_visits.c.entered_at_s
    query = (
        sa.select(at_s)
        .where(at_s >= begins_s, at_s < end_s)
        .order_by(at_s)
        .offset(CALLERS_A_STEP)
        .limit(1)
    )
    beyond_s = (await connection.execute(query)).scalar()
    if beyond_s is None:
        return end_s
    return max(float(beyond_s // SLOT_S * SLOT_S), begins_s + SLOT_S)


async def _note_regions(connection: AsyncConnection, start_s: float, end_s: float) -> None:
    """In rows of versions that did not, and of surveys: a report of a year cannot look each up."""
    for table in (handlings, surveys):
        at_s = table.c.at_s
        await connection.execute(
            sa.update(table)
            .values(region=region_of(table))
            .where(at_s >= start_s, at_s < end_s, table.c.region.is_(None))
        )


def _here(target: sa.Table, day: int, low: int, high: int) -> list[Any]:
    """What a table has of a day."""
    if "slot" in target.c:
        return [target.c.slot >= low, target.c.slot < high]
    return [target.c.day == day]


def _of_halves(halves: sa.Table, number: Any, low: int, high: int) -> sa.Select[Any]:
    keys = [column for column in halves.primary_key.columns if column.name != "slot"]
    sums: list[Any] = [
        (sa.func.max if column.name.endswith("_max") else sa.func.sum)(column)
        for column in halves.columns
        if not column.primary_key
    ]
    return (
        sa.select(number, *keys, *sums)
        .where(halves.c.slot >= low, halves.c.slot < high)
        .group_by(*keys)
    )


def _handlings(number: Any, start_s: float, end_s: float, *asked: str) -> sa.Select[Any]:
    table = handlings.c
    groups: list[Any] = [
        region_of(handlings) if name == "region" else table[name] for name in asked
    ]
    places: list[Any] = [sa.literal_column(str(place)) for place in range(2, len(asked) + 2)]
    sums: list[Any] = [sa.func.sum(table[name]) for name in HANDLED_SUMS]
    return (
        sa.select(number, *groups, sa.func.count(), counted(was_passed_on()), *sums)
        .where(table.at_s >= start_s, table.at_s < end_s, table.outcome != "failed")
        .group_by(*places)
    )


def _outcomes(
    dialect: str,
    number: Any,
    start_s: float,
    end_s: float,
    *asked: str,
    numbered_too: bool = False,
) -> sa.Select[Any]:
    """`numbered_too`: `number` differs from contact to contact."""
    table = queue_visits.c
    groups: list[Any] = [table[name] for name in asked]
    by_number: list[Any] = [sa.literal_column("1")] if numbered_too else []
    return (
        sa.select(number, *groups, sa.func.count(), counted(sa.not_(is_repeat(dialect))))
        .where(table.entered_at_s >= start_s, table.entered_at_s < end_s, *was_first_contact())
        .group_by(*by_number, *groups)
    )


def region_of(table: sa.Table) -> sa.ColumnElement[str]:
    """The caller's region of a row of `handlings` or `surveys`: as it is noted there, else that of the same
    contact in the queues, "" where it is not known."""
    visits = queue_visits.alias("entered").c
    same = [visits.call_id == table.c.call_id]
    if "contact_id" in table.c:
        same.append(visits.contact_id == table.c.contact_id)
    found = sa.select(sa.func.max(visits.region)).where(*same).correlate(table)
    return sa.func.coalesce(table.c.region, found.scalar_subquery(), "")


def was_passed_on() -> sa.ColumnElement[bool]:
    """Which handlings ended by giving the contact to somebody else."""
    return handlings.c.outcome.in_(("transferred", "requeued"))


def was_first_contact() -> list[sa.ColumnElement[bool]]:
    """Which visits may have solved something: answered, of a caller who can be known again, and no ticket."""
    table = queue_visits.c
    return [table.outcome == "answered", table.caller != "", table.media != TICKET]


_later = queue_visits.alias("later").c


def came_again(again_s: float) -> sa.ColumnElement[bool]:
    """Of a row of `queue_visits`: whether its caller came again in time."""
    return sa.exists(sa.select(_later.seq).where(*_again(again_s)))


def _again(again_s: float) -> list[sa.ColumnElement[bool]]:
    """What a contact came after that is the same caller's, in time."""
    table = queue_visits.c
    return [
        _later.caller == table.caller,
        _later.entered_at_s > table.entered_at_s,
        _later.entered_at_s <= table.entered_at_s + again_s,
        # Passed on from queue to queue is one contact, and what was written down about him is none.
        _later.call_id != table.call_id,
        _later.media != TICKET,
    ]


def is_repeat(dialect: str, again_s: float = AGAIN_S) -> sa.ColumnElement[bool]:
    """As `came_again`, of a row of a day of which that is noted and for at most `AGAIN_S`."""
    table, noted = queue_visits.c, repeat_visits.c
    return sa.exists(
        sa.select(noted.seq).where(
            noted.slot == slot_of(table.entered_at_s, dialect),
            noted.seq == table.seq,
            noted.again_at_s <= table.entered_at_s + again_s,
        )
    )
