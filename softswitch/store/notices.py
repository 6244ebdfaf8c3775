"""What people are told about tickets: who works on one, who watches it, and who has to step in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.ledger import Change, Ledger
from softswitch.store.reading import reading
from softswitch.store.schema_tickets import notices

KINDS = ("added", "changed", "commented", "escalated", "reminder", "mail-failed")
LIST_MAX = 1_000
TEXT_MAX = 500
KEPT_S = 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class Notice:
    """`reader` is a name or "role:supervisor"; `kind` is one of `KINDS`."""

    id: int
    reader: str
    at_s: float
    ticket_id: int
    kind: str
    text: str
    read_at_s: float | None


async def notify(
    change: Change, ticket_id: int, kind: str, text: str, readers: Iterable[str]
) -> None:
    """Tell some people, in somebody's change; not himself."""
    himself = change.actor.rpartition(":")[2]
    rows = [
        {
            "reader": reader,
            "at_s": change.at_s,
            "ticket_id": ticket_id,
            "kind": kind,
            "text": text[:TEXT_MAX],
        }
        for reader in dict.fromkeys(readers)
        if reader not in (himself, change.actor)
    ]
    if rows:
        await change.connection.execute(sa.insert(notices), rows)


class Notices:
    """The notices of one office. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def page(
        self,
        readers: Iterable[str],
        *,
        unread: bool = False,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Notice]:
        """What these were told, newest first."""
        query = sa.select(notices).where(notices.c.reader.in_(list(readers)))
        if unread:
            query = query.where(notices.c.read_at_s.is_(None))
        if before is not None:
            query = query.where(notices.c.id < before)
        query = query.order_by(notices.c.id.desc()).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            return [Notice(**row._mapping) for row in (await connection.execute(query)).all()]

    async def mark_read(self, actor: str, readers: Iterable[str], up_to: int) -> int:
        """They have read everything up to this one; how many that were."""
        here = sa.and_(
            notices.c.reader.in_(list(readers)),
            notices.c.id <= up_to,
            notices.c.read_at_s.is_(None),
        )
        async with self._ledger.change(actor) as change:
            query = sa.update(notices).where(here).values(read_at_s=change.at_s)
            found = await change.connection.execute(query.returning(notices.c.id))
            return len(found.all())

    async def forget_old(self, now_s: float) -> None:
        """Delete what is older than `KEPT_S`."""
        async with self._ledger.change("system") as change:
            old = notices.c.at_s < now_s - KEPT_S
            await change.connection.execute(sa.delete(notices).where(old))
