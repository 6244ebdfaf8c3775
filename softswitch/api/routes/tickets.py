"""Tickets: what is still to be done for somebody."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import (
    ID_MAX,
    Body,
    Id,
    IfMatch,
    Input,
    Line,
    Output,
    Tag,
    Text,
    among,
    given,
    tag,
    version_of,
)
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, page_read
from softswitch.api.service import Served
from softswitch.api.ticket_checks import require_known
from softswitch.store.ticket_files import FILES_MAX
from softswitch.store.tickets import WATCHERS_MAX, Matter, Ticket, TicketFilter

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["tickets"])

Status = Literal["new", "open", "pending", "solved", "closed"]
Priority = Literal["low", "normal", "high", "urgent"]
Source = Literal["api", "call", "voicemail", "email", "console"]
Thing = Annotated[
    str,
    Field(pattern=r"^(call|voicemail|ticket|email|customer):[A-Za-z0-9_.:@-]{1,200}$"),
]
Fields = Annotated[dict[Tag, Annotated[Text, Field(max_length=1_024)]], Field(max_length=64)]
Tags = Annotated[list[Tag], Field(max_length=64)]
Watchers = Annotated[list[Tag], Field(max_length=WATCHERS_MAX)]
CustomerId = Annotated[int, Field(ge=1, le=ID_MAX)]


class TicketShown(Output):
    """One ticket. `answer_due_s` and `solve_due_s`: when a promise is broken; null where it is kept, or
    while the clock stands. Clocks count the office's hours only."""

    passing = frozenset({"steps_taken", "remind_at_s"})
    id: int = Field(examples=[7])
    kind: str
    subject: str = Field(examples=["No dial tone"])
    description: str
    priority: str = Field(examples=["normal"], json_schema_extra=among(get_args(Priority)))
    status: str = Field(examples=["open"], json_schema_extra=among(get_args(Status)))
    assignee: str
    department: str
    customer_id: int | None
    source: str = Field(json_schema_extra=among(get_args(Source)))
    tags: list[str]
    fields: dict[str, str]
    watchers: list[str]
    merged_into: int | None
    created_by: str
    created_at_s: float
    changed_at_s: float
    answered_at_s: float | None
    solved_at_s: float | None
    closed_at_s: float | None
    answer_due_s: float | None
    solve_due_s: float | None
    queue: str = Field(description="Whose agents it is given to while it has no assignee.")
    skill: str
    reply_to: str
    steps_taken: list[str] = Field(description="Of escalation.", examples=[["solve:80"]])
    remind_at_s: float | None
    version: int


class NewTicket(Input):
    """A ticket to be. With an assignee it is open at once."""

    subject: Line = Field(min_length=1, examples=["No dial tone"])
    description: Body = ""
    kind: Tag = "request"
    priority: Priority | None = Field(
        default=None, description="Left out: what the triggers say, else normal."
    )
    assignee: Line = Field(default="", examples=["lilei"])
    department: Line = ""
    customer_id: CustomerId | None = None
    source: Source = "api"
    tags: Tags = Field(default_factory=list)
    fields: Fields = Field(default_factory=dict)
    watchers: Watchers = Field(default_factory=list)
    queue: Line = Field(default="", examples=["support"])
    skill: Annotated[Line, Field(examples=["billing >= 2"])] = ""
    links: list[Thing] = Field(default_factory=list, max_length=64, examples=[["call:c-0f3a"]])


class TicketChange(Input):
    """What is to be different; what is left out stays."""

    subject: Annotated[Line, Field(min_length=1)] | None = None
    description: Body | None = None
    kind: Tag | None = None
    priority: Priority | None = None
    status: Status | None = None
    assignee: Line | None = None
    department: Line | None = None
    customer_id: CustomerId | None = None
    tags: Tags | None = None
    fields: Fields | None = None
    watchers: Watchers | None = None
    queue: Line | None = None
    skill: Line | None = None


class CommentShown(Output):
    """What somebody wrote."""

    id: int = Field(examples=[1])
    at_s: float
    author: str
    text: str
    public: bool
    files: list[int] = Field(examples=[[2]], description="Of the ticket, that go with it.")


class NewComment(Input):
    """`public`: for the customer to read; the first one is the answer that was promised."""

    text: Body = Field(min_length=1, examples=["The contract number is 4711."])
    public: bool = False
    files: list[CustomerId] = Field(
        default_factory=list,
        max_length=FILES_MAX,
        description="Of the ticket, to be sent along with an answer; 15 MiB together at most.",
    )


class LinkedThings(Page[str]):
    """What a ticket is about."""

    items: list[str] = Field(examples=[["call:c-0f3a"]])


class Links(Output):
    """What a ticket is about."""

    items: list[str] = Field(examples=[["call:c-0f3a"]])


class Link(Input):
    """One thing that a ticket is about."""

    thing: Thing = Field(examples=["call:c-0f3a"])


class TicketMerge(Input):
    """Another ticket about the same."""

    other: CustomerId = Field(examples=[8])


