"""Tickets: what is still to be done for somebody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import ticket_rules as rules
from softswitch.store import words
from softswitch.store.calls import CallFilter
from softswitch.store.database import Database
from softswitch.store.debts import Owed, owe
from softswitch.store.ledger import Change, Conflict, Ledger, Missing, Stale, difference, row_of
from softswitch.store.notices import notify
from softswitch.store.reading import holds, reading
from softswitch.store.schema import calls
from softswitch.store.schema_customers import customers
from softswitch.store.schema_tickets import (
    ticket_comments,
    ticket_links,
    ticket_mails,
    tickets,
)
from softswitch.store.sla import TARGETS, OpenTime, SlaClock, Targets
from softswitch.store.ticket_files import files_of, send_along
from softswitch.store.ticket_steps import DEFAULT_STEPS, Step, next_step

LIST_MAX = 1_000
COMMENTS_MAX = 10_000
LINKS_MAX = 256
WATCHERS_MAX = 64
TAGS_MAX = 64
_COMMENTS_INDEXED = 200
_encode = msgspec.json.encode
_PLAIN = (
    "kind",
    "subject",
    "description",
    "assignee",
    "department",
    "customer_id",
    "source",
    "queue",
    "skill",
    "reply_to",
)
_LISTS = ("tags", "fields", "watchers")


@dataclass(slots=True)
class Matter:
    """What people say of a ticket. `assignee` is who works on it, `department` where it belongs;
    `source` where it came from ("call", "voicemail", "email", "api"); `queue` and `skill`: whom the routing
    engine gives it to while it has no assignee; `reply_to`: the address that a letter came from."""

    subject: str = ""
    description: str = ""
    kind: str = "request"
    assignee: str = ""
    department: str = ""
    customer_id: int | None = None
    source: str = "api"
    tags: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    watchers: list[str] = field(default_factory=list)
    queue: str = ""
    skill: str = ""
    reply_to: str = ""


@dataclass(slots=True)
class Ticket:
    """A ticket as it is kept. `answer_due_s` and `solve_due_s`: when the promises are broken, None where
    they are kept or the clock stands. `steps_taken` of `ticket_steps.Step.key`; `remind_at_s`: when
    somebody wants to be told of it."""

    id: int
    matter: Matter
    life: rules.Life
    merged_into: int | None
    created_by: str
    changed_at_s: float
    answer_due_s: float | None
    solve_due_s: float | None
    version: int
    steps_taken: tuple[str, ...] = ()
    remind_at_s: float | None = None
    remind_text: str = ""

    @property
    def is_active(self) -> bool:
        """Whether somebody has to do something."""
        return self.merged_into is None and self.life.status in rules.RUNNING


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody wrote; `public` ones are for the customer to read. `files` of the ticket that go with
    it."""

    id: int
    ticket_id: int
    at_s: float
    author: str
    text: str
    public: bool
    files: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TicketFilter:
    """Which tickets are asked for; "" and None mean any. `late_at_s`: whose promises are broken then;
    `callers`: those linked to calls from or to one of these numbers."""

    text: str = ""
    status: tuple[str, ...] = ()
    priority: str = ""
    assignee: str | None = None
    department: str = ""
    customer_id: int | None = None
    thing: str = ""
    late_at_s: float | None = None
    kind: str = ""
    source: str = ""
    queue: str = ""
    tag: str = ""
    watcher: str = ""
    callers: tuple[str, ...] = ()


