"""Triggers, templates and macros of tickets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.database import Database
from softswitch.store.ledger import Conflict, Ledger, Missing, Stale
from softswitch.store.reading import reading
from softswitch.store.schema_tickets import ticket_settings
from softswitch.store.ticket_triage import Trigger

OF_A_SORT_MAX = 500
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Template:
    """What a new ticket of a kind begins with. `subject` and `description` may have places to be filled in:
    see `config.places`."""

    name: str
    subject: str = ""
    description: str = ""
    kind: str = "request"
    priority: str = "normal"
    department: str = ""
    queue: str = ""
    skill: str = ""
    tags: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Macro:
    """What is done to a ticket with one click; "" leaves a part as it is. `comment` may have places to be
    filled in; `public`: for the customer to read."""

    name: str
    comment: str = ""
    public: bool = False
    status: str = ""
    priority: str = ""
    assignee: str = ""
    department: str = ""
    queue: str = ""
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()


Setting = TypeVar("Setting", Trigger, Template, Macro)
_SORTS: dict[type[Any], str] = {Trigger: "trigger", Template: "template", Macro: "macro"}


@dataclass(frozen=True, slots=True)
class Kept(Generic[Setting]):
    """A setting as it is kept."""

    id: int
    value: Setting
    version: int


class TicketSettings:
    """What an office has set about its tickets. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def all(self, sort: type[Setting]) -> list[Kept[Setting]]:
        """All of a sort, in the order in which they were made (and triggers are asked)."""
        query = (
            sa.select(ticket_settings)
            .where(ticket_settings.c.sort == _SORTS[sort])
            .order_by(ticket_settings.c.id)
            .limit(OF_A_SORT_MAX)
        )
        async with reading(self._database) as connection:
            return [_kept(sort, row) for row in (await connection.execute(query)).all()]

    async def get(self, sort: type[Setting], setting_id: int) -> Kept[Setting]:
        """One. Raises `Missing`."""
        async with reading(self._database) as connection:
            return await _one(connection, sort, setting_id)

    async def add(self, actor: str, value: Setting) -> Kept[Setting]:
        """A new one. Raises `Conflict` where there are too many."""
        sort = _SORTS[type(value)]
        async with self._ledger.change(actor) as change:
            count = sa.select(sa.func.count()).where(ticket_settings.c.sort == sort)
            if (await change.connection.execute(count)).scalar_one() >= OF_A_SORT_MAX:
                raise Conflict(f"there are {OF_A_SORT_MAX} {sort}s already")
            row = {"sort": sort, "name": value.name, "value": _encode(value).decode(), "version": 1}
            query = sa.insert(ticket_settings).values(row).returning(ticket_settings)
            found = _kept(type(value), (await change.connection.execute(query)).one())
            change.note(f"ticket-{sort}-added", f"ticket-{sort}:{found.id}", name=value.name)
            return found

    async def replace(
        self, actor: str, setting_id: int, value: Setting, version: int | None = None
    ) -> Kept[Setting]:
        """Another value as a whole. Raises `Missing`, `Stale`."""
        sort = _SORTS[type(value)]
        async with self._ledger.change(actor) as change:
            before = await _one(change.connection, type(value), setting_id)
            if version is not None and before.version != version:
                raise Stale(f"{sort} {setting_id} was changed meanwhile")
            row = {
                "name": value.name,
                "value": _encode(value).decode(),
                "version": before.version + 1,
            }
            here = ticket_settings.c.id == setting_id
            await change.connection.execute(sa.update(ticket_settings).where(here).values(row))
            change.note(f"ticket-{sort}-changed", f"ticket-{sort}:{setting_id}", name=value.name)
            return await _one(change.connection, type(value), setting_id)

    async def remove(
        self, actor: str, sort: type[Setting], setting_id: int, version: int | None = None
    ) -> None:
        """Delete one. Raises `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            found = await _one(change.connection, sort, setting_id)
            if version not in (None, found.version):
                raise Stale(f"{_SORTS[sort]} {setting_id} was changed meanwhile")
            here = ticket_settings.c.id == setting_id
            await change.connection.execute(sa.delete(ticket_settings).where(here))
            name = _SORTS[sort]
            change.note(f"ticket-{name}-removed", f"ticket-{name}:{setting_id}")


async def _one(connection: AsyncConnection, sort: type[Setting], setting_id: int) -> Kept[Setting]:
    query = sa.select(ticket_settings).where(
        ticket_settings.c.id == setting_id, ticket_settings.c.sort == _SORTS[sort]
    )
    row = (await connection.execute(query)).first()
    if row is None:
        raise Missing(f"there is no {_SORTS[sort]} {setting_id}")
    return _kept(sort, row)


def _kept(sort: type[Setting], row: Any) -> Kept[Setting]:
    return Kept(row.id, msgspec.json.decode(row.value, type=sort), row.version)