@router.get("/tickets")
async def list_tickets(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    text: Annotated[str, Query(max_length=200, description="In all that was written.")] = "",
    status: Annotated[list[Status], Query(max_length=5)] = [],  # noqa: B006
    priority: Annotated[Priority | None, Query()] = None,
    assignee: Annotated[
        str | None, Query(max_length=256, description='"" for those nobody works on.')
    ] = None,
    department: Annotated[str, Query(max_length=256)] = "",
    customer_id: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    thing: Annotated[str, Query(max_length=256, description="Linked to it.")] = "",
    kind: Annotated[str, Query(max_length=64)] = "",
    source: Annotated[Source | None, Query()] = None,
    queue: Annotated[str, Query(max_length=64)] = "",
    tag: Annotated[str, Query(max_length=64)] = "",
    watcher: Annotated[str, Query(max_length=64)] = "",
    late: Annotated[bool, Query(description="Only those whose promise is broken.")] = False,
) -> Page[TicketShown]:
    """Tickets, newest first."""
    which = TicketFilter(
        text=text,
        status=tuple(status),
        priority=priority or "",
        assignee=assignee,
        department=department,
        customer_id=customer_id,
        thing=thing,
        late_at_s=service.clock.wall_s() if late else None,
        kind=kind,
        source=source or "",
        queue=queue,
        tag=tag,
        watcher=watcher,
    )
    found = await service.store.tickets.page(which, limit + 1, int_cursor(cursor))
    return page_read(found, limit, shown)


@router.post("/tickets", status_code=201)
async def add_ticket(body: NewTicket, response: Response, me: Me, service: Served) -> TicketShown:
    """Open a ticket."""
    values = body.model_dump(exclude={"priority", "links"})
    require_known(service, values)
    ticket = await service.store.intake.open(
        me.actor, Matter(**values), priority=body.priority or "", links=body.links
    )
    tag(response, ticket.version)
    return shown(ticket)


@router.get("/tickets/{ticket_id}")
async def show_ticket(ticket_id: Id, response: Response, service: Served) -> TicketShown:
    """One ticket."""
    ticket = await service.store.tickets.get(ticket_id)
    tag(response, ticket.version)
    return shown(ticket)


@router.patch("/tickets/{ticket_id}")
async def change_ticket(
    ticket_id: Id,
    body: TicketChange,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> TicketShown:
    """Change a ticket; 409 for a status that cannot follow."""
    values = given(body)
    values = {k: v for k, v in values.items() if v is not None or k == "customer_id"}
    require_known(service, values)
    ticket = await service.store.tickets.change(me.actor, ticket_id, values, version_of(if_match))
    tag(response, ticket.version)
    return shown(ticket)


@router.get("/tickets/{ticket_id}/comments")
async def list_comments(
    ticket_id: Id, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[CommentShown]:
    """What was written, oldest first."""
    await service.store.tickets.get(ticket_id)
    after = int_cursor(cursor) or 0
    found = await service.store.tickets.comments(ticket_id, limit + 1, after)
    return page_read(found, limit, CommentShown.model_validate)


@router.post("/tickets/{ticket_id}/comments", status_code=201)
async def add_comment(ticket_id: Id, body: NewComment, me: Me, service: Served) -> CommentShown:
    """Write something."""
    comment = await service.store.tickets.comment(
        me.actor, ticket_id, body.text, public=body.public, files=body.files
    )
    return CommentShown.model_validate(comment)


@router.get("/tickets/{ticket_id}/links")
async def list_links(
    ticket_id: Id, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> LinkedThings:
    """What a ticket is about."""
    await service.store.tickets.get(ticket_id)
    page, more = page_of(await service.store.tickets.links(ticket_id), str, limit, cursor)
    return LinkedThings(items=page, next=more)


@router.post("/tickets/{ticket_id}/links", status_code=201)
async def add_link(ticket_id: Id, body: Link, me: Me, service: Served) -> Links:
    """Say what a ticket is about."""
    await service.store.tickets.link(me.actor, ticket_id, body.thing)
    return Links(items=await service.store.tickets.links(ticket_id))


@router.delete("/tickets/{ticket_id}/links", status_code=204)
async def remove_link(
    ticket_id: Id, thing: Annotated[str, Query(max_length=256)], me: Me, service: Served
) -> None:
    """Take a link away."""
    await service.store.tickets.unlink(me.actor, ticket_id, thing)


@router.post("/tickets/{ticket_id}/merge")
async def merge_tickets(
    ticket_id: Id, body: TicketMerge, response: Response, me: Me, service: Served
) -> TicketShown:
    """Take over another ticket's comments, links and watchers; it is closed and leads here."""
    ticket = await service.store.ticket_parts.merge(me.actor, ticket_id, body.other)
    tag(response, ticket.version)
    return shown(ticket)


def shown(ticket: Ticket) -> TicketShown:
    """A ticket as the API shows it."""
    matter, life = ticket.matter, ticket.life
    return TicketShown(
        id=ticket.id,
        kind=matter.kind,
        subject=matter.subject,
        description=matter.description,
        priority=life.priority,
        status=life.status,
        assignee=matter.assignee,
        department=matter.department,
        customer_id=matter.customer_id,
        source=matter.source,
        tags=matter.tags,
        fields=matter.fields,
        watchers=matter.watchers,
        merged_into=ticket.merged_into,
        created_by=ticket.created_by,
        created_at_s=life.created_at_s,
        changed_at_s=ticket.changed_at_s,
        answered_at_s=life.answered_at_s,
        solved_at_s=life.solved_at_s,
        closed_at_s=life.closed_at_s,
        answer_due_s=ticket.answer_due_s,
        solve_due_s=ticket.solve_due_s,
        queue=matter.queue,
        skill=matter.skill,
        reply_to=matter.reply_to,
        steps_taken=list(ticket.steps_taken),
        remind_at_s=ticket.remind_at_s,
        version=ticket.version,
    )
