"""Reports: the statistics as JSON, CSV or XLSX, and the contacts behind a figure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from routing.model import Media
from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.files import (
    CSV,
    Format,
    Table,
    attached,
    file_answers,
    table_file,
    workbook,
)
from softswitch.api.live_report import LatelyBy, LiveBy, LivePer, live_agents, live_report
from softswitch.api.models import Epoch, Id, Input, Line, Output, Tag, among
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_read
from softswitch.api.problem import Refused
from softswitch.api.report_rows import (
    AdherenceRow,
    AgentRow,
    OutcomeRow,
    QueueRow,
    ReportShown,
    TicketRow,
)
from softswitch.api.report_slots import SlotStream
from softswitch.api.service import Served, Service
from softswitch.store.adherence import Planned
from softswitch.store.ledger import Missing
from softswitch.store.outcomes import OutcomePer, TicketPer, outcome_report, ticket_report
from softswitch.store.periods import By, Span
from softswitch.store.report import Report, adherence_report, agent_report, queue_report
from softswitch.store.sheet import csv_lines
from softswitch.store.statistics import TALKS, Chosen, Per
from softswitch.store.story import VISIT_OUTCOMES
from softswitch.turns import flowing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["reports"])

Formula = Literal[
    "answered",
    "short-abandons-good",
    "short-abandons-out",
    "offered",
    "offered-and-flowed-out",
    "all",
]
Names = Annotated[list[Annotated[str, Field(max_length=64)]], Query(max_length=100)]
TeamPer = Literal["agent", "all", "queue", "region", "skill"]
_FILES = file_answers("The report, in the format asked for.")


class VisitShown(Output):
    """One contact's stay in one queue: what the figures count."""

    seq: int
    call_id: str
    contact_id: str
    queue_id: str
    media: str = Field(json_schema_extra=among(Media))
    caller: str
    customer_id: str
    region: str
    priority: float
    entered_at_s: float
    answered_at_s: float | None
    left_at_s: float | None
    waited_s: float
    outcome: str = Field(examples=["answered"], json_schema_extra=among(VISIT_OUTCOMES))
    reason: str
    agent_id: str
    offers: int


def span_of(service: Service, start_s: float | None, end_s: float | None, by: By) -> Span:
    """The time asked for; today in the office's zone where it is left open. Raises `Refused`."""
    zone = service.office.office.zone
    now = datetime.fromtimestamp(service.clock.wall_s(), zone)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if start_s is None:
        start_s = midnight.timestamp()
    if end_s is None:
        end_s = max((midnight + timedelta(days=1)).timestamp(), start_s + 1)
    try:
        return Span(start_s, end_s, zone, by)
    except ValueError as error:
        raise Refused(422, str(error)) from None


def _asked(
    service: Served,
    start_s: Epoch | None = None,
    end_s: Epoch | None = None,
    by: By = "all",
) -> Span:
    return span_of(service, start_s, end_s, by)


Asked = Annotated[Span, Depends(_asked)]
"""Parameters of a report: from when until when, and in which parts."""


def chosen_of(
    service: Service,
    queue: list[str],
    agent: list[str],
    media: list[str],
    region: list[str],
    within_s: float | None,
) -> Chosen:
    """What is counted: talks, unless media are named; T is each queue's own unless one is given for all."""
    own = {q.name: q.service_level.within_s for q in service.office.queues}
    return Chosen(
        queues=tuple(queue),
        agents=tuple(agent),
        media=tuple(media) or TALKS,
        regions=tuple(region),
        within_s=own if within_s is None else {},
        default_s=20.0 if within_s is None else within_s,
    )


def _teams(service: Service, per: TeamPer) -> dict[str, Sequence[str]] | None:
    """What each agent belongs to; None for agents themselves. By `all` everybody is in one, ""."""
    agents = service.office.agents
    match per:
        case "agent":
            return None
        case "queue":
            return {agent.id: agent.queues for agent in agents}
        case "region":
            return {agent.id: agent.regions for agent in agents}
        case "skill":
            return {agent.id: sorted(agent.skills) for agent in agents}
    return {}


