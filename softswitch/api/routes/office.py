"""The office as its file describes it. Read-only here: the file says it. Secrets are never shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.models import Input, NamePath, Output, among, given
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.service import Served, Service
from softswitch.call.trunk_health import Condition
from softswitch.config import Extension
from softswitch.sip.outgoing_registration import RegistrationState
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


class ExtensionShown(LineShown):
    """A number with an account that phones register for: its line, its phones, and what they do now. The line
    is in the ETag, what goes on is not."""

    passing = frozenset({"registered", "phones", "calls", "new_messages"})

    permissions: list[str] = Field(examples=[["internal", "local"]])
    voicemail: bool
    new_messages: int = Field(description="In its mailbox, not heard yet.")
    agent: str = Field(examples=["lilei"], description='Whose telephone it is; "" for nobody\'s.')
    calls: list[str] = Field(examples=[["c-0f3a"]], description="That go on at it: it is busy.")
    registered: list[str] = Field(description="Contacts of the phones that are there now.")
    phones: list[PhoneShown]


_Forward = Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_:.+*#-]{0,128}$")]


class LineChange(Input):
    """What is to be different. A forwarding is "voicemail", a number, a destination, or "" for none."""

    do_not_disturb: bool | None = None
    call_waiting: bool | None = None
    forward_always: _Forward = None
    forward_busy: _Forward = None
    forward_no_answer: _Forward = Field(default=None, examples=["voicemail"])
    forward_unreachable: _Forward = None


class TargetShown(Output):
    """One address of a trunk."""

    address: str = Field(examples=["203.0.113.20:5060"])
    transport: str = Field(examples=["udp"])
    state: str = Field(examples=["up"], json_schema_extra=among(each.value for each in Condition))
    why: str


class TrunkShown(Output):
    """A carrier or another exchange."""

    name: str = Field(examples=["carrier"])
    uri: str
    transport: str
    caller_id: str | None
    max_calls: int
    calls: int = Field(description="Calls over it now.")
    refused: int = Field(description="Calls that its limits kept out, since the start.")
    state: str = Field(
        examples=["up"],
        description="What its last calls and OPTIONS say of it.",
        json_schema_extra=among(each.value for each in Condition),
    )
    why: str = Field(description='Why it is not well; "" where it is.')
    registration: str = Field(
        examples=["registered"],
        description="off: it does not register.",
        json_schema_extra=among(each.value for each in RegistrationState),
    )
    targets: list[TargetShown] = Field(description="Each address it is reached at, in order.")


class HoursOf(Output):
    """Opening hours by weekday, from Monday: spans of minutes since midnight."""

    name: str = Field(examples=["office"])
    open: list[list[tuple[int, int]]] = Field(examples=[[[[540, 1080]], [], [], [], [], [], []]])


class RegionOfOffice(Output):
    """Where numbers with these beginnings are from."""

    name: str = Field(examples=["north"])
    prefixes: list[str] = Field(examples=[["+8610"]])


class MenuOf(Output):
    """A menu that can be called."""

    name: str = Field(examples=["main"])
    number: str | None = Field(examples=["7000"])


class InboundOf(Output):
    """Where calls from outside to a number go."""

    number: str = Field(examples=["+861065551000"])
    from_: str | None = Field(
        serialization_alias="from",
        examples=["carrier"],
        description="Of this trunk only; null: of any.",
    )
    to: str = Field(examples=["ivr:main"])


class OutboundOf(Output):
    """Which trunks take what is dialled."""

    prefix: str = Field(examples=["9"])
    permission: str | None = Field(examples=["national"])
    trunks: list[str] = Field(examples=[["carrier"]])


class GroupOf(Output):
    """Extensions that ring together."""

    number: str = Field(examples=["1100"])
    members: list[str] = Field(examples=[["1001", "1002"]])
    ring: str = Field(examples=["all"])


class OfficeShown(Output):
    """Who this is, and its tables in short; `/config/{section}` has them whole, with those made here."""

    name: str
    domain: str
    language: str
    timezone: str
    country: str
    file_is_read_only: bool = True
    hours: list[HoursOf]
    regions: list[RegionOfOffice]
    menus: list[MenuOf]
    inbound: list[InboundOf]
    outbound: list[OutboundOf]
    ring_groups: list[GroupOf]


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
            HoursOf(name=each.name, open=[list(day) for day in each.open]) for each in office.hours
        ],
        regions=[RegionOfOffice(name=r.name, prefixes=list(r.prefixes)) for r in office.regions],
        menus=[MenuOf(name=each.name, number=each.number) for each in office.ivrs],
        inbound=[
            InboundOf(number=r.number, from_=r.from_trunk, to=str(r.to)) for r in office.inbound
        ],
        outbound=[
            OutboundOf(prefix=r.prefix, permission=r.permission, trunks=list(r.trunks))
            for r in office.outbound
        ],
        ring_groups=[
            GroupOf(number=g.number, members=list(g.members), ring=g.ring)
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
    registered: Annotated[
        bool | None, Query(description="Only those with a phone, or without.")
    ] = None,
    busy: Annotated[bool | None, Query(description="Only those in a call, or not.")] = None,
) -> Page[ExtensionShown]:
    """Extensions, by number."""
    words = text.casefold()
    doing = _Doing.of(service)
    asked = [
        each
        for each in service.office.extensions
        if words in f"{each.number} {each.name}".casefold()
        and registered in (None, each.number in doing.phones)
        and busy in (None, each.number in doing.calls)
    ]
    page, more = page_of(asked, lambda each: each.number, limit, cursor)
    return Page(items=[_extension(service, each, doing) for each in page], next=more)


@router.get("/extensions/{number}")
async def show_extension(number: ExtensionNumber, me: Me, service: Served) -> ExtensionShown:
    """One extension, how calls to it are treated now, and what it does."""
    return _extension(service, _own_extension(service, me, number), _Doing.of(service))


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
        service.noted(me, "extension-line-changed", f"extension:{number}", **given(body))
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


@dataclass(frozen=True, slots=True)
class _Doing:
    """What goes on at extensions, by number."""

    phones: dict[str, list[PhoneShown]]
    calls: dict[str, list[str]]

    @classmethod
    def of(cls, service: Service) -> _Doing:
        found = cls({}, {})
        for row in service.switch.registrar.rows(service.clock.monotonic_s()):
            shown = PhoneShown(**{key: row[key] for key in PhoneShown.model_fields})
            found.phones.setdefault(str(row["extension"]), []).append(shown)
        for call in service.switch.control.calls:
            for label in {leg.label for leg in call.legs.values()}:
                kind, _, number = label.partition(":")
                if kind == "extension":
                    found.calls.setdefault(number, []).append(call.call_id)
        return found


def _extension(service: Service, extension: Extension, doing: _Doing) -> ExtensionShown:
    number = extension.number
    phones = doing.phones.get(number, [])
    agent = service.switch.agents.of_extension(number)
    new = 0
    if extension.voicemail is not None:
        new, _ = service.switch.catalogue.mailboxes.counts(number)
    return ExtensionShown(
        **_line(service, extension).model_dump(),
        permissions=list(extension.permissions),
        voicemail=extension.voicemail is not None,
        new_messages=new,
        agent=agent.id if agent is not None else "",
        calls=doing.calls.get(number, []),
        registered=[phone.contact for phone in phones],
        phones=phones,
    )


@router.get("/trunks")
async def list_trunks(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    state: Annotated[Literal["unknown", "up", "half-open", "down"] | None, Query()] = None,
) -> Page[TrunkShown]:
    """Trunks, by name."""
    found = [trunk for trunk in _trunks(service) if state in (None, trunk.state)]
    page, more = page_of(found, lambda trunk: trunk.name, limit, cursor)
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