class Tickets:
    """The tickets of one office. `office` counts the time of promises, `targets` are those by priority; `steps`
    are what happens when they are nearly or quite broken; `listeners` are told of every ticket that was
    changed, once it was.

    Raises `StoreError` while the database cannot be used.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        office: OpenTime,
        steps: Sequence[Step] = DEFAULT_STEPS,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self.office = office
        self.steps = tuple(steps)
        self.targets: Mapping[str, Targets] = TARGETS
        self.listeners: list[Callable[[Ticket], None]] = []

    def told(self, *changed: Ticket) -> None:
        """Tell the listeners; after the change was committed."""
        for ticket in changed:
            for listener in self.listeners:
                listener(ticket)

    # -- reading --------------------------------------------------------------------------------

    async def get(self, ticket_id: int) -> Ticket:
        """One ticket. Raises `Missing`."""
        async with reading(self._database) as connection:
            return await one_ticket(connection, ticket_id)

    async def page(
        self, which: TicketFilter, limit: int = 50, before: int | None = None
    ) -> list[Ticket]:
        """Tickets, newest first."""
        query = sa.select(tickets).where(*self._clauses(which))
        if before is not None:
            query = query.where(tickets.c.id < before)
        query = query.order_by(tickets.c.id.desc()).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            return [ticket_of(row) for row in (await connection.execute(query)).all()]

    def _clauses(self, which: TicketFilter) -> list[Any]:
        found: list[Any] = [tickets.c.merged_into.is_(None)]
        if which.text:
            matching = words.matching(words.TICKETS, which.text, self._database.dialect)
            found.append(sa.false() if matching is None else tickets.c.id.in_(matching))
        if which.status:
            found.append(tickets.c.status.in_(which.status))
        for column, value in (
            (tickets.c.priority, which.priority),
            (tickets.c.kind, which.kind),
            (tickets.c.source, which.source),
            (tickets.c.queue, which.queue),
        ):
            if value:
                found.append(column == value)
        for held, value in ((tickets.c.tags, which.tag), (tickets.c.watchers, which.watcher)):
            if value:
                found.append(holds(held, value))
        if which.assignee is not None:
            found.append(tickets.c.assignee == which.assignee)
        if which.department:
            found.append(tickets.c.department == which.department)
        if which.customer_id is not None:
            found.append(tickets.c.customer_id == which.customer_id)
        if which.thing:
            linked = sa.select(ticket_links.c.ticket_id).where(ticket_links.c.thing == which.thing)
            found.append(tickets.c.id.in_(linked))
        if which.callers:
            of_calls = sa.select(sa.literal("call:") + calls.c.call_id).where(
                *CallFilter(number=which.callers).clauses()
            )
            linked = sa.select(ticket_links.c.ticket_id).where(ticket_links.c.thing.in_(of_calls))
            found.append(tickets.c.id.in_(linked))
        if which.late_at_s is not None:
            late = which.late_at_s
            found.append(sa.or_(tickets.c.solve_due_s < late, tickets.c.answer_due_s < late))
        return found

    async def comments(self, ticket_id: int, limit: int = 50, after: int = 0) -> list[Comment]:
        """What was written, oldest first."""
        query = (
            sa.select(ticket_comments)
            .where(ticket_comments.c.ticket_id == ticket_id, ticket_comments.c.id > after)
            .order_by(ticket_comments.c.id)
            .limit(max(0, min(limit, LIST_MAX)))
        )
        async with reading(self._database) as connection:
            rows = (await connection.execute(query)).all()
            files = await files_of(connection, [row.id for row in rows])
            return [_comment(row, files.get(row.id, ())) for row in rows]

    async def links(self, ticket_id: int) -> list[str]:
        """What a ticket is about."""
        query = sa.select(ticket_links.c.thing).where(ticket_links.c.ticket_id == ticket_id)
        async with reading(self._database) as connection:
            found = await connection.execute(query.order_by(ticket_links.c.thing))
            return [str(thing) for (thing,) in found.all()]

    # -- writing --------------------------------------------------------------------------------

    async def add(
        self,
        actor: str,
        matter: Matter,
        *,
        priority: str = "normal",
        links: Iterable[str] = (),
        letter: str = "",
        owed: Owed | None = None,
    ) -> Ticket:
        """A new ticket; "open" if somebody works on it already. `letter`: the Message-ID of the one that it
        came as, which is known from then on; `owed`: who is to be told that it has come. Raises `Missing`
        for a customer who does not exist."""
        async with self._ledger.change(actor) as change:
            await _require_customer(change.connection, matter.customer_id)
            life = rules.begin(priority, change.at_s, self.targets)
            if matter.assignee:
                life = rules.to_status(life, "open", change.at_s, self.office)
            values = columns_of(matter) | self.lived(life)
            values |= {"created_by": actor, "created_at_s": change.at_s}
            values |= {"changed_at_s": change.at_s, "version": 1}
            query = sa.insert(tickets).values(values).returning(tickets.c.id)
            ticket_id = int((await change.connection.execute(query)).scalar_one())
            await self.add_links(change, ticket_id, links)
            await _remember(change, letter, ticket_id)
            if owed is not None:
                await owe(change, ticket_id, owed)
            await index_ticket(change.connection, ticket_id)
            told = {"subject": matter.subject, "priority": priority, "assignee": matter.assignee}
            change.note("ticket-added", f"ticket:{ticket_id}", **told)
            ticket = await one_ticket(change.connection, ticket_id)
            await notify(change, ticket_id, "added", matter.subject, readers_of(ticket))
        self.told(ticket)
        return ticket

    async def change(
        self,
        actor: str,
        ticket_id: int,
        values: dict[str, Any],
        version: int | None = None,
        said: tuple[str, bool] | None = None,
    ) -> Ticket:
        """Other values for parts of the matter, ``status`` or ``priority``. Who is given to somebody is
        open from then on. `said`: a comment, and whether it is public, written with it or not at all.
        Raises `Missing`, `Stale`, `Conflict` for what cannot follow."""
        values = dict(values)
        async with self._ledger.change(actor) as change:
            if said is not None:
                text, public = said
                await self._write(
                    change, await current_ticket(change, ticket_id, version), text, public
                )
                version = None
            before = await current_ticket(change, ticket_id, version)
            status, priority = values.pop("status", None), values.pop("priority", None)
            await _require_customer(change.connection, values.get("customer_id"))
            life = before.life
            if priority is not None:
                life = rules.to_priority(life, priority, self.targets)
            if status is None and values.get("assignee") and life.status == "new":
                status = "open"
            if status is not None:
                life = rules.to_status(life, status, change.at_s, self.office)
            matter = replaced(before.matter, values)
            await self.put(change, before, matter, life)
            after = await one_ticket(change.connection, ticket_id)
            told = difference(_told(before), _told(after))
            change.note("ticket-changed", f"ticket:{ticket_id}", **told)
            names = ", ".join(sorted(told))
            await notify(change, ticket_id, "changed", names, readers_of(after) if told else ())
        self.told(after)
        return after

    async def comment(
        self, actor: str, ticket_id: int, text: str, *, public: bool, files: Sequence[int] = ()
    ) -> Comment:
        """Write something; the first public comment is the answer that was promised. `files` of the ticket
        go with it. Raises `Missing`, `Conflict` for a ticket that was merged or has too many comments,
        and for files that are not its own, go with another comment or are too large together."""
        async with self._ledger.change(actor) as change:
            ticket = await current_ticket(change, ticket_id, None)
            return await self._write(change, ticket, text, public, files)

    async def answered(
        self, actor: str, ticket_id: int, text: str, *, letter: str = "", wakes: bool = False
    ) -> Ticket:
        """What came as a letter stands beside a ticket, and its Message-ID `letter` is known, both or
        neither: a letter that is fetched once more after a crash is not written twice. `wakes`: who waits
        for the customer has him now. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await current_ticket(change, ticket_id, None)
            await self._write(change, before, text, public=False)
            await _remember(change, letter, ticket_id)
            if wakes and before.life.status in ("pending", "solved"):
                before = await one_ticket(change.connection, ticket_id)
                life = rules.to_status(before.life, "open", change.at_s, self.office)
                await self.put(change, before, before.matter, life)
                told = {"status": [before.life.status, "open"]}
                change.note("ticket-changed", f"ticket:{ticket_id}", **told)
            after = await one_ticket(change.connection, ticket_id)
        self.told(after)
        return after

    async def _write(
        self, change: Change, ticket: Ticket, text: str, public: bool, files: Sequence[int] = ()
    ) -> Comment:
        count = sa.select(sa.func.count()).where(ticket_comments.c.ticket_id == ticket.id)
        if (await change.connection.execute(count)).scalar_one() >= COMMENTS_MAX:
            raise Conflict(f"ticket {ticket.id} has {COMMENTS_MAX} comments already")
        values = {
            "ticket_id": ticket.id,
            "at_s": change.at_s,
            "author": change.actor,
            "text": text,
            "public": public,
        }
        query = sa.insert(ticket_comments).values(values).returning(ticket_comments)
        row = (await change.connection.execute(query)).one()
        await send_along(change.connection, ticket.id, row.id, files)
        found = _comment(row, tuple(dict.fromkeys(files)))
        life = rules.answer(ticket.life, change.at_s) if public else ticket.life
        await self.put(change, ticket, ticket.matter, life)
        change.note("ticket-commented", f"ticket:{ticket.id}", comment=found.id, public=public)
        await notify(change, ticket.id, "commented", text, readers_of(ticket))
        return found

    async def link(self, actor: str, ticket_id: int, thing: str) -> None:
        """Say what a ticket is about. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            await current_ticket(change, ticket_id, None)
            await self.add_links(change, ticket_id, [thing])
            change.note("ticket-linked", f"ticket:{ticket_id}", thing=thing)

    async def unlink(self, actor: str, ticket_id: int, thing: str) -> None:
        """Take a link away. Raises `Missing` for one that is not there."""
        async with self._ledger.change(actor) as change:
            here = sa.and_(ticket_links.c.ticket_id == ticket_id, ticket_links.c.thing == thing)
            gone = await change.connection.execute(
                sa.delete(ticket_links).where(here).returning(ticket_links.c.thing)
            )
            if gone.first() is None:
                raise Missing(f"ticket {ticket_id} has no link to {thing}")
            change.note("ticket-unlinked", f"ticket:{ticket_id}", thing=thing)

    async def remind(
        self, actor: str, ticket_id: int, at_s: float | None, text: str = ""
    ) -> Ticket:
        """Have the assignee and the watchers told at an instant; None: no more. Raises `Missing`,
        `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await current_ticket(change, ticket_id, None)
            values = {"remind_at_s": at_s, "remind_text": text if at_s is not None else ""}
            values |= {"changed_at_s": change.at_s, "version": before.version + 1}
            here = tickets.c.id == ticket_id
            await change.connection.execute(sa.update(tickets).where(here).values(values))
            change.note("ticket-changed", f"ticket:{ticket_id}", remind_at_s=at_s)
            return await one_ticket(change.connection, ticket_id)

    # -- inside ---------------------------------------------------------------------------------

    async def put(
        self,
        change: Change,
        before: Ticket,
        matter: Matter,
        life: rules.Life,
        *,
        same: bool = False,
    ) -> None:
        """Write a ticket in somebody's change, who notes it; `same`: nothing that people see is different."""
        values = columns_of(matter) | self.lived(life, before.steps_taken)
        if not same:
            values |= {"changed_at_s": change.at_s, "version": before.version + 1}
        here = tickets.c.id == before.id
        await change.connection.execute(sa.update(tickets).where(here).values(values))
        if not same:
            await index_ticket(change.connection, before.id)

    def lived(self, life: rules.Life, taken: tuple[str, ...] = ()) -> dict[str, Any]:
        due = next_step(life, self.steps, taken, self.office)
        return {
            "steps_taken": _encode(taken).decode(),
            "next_step_s": None if due is None else due[0],
            "status": life.status,
            "priority": life.priority,
            "answered_at_s": life.answered_at_s,
            "solved_at_s": life.solved_at_s,
            "closed_at_s": life.closed_at_s,
            "answer_target_s": life.answer_target_s,
            "answer_due_s": rules.answer_due_s(life, self.office),
            "solve_target_s": life.solve.target_s,
            "solve_spent_s": life.solve.spent_s,
            "solve_since_s": life.solve.since_s,
            "solve_due_s": life.solve.due_s(self.office),
        }

    async def add_links(self, change: Change, ticket_id: int, things: Iterable[str]) -> None:
        query = sa.select(ticket_links.c.thing).where(ticket_links.c.ticket_id == ticket_id)
        known = {thing for (thing,) in (await change.connection.execute(query)).all()}
        new = [thing for thing in dict.fromkeys(things) if thing not in known]
        if len(known) + len(new) > LINKS_MAX:
            raise Conflict(f"a ticket has at most {LINKS_MAX} links")
        if new:
            rows = [{"ticket_id": ticket_id, "thing": thing} for thing in new]
            await change.connection.execute(sa.insert(ticket_links), rows)


def readers_of(ticket: Ticket) -> tuple[str, ...]:
    """Who is told of a change."""
    return tuple(name for name in (ticket.matter.assignee, *ticket.matter.watchers) if name)


async def reindex_tickets(connection: AsyncConnection) -> None:
    """Make the words of all tickets anew, in the caller's transaction."""
    query = sa.select(tickets.c.id).where(tickets.c.merged_into.is_(None)).order_by(tickets.c.id)
    for (ticket_id,) in (await connection.execute(query)).all():
        await index_ticket(connection, ticket_id)


async def index_ticket(connection: AsyncConnection, ticket_id: int) -> None:
    ticket = await one_ticket(connection, ticket_id)
    if ticket.merged_into is not None:
        return
    query = (
        sa.select(ticket_comments.c.text)
        .where(ticket_comments.c.ticket_id == ticket_id)
        .order_by(ticket_comments.c.id.desc())
        .limit(_COMMENTS_INDEXED)
    )
    comments = [str(text) for (text,) in (await connection.execute(query)).all()]
    matter = ticket.matter
    texts = [matter.subject, matter.description, *matter.tags, *matter.fields.values(), *comments]
    await words.index(connection, words.TICKETS, [(ticket_id, words.words_of(texts))])


async def _remember(change: Change, letter: str, ticket_id: int) -> None:
    if letter:
        row = {"message_id": letter, "ticket_id": ticket_id, "at_s": change.at_s}
        await change.connection.execute(sa.insert(ticket_mails).values(row))


async def _require_customer(connection: AsyncConnection, customer_id: int | None) -> None:
    if customer_id is None:
        return
    query = sa.select(customers.c.id).where(customers.c.id == customer_id)
    if (await connection.execute(query)).first() is None:
        raise Missing(f"there is no customer {customer_id}")


async def current_ticket(change: Change, ticket_id: int, version: int | None) -> Ticket:
    found = await one_ticket(change.connection, ticket_id)
    if version is not None and found.version != version:
        raise Stale(f"ticket {ticket_id} was changed meanwhile")
    if found.merged_into is not None:
        raise Conflict(f"ticket {ticket_id} was merged into {found.merged_into}")
    return found


async def one_ticket(connection: AsyncConnection, ticket_id: int) -> Ticket:
    """Raises `Missing`."""
    return ticket_of(await row_of(connection, tickets, ticket_id, "ticket"))


def replaced(matter: Matter, values: dict[str, Any]) -> Matter:
    """A matter with other values for some parts."""
    parts = {name: getattr(matter, name) for name in (*_PLAIN, *_LISTS)}
    return Matter(**{**parts, **values})


def columns_of(matter: Matter) -> dict[str, Any]:
    plain = {name: getattr(matter, name) for name in _PLAIN}
    return plain | {name: _encode(getattr(matter, name)).decode() for name in _LISTS}


def ticket_of(row: Any) -> Ticket:
    """The ticket of a row."""
    parts = {name: getattr(row, name) for name in _PLAIN}
    parts |= {name: msgspec.json.decode(getattr(row, name)) for name in _LISTS}
    life = rules.Life(
        status=row.status,
        priority=row.priority,
        created_at_s=row.created_at_s,
        solve=SlaClock(row.solve_target_s, row.solve_spent_s, row.solve_since_s),
        answer_target_s=row.answer_target_s,
        answered_at_s=row.answered_at_s,
        solved_at_s=row.solved_at_s,
        closed_at_s=row.closed_at_s,
    )
    return Ticket(
        id=row.id,
        matter=Matter(**parts),
        life=life,
        merged_into=row.merged_into,
        created_by=row.created_by,
        changed_at_s=row.changed_at_s,
        answer_due_s=row.answer_due_s,
        solve_due_s=row.solve_due_s,
        version=row.version,
        steps_taken=tuple(msgspec.json.decode(row.steps_taken, type=list[str])),
        remind_at_s=row.remind_at_s,
        remind_text=row.remind_text,
    )


def _comment(row: Any, files: Sequence[int] = ()) -> Comment:
    return Comment(row.id, row.ticket_id, row.at_s, row.author, row.text, row.public, tuple(files))


def _told(ticket: Ticket) -> dict[str, Any]:
    parts = {name: getattr(ticket.matter, name) for name in (*_PLAIN, *_LISTS)}
    return {**parts, "status": ticket.life.status, "priority": ticket.life.priority}
