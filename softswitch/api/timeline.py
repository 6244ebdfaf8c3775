"""Everything that happened with one customer, in one list."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softswitch.store.calls import CallFilter
from softswitch.store.record import CallRecord
from softswitch.store.spellings import spelt
from softswitch.store.tickets import TicketFilter

if TYPE_CHECKING:
    from softswitch.api.service import Service

_READ_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened."""

    at_s: float
    kind: str
    thing: str
    summary: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mistaken:
    """Somebody else was taken for a customer for a while: the calls of that time with these numbers are
    not his, though they say so."""

    since_s: float
    until_s: float
    numbers: frozenset[str]

    def has(self, record: CallRecord) -> bool:
        """Whether a call is one of them."""
        numbers = (record.number_from, record.number_to)
        return self.since_s <= record.started_at_s < self.until_s and not self.numbers.isdisjoint(
            numbers
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose time is told: `numbers` as calls may show them, and `ids` of the database. `by_calls`: tickets
    count that are linked to his calls, for he may have no id that they could name."""

    numbers: tuple[str, ...]
    ids: tuple[int, ...]
    by_calls: bool = False
    mistaken: tuple[Mistaken, ...] = ()


Source = Callable[["Service", Subject, int, float | None], Coroutine[Any, Any, list[Happening]]]
"""What there is of one kind at or before a time, newest first, at most so many."""


async def timeline(
    service: Service,
    customer_id: int,
    limit: int,
    before: tuple[float, str] | None,
    kinds: Collection[str] = (),
) -> list[Happening]:
    """What happened before (time, thing) of the page before, newest first, of some kinds or all. Raises
    `Missing`."""
    customer = await service.store.customers.get(customer_id)
    if customer.merged_into is not None:
        customer = await service.store.customers.get(customer.merged_into)
    numbers = spelt(customer.profile.phones)
    mistaken = tuple(
        Mistaken(one.at_s, one.undone_at_s, frozenset(spelt(one.brought.phones)) - {*numbers})
        for one in await service.store.customers.merges(customer.id)
        if one.undone_at_s is not None
    )
    subject = Subject(numbers, (customer.id,), mistaken=mistaken)
    return await _told(service, subject, limit, before, kinds)


async def timeline_of_numbers(
    service: Service,
    phones: Iterable[str],
    limit: int,
    before: tuple[float, str] | None,
    kinds: Collection[str] = (),
) -> list[Happening]:
    """The same of who is only in the office file, by his numbers; with what is kept of anybody in the
    database who has one of them."""
    ids: dict[int, None] = {}
    for phone in dict.fromkeys(phones):
        ids |= {one.id: None for one in await service.store.customers.find_by_phone(phone)}
    return await _told(service, Subject(spelt(phones), tuple(ids), True), limit, before, kinds)


async def _told(
    service: Service,
    subject: Subject,
    limit: int,
    before: tuple[float, str] | None,
    kinds: Collection[str],
) -> list[Happening]:
    until_s = None if before is None else before[0]
    found: list[list[Happening]] = []
    for source in (SOURCES[kind] for kind in SOURCES if not kinds or kind in kinds):
        # Several things may have the time of the cursor: they are read again and left out below.
        found.append(await source(service, subject, min(limit + 64, _READ_MAX), until_s))
    merged = heapq.merge(*(sorted(f, key=_order) for f in found), key=_order)
    wanted = (h for h in merged if before is None or _order(h) > (-before[0], before[1]))
    return [happening for happening, _ in zip(wanted, range(limit), strict=False)]


def _order(happening: Happening) -> tuple[float, str]:
    return (-happening.at_s, happening.thing)


async def _calls(
    service: Service, subject: Subject, limit: int, until_s: float | None
) -> list[Happening]:
    # `until_s` itself is wanted too, and the filter leaves it out.
    after = None if until_s is None else until_s + 1e-3
    # By his numbers, and those in which he was known by another one.
    wanted = [CallFilter(customer=customer_id, until_s=after) for customer_id in subject.ids]
    if subject.numbers:
        wanted.append(CallFilter(number=subject.numbers, until_s=after))
    if subject.mistaken:
        limit = _READ_MAX
    found = [
        record
        for which in wanted
        for record in await service.store.calls.list(limit, None, which)
        if not any(one.has(record) for one in subject.mistaken)
    ]
    calls = sorted({r.call_id: r for r in found}.values(), key=lambda r: -r.seq)
    return [_call(record) for record in calls[:limit]]


def _call(record: CallRecord) -> Happening:
    way = f"{record.direction} {record.number_from} to {record.number_to}".strip()
    details = {
        "duration_s": record.duration_s,
        "recordings": len(record.recordings),
        "recordings_kept": sum("deleted_at_s" not in one for one in record.recordings),
        "status": record.status,
    }
    thing = f"call:{record.call_id}"
    return Happening(record.started_at_s, "call", thing, f"{way}: {record.status}", details)


async def _notes(
    service: Service, subject: Subject, limit: int, until_s: float | None
) -> list[Happening]:
    notes = [
        note
        for customer_id in subject.ids
        for note in await service.store.customers.notes(customer_id, _READ_MAX)
    ]
    notes.sort(key=lambda note: -note.at_s)
    wanted = [note for note in notes if until_s is None or note.at_s <= until_s][:limit]
    return [
        Happening(n.at_s, "note", f"note:{n.id}", n.text[:200], {"author": n.author})
        for n in wanted
    ]


async def _tickets(
    service: Service, subject: Subject, limit: int, until_s: float | None
) -> list[Happening]:
    which = [TicketFilter(customer_id=customer_id) for customer_id in subject.ids]
    if subject.by_calls and subject.numbers:
        which.append(TicketFilter(callers=subject.numbers))
    pages = [await service.store.tickets.page(one, _READ_MAX) for one in which]
    found = sorted({t.id: t for page in pages for t in page}.values(), key=lambda t: -t.id)
    wanted = [t for t in found if until_s is None or t.life.created_at_s <= until_s][:limit]
    return [
        Happening(
            ticket.life.created_at_s,
            "ticket",
            f"ticket:{ticket.id}",
            f"{ticket.matter.subject}: {ticket.life.status}",
            {"priority": ticket.life.priority, "assignee": ticket.matter.assignee},
        )
        for ticket in wanted
    ]


async def _surveys(
    service: Service, subject: Subject, limit: int, until_s: float | None
) -> list[Happening]:
    found = await service.store.outcomes.surveys_of(subject.numbers, limit, until_s)
    return [
        Happening(
            one.at_s,
            "survey",
            f"survey:{one.seq}",
            f"{one.survey}: {'no answer' if one.score is None else one.score}",
            {"call": one.call_id, "queue": one.queue_id, "agent": one.agent_id},
        )
        for one in found
    ]


async def _voicemails(
    service: Service, subject: Subject, limit: int, until_s: float | None
) -> list[Happening]:
    boxes = service.switch.catalogue.mailboxes
    found = [
        Happening(
            message.at_s,
            "voicemail",
            f"voicemail:{message.message_id}",
            f"{message.duration_s:.0f} s for box {message.box}",
            {"call": message.call_id, "box": message.box, "heard": message.heard},
        )
        for extension in service.office.extensions
        if extension.voicemail is not None
        for message in boxes.messages(extension.number)
        if message.number_from in subject.numbers and (until_s is None or message.at_s <= until_s)
    ]
    return sorted(found, key=_order)[:limit]


SOURCES: dict[str, Source] = {
    "call": _calls,
    "note": _notes,
    "ticket": _tickets,
    "survey": _surveys,
    "voicemail": _voicemails,
}
