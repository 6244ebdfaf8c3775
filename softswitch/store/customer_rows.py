"""A customer as rows: his profile, read and written, and what he is found by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import words
from softswitch.store.duplicates import Key, keys_of, put_keys
from softswitch.store.ledger import Change, Conflict, Stale, row_of
from softswitch.store.schema_customers import customer_phones, customers

_AT_ONCE = 1_000
_encode = msgspec.json.encode
_decode = msgspec.json.decode


@dataclass(slots=True)
class Profile:
    """What people say of a customer. `phones` in E.164, the first is the one to call; `addresses` are
    e-mail and postal ones; `fields` are the office's own."""

    name: str = ""
    phones: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    region: str = ""
    priority: int = 0
    tags: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class CustomerRecord:
    """A customer as he is kept. `merged_into`: he turned out to be another one."""

    id: int
    profile: Profile
    merged_into: int | None
    created_at_s: float
    changed_at_s: float
    version: int


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wrote about a customer."""

    id: int
    customer_id: int
    at_s: float
    author: str
    text: str


async def current_customer(
    change: Change, customer_id: int, version: int | None, *, merged: bool = False
) -> CustomerRecord:
    """A customer who is to be changed. Raises `Missing`, `Stale` where he is of another version, and `Conflict`
    for one who was merged, unless `merged` takes those too."""
    found = await one_customer(change.connection, customer_id)
    if version is not None and found.version != version:
        raise Stale(f"customer {customer_id} was changed meanwhile")
    if found.merged_into is not None and not merged:
        raise Conflict(f"customer {customer_id} was merged into {found.merged_into}")
    return found


async def one_customer(connection: AsyncConnection, customer_id: int) -> CustomerRecord:
    """A customer. Raises `Missing`."""
    return record_of(await row_of(connection, customers, customer_id, "customer"))


def record_of(row: Any) -> CustomerRecord:
    """What a row of `customers` tells."""
    return known_of(row._mapping)


def known_of(row: Mapping[str, Any]) -> CustomerRecord:
    """The same of a row by names, which may tell more."""
    profile = Profile(
        name=row["name"],
        phones=_decode(row["phones"]),
        addresses=_decode(row["addresses"]),
        region=row["region"],
        priority=row["priority"],
        tags=_decode(row["tags"]),
        fields=_decode(row["fields"]),
    )
    return CustomerRecord(
        id=row["id"],
        profile=profile,
        merged_into=row["merged_into"],
        created_at_s=row["created_at_s"],
        changed_at_s=row["changed_at_s"],
        version=row["version"],
    )


def note_of(row: Any) -> Note:
    """What a row of `customer_notes` tells."""
    return Note(row.id, row.customer_id, row.at_s, row.author, row.text)


def columns_of(profile: Profile) -> dict[str, Any]:
    """The columns that keep a profile."""
    return {
        "name": profile.name,
        "phones": _encode(list(dict.fromkeys(profile.phones))).decode(),
        "region": profile.region,
        "priority": profile.priority,
        "tags": _encode(profile.tags).decode(),
        "addresses": _encode(profile.addresses).decode(),
        "fields": _encode(profile.fields).decode(),
    }


async def put_phones(connection: AsyncConnection, pairs: Iterable[tuple[int, Profile]]) -> None:
    """Customers, by id, are found by their numbers."""
    rows = [
        {"phone": phone, "customer_id": customer_id}
        for customer_id, profile in pairs
        for phone in dict.fromkeys(profile.phones)
    ]
    if rows:
        await connection.execute(sa.insert(customer_phones), rows)


def profile_keys(profile: Profile) -> frozenset[Key]:
    """By what a customer is like others."""
    return keys_of(profile.name, profile.addresses)


def profile_words(profile: Profile) -> str:
    """By what a customer is found in a search."""
    # A number is found by its end as well: people read out the last digits.
    ends = [phone[-4:] for phone in profile.phones]
    return words.words_of(
        [
            profile.name,
            *profile.phones,
            *ends,
            *profile.addresses,
            *profile.tags,
            *profile.fields.values(),
        ]
    )


async def reindex_customers(connection: AsyncConnection) -> None:
    """Make the words and keys of all customers anew, in the caller's transaction."""
    after = 0
    while True:
        query = (
            sa.select(customers)
            .where(customers.c.id > after)
            .order_by(customers.c.id)
            .limit(_AT_ONCE)
        )
        found = [record_of(row) for row in (await connection.execute(query)).all()]
        if not found:
            return
        await words.index(
            connection,
            words.CUSTOMERS,
            [(record.id, profile_words(record.profile)) for record in found],
        )
        await put_keys(connection, [(record.id, profile_keys(record.profile)) for record in found])
        after = found[-1].id
