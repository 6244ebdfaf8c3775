"""Tickets and the routing engine: a ticket without an assignee stands in a queue as a contact of the medium
``ticket``, and who is given it becomes its assignee."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from softswitch.apps import acd_contacts as news
from softswitch.apps.acd_contacts import ContactNews, TextContact
from softswitch.errors import CallError, QueueUnavailable, SoftswitchError
from softswitch.store.customer_rows import Profile
from softswitch.store.sla import TARGETS, OpenTime, Targets, always
from softswitch.store.ticket_steps import DEFAULT_STEPS, Step
from softswitch.store.tickets import Ticket, TicketFilter

if TYPE_CHECKING:
    from softswitch.apps.acd_contacts import Contacts
    from softswitch.clock import Clock
    from softswitch.config import Hours, Office
    from softswitch.store import Store

_log = logging.getLogger(__name__)
PREFIX = "ticket-"
ACTOR = "system"
_RECALLED_MAX = 1_000
_PRIORITY = {"low": -1.0, "normal": 0.0, "high": 2.0, "urgent": 5.0}


def steps_of(office: Office) -> tuple[Step, ...]:
    """The steps of escalation that an office has, or the usual ones."""
    if not office.tickets.steps:
        return DEFAULT_STEPS
    return tuple(
        Step(step.clock, step.percent, tuple(step.tell), step.priority or "", step.queue or "")
        for step in office.tickets.steps
    )


def open_hours_of(office: Office) -> tuple[str, Hours | None]:
    """Which hours, of which zone, tickets count: those of ``[tickets] hours``, else the first; None: round the
    clock."""
    wanted = office.tickets.hours
    named = (hours for hours in office.hours if wanted in (None, hours.name))
    return office.office.timezone, next(named, None)


def open_time_of(office: Office) -> OpenTime:
    """Time as an office's tickets count it."""
    _, hours = open_hours_of(office)
    return OpenTime(office.office.zone, hours.periods if hours is not None else always)


def targets_of(office: Office) -> dict[str, Targets]:
    """What an office promises, by priority."""
    own: dict[str, Targets] = {
        priority: Targets(promise.answer_h * 3_600, promise.solve_h * 3_600)
        for priority, promise in office.tickets.promises.items()
    }
    return {**TARGETS, **own}


def rule_tickets(store: Store, office: Office) -> None:
    """Have a store's tickets and samples go by an office's clocks and promises from now on."""
    store.tickets.office = open_time_of(office)
    store.tickets.targets = targets_of(office)
    store.tickets.steps = steps_of(office)
    store.samples.zone = office.office.zone


class TicketDesk:
    """Gives tickets to agents. What is done here never holds up whoever changed the ticket: the engine is
    asked in a task of its own, one ticket after the other."""

    def __init__(self, office: Office, store: Store, clock: Clock, contacts: Contacts) -> None:
        self._store = store
        self._clock = clock
        self._contacts = contacts
        self.use_office(office)
        self._jobs: asyncio.Queue[int | tuple[int, str]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.assigned = 0

    def use_office(self, office: Office) -> None:
        """Go on with another office."""
        self._office = office
        self._queues = frozenset(queue.name for queue in office.queues)
        self._agents = frozenset(agent.id for agent in office.agents)
        self._regions = frozenset(region.name for region in office.regions)

    async def start(self) -> None:
        """From now on tickets are given out; those that wait since the last run first."""
        self._store.tickets.listeners.append(self._changed)
        self._contacts.listen(self._heard)
        which = TicketFilter(status=("new", "open"), assignee="")
        for ticket in await self._store.tickets.page(which, _RECALLED_MAX):
            self._changed(ticket)
        self._task = asyncio.create_task(self._work(), name="ticket desk")

    async def stop(self) -> None:
        """Leave them where they are."""
        task, self._task = self._task, None
        if task is not None:
            self._store.tickets.listeners.remove(self._changed)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until everything that was changed so far has been dealt with."""
        await self._jobs.join()

    def _changed(self, ticket: Ticket) -> None:
        self._jobs.put_nowait(ticket.id)

    def _heard(self, told: ContactNews) -> None:
        if told.contact.startswith(PREFIX) and told.kind == news.ASSIGNED:
            self._jobs.put_nowait((int(told.contact.removeprefix(PREFIX)), told.agent))

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            try:
                if isinstance(job, tuple):
                    await self._assign(*job)
                else:
                    await self._place(await self._store.tickets.get(job))
            except (SoftswitchError, CallError) as error:
                _log.warning("ticket %s: %s", job, error)
            except Exception:
                _log.exception("ticket %s", job)
            finally:
                self._jobs.task_done()

    async def _assign(self, ticket_id: int, agent: str) -> None:
        ticket = await self._store.tickets.get(ticket_id)
        if not ticket.is_active or ticket.matter.assignee == agent:
            return
        await self._store.tickets.change(ACTOR, ticket_id, {"assignee": agent})
        self.assigned += 1

    async def _place(self, ticket: Ticket) -> None:
        """Have the engine hold of a ticket what is to be held."""
        contact = f"{PREFIX}{ticket.id}"
        queue = ticket.matter.queue or self._office.tickets.queue or ""
        state = self._contacts.state(contact)
        assignee = ticket.matter.assignee
        if not ticket.is_active:
            self._let_go(contact)
        elif state is None:
            if queue in self._queues and not assignee:
                await self._stand_in_line(ticket, contact, queue)
        elif not assignee:
            if state.phase == "connected" or (queue and queue != state.queue):
                self._contacts.requeue(contact, queue, by=ACTOR)
            self._contacts.update(contact, priority=_PRIORITY[ticket.life.priority])
        elif assignee != state.agent:
            if assignee in self._agents:
                self._contacts.give(contact, assignee, by=ACTOR)
            else:  # somebody outside the queues has it
                self._let_go(contact)

    def _let_go(self, contact: str) -> None:
        state = self._contacts.state(contact)
        if state is None:
            return
        if state.phase == "connected":
            self._contacts.done(contact)
        else:
            self._contacts.withdraw(contact, "withdrawn", by=ACTOR)

    async def _stand_in_line(self, ticket: Ticket, contact: str, queue: str) -> None:
        customer_id, profile = ticket.matter.customer_id, Profile()
        if customer_id is not None:
            profile = (await self._store.customers.get(customer_id)).profile
        phones = profile.phones
        history_s = self._office.tickets.last_agent_h * 3_600
        last = await self._store.intake.last_agent(ticket, phones, self._clock.wall_s(), history_s)
        try:
            self._contacts.add(
                TextContact(
                    contact,
                    queue,
                    caller=phones[0] if phones else "",
                    customer="" if customer_id is None else f"customer:{customer_id}",
                    priority=_PRIORITY[ticket.life.priority],
                    skill=ticket.matter.skill,
                    last_agent=last if last in self._agents else "",
                    region=profile.region if profile.region in self._regions else "",
                    attributes={"customer_name": profile.name} if profile.name else {},
                )
            )
        except QueueUnavailable as error:
            _log.warning("%s: %s", contact, error)
