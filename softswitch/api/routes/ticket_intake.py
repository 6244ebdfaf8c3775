"""Tickets out of calls, voicemails and letters; parts that become tickets of their own; macros."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import ID_MAX, Epoch, Id, Input, Line, Output, Text, tag
from softswitch.api.problem import Refused
from softswitch.api.routes.tickets import Priority, TicketShown, shown
from softswitch.api.service import Served, Service
from softswitch.config.places import filled
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.letters import read_letter
from softswitch.store.ticket_settings import Macro, Template
from softswitch.store.tickets import Matter, Ticket, TicketFilter

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["tickets"])

Number = Annotated[int, Field(ge=1, le=ID_MAX)]


class FromCall(Input):
    """A ticket about a call. With `template`, what it says and is not said here is taken from it."""

    call_id: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,256}$", examples=["c-0f3a"])
    subject: Line = Field(default="", examples=["No dial tone"])
    description: Annotated[Text, Field(max_length=20_000)] = ""
    priority: Priority | None = None
    template: Number | None = None


class FromVoicemail(Input):
    """A ticket about a message in a box."""

    box: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["1001"])
    message_id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$", examples=["c18c2f3a-41d9e0"])


class LetterTaken(Output):
    """What became of a letter: a new ticket, or (`answered`) a comment of the one it answers."""

    ticket: TicketShown
    answered: bool
    files_left_out: list[str]


class Split(Input):
    """What is to be a ticket of its own, and which comments go there."""

    subject: Line = Field(min_length=1, examples=["And the invoice is wrong"])
    comments: list[Number] = Field(default_factory=list, max_length=200)


class Reminder(Input):
    """When to be told of the ticket again; null: not at all."""

    at_s: Epoch | None = Field(examples=[1764000000.0])
    text: Line = ""


@router.post("/tickets/from-call", status_code=201)
async def open_from_call(
    body: FromCall, response: Response, me: Me, service: Served
) -> TicketShown:
    """Open a ticket about a call: its customer is found by the number, the call is linked."""
    record = await service.store.calls.get(body.call_id)
    if record is None:
        raise Missing(f"there is no call {body.call_id}")
    number = record.number_to if record.direction == "outbound" else record.number_from
    numbers = service.spellings(number)[::-1] if number else ()
    known = {"call.number": number, "agent.name": me.name}
    matter = Matter(source="call")
    priority: str = body.priority or ""
    if body.template is not None:
        template = (await service.store.ticket_settings.get(Template, body.template)).value
        customer_id = await service.store.intake.customer_of(numbers)
        if customer_id is not None:
            known |= await _customer(service, customer_id)
        matter = _of_template(template, known)
        priority = body.priority or template.priority
    matter.source = "call"
    who = record.caller_name or number or "unknown"
    matter.subject = body.subject or matter.subject or f"Call from {who}"[:250]
    matter.description = body.description or matter.description
    ticket = await service.store.intake.open(
        me.actor,
        matter,
        priority=priority,
        links=[f"call:{record.call_id}"],
        numbers=numbers,
    )
    return _told(response, ticket)


@router.post("/tickets/from-voicemail", status_code=201)
async def open_from_voicemail(
    body: FromVoicemail, response: Response, me: Me, service: Served
) -> TicketShown:
    """Open a ticket about a voicemail message."""
    thing = TicketFilter(thing=f"voicemail:{body.message_id}")
    if known := await service.store.tickets.page(thing, 1):
        raise Conflict(f"message {body.message_id} is ticket {known[0].id} already")
    clerk = service.switch.clerk
    messages = service.switch.catalogue.mailboxes.messages(body.box)
    found = next((one for one in messages if one.message_id == body.message_id), None)
    if clerk is None or found is None:
        raise Missing(f"box {body.box} has no message {body.message_id}")
    ticket_id = await clerk.ticket_from_voicemail(me.actor, found)
    return _told(response, await service.store.tickets.get(ticket_id))


@router.post(
    "/tickets/from-email",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "message/rfc822": {
                    "schema": {"type": "string"},
                    "example": "From: wang@example.com\r\nSubject: No dial tone\r\n\r\nSince today.",
                }
            },
        }
    },
)
async def open_from_email(request: Request, me: Me, service: Served) -> LetterTaken:
    """Put a letter (RFC 5322, as it came) where it belongs: beside the ticket it answers, else into a new
    one. 409 for one that was taken already or that a machine has sent unasked."""
    data = await request.body()
    try:
        letter = await service.in_thread(read_letter, data)
    except ValueError as error:
        raise Refused(422, str(error)) from None
    taken = await service.store.intake.take_letter(me.actor, letter)
    return LetterTaken(
        ticket=shown(taken.ticket),
        answered=taken.answered,
        files_left_out=list(taken.files_left_out),
    )


@router.post("/tickets/from-template/{template_id}", status_code=201)
async def open_from_template(
    template_id: Id, response: Response, me: Me, service: Served, customer_id: int | None = None
) -> TicketShown:
    """Open a ticket as a template has it."""
    if customer_id is not None and not 1 <= customer_id <= ID_MAX:
        raise Refused(422, "that is no customer's number")
    template = (await service.store.ticket_settings.get(Template, template_id)).value
    known = {"agent.name": me.name}
    if customer_id is not None:
        known |= await _customer(service, customer_id)
    matter = _of_template(template, known)
    matter.customer_id = customer_id
    ticket = await service.store.intake.open(me.actor, matter, priority=template.priority)
    return _told(response, ticket)


@router.post("/tickets/{ticket_id}/split", status_code=201)
async def split_ticket(
    ticket_id: Id, body: Split, response: Response, me: Me, service: Served
) -> TicketShown:
    """Make another matter of a ticket one of its own; the two are linked."""
    ticket = await service.store.ticket_parts.split(
        me.actor, ticket_id, body.subject, body.comments
    )
    return _told(response, ticket)


@router.put("/tickets/{ticket_id}/reminder")
async def set_reminder(
    ticket_id: Id, body: Reminder, response: Response, me: Me, service: Served
) -> TicketShown:
    """Have the assignee and the watchers told at a time."""
    ticket = await service.store.tickets.remind(me.actor, ticket_id, body.at_s, body.text)
    return _told(response, ticket)


@router.post("/tickets/{ticket_id}/macros/{macro_id}")
async def apply_macro(
    ticket_id: Id, macro_id: Id, response: Response, me: Me, service: Served
) -> TicketShown:
    """Do to a ticket what a macro says; 409 for a status that cannot follow, and then nothing is done."""
    macro = (await service.store.ticket_settings.get(Macro, macro_id)).value
    before = await service.store.tickets.get(ticket_id)
    values: dict[str, Any] = {
        part: value
        for part in ("status", "priority", "assignee", "department", "queue")
        if (value := getattr(macro, part))
    }
    if macro.add_tags or macro.remove_tags:
        kept = [name for name in before.matter.tags if name not in macro.remove_tags]
        values["tags"] = list(dict.fromkeys([*kept, *macro.add_tags]))[:64]
    said = None
    if macro.comment:
        known = {"ticket.id": str(ticket_id), "ticket.subject": before.matter.subject}
        known["agent.name"] = me.name
        if before.matter.customer_id is not None:
            known |= await _customer(service, before.matter.customer_id)
        text = filled(macro.comment, known)[:20_000]
        said = text, macro.public
    if not values and said is None:
        raise Conflict(f"macro {macro_id} does nothing")
    tickets = service.store.tickets
    if not values and said is not None:
        await tickets.comment(me.actor, ticket_id, said[0], public=said[1])
        return _told(response, await tickets.get(ticket_id))
    return _told(response, await tickets.change(me.actor, ticket_id, values, before.version, said))


def _of_template(template: Template, known: dict[str, str]) -> Matter:
    return Matter(
        subject=filled(template.subject, known)[:250] or template.name,
        description=filled(template.description, known)[:20_000],
        kind=template.kind,
        department=template.department,
        queue=template.queue,
        skill=template.skill,
        tags=list(template.tags),
        fields=dict(template.fields),
    )


async def _customer(service: Service, customer_id: int) -> dict[str, str]:
    profile = (await service.store.customers.get(customer_id)).profile
    phone = profile.phones[0] if profile.phones else ""
    return {"customer.name": profile.name, "customer.phone": phone}


def _told(response: Response, ticket: Ticket) -> TicketShown:
    tag(response, ticket.version)
    return shown(ticket)
