"""How tickets come to be: out of a call, a voicemail, a letter, or because a program says so. Each is given
its customer, what the triggers say of it, and who has served the customer before."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from softswitch.errors import StoreError
from softswitch.store.attachments import SIZE_MAX, TYPES
from softswitch.store.customer_rows import CustomerRecord
from softswitch.store.customers import CustomerFilter
from softswitch.store.database import Database
from softswitch.store.debts import Owed
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.letters import Enclosure, Letter
from softswitch.store.reading import reading
from softswitch.store.schema_centre import queue_visits
from softswitch.store.schema_tickets import ticket_mails, tickets
from softswitch.store.ticket_triage import Facts, Trigger, triage
from softswitch.store.tickets import Matter, Ticket

if TYPE_CHECKING:
    from softswitch.store.store import Store

_log = logging.getLogger(__name__)
HISTORY_S = 30 * 86_400.0
_CANDIDATES = 50


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a letter: a new ticket, or a comment of an old one (`answered`). `files_left_out`
    names files that are not taken."""

    ticket: Ticket
    answered: bool
    files_left_out: tuple[str, ...] = ()


def _nobody(letter: Letter) -> Owed | None:
    return None


class Intake:
    """Opens tickets; `owes` says who is to be told of a letter that opens one. Raises `StoreError` while the
    database cannot be used."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self.owes: Callable[[Letter], Owed | None] = _nobody

    async def open(
        self,
        actor: str,
        matter: Matter,
        *,
        priority: str = "",
        links: Iterable[str] = (),
        numbers: Sequence[str] = (),
        address: str = "",
        letter: Letter | None = None,
    ) -> Ticket:
        """A new ticket. `numbers` and `address` find the customer where none is given; the triggers fill in
        what is left open. `letter`: what it came as. Raises `Missing` for a customer who does not exist."""
        customer = await self._customer(matter.customer_id, numbers, address)
        triggers = [kept.value for kept in await self._store.ticket_settings.all(Trigger)]
        facts = Facts(
            (matter.subject, matter.description),
            matter.source,
            matter.kind,
            frozenset(customer.profile.tags) if customer else frozenset(),
        )
        found = triage(triggers, facts)
        matter = replace(
            matter,
            customer_id=customer.id if customer else matter.customer_id,
            queue=matter.queue or found.queue,
            skill=matter.skill or found.skill,
            department=matter.department or found.department,
            assignee=matter.assignee or found.assignee,
            tags=list(dict.fromkeys([*matter.tags, *found.tags]))[:64],
        )
        urgency = priority or found.priority or "normal"
        return await self._store.tickets.add(
            actor,
            matter,
            priority=urgency,
            links=links,
            letter="" if letter is None else letter.message_id,
            owed=None if letter is None else self.owes(letter),
        )

    async def take_letter(self, actor: str, letter: Letter) -> Taken:
        """Put a letter where it belongs: beside the ticket it answers, else into a new one, linked to that
        which it answers where that is closed. Raises `Conflict` for one that is there already or that a
        machine has sent unasked.

        A letter is known from the moment on in which its ticket or comment is there. Its files follow; where
        a crash came between, the same letter, which is fetched once more then, brings those that are missing.
        """
        known = letter.message_id and await self._ticket_of([letter.message_id])
        if known:
            await self._bring_the_rest(actor, known, letter)
        old = await self._answered(letter)
        closed: Ticket | None = None
        if old is not None and old.life.status == "closed" and not letter.automatic:
            old, closed = None, old
        if old is None and letter.automatic:
            raise Conflict("the letter was sent by a machine and answers nothing of ours")
        if old is not None:
            text = letter.text or letter.subject or "(empty)"
            author, wakes = f"email:{letter.sender}", not letter.automatic
            ticket = await self._store.tickets.answered(
                author, old.id, text, letter=letter.message_id, wakes=wakes
            )
        elif closed is not None:
            ticket = await self._follow_up(actor, letter, closed)
        else:
            matter = Matter(
                subject=letter.subject or "(no subject)",
                description=letter.text,
                source="email",
                reply_to=letter.sender,
            )
            ticket = await self.open(actor, matter, address=letter.sender, letter=letter)
        left_out = [
            one.name for one in letter.enclosures if not await self._keep(actor, ticket.id, one)
        ]
        return Taken(ticket, old is not None, tuple(left_out))

    async def _bring_the_rest(self, actor: str, ticket_id: int, letter: Letter) -> None:
        """Keep what a ticket has not of a letter's files. Raises `Conflict`: the letter was taken."""
        ticket = await self._leading(ticket_id)
        there = {file.sha256 for file in await self._store.attachments.of_ticket(ticket.id)}
        for one in letter.enclosures:
            if hashlib.sha256(one.data).hexdigest() not in there:
                await self._keep(actor, ticket.id, one)
        raise Conflict(f"this letter was taken already, as ticket {ticket.id}")

    async def _follow_up(self, actor: str, letter: Letter, closed: Ticket) -> Ticket:
        """A ticket of its own for what answers one that is closed for good: there nobody would read it."""
        before = closed.matter
        matter = Matter(
            subject=letter.subject or before.subject,
            description=letter.text,
            source="email",
            kind=before.kind,
            department=before.department,
            customer_id=before.customer_id,
            queue=before.queue,
            skill=before.skill,
            reply_to=letter.sender,
        )
        links = [f"ticket:{closed.id}"]
        return await self.open(actor, matter, links=links, address=letter.sender, letter=letter)

    async def last_agent(
        self, ticket: Ticket, numbers: Sequence[str], now_s: float, history_s: float = HISTORY_S
    ) -> str:
        """Who has served the customer last, by ticket or call, within `history_s`; "" for nobody."""
        since_s = now_s - history_s
        found: list[tuple[float, str]] = []
        async with reading(self._database) as connection:
            if ticket.matter.customer_id is not None:
                query = (
                    sa.select(tickets.c.changed_at_s, tickets.c.assignee)
                    .where(
                        tickets.c.customer_id == ticket.matter.customer_id,
                        tickets.c.id != ticket.id,
                        tickets.c.assignee != "",
                        tickets.c.changed_at_s >= since_s,
                    )
                    .order_by(tickets.c.id.desc())
                    .limit(1)
                )
                found += [(at_s, agent) for at_s, agent in (await connection.execute(query)).all()]
            if numbers:
                table = queue_visits.c
                visits = (
                    sa.select(table.entered_at_s, table.agent_id)
                    .where(
                        table.caller.in_(list(numbers)),
                        table.agent_id != "",
                        table.entered_at_s >= since_s,
                    )
                    .order_by(table.entered_at_s.desc())
                    .limit(1)
                )
                found += [(at_s, agent) for at_s, agent in (await connection.execute(visits)).all()]
        return max(found, default=(0.0, ""))[1]

    async def customer_of(self, numbers: Sequence[str]) -> int | None:
        """Whose one of some numbers is."""
        found = await self._customer(None, numbers, "")
        return None if found is None else found.id

    # -- inside ---------------------------------------------------------------------------------

    async def _customer(
        self, customer_id: int | None, numbers: Sequence[str], address: str
    ) -> CustomerRecord | None:
        customers = self._store.customers
        if customer_id is not None:
            return await customers.get(customer_id)
        for number in numbers:
            owners = await customers.find_by_phone(number)
            if owners:
                return owners[0]
        if address:
            which, after = CustomerFilter(text=address), 0
            while page := await customers.page(which, _CANDIDATES, after):
                for record in page:
                    if address.lower() in (known.lower() for known in record.profile.addresses):
                        return record
                after = page[-1].id
        return None

    async def _answered(self, letter: Letter) -> Ticket | None:
        """The ticket that a letter belongs to. A number in the subject is anybody's to write: it counts only
        from the address that the ticket came from."""
        number = await self._ticket_of(letter.references)
        if number is None and letter.ticket is not None:
            try:
                claimed = await self._leading(letter.ticket)
            except Missing:
                return None
            return claimed if claimed.matter.reply_to == letter.sender else None
        return None if number is None else await self._leading(number)

    async def _leading(self, ticket_id: int) -> Ticket:
        ticket = await self._store.tickets.get(ticket_id)
        if ticket.merged_into is not None:
            ticket = await self._store.tickets.get(ticket.merged_into)
        return ticket

    async def _ticket_of(self, message_ids: Sequence[str]) -> int | None:
        if not message_ids:
            return None
        query = sa.select(ticket_mails.c.ticket_id).where(
            ticket_mails.c.message_id.in_(list(message_ids))
        )
        async with reading(self._database) as connection:
            found = (await connection.execute(query.limit(1))).scalar()
            return None if found is None else int(found)

    async def _keep(self, actor: str, ticket_id: int, enclosure: Enclosure) -> bool:
        if enclosure.type not in TYPES or len(enclosure.data) > SIZE_MAX:
            return False
        try:
            await self._store.attachments.add(
                actor, ticket_id, enclosure.name, enclosure.type, enclosure.data
            )
        except (Conflict, StoreError) as error:
            _log.warning("a file of ticket %d was left out: %s", ticket_id, error)
            return False
        return True
