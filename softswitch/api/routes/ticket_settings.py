"""Triggers, templates and macros of tickets; what people are told about tickets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field, create_model

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
    among,
    tag,
    version_of,
)
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, page_read
from softswitch.api.routes.tickets import Fields, Priority, Source, Status, Tags
from softswitch.api.service import Served, Service
from softswitch.api.ticket_checks import require_known, require_places
from softswitch.store.notices import KINDS
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


class NoticeShown(Output):
    """Something one was told about a ticket."""

    id: int = Field(examples=[1])
    reader: str
    at_s: float
    ticket_id: int
    kind: str = Field(
        examples=["escalated"],
        json_schema_extra=among(KINDS),
    )
    text: str
    read_at_s: float | None


class ReadUpTo(Input):
    """Everything up to this one was read."""

    up_to: int = Field(ge=1, le=ID_MAX, examples=[17])


class ReadCount(Output):
    """How many were unread."""

    read: int = Field(examples=[3])


# -- triggers, templates, macros ------------------------------------------------------------------------


def _offer(one: str, value: Any, body: type[Input], about: str) -> None:
    """The four routes of one kind of setting: `one` is its name, `body` how it is sent."""
    shown: Any = create_model(
        f"{one.capitalize()}Shown",
        __base__=body,
        __doc__=f"One {one}.",
        id=(int, Field(examples=[1])),
        version=(int, ...),
    )

    def show(kept: Kept[Any], response: Response | None = None) -> Any:
        if response is not None:
            tag(response, kept.version)
        return shown(id=kept.id, version=kept.version, **_values_of(kept.value, body))

    async def all_of_them(service: Served, limit: Limit = 200, cursor: Cursor = None) -> Any:
        found = await service.store.ticket_settings.all(value)
        page, more = page_of(found, lambda each: (each.id,), limit, cursor)
        return {"items": [show(each) for each in page], "next": more}

    async def one_of_them(setting_id: Id, response: Response, service: Served) -> Any:
        return show(await service.store.ticket_settings.get(value, setting_id), response)

    async def add(body: BaseModel, response: Response, me: Me, service: Served) -> Any:
        setting = _usable(service, value, body)
        found = await service.store.ticket_settings.add(me.actor, setting)
        return show(found, response)

    async def replace(
        setting_id: Id,
        body: BaseModel,
        response: Response,
        me: Me,
        service: Served,
        if_match: IfMatch = None,
    ) -> Any:
        setting = _usable(service, value, body)
        found = await service.store.ticket_settings.replace(
            me.actor, setting_id, setting, version_of(if_match)
        )
        return show(found, response)

    async def remove(setting_id: Id, me: Me, service: Served, if_match: IfMatch = None) -> None:
        version = version_of(if_match)
        await service.store.ticket_settings.remove(me.actor, value, setting_id, version)

    for handler in (add, replace):
        handler.__annotations__["body"] = body
    every: Any = Page[shown]
    path, item = f"/ticket-{one}s", f"/ticket-{one}s/{{setting_id}}"
    router.get(path, name=f"list_{one}s", description=about, response_model=every)(all_of_them)
    words = f"One {one}."
    router.get(item, name=f"show_{one}", description=words, response_model=shown)(one_of_them)
    words = f"Add a {one}, after the others."
    router.post(path, name=f"add_{one}", description=words, response_model=shown, status_code=201)(
        add
    )
    words = f"Replace a {one} as a whole."
    router.put(item, name=f"replace_{one}", description=words, response_model=shown)(replace)
    words = f"Delete a {one}."
    router.delete(item, name=f"remove_{one}", description=words, status_code=204)(remove)


def _usable(service: Service, value: Callable[..., Any], body: BaseModel) -> Any:
    """As the store has it: tuples, and "" for what is not said. Raises `Refused` for what can do nothing."""
    said = body.model_dump()
    require_known(service, said)
    require_places(said)
    values = {
        name: tuple(each) if isinstance(each, list) else "" if each is None else each
        for name, each in said.items()
    }
    return value(**values)


def _values_of(value: Any, body: type[BaseModel]) -> dict[str, Any]:
    """As it was sent."""
    found = {}
    for name, field in body.model_fields.items():
        each = getattr(value, name)
        unsaid = each == "" and field.default is None
        found[name] = list(each) if isinstance(each, tuple) else None if unsaid else each
    return found


_offer(
    "trigger",
    Trigger,
    TriggerBody,
    "What is done with new tickets by what they say and whose they are.",
)
_offer("template", Template, TemplateBody, "What new tickets may begin with.")
_offer("macro", Macro, MacroBody, "What may be done to tickets at once.")


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
    return page_read(found, limit, NoticeShown.model_validate)


@router.put("/notices")
async def read_notices(body: ReadUpTo, me: Me, service: Served) -> ReadCount:
    """Say that one has read everything up to a notice."""
    count = await service.store.notices.mark_read(me.actor, readers_of(me), body.up_to)
    return ReadCount(read=count)


def readers_of(me: Identity) -> tuple[str, ...]:
    """The names under which somebody is told things."""
    own = (me.name, me.agent_id) if me.agent_id else (me.name,)
    return (*own, "role:supervisor") if me.at_least("supervisor") else own
