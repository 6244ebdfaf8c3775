"""Two tickets that are about the same, and one that is about two things."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import ticket_rules as rules
from softswitch.store import words
from softswitch.store.attachments import PER_TICKET_MAX
from softswitch.store.ledger import Conflict, Ledger, Missing
from softswitch.store.notices import notify
from softswitch.store.schema_tickets import (
    ticket_attachments,
    ticket_comments,
    ticket_links,
    ticket_mails,
    tickets,
)
from softswitch.store.tickets import (
    TAGS_MAX,
    WATCHERS_MAX,
    Matter,
    Ticket,
    Tickets,
    columns_of,
    current_ticket,
    index_ticket,
    one_ticket,
    readers_of,
    replaced,
)


class TicketParts:
    """Merges and splits the tickets of one office. Raises `StoreError` while the database cannot be used."""

    def __init__(self, tickets: Tickets, ledger: Ledger) -> None:
        self._tickets = tickets
        self._ledger = ledger

    async def merge(self, actor: str, ticket_id: int, other_id: int) -> Ticket:
        """`other_id` is about the same: its comments, links, tags and watchers come over, what it said becomes
        a comment, it is closed and leads here. Its customer and the address to be answered count where there
        was none. Raises `Missing`, `Conflict`."""
        if ticket_id == other_id:
            raise Conflict("a ticket is itself already")
        async with self._ledger.change(actor) as change:
            kept = await current_ticket(change, ticket_id, None)
            gone = await current_ticket(change, other_id, None)
            if kept.life.status == "closed" and gone.life.status != "closed":
                raise Conflict(
                    f"ticket {ticket_id} is closed for good: nobody would see to {other_id}"
                )
            connection = change.connection
            await _require_room(connection, ticket_id, other_id)
            theirs = ticket_comments.c.ticket_id == other_id
            await connection.execute(
                sa.update(ticket_comments).where(theirs).values(ticket_id=ticket_id)
            )
            found = await connection.execute(
                sa.delete(ticket_links)
                .where(ticket_links.c.ticket_id == other_id)
                .returning(ticket_links.c.thing)
            )
            things = [str(thing) for (thing,) in found.all()]
            await self._tickets.add_links(
                change, ticket_id, [one for one in things if one != f"ticket:{ticket_id}"]
            )
            await connection.execute(
                sa.update(tickets)
                .where(sa.or_(tickets.c.id == other_id, tickets.c.merged_into == other_id))
                .values(merged_into=ticket_id)
            )
            await self._tickets.put(
                change,
                gone,
                gone.matter,
                rules.merged(gone.life, change.at_s, self._tickets.office),
            )
            await words.forget(connection, words.TICKETS, [other_id])
            said = f"#{other_id}: {gone.matter.subject}\n\n{gone.matter.description}".strip()
            values = {"ticket_id": ticket_id, "at_s": change.at_s, "author": actor, "text": said}
            await connection.execute(sa.insert(ticket_comments).values(values | {"public": False}))
            life = kept.life
            if gone.life.answered_at_s is not None:  # its answers stand here now
                life = rules.answer(life, max(gone.life.answered_at_s, life.created_at_s))
            await self._tickets.put(change, kept, _together(kept.matter, gone.matter), life)
            await _remind_of_both(connection, kept, gone)
            for table in (ticket_attachments, ticket_mails):
                await connection.execute(
                    sa.update(table)
                    .where(table.c.ticket_id == other_id)
                    .values(ticket_id=ticket_id)
                )
            told = f"#{other_id} was merged into it"
            readers = [*readers_of(kept), *readers_of(gone)]
            await notify(change, ticket_id, "changed", told, readers)
            change.note("ticket-merged", f"ticket:{ticket_id}", other=other_id)
            change.note("ticket-changed", f"ticket:{other_id}", merged_into=[None, ticket_id])
            kept, gone = (
                await one_ticket(connection, ticket_id),
                await one_ticket(connection, other_id),
            )
        self._tickets.told(kept, gone)
        return kept

    async def split(
        self, actor: str, ticket_id: int, subject: str, comment_ids: Sequence[int] = ()
    ) -> Ticket:
        """Another matter turned up in a ticket: a new one of the same customer with these comments, linked
        to the old one and back. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            old = await current_ticket(change, ticket_id, None)
            connection = change.connection
            life = rules.begin(old.life.priority, change.at_s, self._tickets.targets)
            matter = replaced(old.matter, {"subject": subject, "assignee": "", "description": ""})
            values = columns_of(matter) | self._tickets.lived(life)
            values |= {"created_by": actor, "created_at_s": change.at_s}
            values |= {"changed_at_s": change.at_s, "version": 1}
            query = sa.insert(tickets).values(values).returning(tickets.c.id)
            new_id = int((await connection.execute(query)).scalar_one())
            wanted = list(dict.fromkeys(comment_ids))
            moved = await connection.execute(
                sa.update(ticket_comments)
                .where(ticket_comments.c.ticket_id == ticket_id, ticket_comments.c.id.in_(wanted))
                .values(ticket_id=new_id)
                .returning(ticket_comments.c.id)
            )
            if len(moved.all()) != len(wanted):
                raise Missing(f"not all of these are comments of ticket {ticket_id}")
            theirs = ticket_attachments.c.comment_id.in_(wanted)
            await connection.execute(
                sa.update(ticket_attachments).where(theirs).values(ticket_id=new_id)
            )
            await self._tickets.add_links(change, new_id, [f"ticket:{ticket_id}"])
            await self._tickets.add_links(change, ticket_id, [f"ticket:{new_id}"])
            await self._tickets.put(change, old, old.matter, old.life)
            await index_ticket(connection, new_id)
            change.note("ticket-split", f"ticket:{ticket_id}", new=new_id, comments=wanted)
            change.note("ticket-added", f"ticket:{new_id}", subject=subject)
            new = await one_ticket(connection, new_id)
            told = f"split off #{ticket_id}: {subject}"
            await notify(change, new_id, "added", told, [*readers_of(old), *readers_of(new)])
        self._tickets.told(new)
        return new


