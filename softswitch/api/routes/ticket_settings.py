"""Triggers, templates and macros of tickets; what people are told about tickets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.models import (
    ID_MAX,
    Body,
    Id,
    IfMatch,
    Input,
    Line,
    Output,
    Tag,
    tag,
    version_of,
)
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, write_cursor
from softswitch.api.routes.tickets import Fields, Priority, Source, Status, Tags
from softswitch.api.service import Served
from softswitch.store.ticket_settings import Kept, Macro, Template
from softswitch.store.ticket_triage import Trigger

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["tickets"])

Named = Annotated[Line, Field(min_length=1)]
Some = Annotated[list[Tag], Field(max_length=64)]


class TriggerBody(Input):
    """Which new tickets it is about (what is empty matches any) and what it fills in where nothing is said.
    A keyword is a word or several in a row, in any script. The first trigger that says something of a
    part decides it."""

    name: Named = Field(examples=["Money"])
    enabled: bool = True
    keywords: Some = Field(default_factory=list, examples=[["refund", "发票"]])
    sources: list[Source] = Field(default_factory=list, max_length=5)
    kinds: Some = Field(default_factory=list)
    customer_tags: Some = Field(default_factory=list)
    queue: Line = Field(default="", examples=["billing"])
    skill: Line = Field(default="", examples=["billing >= 2"])
    priority: Priority | None = None
    department: Line = ""
    assignee: Line = ""
    tags: Tags = Field(default_factory=list)


class TriggerShown(TriggerBody):
    """One trigger."""

    id: int = Field(examples=[1])
    version: int


class TemplateBody(Input):
    """What a new ticket begins with. Places as ``{{customer.name}}`` are filled in: ticket.id,
    ticket.subject, customer.name, customer.phone, agent.name, call.number."""

    name: Named = Field(examples=["Line is dead"])
    subject: Line = ""
    description: Body = Field(
        default="", examples=["{{customer.name}} called from {{call.number}}."]
    )
    kind: Tag = "request"
    priority: Priority = "normal"
    department: Line = ""
    queue: Line = ""
    skill: Line = ""
    tags: Tags = Field(default_factory=list)
    fields: Fields = Field(default_factory=dict)


class TemplateShown(TemplateBody):
    """One template."""

    id: int = Field(examples=[1])
    version: int


class MacroBody(Input):
    """What is done to a ticket at once; what is empty stays as it is."""

    name: Named = Field(examples=["Ask for the contract number"])
    comment: Body = Field(default="", examples=["Dear {{customer.name}}, what is its number?"])
    public: bool = False
    status: Status | None = None
    priority: Priority | None = None
    assignee: Line = ""
    department: Line = ""
    queue: Line = ""
    add_tags: Tags = Field(default_factory=list)
    remove_tags: Tags = Field(default_factory=list)


class MacroShown(MacroBody):
    """One macro."""

    id: int = Field(examples=[1])
    version: int


class Triggers(Output):
    """In the order in which they are asked."""

    items: list[TriggerShown]


class Templates(Output):
    """All of them."""

    items: list[TemplateShown]


class Macros(Output):
    """All of them."""

    items: list[MacroShown]


class NoticeShown(Output):
    """Something one was told about a ticket. `kind`: added, changed, commented, escalated, reminder."""

    id: int = Field(examples=[1])
    reader: str
    at_s: float
    ticket_id: int
    kind: str = Field(examples=["escalated"])
    text: str
    read_at_s: float | None


class ReadUpTo(Input):
    """Everything up to this one was read."""

    up_to: int = Field(ge=1, le=ID_MAX, examples=[17])


class ReadCount(Output):
    """How many were unread."""

    read: int = Field(examples=[3])


# -- triggers -------------------------------------------------------------------------------------------


@router.get("/ticket-triggers")
async def list_triggers(service: Served) -> Triggers:
    """What is done with new tickets by what they say and whose they are."""
    found = await service.store.ticket_settings.all(Trigger)
    return Triggers(items=[_trigger(one) for one in found])


@router.post("/ticket-triggers", status_code=201)
async def add_trigger(
    body: TriggerBody, response: Response, me: Me, service: Served
) -> TriggerShown:
    """Add a trigger, asked after the others."""
    found = await service.store.ticket_settings.add(me.actor, _trigger_of(body))
    tag(response, found.version)
    return _trigger(found)


@router.put("/ticket-triggers/{setting_id}")
async def replace_trigger(
    setting_id: Id,
    body: TriggerBody,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> TriggerShown:
    """Replace a trigger as a whole."""
    found = await service.store.ticket_settings.replace(
        me.actor, setting_id, _trigger_of(body), version_of(if_match)
    )
    tag(response, found.version)
    return _trigger(found)


@router.delete("/ticket-triggers/{setting_id}", status_code=204)
async def remove_trigger(setting_id: Id, me: Me, service: Served) -> None:
    """Delete a trigger."""
    await service.store.ticket_settings.remove(me.actor, Trigger, setting_id)


# -- templates ------------------------------------------------------------------------------------------


@router.get("/ticket-templates")
async def list_templates(service: Served) -> Templates:
    """What new tickets may begin with."""
    found = await service.store.ticket_settings.all(Template)
    return Templates(items=[_template(one) for one in found])


@router.post("/ticket-templates", status_code=201)
async def add_template(
    body: TemplateBody, response: Response, me: Me, service: Served
) -> TemplateShown:
    """Add a template."""
    found = await service.store.ticket_settings.add(me.actor, _template_of(body))
    tag(response, found.version)
    return _template(found)


@router.put("/ticket-templates/{setting_id}")
async def replace_template(
    setting_id: Id,
    body: TemplateBody,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> TemplateShown:
    """Replace a template as a whole."""
    found = await service.store.ticket_settings.replace(
        me.actor, setting_id, _template_of(body), version_of(if_match)
    )
    tag(response, found.version)
    return _template(found)


@router.delete("/ticket-templates/{setting_id}", status_code=204)
async def remove_template(setting_id: Id, me: Me, service: Served) -> None:
    """Delete a template."""
    await service.store.ticket_settings.remove(me.actor, Template, setting_id)


# -- macros ---------------------------------------------------------------------------------------------


@router.get("/ticket-macros")
async def list_macros(service: Served) -> Macros:
    """What may be done to tickets at once."""
    found = await service.store.ticket_settings.all(Macro)
    return Macros(items=[_macro(one) for one in found])


@router.post("/ticket-macros", status_code=201)
async def add_macro(body: MacroBody, response: Response, me: Me, service: Served) -> MacroShown:
    """Add a macro."""
    found = await service.store.ticket_settings.add(me.actor, _macro_of(body))
    tag(response, found.version)
    return _macro(found)


@router.put("/ticket-macros/{setting_id}")
async def replace_macro(
    setting_id: Id,
    body: MacroBody,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> MacroShown:
    """Replace a macro as a whole."""
    found = await service.store.ticket_settings.replace(
        me.actor, setting_id, _macro_of(body), version_of(if_match)
    )
    tag(response, found.version)
    return _macro(found)


@router.delete("/ticket-macros/{setting_id}", status_code=204)
async def remove_macro(setting_id: Id, me: Me, service: Served) -> None:
    """Delete a macro."""
    await service.store.ticket_settings.remove(me.actor, Macro, setting_id)


# -- notices --------------------------------------------------------------------------------------------


@router.get("/notices")
async def list_notices(
    me: Me,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    unread: Annotated[bool, Query(description="Only what was not read.")] = False,
) -> Page[NoticeShown]:
    """What one was told about tickets one works on or watches, newest first."""
    found = await service.store.notices.page(
        readers_of(me), unread=unread, limit=limit + 1, before=int_cursor(cursor)
    )
    items = [NoticeShown.model_validate(one) for one in found[:limit]]
    return Page(items=items, next=write_cursor(items[-1].id) if len(found) > limit else None)


@router.put("/notices")
async def read_notices(body: ReadUpTo, me: Me, service: Served) -> ReadCount:
    """Say that one has read everything up to a notice."""
    count = await service.store.notices.mark_read(me.actor, readers_of(me), body.up_to)
    return ReadCount(read=count)


def readers_of(me: Identity) -> tuple[str, ...]:
    """The names under which somebody is told things."""
    own = (me.name, me.agent_id) if me.agent_id else (me.name,)
    return (*own, "role:supervisor") if me.at_least("supervisor") else own


# -- to and fro -----------------------------------------------------------------------------------------


def _trigger_of(body: TriggerBody) -> Trigger:
    values = body.model_dump()
    for name in ("keywords", "sources", "kinds", "customer_tags", "tags"):
        values[name] = tuple(values[name])
    return Trigger(**{**values, "priority": body.priority or ""})


def _trigger(kept: Kept[Trigger]) -> TriggerShown:
    values = {name: getattr(kept.value, name) for name in TriggerBody.model_fields}
    values |= {name: list(v) for name, v in values.items() if isinstance(v, tuple)}
    values["priority"] = values["priority"] or None
    return TriggerShown(id=kept.id, version=kept.version, **values)


def _template_of(body: TemplateBody) -> Template:
    return Template(**{**body.model_dump(), "tags": tuple(body.tags)})


def _template(kept: Kept[Template]) -> TemplateShown:
    values = {name: getattr(kept.value, name) for name in TemplateBody.model_fields}
    values["tags"] = list(values["tags"])
    return TemplateShown(id=kept.id, version=kept.version, **values)


def _macro_of(body: MacroBody) -> Macro:
    values = body.model_dump()
    for name in ("add_tags", "remove_tags"):
        values[name] = tuple(values[name])
    for name in ("status", "priority"):
        values[name] = values[name] or ""
    return Macro(**values)


def _macro(kept: Kept[Macro]) -> MacroShown:
    values = {name: getattr(kept.value, name) for name in MacroBody.model_fields}
    values |= {name: list(v) for name, v in values.items() if isinstance(v, tuple)}
    for name in ("status", "priority"):
        values[name] = values[name] or None
    return MacroShown(id=kept.id, version=kept.version, **values)