def _skills(service: Service) -> dict[str, str]:
    """What each queue asks of agents."""
    return {q.name: q.skill for q in service.office.queues}


@router.get("/reports/queues", response_model=ReportShown[QueueRow], responses=_FILES)
async def report_queues(
    me: Me,
    service: Served,
    span: Asked,
    per: Per | Literal["skill"] = "queue",
    formula: Formula = "offered",
    within_s: Annotated[float | None, Query(gt=0, le=86_400)] = None,
    queue: Names = [],  # noqa: B006
    agent: Names = [],  # noqa: B006
    media: Names = [],  # noqa: B006
    region: Names = [],  # noqa: B006
    format: Format = "json",  # noqa: A002
) -> Any:
    """Volume, waits, service level and handle time. Without `start_s`, of today. `within_s` is the
    service level's T; each queue's own where it is left out."""
    chosen = chosen_of(service, queue, agent, media, region, within_s)

    async def make() -> Report:
        return await queue_report(
            service.store.statistics,
            span,
            chosen,
            "queue" if per == "skill" else per,
            formula,
            _skills(service) if per == "skill" else None,
        )

    return await _answer(service, me, make, (span.start_s, span.end_s), format)


@router.get("/reports/live", response_model=ReportShown[QueueRow], responses=_FILES)
async def report_live(
    me: Me,
    service: Served,
    by: LiveBy = "all",
    per: LivePer = "queue",
    formula: Formula = "offered",
    queue: Names = [],  # noqa: B006
    region: Names = [],  # noqa: B006
    format: Format = "json",  # noqa: A002
) -> Any:
    """Today up to this second, from memory: `/reports/queues` without the database. T is each queue's own.
    `queue` is for figures by queue or skill, `region` for those by region: reports of the journal tell both
    at once."""
    if (queue and per == "region") or (region and per != "region"):
        raise Refused(422, "figures of now are counted by queue or by region: see /reports/queues")
    now_s = service.clock.wall_s()
    counts = service.switch.centre.host.counts

    async def make() -> Report:
        return await live_report(
            counts,
            now_s,
            service.office.office.zone,
            by=by,
            per=per,
            formula=formula,
            skills=_skills(service),
            only=queue or region,
        )

    return await _answer(service, me, make, (counts.since_midnight(now_s), now_s), format)


@router.get("/reports/live/agents", response_model=ReportShown[AgentRow], responses=_FILES)
async def report_live_agents(
    me: Me,
    service: Served,
    by: LatelyBy = "all",
    per: TeamPer = "agent",
    agent: Names = [],  # noqa: B006
    paid_reason: Names = [],  # noqa: B006
    format: Format = "json",  # noqa: A002
) -> Any:
    """What agents have done today up to this second, from memory: `/reports/agents` without the database. By
    half-hour: in the one before this, and in this one so far."""
    now_s = service.clock.wall_s()
    counts = service.switch.centre.host.counts

    async def make() -> Report:
        return await live_agents(
            counts,
            now_s,
            service.office.office.zone,
            by=by,
            agents=agent,
            paid_reasons=paid_reason,
            per=per,
            groups=_teams(service, per),
        )

    return await _answer(service, me, make, (counts.since_midnight(now_s), now_s), format)


@router.get("/reports/agents", response_model=ReportShown[AgentRow], responses=_FILES)
async def report_agents(
    me: Me,
    service: Served,
    span: Asked,
    per: TeamPer = "agent",
    agent: Names = [],  # noqa: B006
    paid_reason: Names = [],  # noqa: B006
    format: Format = "json",  # noqa: A002
) -> Any:
    """What agents did: contacts, times in each state, occupancy. By queue, region and skill those are taken
    together who have it now; who has two counts for both. `paid_reason`: breaks that count as work in the
    utilisation (training)."""

    async def make() -> Report:
        return await agent_report(
            service.store.statistics,
            span,
            Chosen(agents=tuple(agent), media=TALKS),
            min(service.clock.wall_s(), span.end_s),
            paid_reason,
            per,
            _teams(service, per),
        )

    return await _answer(service, me, make, (span.start_s, span.end_s), format)