async def _require_room(connection: AsyncConnection, ticket_id: int, other_id: int) -> None:
    """Whether the files of both are not too many for one. Raises `Conflict`."""
    both = ticket_attachments.c.ticket_id.in_((ticket_id, other_id))
    files = int((await connection.execute(sa.select(sa.func.count()).where(both))).scalar_one())
    if files > PER_TICKET_MAX:
        raise Conflict(
            f"a ticket has at most {PER_TICKET_MAX} files; the two together have {files}"
        )


async def _remind_of_both(connection: AsyncConnection, kept: Ticket, gone: Ticket) -> None:
    """Whoever is to be reminded of a ticket that was merged is reminded of that which is left, at the earlier
    of two times."""
    if gone.remind_at_s is None:
        return
    if kept.remind_at_s is None or gone.remind_at_s < kept.remind_at_s:
        values = {"remind_at_s": gone.remind_at_s, "remind_text": gone.remind_text}
        here = tickets.c.id == kept.id
        await connection.execute(sa.update(tickets).where(here).values(values))


def _together(kept: Matter, gone: Matter) -> Matter:
    """What is left of two matters that are the same."""
    both = {
        "watchers": list(dict.fromkeys([*kept.watchers, *gone.watchers]))[:WATCHERS_MAX],
        "tags": list(dict.fromkeys([*kept.tags, *gone.tags]))[:TAGS_MAX],
        "fields": {**gone.fields, **kept.fields},
        "customer_id": kept.customer_id if kept.customer_id is not None else gone.customer_id,
        "reply_to": kept.reply_to or gone.reply_to,
    }
    return replaced(kept, both)
