"""Which public comments are still to be mailed, and what was: a mark below which all is done, and the
Message-IDs of what was sent above it."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.debts import Owed, owed_to, settle
from softswitch.store.ledger import Change, Ledger
from softswitch.store.notices import notify
from softswitch.store.reading import reading
from softswitch.store.schema_centre import facts
from softswitch.store.schema_tickets import ticket_comments, ticket_mails
from softswitch.store.tickets import Comment, one_ticket, readers_of

ACTOR = "system"
MARK = "comments-mailed-to"
BY_MAIL = "email:"
"""Authors of comments that came as letters."""


class Outgoing:
    """Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._done: set[int] = set()  # dealt with, above the mark

    async def begin(self) -> None:
        """From now on comments are mailed; those of before are not, where there was no mark yet."""
        if await self._mark() is None:
            async with self._ledger.change(ACTOR) as change:
                newest = sa.select(sa.func.coalesce(sa.func.max(ticket_comments.c.id), 0))
                last = int((await change.connection.execute(newest)).scalar_one())
                row = {"name": MARK, "value": str(last)}
                await change.connection.execute(sa.insert(facts).values(row))

    async def due(self, limit: int) -> list[Comment]:
        """Public comments that are neither sent nor given up, oldest first."""
        mark = await self._mark()
        if mark is None:
            return []
        table = ticket_comments
        query = (
            sa.select(table)
            .where(
                table.c.id > mark,
                table.c.public,
                table.c.author.not_like(f"{BY_MAIL}%"),
                table.c.id.not_in(sorted(self._done)),
            )
            .order_by(table.c.id)
            .limit(limit)
        )
        async with reading(self._database) as connection:
            return [Comment(*row) for row in (await connection.execute(query)).all()]

    async def thread(self, ticket_id: int, limit: int) -> list[str]:
        """The ids of the ticket's letters, the newest last."""
        table = ticket_mails.c
        query = (
            sa.select(table.message_id)
            .where(table.ticket_id == ticket_id)
            .order_by(table.at_s.desc(), table.message_id.desc())
            .limit(limit)
        )
        async with reading(self._database) as connection:
            return [str(one) for (one,) in (await connection.execute(query)).all()][::-1]

    async def sent(self, comment: Comment, message_id: str) -> None:
        """A mail has gone; an answer to it finds the ticket."""
        async with self._ledger.change(ACTOR) as change:
            await self._remember(change, comment.ticket_id, message_id)
            change.note("ticket-mailed", f"ticket:{comment.ticket_id}", comment=comment.id)
            await self._advance(change, comment)

    async def owed(self) -> dict[int, Owed]:
        """Who is still to be told that his letter has come, by the ticket."""
        async with reading(self._database) as connection:
            return await owed_to(connection)

    async def acknowledged(self, ticket_id: int, message_id: str) -> None:
        """The sender of a letter was told that it has come; an answer to that finds the ticket."""
        async with self._ledger.change(ACTOR) as change:
            await settle(change, ticket_id)
            await self._remember(change, ticket_id, message_id)
            change.note("ticket-acknowledged", f"ticket:{ticket_id}")

    async def not_acknowledged(self, ticket_id: int) -> None:
        """He is not to be told, or cannot be."""
        async with self._ledger.change(ACTOR) as change:
            await settle(change, ticket_id)

    async def skip(self, comment: Comment) -> None:
        """Nobody is to be written to."""
        async with self._ledger.change(ACTOR) as change:
            await self._advance(change, comment)

    async def failed(self, comment: Comment, why: str) -> None:
        """It could not be sent: who works on the ticket is told."""
        async with self._ledger.change(ACTOR) as change:
            told = {"comment": comment.id, "why": why[:200]}
            change.note("ticket-mail-failed", f"ticket:{comment.ticket_id}", **told)
            ticket = await one_ticket(change.connection, comment.ticket_id)
            text = f"not mailed: {why}"
            await notify(change, comment.ticket_id, "mail-failed", text, readers_of(ticket))
            await self._advance(change, comment)

    async def _remember(self, change: Change, ticket_id: int, message_id: str) -> None:
        here = ticket_mails.c.message_id == message_id
        if (await change.connection.execute(sa.select(ticket_mails).where(here))).first() is None:
            row = {"message_id": message_id, "ticket_id": ticket_id, "at_s": change.at_s}
            await change.connection.execute(sa.insert(ticket_mails).values(row))

    async def _advance(self, change: Change, comment: Comment) -> None:
        """Move the mark up to the first comment that still waits."""
        self._done.add(comment.id)
        table = ticket_comments.c
        query = sa.select(facts.c.value).where(facts.c.name == MARK)
        mark = int((await change.connection.execute(query)).scalar_one())
        waiting = (
            sa.select(sa.func.min(table.id))
            .where(table.id > mark, table.public, table.author.not_like(f"{BY_MAIL}%"))
            .where(table.id.not_in(sorted(self._done)))
        )
        first = (await change.connection.execute(waiting)).scalar()
        mark = max(self._done) if first is None else int(first) - 1
        await change.connection.execute(
            sa.update(facts).where(facts.c.name == MARK).values(value=str(mark))
        )
        self._done = {one for one in self._done if one > mark}

    async def _mark(self) -> int | None:
        query = sa.select(facts.c.value).where(facts.c.name == MARK)
        async with reading(self._database) as connection:
            found = (await connection.execute(query)).scalar()
            return None if found is None else int(found)
