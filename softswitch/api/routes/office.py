"""The office as its file describes it. Read-only here: the file says it. Secrets are never shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.models import Input, NamePath, Output, given
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.service import Served, Service
from softswitch.config import Extension
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["office"])


ExtensionNumber = Annotated[str, Path(pattern=r"^[0-9]{1,32}$", examples=["1001"])]


class PhoneShown(Output):
    """A telephone that has registered."""

    contact: str = Field(examples=["sip:1001@192.168.1.20:5060"])
    address: str = Field(description="Where it signals from.", examples=["203.0.113.9:40001"])
    transport: str
    user_agent: str
    expires_s: float
    reachable: bool | None = Field(description="Answers OPTIONS; null: not asked, or not yet.")
    round_trip_ms: float | None = Field(description="Of its last answer.")


class ExtensionShown(Output):
    """A number with an account that phones register for."""

    number: str = Field(examples=["1001"])
    name: str
    permissions: list[str] = Field(examples=[["internal", "local"]])
    voicemail: bool
    registered: list[str] = Field(description="Contacts of the phones that are there now.")
    phones: list[PhoneShown]


class LineShown(Output):
    """One extension, and how calls to it are treated now: what the office says, changed by feature codes
    and here. A forwarding "" is off."""

    number: str = Field(examples=["1001"])
    name: str
    do_not_disturb: bool
    call_waiting: bool
    forward_always: str = Field(examples=[""])
    forward_busy: str
    forward_no_answer: str = Field(examples=["voicemail:1001"])
    forward_unreachable: str
    after_s: float = Field(description="How long it rings before `forward_no_answer`.")


_Forward = Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_:.+*#-]{0,128}$")]


class LineChange(Input):
    """What is to be different. A forwarding is "voicemail", a number, a destination, or "" for none."""

    do_not_disturb: bool | None = None
    call_waiting: bool | None = None
    forward_always: _Forward = None
    forward_busy: _Forward = None
    forward_no_answer: _Forward = Field(default=None, examples=["voicemail"])
    forward_unreachable: _Forward = None


class TrunkShown(Output):
    """A carrier or another exchange."""

    name: str = Field(examples=["carrier"])
    uri: str
    transport: str
    caller_id: str | None
    max_calls: int
    calls: int = Field(description="Calls over it now.")
    refused: int = Field(description="Calls that its limits kept out, since the start.")
    state: str = Field(examples=["up"], description="What its last calls and OPTIONS say of it.")
    why: str = Field(description='Why it is not well; "" where it is.')
    registration: str = Field(examples=["registered"], description='"" where it does not register.')
    targets: list[dict[str, Any]] = Field(description="Each address it is reached at, in order.")


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
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    text: Annotated[
        str, Query(max_length=64, description="A part of the number or the name.")
    ] = "",
) -> Page[ExtensionShown]:
    """Extensions, by number."""
    words = text.casefold()
    now_s = service.clock.monotonic_s()
    phones: dict[str, list[PhoneShown]] = {}
    for row in service.switch.registrar.rows(now_s):
        shown = PhoneShown(**{key: row[key] for key in PhoneShown.model_fields})
        phones.setdefault(str(row["extension"]), []).append(shown)
    asked = [e for e in service.office.extensions if words in f"{e.number} {e.name}".casefold()]
    found, more = page_of(asked, lambda each: each.number, limit, cursor)
    items = [
        ExtensionShown(
            number=extension.number,
            name=extension.name,
            permissions=list(extension.permissions),
            voicemail=extension.voicemail is not None,
            registered=[phone.contact for phone in phones.get(extension.number, [])],
            phones=phones.get(extension.number, []),
        )
        for extension in found
    ]
    return Page(items=items, next=more)


@router.get("/extensions/{number}")
async def show_extension(number: ExtensionNumber, me: Me, service: Served) -> LineShown:
    """One extension and how calls to it are treated now."""
    return _line(service, _own_extension(service, me, number))


@router.put("/extensions/{number}/line")
async def change_line(
    number: ExtensionNumber, body: LineChange, me: Me, service: Served
) -> LineShown:
    """Set do not disturb, call waiting and forwarding; agents for their own telephone. What is left out stays;
    null is what the office file says. Forwarding is dialled with the extension's own rights."""
    extension = _own_extension(service, me, number)
    lines = service.switch.lines
    for setting, value in given(body).items():
        lines.set(extension.number, setting, value, by=me.actor)
    if given(body):
        service.noted(me, "line-changed", f"extension:{number}", **given(body))
    return _line(service, extension)


def _own_extension(service: Service, me: Identity, number: str) -> Extension:
    """Agents see and set their own. Raises `Missing`."""
    agent = service.switch.centre.agents_by_id.get(me.agent_id)
    own = agent is not None and agent.extension == number
    found = next((e for e in service.office.extensions if e.number == number), None)
    if found is None or not (own or me.at_least("supervisor")):
        raise Missing(f"there is no extension {number}")
    return found


def _line(service: Service, extension: Extension) -> LineShown:
    settings = service.switch.lines.of(extension.number).snapshot()
    return LineShown(number=extension.number, name=extension.name, **settings)


@router.get("/trunks")
async def list_trunks(
    service: Served, limit: Limit = 200, cursor: Cursor = None
) -> Page[TrunkShown]:
    """Trunks, by name."""
    page, more = page_of(_trunks(service), lambda trunk: trunk.name, limit, cursor)
    return Page(items=page, next=more)


@router.get("/trunks/{name}")
async def show_trunk(name: NamePath, service: Served) -> TrunkShown:
    """One trunk."""
    for shown in _trunks(service):
        if shown.name == name:
            return shown
    raise Missing(f"there is no trunk {name}")


def _trunks(service: Service) -> Iterator[TrunkShown]:
    rows: list[dict[str, Any]] = list(service.switch.trunks.snapshot())
    live = {row["name"]: row for row in rows}
    told = ("calls", "refused", "state", "why", "registration", "targets")
    for trunk in service.office.trunks:
        row = live[trunk.name]
        yield TrunkShown(
            name=trunk.name,
            uri=trunk.uri,
            transport=trunk.transport,
            caller_id=trunk.caller_id,
            max_calls=trunk.max_calls,
            **{key: row[key] for key in told},
        )


@router.get(
    "/status",
    tags=["health"],
    responses={
        200: {"content": {"application/json": {"example": {"office": "Example Trading"}}}},
    },
)
async def show_status(service: Served) -> dict[str, Any]:
    """Everything that `softswitch status` shows."""
    return service.switch.snapshot()
