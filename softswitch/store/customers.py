"""Customers: who calls, by which numbers, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from softswitch.store import words
from softswitch.store.customer_merges import (
    Merge,
    brought_by,
    by_calls,
    forget_merges,
    hand_over,
    lead,
    left_behind,
    merges_of,
    note_merge,
    note_undone,
    to_be_undone,
    together,
    without,
)
from softswitch.store.customer_rows import (
    CustomerRecord,
    Note,
    Profile,
    columns_of,
    current_customer,
    known_of,
    note_of,
    one_customer,
    profile_keys,
    profile_words,
    put_phones,
    record_of,
)
from softswitch.store.database import Database
from softswitch.store.duplicates import (
    SharedBy,
    alike,
    forget_keys,
    note_keys,
    put_keys,
    shared,
)
from softswitch.store.ledger import Change, Conflict, Ledger, Missing, difference
from softswitch.store.reading import fetched, holds, reading
from softswitch.store.schema_customers import customer_notes, customer_phones, customers
from softswitch.store.schema_tickets import OPEN_TICKET, tickets
from softswitch.store.spellings import spelt

LIST_MAX = 1_000
PHONES_MAX = 32
TAGS_MAX = 64
_encode = msgspec.json.encode
_decode = msgspec.json.decode
_BY_PHONE = (
    sa.select(customers)
    .join(customer_phones, customer_phones.c.customer_id == customers.c.id)
    .where(customer_phones.c.phone == sa.bindparam("phone"), customers.c.merged_into.is_(None))
    .order_by(customers.c.priority.desc(), customers.c.id)
    .limit(LIST_MAX)
)


# In the words of the index `tickets_open`: with parameters no database would see that it may be used.
_IS_OPEN = sa.text(OPEN_TICKET)
_FIRST = _BY_PHONE.limit(1).subquery()
_CALLER = sa.select(
    _FIRST,
    sa.select(sa.func.count())
    .select_from(tickets)
    .where(tickets.c.customer_id == _FIRST.c.id, _IS_OPEN)
    .correlate(_FIRST)
    .scalar_subquery()
    .label("tickets_open"),
)
_OPEN_TICKETS = (
    sa.select(tickets.c.id)
    .where(tickets.c.customer_id == sa.bindparam("customer"), _IS_OPEN)
    .order_by(tickets.c.id.desc())
    .limit(sa.bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class CallerRecord:
    """A customer who calls: `tickets_open` counts what is to be done for him, `tickets` are the newest."""

    customer: CustomerRecord
    tickets_open: int
    tickets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sharing:
    """A number, or the key of a name or address, how many have it, and the first of them."""

    value: str
    count: int
    customers: list[CustomerRecord]


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """Which customers are asked for; "" means any. `text` is searched in all that is known of them, and of
    those who turned out to be them; `or_phone` is the number (E.164) that it is, if it is one."""

    text: str = ""
    phone: str = ""
    region: str = ""
    tag: str = ""
    or_phone: str = ""


class Customers:
    """The customers of one office. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._keyed = False  # whether it is known that all have their keys
        self._some: bool | None = None  # whether there are any; None: not looked yet

    # -- reading --------------------------------------------------------------------------------

    async def get(self, customer_id: int) -> CustomerRecord:
        """One customer. Raises `Missing`."""
        async with reading(self._database) as connection:
            return await one_customer(connection, customer_id)

    async def find_by_phone(self, phone: str) -> list[CustomerRecord]:
        """Whose number (E.164) this is, the most important first."""
        return [known_of(row) for row in await fetched(self._database, _BY_PHONE, {"phone": phone})]

    async def caller(self, phone: str, tickets_told: int) -> CallerRecord | None:
        """The most important customer with a number (E.164), and the newest `tickets_told` of his open
        tickets. An office without customers is not asked again."""
        if self._some is None:
            self._some = bool(await fetched(self._database, sa.select(customers.c.id).limit(1), {}))
        if not self._some:
            return None
        rows = await fetched(self._database, _CALLER, {"phone": phone})
        if not rows:
            return None
        count = int(rows[0].pop("tickets_open"))
        customer = known_of(rows[0])
        newest: list[dict[str, Any]] = []
        if count:
            values = {"customer": customer.id, "most": tickets_told}
            newest = await fetched(self._database, _OPEN_TICKETS, values)
        return CallerRecord(customer, count, tuple(int(row["id"]) for row in newest))

    @property
    def has_none(self) -> bool:
        """Whether it is known that there are none."""
        return self._some is False

    async def page(
        self, which: CustomerFilter, limit: int = 50, after: int = 0
    ) -> list[CustomerRecord]:
        """Customers by id, after that of the page before."""
        query = sa.select(customers).where(customers.c.merged_into.is_(None))
        if which.text:
            matching = words.matching(words.CUSTOMERS, which.text, self._database.dialect)
            found: Any = sa.false()
            if matching is not None:
                found = customers.c.id.in_(_led_to(matching))
            if which.or_phone:
                found = sa.or_(found, customers.c.id.in_(_owners(which.or_phone)))
            query = query.where(found)
        if which.phone:
            query = query.where(customers.c.id.in_(_owners(which.phone)))
        if which.region:
            query = query.where(customers.c.region == which.region)
        if which.tag:
            query = query.where(holds(customers.c.tags, which.tag))
        query = query.where(customers.c.id > after).order_by(customers.c.id)
        async with reading(self._database) as connection:
            query = query.limit(max(0, min(limit, LIST_MAX)))
            return [record_of(row) for row in (await connection.execute(query)).all()]

    async def field_names(self) -> list[str]:
        """The names of the office's own fields that some customer has, in order."""
        found: set[str] = set()
        after = 0
        while True:
            query = (
                sa.select(customers.c.id, customers.c.fields)
                .where(customers.c.id > after, customers.c.fields != "{}")
                .where(customers.c.merged_into.is_(None))
                .order_by(customers.c.id)
                .limit(LIST_MAX)
            )
            async with reading(self._database) as connection:
                rows = (await connection.execute(query)).all()
            for row in rows:
                found.update(_decode(row.fields))
            if len(rows) < LIST_MAX:
                return sorted(found)
            after = rows[-1].id

    async def count(self) -> int:
        """How many there are."""
        query = sa.select(sa.func.count()).select_from(customers)
        async with reading(self._database) as connection:
            found = await connection.execute(query.where(customers.c.merged_into.is_(None)))
            return int(found.scalar_one())

    async def duplicates(
        self, customer_id: int, limit: int = 20, after: int = 0
    ) -> list[CustomerRecord]:
        """Others who may be the same, by id after one: they share a number, the name or an e-mail address.
        Raises `Missing`."""
        async with reading(self._database) as connection:
            one = await one_customer(connection, customer_id)
            sharing = sa.select(customer_phones.c.customer_id).where(
                customer_phones.c.phone.in_(one.profile.phones)
            )
            same = sa.or_(customers.c.id.in_(sharing), alike(profile_keys(one.profile)))
            query = (
                sa.select(customers)
                .where(same, customers.c.id != customer_id, customers.c.merged_into.is_(None))
                .where(customers.c.id > after)
                .order_by(customers.c.id)
                .limit(max(0, min(limit, LIST_MAX)))
            )
            return [record_of(row) for row in (await connection.execute(query)).all()]

    async def sharing(
        self, by: SharedBy = "number", limit: int = 50, after: str = ""
    ) -> tuple[list[Sharing], str | None]:
        """What several customers have, in order, after the last of the page before: each is perhaps one
        customer who was written down twice. And after what the next page begins, None for the last; a page
        may be empty and not the last (`duplicates.shared`)."""
        async with reading(self._database) as connection:
            found, more = await shared(connection, by, max(0, min(limit, LIST_MAX)), after)
            ids = sorted({customer_id for one in found for customer_id in one.customers})
            query = sa.select(customers).where(customers.c.id.in_(ids))
            known = {row.id: record_of(row) for row in (await connection.execute(query)).all()}
        told = (
            Sharing(one.value, one.count, [known[i] for i in one.customers if i in known])
            for one in found
        )
        return [one for one in told if len(one.customers) > 1], more

    async def note_keys(self) -> bool:
        """Note what some more customers of an older version are compared by; whether there may be more."""
        if not self._keyed:
            async with self._ledger.change("system") as change:
                self._keyed = not await note_keys(change.connection)
        return not self._keyed

    async def notes(
        self, customer_id: int, limit: int = 50, before: int | None = None
    ) -> list[Note]:
        """What was written about a customer, newest first."""
        query = sa.select(customer_notes).where(customer_notes.c.customer_id == customer_id)
        if before is not None:
            query = query.where(customer_notes.c.id < before)
        query = query.order_by(customer_notes.c.id.desc()).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            return [note_of(row) for row in (await connection.execute(query)).all()]

    # -- writing --------------------------------------------------------------------------------

    async def add(self, actor: str, profile: Profile) -> CustomerRecord:
        """A new customer."""
        async with self._ledger.change(actor) as change:
            (customer_id,) = await self.add_all(change, [profile])
            told = {name: value for name, value in asdict(profile).items() if value}
            change.note("customer-added", f"customer:{customer_id}", **told)
            return await one_customer(change.connection, customer_id)

    async def add_all(self, change: Change, profiles: Sequence[Profile]) -> list[int]:
        """Several new customers in somebody's change, who notes it; their ids."""
        fresh = {
            "merged_into": None,
            "created_at_s": change.at_s,
            "changed_at_s": change.at_s,
            "version": 1,
        }
        self._some = True  # before they are there: who looks too early looks once more
        query = sa.insert(customers).returning(customers.c.id, sort_by_parameter_order=True)
        rows = [columns_of(profile) | fresh for profile in profiles]
        ids = [int(row[0]) for row in (await change.connection.execute(query, rows)).all()]
        pairs = list(zip(ids, profiles, strict=True))
        await put_phones(change.connection, pairs)
        await put_keys(change.connection, [(i, profile_keys(p)) for i, p in pairs])
        await words.index(
            change.connection, words.CUSTOMERS, [(i, profile_words(p)) for i, p in pairs], new=True
        )
        return ids

    async def change(
        self, actor: str, customer_id: int, values: dict[str, Any], version: int | None = None
    ) -> CustomerRecord:
        """Other values for some parts of the profile. Raises `Missing`, `Stale`, `Conflict` for one who
        was merged."""
        async with self._ledger.change(actor) as change:
            before = await current_customer(change, customer_id, version)
            after = await self.put(change, before, values)
            told = difference(asdict(before.profile), asdict(after.profile))
            change.note("customer-changed", f"customer:{customer_id}", **told)
        return after

    async def put(
        self, change: Change, before: CustomerRecord, values: dict[str, Any]
    ) -> CustomerRecord:
        """Other values for parts of a profile, in somebody's change, who notes it."""
        profile = Profile(**{**asdict(before.profile), **values})
        columns = columns_of(profile) | {
            "changed_at_s": change.at_s,
            "version": before.version + 1,
        }
        here = customers.c.id == before.id
        await change.connection.execute(sa.update(customers).where(here).values(columns))
        if profile.phones != before.profile.phones:
            mine = customer_phones.c.customer_id == before.id
            await change.connection.execute(sa.delete(customer_phones).where(mine))
            await put_phones(change.connection, [(before.id, profile)])
        keys, former = profile_keys(profile), profile_keys(before.profile)
        await forget_keys(change.connection, before.id, former - keys)
        await put_keys(change.connection, [(before.id, keys - former)])
        await words.index(change.connection, words.CUSTOMERS, [(before.id, profile_words(profile))])
        return await one_customer(change.connection, before.id)

    async def remove(self, actor: str, customer_id: int, version: int | None = None) -> None:
        """Delete a customer, those who turned out to be him, and all that was written about them. Raises
        `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            gone = await current_customer(change, customer_id, version, merged=True)
            await forget_keys(change.connection, customer_id, profile_keys(gone.profile))
            query = sa.select(customers.c.id).where(customers.c.merged_into == customer_id)
            ids = [customer_id, *(await change.connection.execute(query)).scalars()]
            for table in (customer_phones, customer_notes):
                his = table.c.customer_id.in_(ids)
                await change.connection.execute(sa.delete(table).where(his))
            await forget_merges(change.connection, ids)
            await words.forget(change.connection, words.CUSTOMERS, ids)
            about = tickets.c.customer_id.in_(ids)
            await change.connection.execute(
                sa.update(tickets).where(about).values(customer_id=None)
            )
            await change.connection.execute(sa.delete(customers).where(customers.c.id.in_(ids)))
            change.note("customer-removed", f"customer:{customer_id}")

    async def add_note(self, actor: str, customer_id: int, text: str) -> Note:
        """Write something about a customer. Raises `Missing`, `Conflict` for one who was merged."""
        async with self._ledger.change(actor) as change:
            await current_customer(change, customer_id, None)
            values = {
                "customer_id": customer_id,
                "at_s": change.at_s,
                "author": actor,
                "text": text,
            }
            query = sa.insert(customer_notes).values(values).returning(customer_notes)
            note = note_of((await change.connection.execute(query)).one())
            change.note("customer-noted", f"customer:{customer_id}", note=note.id)
        return note

    async def remove_note(self, actor: str, customer_id: int, note_id: int) -> None:
        """Take away what somebody wrote. Raises `Missing`."""
        async with self._ledger.change(actor) as change:
            here = sa.and_(
                customer_notes.c.id == note_id, customer_notes.c.customer_id == customer_id
            )
            done = await change.connection.execute(sa.delete(customer_notes).where(here))
            if done.rowcount == 0:
                raise Missing(f"customer {customer_id} has no note {note_id}")
            change.note("customer-note-removed", f"customer:{customer_id}", note=note_id)

    async def note(self, customer_id: int, note_id: int) -> Note:
        """One of the things written about a customer. Raises `Missing`."""
        query = sa.select(customer_notes).where(
            customer_notes.c.id == note_id, customer_notes.c.customer_id == customer_id
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise Missing(f"customer {customer_id} has no note {note_id}")
        return note_of(row)

    async def merge(self, actor: str, customer_id: int, other_id: int) -> CustomerRecord:
        """`other_id` turned out to be `customer_id`: his numbers, addresses, tags, fields and notes come
        over. Where both say something it stays as it was, and a note says what the other one said; by his
        name he is found still. Raises `Missing`, `Conflict`, also where the two have more than one may:
        nothing is lost without a word."""
        if customer_id == other_id:
            raise Conflict("a customer is himself already")
        async with self._ledger.change(actor) as change:
            kept = await current_customer(change, customer_id, None)
            gone = await current_customer(change, other_id, None)
            mine, his = kept.profile, gone.profile
            values = {
                "name": mine.name or his.name,
                "phones": together("numbers", mine.phones, his.phones, PHONES_MAX),
                "addresses": together("addresses", mine.addresses, his.addresses, PHONES_MAX),
                "region": mine.region or his.region,
                "priority": max(mine.priority, his.priority),
                "tags": together("tags", mine.tags, his.tags, TAGS_MAX),
                "fields": {**his.fields, **mine.fields},
            }
            connection = change.connection
            theirs = customer_phones.c.customer_id == other_id
            await connection.execute(sa.delete(customer_phones).where(theirs))
            await forget_keys(connection, other_id, profile_keys(his))
            earlier = [
                one.brought for one in await merges_of(connection, customer_id, undone=False)
            ]
            brought = brought_by(mine, his, earlier)
            if left := left_behind(mine, his):
                note = {"customer_id": customer_id, "at_s": change.at_s, "author": actor}
                note["text"] = f"Was customer {other_id} as well: {left}"
                query = sa.insert(customer_notes).values(note).returning(customer_notes.c.id)
                brought.said = (await connection.execute(query)).scalar_one()
            brought.notes = await hand_over(connection, customer_notes, other_id, customer_id)
            brought.tickets = await hand_over(connection, tickets, other_id, customer_id)
            brought.customers = await lead(
                connection, customers.c.merged_into == other_id, customer_id
            )
            await lead(connection, customers.c.id == other_id, customer_id)
            await note_merge(connection, customer_id, other_id, change.at_s, change.actor, brought)
            after = await self.put(change, kept, values)
            told = difference(asdict(mine), asdict(after.profile))
            change.note("customer-merged", f"customer:{customer_id}", other=other_id, **told)
        return after

    async def merges(self, customer_id: int) -> list[Merge]:
        """Who turned out to be a customer, oldest first, and what he brought; those that were undone too.
        Raises `Missing`."""
        async with reading(self._database) as connection:
            await one_customer(connection, customer_id)
            return await merges_of(connection, customer_id)

    async def unmerge(self, actor: str, customer_id: int, other_id: int) -> CustomerRecord:
        """`other_id` is not `customer_id` after all: he is again what he was, and what came over with him goes
        back: numbers, addresses, tags, fields, notes and tickets, and whoever was merged into him. So do
        tickets since, by calls with the numbers that go. What else was written since stays. Returns
        `customer_id`. Raises `Missing`, and `Conflict` where there is nothing (known) to be undone."""
        async with self._ledger.change(actor) as change:
            connection = change.connection
            kept = await current_customer(change, customer_id, None)
            gone = await current_customer(change, other_id, None, merged=True)
            merge = await to_be_undone(connection, kept, gone)
            others = [
                one.brought
                for one in await merges_of(connection, customer_id, undone=False)
                if one.id != merge.id
            ]
            values = without(kept.profile, merge.brought, others)
            after = await self.put(change, kept, values)
            gone.merged_into = None
            await lead(connection, customers.c.id == other_id, None)
            back = await self.put(change, gone, {})
            await put_phones(connection, [(other_id, back.profile)])
            await put_keys(connection, [(other_id, profile_keys(back.profile))])
            brought = merge.brought
            for table, ids in ((customer_notes, brought.notes), (tickets, brought.tickets)):
                his = table.c.id.in_(ids)
                await hand_over(connection, table, customer_id, other_id, his)
            still = sa.and_(
                customers.c.merged_into == customer_id, customers.c.id.in_(brought.customers)
            )
            await lead(connection, still, other_id)
            if brought.said is not None:
                await connection.execute(
                    sa.delete(customer_notes).where(customer_notes.c.id == brought.said)
                )
            numbers = spelt(set(back.profile.phones) - set(after.profile.phones))
            since = await hand_over(
                connection, tickets, customer_id, other_id, by_calls(numbers, merge.at_s)
            )
            await note_undone(connection, merge.id, change.at_s)
            told = difference(asdict(kept.profile), asdict(after.profile))
            told |= {"tickets": [*brought.tickets, *since], "notes": brought.notes}
            change.note("customer-unmerged", f"customer:{customer_id}", other=other_id, **told)
            change.note("customer-unmerged", f"customer:{other_id}", other=customer_id)
        return after


def _owners(phone: str) -> sa.Select[tuple[int]]:
    """The ids of those who have a number."""
    return sa.select(customer_phones.c.customer_id).where(customer_phones.c.phone == phone)


def _led_to(ids: sa.Select[tuple[int]]) -> sa.Select[tuple[int]]:
    """Of customers those who they turned out to be, themselves where they did not."""
    other = customers.alias("other").c
    return sa.select(sa.func.coalesce(other.merged_into, other.id)).where(other.id.in_(ids))
