"""Changes that people and programs make: each with its line in the audit log, in one transaction, and
told to those who listen to the journal once it is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.errors import SoftswitchError, StoreError
from softswitch.store.database import Database, reason_of
from softswitch.store.entry import clean
from softswitch.store.reading import reading
from softswitch.store.schema_people import audit

if TYPE_CHECKING:
    from softswitch.store.journal import Journal

DETAIL_CHARACTERS_MAX = 16_384
_PAGE_MAX = 1_000
_encoder = msgspec.json.Encoder(enc_hook=str)


class Missing(SoftswitchError):
    """There is no such thing (any more)."""


class Conflict(SoftswitchError):
    """It cannot be done to the thing as it is now: a name is taken, somebody was faster."""


class Stale(Conflict):
    """The version that was to be changed is no longer the newest."""


@dataclass(slots=True)
class Change:
    """One transaction. `note` as many lines as things are changed."""

    connection: AsyncConnection
    actor: str
    at_s: float
    notes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def note(self, action: str, thing: str, /, **details: Any) -> None:
        """`action` as "customer-changed", `thing` as "customer:12"; `details` as JSON can say them."""
        self.notes.append((action, thing, details))


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what to which thing, and how."""

    id: int
    at_s: float
    actor: str
    action: str
    object: str
    details: dict[str, Any]


async def row_of(
    connection: AsyncConnection, table: sa.Table, row_id: int, what: str
) -> sa.Row[Any]:
    """The row of a table that has this id; `what` it tells of, for people. Raises `Missing`."""
    row = (await connection.execute(sa.select(table).where(table.c.id == row_id))).first()
    if row is None:
        raise Missing(f"there is no {what} {row_id}")
    return row


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What of a thing was changed: name -> [before, after]."""
    return {
        name: [before.get(name), value]
        for name, value in after.items()
        if before.get(name) != value
    }


class Ledger:
    """Opens changes and lists the audit log.

    Parameters: `wall_s`, the clock that stamps.
    """

    def __init__(
        self, database: Database, journal: Journal | None, wall_s: Callable[[], float]
    ) -> None:
        self._database = database
        self._journal = journal
        self._wall_s = wall_s

    @asynccontextmanager
    async def change(self, actor: str) -> AsyncIterator[Change]:
        """A transaction that is committed when the block is left, undone when it fails. What is noted is
        in the audit log exactly if the change was made. Raises `StoreError` while the database cannot
        be written."""
        if self._journal is None:
            raise StoreError("this store was opened for reading only")
        async with self._journal.exclusive:
            try:
                async with self._database.change() as connection:
                    change = Change(connection, clean(actor)[:256], self._wall_s())
                    yield change
                    await self._write(change)
            except SQLAlchemyError as error:
                self._journal.change_failed(error)
                raise StoreError(f"the database cannot be written: {reason_of(error)}") from error
        for action, thing, details in change.notes:
            told = {"object": thing, "by": change.actor, "changed": sorted(details)}
            self._journal.append(action, None, told, change.at_s)

    async def _write(self, change: Change) -> None:
        rows = []
        for action, thing, details in change.notes:
            text = clean(_encoder.encode(details).decode())
            if len(text) > DETAIL_CHARACTERS_MAX:
                text = _encoder.encode(
                    {"changed": sorted(details), "truncated": len(text)}
                ).decode()
            row = {"at_s": change.at_s, "actor": change.actor, "action": action, "object": thing}
            rows.append({**row, "details": text})
        if rows:
            await change.connection.execute(sa.insert(audit), rows)

    async def lines(
        self,
        *,
        limit: int = 50,
        before: int | None = None,
        thing: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
    ) -> list[AuditLine]:
        """The audit log, newest first; of a time from `since_s` up to, not including, `until_s`."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(max(0, min(limit, _PAGE_MAX)))
        table = audit.c
        for column, value in ((table.object, thing), (table.actor, actor), (table.action, action)):
            if value is not None:
                query = query.where(column == value)
        if since_s is not None:
            query = query.where(table.at_s >= since_s)
        if until_s is not None:
            query = query.where(table.at_s < until_s)
        if before is not None:
            query = query.where(audit.c.id < before)
        async with reading(self._database) as connection:
            return [
                AuditLine(r.id, r.at_s, r.actor, r.action, r.object, msgspec.json.decode(r.details))
                for r in (await connection.execute(query)).all()
            ]
