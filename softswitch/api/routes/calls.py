"""Records of calls: what was, with the whole story."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.files import Format, Table, file_answers, table_file
from softswitch.api.models import ID_MAX, Epoch, Output, among
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, page_read
from softswitch.api.problem import Refused
from softswitch.api.service import Served, Service
from softswitch.api.shapes import Legs
from softswitch.store.calls import CallFilter
from softswitch.store.entry import TEXT_MAX
from softswitch.store.ledger import Missing
from softswitch.store.record import STATUSES, CallRecord
from softswitch.store.story import AgentOffer, Handling, Segment, Visit, tell

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["calls"])

CallId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,256}$", examples=["c-0f3a"])]


class RecordingShown(Output):
    """A recording of a call; its sound is at `/calls/{call_id}/recordings/{number}`."""

    name: str
    started_at_s: float | None = None
    stopped_at_s: float | None = None
    frames: int | None = None
    reason: str | None = None
    deleted_at_s: float | None = Field(default=None, description="When its sound was deleted.")


class CallShown(Output):
    """The record of one call. `status` "open": it goes on."""

    call_id: str = Field(examples=["c-0f3a"])
    number_from: str = Field(examples=["+8613800000001"])
    number_to: str = Field(examples=["5000"])
    caller_name: str
    direction: str = Field(
        examples=["inbound"], json_schema_extra=among(("inbound", "internal", "outbound", ""))
    )
    origin: str = Field(examples=["trunk:carrier"])
    destination: str = Field(examples=["queue:support"])
    started_at_s: float
    ringing_at_s: float | None
    answered_at_s: float | None
    ended_at_s: float | None
    duration_s: float = Field(description="Of the conversation.")
    status: str = Field(examples=["answered"], json_schema_extra=among(STATUSES))
    cause: str
    q850: int | None
    sip_status: int | None
    ended_by: str
    customer_id: int | None = Field(description="Who was calling, as it was known then.")
    customer_name: str
    recordings: list[RecordingShown]
    legs: Legs = Field(description="Each leg with its times and quality.")


class CallStory(CallShown):
    """A call with all that happened in it."""

    segments: list[Segment] = Field(description="Ringing, talking, holding, waiting, menus.")
    visits: list[Visit] = Field(description="Each stay in a queue.")
    offers: list[AgentOffer] = Field(description="Each time an agent was rung.")
    handlings: list[Handling] = Field(description="Talk, hold and wrap-up of each agent.")


class JournalEntry(Output):
    """One entry of the journal."""

    seq: int
    at_s: float
    kind: str = Field(examples=["call-started"])
    data: dict[str, Any]


def _legs_of(record: CallRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """The caller's leg and that of who answered, or else of who was called first; {} for none."""
    caller = next((leg for leg in record.legs if leg.get("role") == "caller"), {})
    others = [leg for leg in record.legs if leg is not caller]
    answered = (leg for leg in others if leg.get("answered_at_s") is not None)
    return caller, next(answered, others[0] if others else {})


_COLUMNS = (
    *(name for name in CallShown.model_fields if name not in ("recordings", "legs")),
    "recording",
    *(f"{side}_{name}" for side in ("caller", "callee") for name in ("sip_call_id", "user_agent")),
)


def _cells(record: CallRecord) -> list[Any]:
    cells = [getattr(record, name) for name in _COLUMNS[:-4]]
    return cells + [
        leg.get(name, "") for leg in _legs_of(record) for name in ("sip_call_id", "user_agent")
    ]


