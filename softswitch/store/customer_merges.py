"""What comes over when two customers turn out to be one, and what goes back when they do not: pure, and
the rows that keep it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.schema_customers import customer_merges

if TYPE_CHECKING:
    from softswitch.store.customers import Profile

_LISTS = ("phones", "addresses", "tags")


class Brought(msgspec.Struct, omit_defaults=True):
    """What one had of somebody else only because they were merged. `priority` is what the other one had,
    `priority_before` what one had oneself; `said` is the note of what the other one said otherwise; `notes`,
    `tickets` and `customers` (who had been merged into him) are ids."""

    name: str = ""
    region: str = ""
    phones: list[str] = []
    addresses: list[str] = []
    tags: list[str] = []
    fields: dict[str, str] = {}
    priority: int = 0
    priority_before: int = 0
    notes: list[int] = []
    tickets: list[int] = []
    customers: list[int] = []
    said: int | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """`other_id` turned out to be `customer_id`, until `undone_at_s`."""

    id: int
    customer_id: int
    other_id: int
    at_s: float
    author: str
    undone_at_s: float | None
    brought: Brought


def brought_by(mine: Profile, his: Profile, earlier: Sequence[Brought]) -> Brought:
    """What `his` brings to `mine`, who has something of `earlier` ones already: that is no more his own than
    what comes now, so that they can be undone in any order."""
    found = Brought(
        name="" if mine.name else his.name,
        region="" if mine.region else his.region,
        fields={name: value for name, value in his.fields.items() if name not in mine.fields},
        priority=his.priority,
        priority_before=min([mine.priority, *(one.priority_before for one in earlier)]),
    )
    for name in _LISTS:
        own = set(getattr(mine, name)) - _all(name, earlier)
        setattr(found, name, [value for value in getattr(his, name) if value not in own])
    return found


def without(now: Profile, gone: Brought, others: Sequence[Brought]) -> dict[str, Any]:
    """The parts of a profile once that of `gone` is taken away; `others` are merged still. What was written
    since stays."""
    values: dict[str, Any] = {
        name: "" if getattr(gone, name) == getattr(now, name) else getattr(now, name)
        for name in ("name", "region")
    }
    for name in _LISTS:
        gone_only = set(getattr(gone, name)) - _all(name, others)
        values[name] = [value for value in getattr(now, name) if value not in gone_only]
    values["fields"] = {n: v for n, v in now.fields.items() if gone.fields.get(n) != v}
    left = max([gone.priority_before, *(one.priority for one in others)])
    values["priority"] = left if now.priority == max(left, gone.priority) else now.priority
    return values


def _all(name: str, brought: Iterable[Brought]) -> set[str]:
    return {value for one in brought for value in getattr(one, name)}


async def note_merge(
    connection: AsyncConnection,
    customer_id: int,
    other_id: int,
    at_s: float,
    author: str,
    it: Brought,
) -> None:
    """Keep what came over."""
    row = {"customer_id": customer_id, "other_id": other_id, "at_s": at_s, "author": author}
    row["brought"] = msgspec.json.encode(it).decode()
    await connection.execute(sa.insert(customer_merges).values(row))


async def merges_of(
    connection: AsyncConnection, customer_id: int, *, undone: bool | None = None
) -> list[Merge]:
    """Who turned out to be a customer, oldest first; those that were undone, the others, or both."""
    query = sa.select(customer_merges).where(customer_merges.c.customer_id == customer_id)
    if undone is not None:
        at_s = customer_merges.c.undone_at_s
        query = query.where(at_s.is_not(None) if undone else at_s.is_(None))
    rows = (await connection.execute(query.order_by(customer_merges.c.id))).all()
    return [_merge(row) for row in rows]


async def merge_of(connection: AsyncConnection, other_id: int) -> Merge | None:
    """Whom somebody turned out to be first, if that was kept and is not undone."""
    query = sa.select(customer_merges).where(
        customer_merges.c.other_id == other_id, customer_merges.c.undone_at_s.is_(None)
    )
    row = (await connection.execute(query.order_by(customer_merges.c.id.desc()))).first()
    return None if row is None else _merge(row)


async def note_undone(connection: AsyncConnection, merge_id: int, at_s: float) -> None:
    """It was a mistake."""
    here = customer_merges.c.id == merge_id
    await connection.execute(sa.update(customer_merges).where(here).values(undone_at_s=at_s))


async def forget_merges(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """Customers are deleted."""
    table = customer_merges.c
    gone = sa.or_(table.customer_id.in_(ids), table.other_id.in_(ids))
    await connection.execute(sa.delete(customer_merges).where(gone))


def _merge(row: Any) -> Merge:
    brought = msgspec.json.decode(row.brought, type=Brought)
    return Merge(
        row.id, row.customer_id, row.other_id, row.at_s, row.author, row.undone_at_s, brought
    )