@router.get("/reports/outcomes", response_model=ReportShown[OutcomeRow], responses=_FILES)
async def report_outcomes(
    me: Me,
    service: Served,
    span: Asked,
    per: OutcomePer | Literal["skill"] = "queue",
    again_d: Annotated[
        float, Query(gt=0, le=90, description="Who calls again within it was not helped.")
    ] = 7.0,
    queue: Names = [],  # noqa: B006
    agent: Names = [],  # noqa: B006
    region: Names = [],  # noqa: B006
    format: Format = "json",  # noqa: A002
) -> Any:
    """Whether it helped: resolution at the first contact, transfers, satisfaction (the share of scores of 4
    and 5) and its mean. The newest days look too good: who will call again has not yet."""
    chosen = Chosen(tuple(queue), tuple(agent), TALKS, tuple(region))

    async def make() -> Report:
        return await outcome_report(
            service.store.outcomes,
            span,
            chosen,
            "queue" if per == "skill" else per,
            again_d * 86_400,
            _skills(service) if per == "skill" else None,
        )

    return await _answer(service, me, make, (span.start_s, span.end_s), format)


@router.get("/reports/tickets", response_model=ReportShown[TicketRow], responses=_FILES)
async def report_tickets(
    me: Me,
    service: Served,
    span: Asked,
    per: TicketPer = "all",
    queue: Names = [],  # noqa: B006
    agent: Annotated[
        list[Annotated[str, Field(max_length=256)]],
        Query(max_length=100, description="Whose they are: the assignee."),
    ] = [],  # noqa: B006
    region: Names = [],  # noqa: B006
    format: Format = "json",  # noqa: A002
) -> Any:
    """Tickets opened and solved, the time to solve them by the calendar and in the office's open hours, and
    how many were solved in time."""
    chosen = Chosen(tuple(queue), tuple(agent), regions=tuple(region))

    async def make() -> Report:
        return await ticket_report(service.store.outcomes, span, per, chosen, _skills(service))

    return await _answer(service, me, make, (span.start_s, span.end_s), format)


@router.get("/reports/adherence", response_model=ReportShown[AdherenceRow], responses=_FILES)
async def report_adherence(
    me: Me,
    service: Served,
    span: Asked,
    per: TeamPer = "agent",
    agent: Names = [],  # noqa: B006
    format: Format = "json",  # noqa: A002
) -> Any:
    """How agents kept to their plans (`/shifts`): adherence, the right state at the right time; conformance,
    the time worked. A plan may be changed afterwards. By queue, region and skill as `/reports/agents`."""
    now_s = service.clock.wall_s()

    async def make() -> Report:
        teams = _teams(service, per)
        return await adherence_report(service.store.shifts, span, agent, now_s, per, teams)

    return await _answer(service, me, make, (span.start_s, span.end_s), format)


class ShiftShown(Output):
    """A stretch of an agent's plan."""

    id: int = Field(examples=[1])
    agent_id: str = Field(examples=["lilei"])
    start_s: float
    end_s: float
    activity: str = Field(examples=["work"])


class NewShift(Input):
    """A stretch to be planned: at most a day, "work" or a break by its reason."""

    agent_id: Line = Field(min_length=1, examples=["lilei"])
    start_s: Epoch = Field(examples=[1764000000.0])
    end_s: Epoch = Field(examples=[1764014400.0])
    activity: Tag = "work"


