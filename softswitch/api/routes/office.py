"""The office as its file describes it. Read-only here: the file says it. Secrets are never shown."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute
from softswitch.api.models import Output
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, write_cursor
from softswitch.api.service import Served

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["office"])


class ExtensionShown(Output):
    """A number with an account that phones register for."""

    number: str = Field(examples=["1001"])
    name: str
    permissions: list[str] = Field(examples=[["internal", "local"]])
    voicemail: bool
    registered: list[str] = Field(description="Contacts of the phones that are there now.")


class TrunkShown(Output):
    """A carrier or another exchange."""

    name: str = Field(examples=["carrier"])
    uri: str
    transport: str
    caller_id: str | None
    max_calls: int
    calls: int = Field(description="Calls over it now.")


class OfficeShown(Output):
    """Who this is, and the rest of the file that has no list of its own."""

    name: str
    domain: str
    language: str
    timezone: str
    country: str
    file_is_read_only: bool = True
    hours: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    menus: list[dict[str, Any]]
    inbound: list[dict[str, Any]]
    outbound: list[dict[str, Any]]
    ring_groups: list[dict[str, Any]]


@router.get("/office")
async def show_office(service: Served) -> OfficeShown:
    """The office."""
    office = service.office
    return OfficeShown(
        name=office.office.name,
        domain=office.office.domain,
        language=office.office.language,
        timezone=office.office.timezone,
        country=office.office.country,
        hours=[
            {"name": h.name, "open": [list(map(list, day)) for day in h.open]} for h in office.hours
        ],
        regions=[{"name": r.name, "prefixes": list(r.prefixes)} for r in office.regions],
        menus=[{"name": i.name, "number": i.number} for i in office.ivrs],
        inbound=[
            {"number": r.number, "from": r.from_trunk, "to": str(r.to)} for r in office.inbound
        ],
        outbound=[
            {"prefix": r.prefix, "permission": r.permission, "trunks": list(r.trunks)}
            for r in office.outbound
        ],
        ring_groups=[
            {"number": g.number, "members": list(g.members), "ring": g.ring}
            for g in office.ring_groups
        ],
    )


@router.get("/extensions")
async def list_extensions(
    service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[ExtensionShown]:
    """Extensions, in the order of the file."""
    now_s = service.clock.monotonic_s()
    contacts: dict[str, list[str]] = {}
    for row in service.switch.registrar.rows(now_s):
        contacts.setdefault(str(row["extension"]), []).append(str(row["contact"]))
    start = int_cursor(cursor) or 0
    found = service.office.extensions[start : start + limit]
    items = [
        ExtensionShown(
            number=extension.number,
            name=extension.name,
            permissions=list(extension.permissions),
            voicemail=extension.voicemail is not None,
            registered=contacts.get(extension.number, []),
        )
        for extension in found
    ]
    end = start + limit
    return Page(
        items=items, next=write_cursor(end) if end < len(service.office.extensions) else None
    )


@router.get("/trunks")
async def list_trunks(service: Served) -> Page[TrunkShown]:
    """Trunks, in the order of the file."""
    rows: list[dict[str, Any]] = list(service.switch.trunks.snapshot())
    live = {str(row["name"]): row for row in rows}
    return Page(
        items=[
            TrunkShown(
                name=trunk.name,
                uri=trunk.uri,
                transport=trunk.transport,
                caller_id=trunk.caller_id,
                max_calls=trunk.max_calls,
                calls=int(live.get(trunk.name, {}).get("calls", 0)),
            )
            for trunk in service.office.trunks
        ]
    )


@router.get("/status", tags=["health"])
async def show_status(service: Served) -> dict[str, Any]:
    """Everything that `softswitch status` shows."""
    return service.switch.snapshot()
