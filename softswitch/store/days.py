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

from softswitch.store.periods import offset_at
from softswitch.store.schema_days import DAYS, OF_HALVES, rolled_days
from softswitch.store.schema_rolls import SLOT_S, visit_rolls

DAY_S = 86_400
CONTACTS = "contacts"
"""The kind of days that there are; there were others."""


async def made_days(connection: AsyncConnection, zone: ZoneInfo) -> frozenset[int]:
    """The days whose sums are true."""
    query = sa.select(rolled_days.c.day).where(
        rolled_days.c.kind == CONTACTS, rolled_days.c.zone == zone.key
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
    made = await made_days(connection, zone)
    day = first_missing(zone, float(first) * SLOT_S, end_s, made)
    if day is not None:
        await _make(connection, zone, *day)
    return day is not None


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


async def _make(connection: AsyncConnection, zone: ZoneInfo, day: int, start_s: float) -> None:
    number: Any = sa.literal(day, sa.BigInteger)
    low = int(start_s // SLOT_S)
    high = low + DAY_S // SLOT_S
    for halves, days in OF_HALVES:
        await connection.execute(sa.delete(days).where(days.c.day == day))
        names = [column.name for column in days.columns]
        query = _of_halves(halves, number, low, high)
        await connection.execute(sa.insert(days).from_select(names, query))
    row = {"kind": CONTACTS, "zone": zone.key, "day": day, "start_s": start_s}
    await connection.execute(sa.insert(rolled_days).values({**row, "end_s": start_s + DAY_S}))


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