@router.get("/shifts")
async def list_shifts(
    service: Served,
    start_s: Epoch | None = None,
    end_s: Epoch | None = None,
    agent_id: Annotated[str, Query(max_length=256)] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[ShiftShown]:
    """Agents' plans for a time, today where it is left open."""
    span = span_of(service, start_s, end_s, "all")
    after = int_cursor(cursor) or 0
    found = await service.store.shifts.page(span.start_s, span.end_s, agent_id, limit + 1, after)
    return page_read(found, limit, ShiftShown.model_validate)


@router.post("/shifts", status_code=201)
async def add_shift(body: NewShift, me: Me, service: Served) -> ShiftShown:
    """Plan something; 409 for what overlaps."""
    if body.agent_id not in {agent.id for agent in service.office.agents}:
        raise Missing(f"there is no agent {body.agent_id}")
    planned = Planned(body.start_s, body.end_s, body.activity)
    return ShiftShown.model_validate(
        await service.store.shifts.add(me.actor, body.agent_id, planned)
    )


@router.get("/shifts/{shift_id}")
async def show_shift(shift_id: Id, service: Served) -> ShiftShown:
    """One stretch of a plan."""
    return ShiftShown.model_validate(await service.store.shifts.get(shift_id))


@router.delete("/shifts/{shift_id}", status_code=204)
async def remove_shift(shift_id: Id, me: Me, service: Served) -> None:
    """Take something out of a plan."""
    await service.store.shifts.remove(me.actor, shift_id)


@router.get(
    "/reports/visits", response_model=Page[VisitShown], responses=file_answers("The contacts.")
)
async def list_visits(
    me: Me,
    service: Served,
    start_s: Epoch | None = None,
    end_s: Epoch | None = None,
    queue: Names = [],  # noqa: B006
    agent: Names = [],  # noqa: B006
    media: Names = [],  # noqa: B006
    region: Names = [],  # noqa: B006
    skill: Annotated[
        list[Annotated[str, Field(max_length=512)]],
        Query(max_length=100, description="As reports by skill name it: what a queue asks for."),
    ] = [],  # noqa: B006
    outcome: Annotated[str | None, Query(max_length=32, examples=["abandoned"])] = None,
    waited_min_s: Annotated[float, Query(ge=0, le=1e7)] = 0.0,
    waited_max_s: Annotated[float | None, Query(ge=0, le=1e7)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    format: Format = "json",  # noqa: A002
) -> Any:
    """The contacts behind a figure, newest first: page by page, or all of them as a file."""
    span = span_of(service, start_s, end_s, "all")
    nobody = False
    if skill:
        asking = [name for name, words in _skills(service).items() if words in skill]
        queue = [name for name in asking if not queue or name in queue]
        nobody = not queue
    chosen = chosen_of(service, queue, agent, media, region, None)

    async def read(count: int, before: int | None) -> list[Any]:
        if nobody:
            return []
        return await service.store.statistics.list_visits(
            span,
            chosen,
            outcome=outcome,
            waited_s=(waited_min_s, waited_max_s),
            limit=count,
            before=before,
        )

    if format != "json":
        columns = tuple(VisitShown.model_fields)
        table = Table("visits", columns, read, lambda row: [getattr(row, c) for c in columns])
        return await table_file(service, me, table, format, int_cursor(cursor))
    found = await read(limit + 1, int_cursor(cursor))
    return page_read(found, limit, VisitShown.model_validate, lambda row: row.seq)


async def _answer(
    service: Service,
    me: Me,
    make: Callable[[], Awaitable[Report]],
    between_s: tuple[float, float],
    form: Format,
) -> Response:
    """The report as it is asked for; a large one is made while it is sent."""
    slot = await service.reports.take(me.actor)
    answer: SlotStream | None = None
    try:
        report = await make()
        if form == "json":
            parts = report.json(start_s=between_s[0], end_s=between_s[1])
            answer = SlotStream(_joined(service, parts), media_type="application/json")
        elif form == "csv":
            lines = _joined(service, csv_lines(report.sheet()))
            answer = SlotStream(lines, media_type=CSV, headers=attached(report.name, form))
        else:
            return await workbook(service, report.sheet())
        answer.slot = slot
        return answer
    finally:
        if answer is None:
            slot.give_back()


async def _joined(service: Service, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for some in flowing(parts):
            yield b"".join(some)
    finally:
        service.let_go(parts)