@router.get("/calls", response_model=Page[CallShown], responses=file_answers("The records."))
async def list_calls(
    me: Me,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    number: Annotated[str | None, Query(max_length=64, examples=["+8613800000001"])] = None,
    status: Annotated[str | None, Query(max_length=32, examples=["answered"])] = None,
    direction: Annotated[str | None, Query(max_length=32, examples=["inbound"])] = None,
    queue: Annotated[str | None, Query(max_length=64)] = None,
    agent: Annotated[str | None, Query(max_length=64)] = None,
    since_s: Epoch | None = None,
    until_s: Epoch | None = None,
    recorded: bool = False,
    customer_id: Annotated[
        int | None, Query(ge=1, le=ID_MAX, description="Calls in which he was known.")
    ] = None,
    sip_call_id: Annotated[
        str,
        Query(
            max_length=TEXT_MAX,
            description="The Call-ID of either leg's SIP messages, as a carrier names a call.",
            examples=["f81d4fae-7dec@192.0.2.7"],
        ),
    ] = "",
    user_agent: Annotated[
        str,
        Query(
            max_length=TEXT_MAX,
            description="How the name of either telephone's software begins.",
            examples=["Yealink SIP-T46S"],
        ),
    ] = "",
    format: Format = "json",  # noqa: A002
) -> Any:
    """Records of calls, newest first: page by page, or all of them as a file. `number` is either end's, as it
    was dialled or in E.164. An agent gets his own: those that his telephone began, that were for its number, or
    that he took from a queue. By `sip_call_id` and `user_agent` records are looked through one by one: with
    `since_s` that is quick in years of them, too."""
    which = CallFilter(
        number=service.spellings(number) if number is not None else (),
        status=status,
        direction=direction,
        queue=queue,
        agent=agent,
        since_s=since_s,
        until_s=until_s,
        recorded=recorded,
        customer=customer_id,
        own=None if me.at_least("supervisor") else own_of(service, me),
        sip_call_id=sip_call_id,
        user_agent=user_agent,
    )
    if format != "json":

        async def read(count: int, before: int | None) -> list[Any]:
            return await service.store.calls.list(count, before, which)

        table = Table("calls", _COLUMNS, read, _cells)
        return await table_file(service, me, table, format, int_cursor(cursor))
    found = await service.store.calls.list(limit + 1, int_cursor(cursor), which)
    return page_read(found, limit, CallShown.model_validate, lambda row: row.seq)


def own_of(service: Service, me: Identity) -> tuple[str, str]:
    """Extension and id of an agent. Raises `Refused` for a program that is none."""
    agent = service.switch.centre.agents_by_id.get(me.agent_id)
    if agent is None:
        raise Refused(
            403, "this takes the role supervisor, or the token of an agent for his own calls"
        )
    return agent.extension, agent.id


@router.get("/calls/{call_id}")
async def show_call(call_id: CallId, me: Me, service: Served) -> CallStory:
    """One call with its segments, waits, offers and handling; of an agent's own ones for him."""
    await _written(service, call_id)
    record = await service.store.calls.get(call_id)
    if record is not None and not me.at_least("supervisor"):
        which = CallFilter(own=own_of(service, me), call_id=call_id)
        record = next(iter(await service.store.calls.list(1, None, which)), None)
    if record is None:
        raise Missing(f"there is no call {call_id}")
    story = tell(await service.store.entries.of_story(call_id))
    shown = CallShown.model_validate(record).model_dump()
    return CallStory(
        **shown,
        segments=story.segments,
        visits=story.visits,
        offers=story.offers,
        handlings=story.handlings,
    )


@router.get("/calls/{call_id}/journal")
async def show_journal(
    call_id: CallId,
    service: Served,
    by_end: Annotated[bool, Query(description="`call_id` may be the end of one call's.")] = False,
    kind: Annotated[
        list[Annotated[str, Field(max_length=64, examples=["acd-offered"])]],
        Query(max_length=50, description="Only of these kinds."),
    ] = [],  # noqa: B006
    story: Annotated[
        bool,
        Query(description="Of somebody who is called back: also how he had waited, and for whom."),
    ] = False,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> Page[JournalEntry]:
    """All that was journaled of a call, in order: the truth that records are read from."""
    await _written(service, call_id)
    if by_end:
        call_id = await service.store.entries.call_named(call_id)
    read = service.store.entries.of_story if story else service.store.entries.of_call
    entries = await read(call_id)
    if not entries:
        raise Missing(f"there is no call {call_id}")
    wanted = [entry for entry in entries if not kind or entry.kind in kind]
    page, more = page_of(wanted, lambda entry: (entry.seq,), limit, cursor)
    return Page(
        items=[
            JournalEntry(seq=entry.seq, at_s=entry.at_s, kind=entry.kind, data=entry.data())
            for entry in page
        ],
        next=more,
    )


async def _written(service: Service, call_id: str) -> None:
    """What a call that goes on has journaled so far is on its way to the database: wait for it, or who has
    just begun one is told that there is none."""
    if any(call.call_id == call_id for call in service.switch.control.calls):
        await service.store.journal.flush()
