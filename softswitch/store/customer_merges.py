"""What comes over when two customers turn out to be one, and what goes back when they do not: pure, and
the rows that keep it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.calls import CallFilter
from softswitch.store.customer_rows import CustomerRecord, Profile
from softswitch.store.ledger import Conflict
from softswitch.store.schema import calls
from softswitch.store.schema_customers import customer_merges, customers
from softswitch.store.schema_tickets import ticket_links, tickets

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


async def hand_over(
    connection: AsyncConnection,
    table: sa.Table,
    one: int,
    other: int,
    which: sa.ColumnElement[bool] | None = None,
) -> list[int]:
    """Rows of one customer, all or some, are another's from now on; their ids."""
    query = sa.update(table).where(table.c.customer_id == one)
    if which is not None:
        query = query.where(which)
    query = query.values(customer_id=other)
    return sorted((await connection.execute(query.returning(table.c.id))).scalars())


async def lead(
    connection: AsyncConnection, which: sa.ColumnElement[bool], to: int | None
) -> list[int]:
    """Some customers turned out to be one, or nobody else; their ids."""
    query = sa.update(customers).where(which)
    query = query.values(merged_into=to, version=customers.c.version + 1)
    return sorted((await connection.execute(query.returning(customers.c.id))).scalars())


async def to_be_undone(
    connection: AsyncConnection, kept: CustomerRecord, gone: CustomerRecord
) -> Merge:
    """How `gone` came to be `kept`. Raises `Conflict` where he did not, where it is not known, and where he
    came by way of another."""
    if gone.merged_into != kept.id:
        raise Conflict(f"customer {gone.id} was not merged into {kept.id}")
    merge = await merge_of(connection, gone.id)
    if merge is None:
        raise Conflict(
            f"customer {gone.id} was merged by an older version, which did not keep what came over: "
            "make a new customer, and take from this one what is not his"
        )
    if merge.customer_id != kept.id:
        raise Conflict(
            f"customer {gone.id} was merged into {merge.customer_id}, and he into {kept.id}: undo that first"
        )
    return merge


def by_calls(numbers: Sequence[str], since_s: float) -> sa.ColumnElement[bool]:
    """Tickets since a time that are linked to calls from or to one of these numbers."""
    if not numbers:
        return sa.false()
    of_calls = sa.select(sa.literal("call:") + calls.c.call_id).where(
        *CallFilter(number=tuple(numbers)).clauses(), calls.c.started_at_s >= since_s
    )
    linked = sa.select(ticket_links.c.ticket_id).where(ticket_links.c.thing.in_(of_calls))
    return sa.and_(tickets.c.created_at_s >= since_s, tickets.c.id.in_(linked))


def left_behind(mine: Profile, his: Profile) -> str:
    """What one said of himself and another says otherwise."""
    said = {"name": (mine.name, his.name), "region": (mine.region, his.region)}
    said |= {name: (mine.fields.get(name, value), value) for name, value in his.fields.items()}
    return "; ".join(f"{what} {his}" for what, (kept, his) in said.items() if his not in ("", kept))


def together(what: str, first: list[str], second: list[str], most: int) -> list[str]:
    """Two lists as one. Raises `Conflict` where it has more than one may have."""
    both = list(dict.fromkeys([*first, *second]))
    if len(both) > most:
        raise Conflict(f"together they have {len(both)} {what}, and one may have {most}")
    return both


def _merge(row: Any) -> Merge:
    brought = msgspec.json.decode(row.brought, type=Brought)
    return Merge(
        row.id, row.customer_id, row.other_id, row.at_s, row.author, row.undone_at_s, brought
    )
