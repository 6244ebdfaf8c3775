"""The configuration: tables of the office file, which are read-only here, and tables made through the API,
which live in the database. Both are used at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import IfMatch, Input, Output, tag, version_of
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, write_cursor
from softswitch.api.service import Served
from softswitch.config.overlay import SECTIONS, without_secrets
from softswitch.config.restart import AT_START
from softswitch.config.table_schema import table_schema
from softswitch.office_book import ALARM, Listed

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["configuration"])

SectionName = Literal[
    "extension",
    "ring_group",
    "trunk",
    "outbound",
    "inbound",
    "hours",
    "ivr",
    "flow",
    "region",
    "queue",
    "conference",
    "agent",
]
InPath = Annotated[SectionName, Path(examples=["queue"])]
EntryName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.+:@*#-]{1,128}$", examples=["sales"])]
_QUEUE = {"name": "sales", "number": "5010", "route": ["skill", "longest-idle"], "ring_s": 20.0}


class ConfigEntry(Output):
    """One table. Passwords and PINs are left out of `values` and named in `secrets`."""

    section: str = Field(examples=["queue"])
    name: str = Field(
        examples=["sales"], description="Of the table, or its number where it has none."
    )
    source: Literal["file", "api"] = Field(
        description='"file": read-only here; to change it, edit the file and reload.'
    )
    values: dict[str, Any] = Field(examples=[_QUEUE])
    secrets: list[str] = Field(examples=[["password"]])
    version: int = Field(description="0 for those of the file.")
    changed_at_s: float | None


class NewEntry(Input):
    """A table to be, with the keys that the office file has (docs/configuration.md)."""

    values: dict[str, Any] = Field(examples=[_QUEUE])


class EntryChange(Input):
    """What is to be different (RFC 7396): null takes a key away, what is left out stays."""

    values: dict[str, Any] = Field(examples=[{"ring_s": 25.0}])


class TableSchema(Output):
    """What a table may hold."""

    section: SectionName
    schema_: dict[str, Any] = Field(
        serialization_alias="schema",
        description="JSON Schema, 2020-12.",
        examples=[
            {"type": "object", "properties": {"ring_s": {"type": "number", "default": 20.0}}}
        ],
    )


class SectionCount(Output):
    """How many tables there are."""

    section: str = Field(examples=["queue"])
    file: int
    api: int


class ConfigShown(Output):
    """An overview."""

    sections: list[SectionCount]
    read_at_start: list[str] = Field(
        description="Keys of the file that are only read at a start.", examples=[["sip.listen"]]
    )
    restart: list[str] = Field(description="Of these, what was changed and waits for a restart.")
    can_reload: bool
    problem: str = Field(description='Why entries are not used; "" if all are.')


class ReloadResult(Output):
    """What reading the file again has changed."""

    changed: list[str] = Field(examples=[["queues"]])
    restart: list[str] = Field(
        examples=[[]], description="Changed in the file, but only read at a start."
    )


@router.get("/config")
async def show_config(service: Served) -> ConfigShown:
    """How much is configured, and where."""
    counts = []
    for section in SECTIONS:
        file, own = service.switch.book.counts(section)
        counts.append(SectionCount(section=section, file=file, api=own))
    return ConfigShown(
        sections=counts,
        read_at_start=list(AT_START),
        restart=list(service.switch.book.restart),
        can_reload=service.switch.read_file is not None,
        problem=service.switch.alarms.get(ALARM, ""),
    )


@router.post("/config/reload")
async def reload_config(me: Me, service: Served) -> ReloadResult:
    """Read the office file again, as `softswitch reload` does. 409 with every problem by its line where
    something is wrong with it; nothing has changed then."""
    done = await service.switch.reload()
    service.noted(me, "office-reloaded", "office:file", changed=done.changed)
    return ReloadResult(changed=done.changed, restart=done.restart)


@router.get("/config-schemas/{section}")
async def show_schema(section: InPath) -> TableSchema:
    """What a table of a section may hold, with defaults, as JSON Schema: for a form. What goes together with
    what `/config/{section}/check` says."""
    return TableSchema(section=section, schema_=table_schema(section))


@router.get("/config/{section}")
async def list_entries(
    section: InPath,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    text: Annotated[
        str, Query(max_length=64, description="A part of the name or the number.")
    ] = "",
    source: Literal["file", "api"] | None = None,
) -> Page[ConfigEntry]:
    """Tables of one section: those of the file first."""
    start = int_cursor(cursor) or 0
    end = start + limit
    found = service.switch.book.listed(section, start, end + 1, text=text, source=source or "")
    items = [_shown(each) for each in found[:limit]]
    return Page(items=items, next=write_cursor(end) if len(found) > limit else None)


@router.post("/config/{section}", status_code=201)
async def add_entry(
    section: InPath, body: NewEntry, response: Response, me: Me, service: Served
) -> ConfigEntry:
    """Add a table; it is used from now on."""
    listed = await service.switch.book.add(me.actor, section, body.values)
    return _answer(response, listed)


@router.post("/config/{section}/check", status_code=204)
async def check_entry(section: InPath, body: NewEntry, service: Served) -> None:
    """Whether a table could be added: 422 with what is wrong with it, 409 with what stands against it. Nothing
    changes."""
    await service.switch.book.check(section, body.values)


@router.get("/config/{section}/{name}")
async def show_entry(
    section: InPath, name: EntryName, response: Response, service: Served
) -> ConfigEntry:
    """One table."""
    return _answer(response, service.switch.book.find(section, name))


@router.patch("/config/{section}/{name}")
async def change_entry(
    section: InPath,
    name: EntryName,
    body: Annotated[EntryChange, Body()],
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> ConfigEntry:
    """Change a table that was made here; calls that go on are not disturbed. 409 for one of the file."""
    listed = await service.switch.book.change(
        me.actor, section, name, body.values, version_of(if_match)
    )
    return _answer(response, listed)


@router.delete("/config/{section}/{name}", status_code=204)
async def remove_entry(
    section: InPath, name: EntryName, me: Me, service: Served, if_match: IfMatch = None
) -> None:
    """Take away a table that was made here. 409 while another one refers to it."""
    await service.switch.book.remove(me.actor, section, name, version_of(if_match))


def _answer(response: Response, listed: Listed) -> ConfigEntry:
    shown = _shown(listed)
    tag(response, shown.version)
    return shown


def _shown(listed: Listed) -> ConfigEntry:
    values, secrets = without_secrets(listed.values)
    entry = listed.entry
    return ConfigEntry(
        section=listed.section,
        name=listed.name,
        source="file" if entry is None else "api",
        values=values,
        secrets=secrets,
        version=entry.version if entry is not None else 0,
        changed_at_s=entry.changed_at_s if entry is not None else None,
    )
