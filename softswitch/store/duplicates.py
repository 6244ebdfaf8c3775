"""Customers who may be one that was written down twice: the same number, name or e-mail address.

Names and addresses are compared by a key without case, accents and order of words; names of Chinese
characters as they are written. Nothing is guessed by sound. Keys are kept beside the customers, so that all
that are shared are found page by page, each with bounded work however many customers there are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import words
from softswitch.store.schema_centre import facts
from softswitch.store.schema_customers import (
    KEYS_TOLD_TO,
    customer_keys,
    customer_phones,
    customers,
)

SharedBy = Literal["number", "name", "address"]
KEY_MAX = 200
"""Characters of a key: what is alike so far is alike."""
LOOKED_AT = 20_000
"""Keys that are gone through for a page."""
GROUP_MAX, CUSTOMERS_MAX = 20, 300
"""Customers told of one key, and of a page: thousands may be called the same."""
_STEP = 500
_decode = msgspec.json.decode

Key = tuple[str, str]
"""Kind and key."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A number or key, how many customers have it, and the ids of the first of them."""

    value: str
    count: int
    customers: tuple[int, ...]


def keys_of(name: str, addresses: Iterable[str]) -> frozenset[Key]:
    """What a customer is compared by beside his numbers."""
    found = {("address", key) for address in addresses if (key := address_key(address))}
    if name and (key := name_key(name)):
        found.add(("name", key))
    return frozenset(found)


def name_key(name: str) -> str:
    """ "Müller, Jörg" and "JORG MULLER" have the same; "" for a name without a letter or digit."""
    return " ".join(sorted("".join(run) for run in words.cut(name)))[:KEY_MAX]


def address_key(address: str) -> str:
    """That of an e-mail address; "" for a postal one, of which each writes another part."""
    plain = unicodedata.normalize("NFKC", address).strip().casefold()
    box, _, host = plain.rpartition("@")
    return plain[:KEY_MAX] if box and host and " " not in plain else ""


async def put_keys(
    connection: AsyncConnection, pairs: Iterable[tuple[int, frozenset[Key]]]
) -> None:
    """Note the keys of customers; those that are there already stay."""
    rows = [
        {"kind": kind, "key": key, "customer_id": customer_id}
        for customer_id, keys in pairs
        for kind, key in sorted(keys)
    ]
    if rows:
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        await connection.execute(dialect.insert(customer_keys).on_conflict_do_nothing(), rows)


async def forget_keys(connection: AsyncConnection, customer_id: int, keys: Iterable[Key]) -> None:
    """A customer has some keys no more."""
    for kind, key in keys:
        await connection.execute(
            sa.delete(customer_keys).where(
                customer_keys.c.kind == kind,
                customer_keys.c.key == key,
                customer_keys.c.customer_id == customer_id,
            )
        )


def alike(keys: Iterable[Key]) -> sa.ColumnElement[bool]:
    """Which customers have one of some keys."""
    owners = sa.select(customer_keys.c.customer_id)
    return sa.or_(
        sa.false(),
        *(
            customers.c.id.in_(
                owners.where(customer_keys.c.kind == kind, customer_keys.c.key == key)
            )
            for kind, key in sorted(keys)
        ),
    )


async def shared(
    connection: AsyncConnection, by: SharedBy, limit: int, after: str
) -> tuple[list[Shared], str | None]:
    """Numbers or keys that several customers have, in order, after one of the page before; and after which the
    next page goes on, None for the last. A page may have fewer than `limit`, or none, and not be the last."""
    table, column = (
        (customer_phones, customer_phones.c.phone)
        if by == "number"
        else (customer_keys, customer_keys.c.key)
    )
    of_kind = [] if by == "number" else [customer_keys.c.kind == by]
    here = [column > after, *of_kind]
    edge = await _value(
        connection, sa.select(column).where(*here).order_by(column).offset(LOOKED_AT).limit(1)
    )
    within = here if edge is None else [*here, column < edge]
    last = await _value(connection, sa.select(sa.func.max(column)).where(*within))
    if edge is not None and last is None:  # more have this one than are looked at
        within, last = [*here, column == edge], edge
    counts = (
        sa.select(column, sa.func.count())
        .where(*within)
        .group_by(column)
        .having(sa.func.count() > 1)
        .order_by(column)
        .limit(limit + 1)
    )
    found: list[Shared] = []
    told = 0
    groups = [(str(value), int(count)) for value, count in (await connection.execute(counts)).all()]
    for value, count in groups:
        if len(found) == limit or told >= CUSTOMERS_MAX:
            return found, found[-1].value
        owners = (
            sa.select(table.c.customer_id)
            .where(column == value, *of_kind)
            .order_by(table.c.customer_id)
            .limit(GROUP_MAX)
        )
        ids = tuple(int(row[0]) for row in (await connection.execute(owners)).all())
        told += len(ids)
        found.append(Shared(value, count, ids))
    return found, None if edge is None else last


async def _value(connection: AsyncConnection, query: sa.Select[Any]) -> str | None:
    found = (await connection.execute(query)).scalar()
    return None if found is None else str(found)


async def note_keys(connection: AsyncConnection) -> bool:
    """Note the keys of some more customers that a version without them has left, in the caller's transaction;
    whether there may be more."""
    here = facts.c.name == KEYS_TOLD_TO
    told_to = (await connection.execute(sa.select(facts.c.value).where(here))).scalar()
    if told_to is None:
        return False
    query = (
        sa.select(customers.c.id, customers.c.name, customers.c.addresses)
        .where(customers.c.id > int(told_to), customers.c.merged_into.is_(None))
        .order_by(customers.c.id)
        .limit(_STEP)
    )
    rows = (await connection.execute(query)).all()
    await put_keys(connection, _keys(rows))
    if len(rows) < _STEP:
        await connection.execute(sa.delete(facts).where(here))
        return False
    await connection.execute(sa.update(facts).where(here).values(value=str(rows[-1].id)))
    return True


def _keys(rows: Sequence[Any]) -> Iterator[tuple[int, frozenset[Key]]]:
    for row in rows:
        yield row.id, keys_of(row.name, _decode(row.addresses))
