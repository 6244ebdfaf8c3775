"""What becomes of tickets because time passes: escalation, reminders, closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from softswitch.store import ticket_rules as rules
from softswitch.store.ledger import Change, Ledger
from softswitch.store.notices import notify
from softswitch.store.schema_tickets import tickets
from softswitch.store.ticket_steps import Step, next_step
from softswitch.store.tickets import (
    LIST_MAX,
    Ticket,
    Tickets,
    one_ticket,
    readers_of,
    replaced,
    ticket_of,
)

AT_ONCE = 10
"""Tickets in one change."""
Part = Callable[[Change, float, list[str]], Awaitable[tuple[int, list[Ticket]]]]
_PROMISES = {"answer": "an answer", "solve": "the solution"}


class TicketTime:
    """Lets time pass for the tickets of one office. Raises `StoreError` while the database cannot be
    used."""

    def __init__(self, tickets: Tickets, ledger: Ledger) -> None:
        self._tickets = tickets
        self._ledger = ledger

    async def let_pass(self, now_s: float, close_after_s: float = 0.0) -> list[str]:
        """Do what is due at `now_s`: steps of escalation, reminders, and closing what has been solved for
        `close_after_s` (0: never); what was done, as "step:12:solve:80", "reminder:12", "closed:12".

        Time is an argument: a test may let a month pass at once. What was due long ago is done once.
        """
        done: list[str] = []
        await self._by_parts(self._take_steps, now_s, done)
        await self._by_parts(self._remind_all, now_s, done)
        if close_after_s > 0:
            await self._by_parts(self._close_old, now_s - close_after_s, done)
        return done

    async def _by_parts(self, part: Part, until_s: float, done: list[str]) -> None:
        """A few tickets in each change: after a weekend, or an outage, hundreds are due at once, and nothing
        else is written to the database as long as a change lasts."""
        for _ in range(LIST_MAX // AT_ONCE):
            async with self._ledger.change("system") as change:
                found, changed = await part(change, until_s, done)
            self._tickets.told(*changed)
            if found < AT_ONCE:
                break
            await asyncio.sleep(0)

    async def recount(self) -> None:
        """The office's hours are others now: count anew when promises are broken, ticket by ticket, each
        before its next step."""
        async with self._ledger.change("system") as change:
            counting = tickets.c.status.in_(("new", "open", "pending"))
            query = sa.update(tickets).where(counting, tickets.c.merged_into.is_(None))
            await change.connection.execute(query.values(next_step_s=0.0))

    async def _take_steps(
        self, change: Change, now_s: float, done: list[str]
    ) -> tuple[int, list[Ticket]]:
        due = await _due(change, tickets.c.next_step_s, now_s)
        changed = []
        for ticket in due:
            taken = ticket.steps_taken
            while (following := self._next_step(ticket)) is not None and following[0] <= now_s:
                await self._take_step(change, ticket, following[1])
                done.append(f"step:{ticket.id}:{following[1].key}")
            # Without a step its clock was stopped or moved since: only remember when.
            same = ticket.steps_taken == taken
            await self._tickets.put(change, ticket, ticket.matter, ticket.life, same=same)
            if not same:
                changed.append(await one_ticket(change.connection, ticket.id))
        return len(due), changed

    async def _take_step(self, change: Change, ticket: Ticket, step: Step) -> None:
        text = f"{step.percent} % of the time for {_PROMISES[step.clock]} is used"
        await notify(change, ticket.id, "escalated", text, _told_by(step, ticket))
        change.note("ticket-escalated", f"ticket:{ticket.id}", step=step.key)
        ticket.steps_taken = (*ticket.steps_taken, step.key)
        if step.queue and ticket.life.status in rules.RUNNING:
            ticket.matter = replaced(ticket.matter, {"queue": step.queue, "assignee": ""})
        if step.priority and _rank(step.priority) > _rank(ticket.life.priority):
            ticket.life = rules.to_priority(ticket.life, step.priority, self._tickets.targets)

    async def _remind_all(
        self, change: Change, now_s: float, done: list[str]
    ) -> tuple[int, list[Ticket]]:
        due = await _due(change, tickets.c.remind_at_s, now_s)
        for ticket in due:
            text = ticket.remind_text or ticket.matter.subject
            readers = readers_of(ticket) or ("role:supervisor",)
            await notify(change, ticket.id, "reminder", text, readers)
            here = tickets.c.id == ticket.id
            cleared = sa.update(tickets).where(here).values(remind_at_s=None, remind_text="")
            await change.connection.execute(cleared)
            done.append(f"reminder:{ticket.id}")
        return len(due), []

    async def _close_old(
        self, change: Change, solved_before_s: float, done: list[str]
    ) -> tuple[int, list[Ticket]]:
        query = (
            sa.select(tickets)
            .where(tickets.c.status == "solved", tickets.c.solved_at_s <= solved_before_s)
            .order_by(tickets.c.id)
            .limit(AT_ONCE)
        )
        found = [ticket_of(row) for row in (await change.connection.execute(query)).all()]
        for ticket in found:
            life = rules.to_status(ticket.life, "closed", change.at_s, self._tickets.office)
            await self._tickets.put(change, ticket, ticket.matter, life)
            change.note("ticket-changed", f"ticket:{ticket.id}", status=["solved", "closed"])
            done.append(f"closed:{ticket.id}")
        return len(found), [await one_ticket(change.connection, ticket.id) for ticket in found]

    def _next_step(self, ticket: Ticket) -> tuple[float, Step] | None:
        return next_step(ticket.life, self._tickets.steps, ticket.steps_taken, self._tickets.office)


def _rank(priority: str) -> int:
    return rules.PRIORITIES.index(priority)


def _told_by(step: Step, ticket: Ticket) -> list[str]:
    """Whom a step tells; a ticket that nobody works on is the supervisors' care."""
    found: list[str] = []
    for who in step.tell:
        if who == "assignee":
            found.append(ticket.matter.assignee or "role:supervisor")
        elif who == "watchers":
            found += ticket.matter.watchers
        elif who == "supervisors":
            found.append("role:supervisor")
        else:
            found.append(who)
    return found


async def _due(change: Change, column: sa.Column[float], now_s: float) -> list[Ticket]:
    query = (
        sa.select(tickets)
        .where(column <= now_s, tickets.c.merged_into.is_(None))
        .order_by(column)
        .limit(AT_ONCE)
    )
    return [ticket_of(row) for row in (await change.connection.execute(query)).all()]
