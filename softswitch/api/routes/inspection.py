"""Which conversations are listened to, whether inspectors agree, and what agents are advised."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

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
    NamePath,
    Output,
    Tag,
    among,
    given,
    tag,
    version_of,
)
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, page_read
from softswitch.api.routes.evaluations import (
    AgentName,
    CallName,
    EvaluationShown,
    Number,
    require_agent,
    shown,
)
from softswitch.api.service import Served
from softswitch.api.spoke import require_spoke
from softswitch.store.agreement import Agreement
from softswitch.store.calibrations import Comparison
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.samples import Sampler, SamplingRule

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["quality"])

Kind = Literal["per-agent", "low-survey", "long-hold", "ticket-keyword"]


# -- sampling -------------------------------------------------------------------------------------------


class NewRule(Input):
    """Which conversations of a week are to be listened to, at most `per_week` of each agent: any, those with
    a survey score of `threshold` or less, those held for `threshold` seconds or more, or those whose
    ticket has the words `keyword`."""

    name: Annotated[Line, Field(min_length=1, examples=["Unhappy customers"])]
    kind: Kind = "per-agent"
    enabled: bool = True
    scorecard_id: Number | None = None
    queues: list[Tag] = Field(default_factory=list, max_length=100, examples=[["support"]])
    keyword: Line = ""
    per_week: int = Field(default=2, ge=1, le=1_000)
    threshold: float = Field(default=0.0, ge=0, le=86_400, examples=[2])


class RuleChange(Input):
    """What is to be different; what is left out stays."""

    name: Annotated[Line, Field(min_length=1)] | None = None
    kind: Kind | None = None
    enabled: bool | None = None
    scorecard_id: Number | None = None
    queues: list[Tag] | None = Field(default=None, max_length=100)
    keyword: Line | None = None
    per_week: int | None = Field(default=None, ge=1, le=1_000)
    threshold: float | None = Field(default=None, ge=0, le=86_400)


class RuleShown(Output):
    """One sampling rule."""

    id: int = Field(examples=[4])
    name: str
    kind: str = Field(json_schema_extra=among(get_args(Kind)))
    enabled: bool
    scorecard_id: int | None
    queues: list[str]
    keyword: str
    per_week: int
    threshold: float
    version: int


class SampleShown(Output):
    """A conversation to be listened to, and why. `week` is its Monday."""

    id: int = Field(examples=[9])
    rule_id: int
    call_id: str = Field(examples=["c-0f3a"])
    agent_id: str
    queue_id: str
    reason: str = Field(examples=["the customer gave 1"])
    week: str = Field(examples=["2026-11-23"])
    status: str = Field(
        examples=["waiting"], json_schema_extra=among(("waiting", "done", "dismissed"))
    )
    at_s: float
    evaluation_id: int | None


class Drawn(Output):
    """What was chosen just now."""

    items: list[SampleShown]


@router.get("/sampling-rules")
async def list_rules(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    kind: Kind | None = None,
    enabled: bool | None = None,
) -> Page[RuleShown]:
    """Which conversations are to be listened to."""
    found = [
        rule
        for rule in await service.store.samples.rules()
        if kind in (None, rule.sampler.kind) and enabled in (None, rule.sampler.enabled)
    ]
    page, more = page_of(found, lambda rule: (rule.id,), limit, cursor)
    return Page(items=[_rule(one) for one in page], next=more)


@router.get("/sampling-rules/{rule_id}")
async def show_rule(rule_id: Id, response: Response, service: Served) -> RuleShown:
    """One rule."""
    found = await service.store.samples.rule(rule_id)
    tag(response, found.version)
    return _rule(found)


@router.post("/sampling-rules", status_code=201)
async def add_rule(body: NewRule, response: Response, me: Me, service: Served) -> RuleShown:
    """Make a rule."""
    _require_usable(body.kind, body.keyword, body.threshold)
    sampler = Sampler(**{**body.model_dump(), "queues": tuple(body.queues)})
    found = await service.store.samples.add_rule(me.actor, sampler)
    tag(response, found.version)
    return _rule(found)


@router.patch("/sampling-rules/{rule_id}")
async def change_rule(
    rule_id: Id,
    body: RuleChange,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> RuleShown:
    """Change a rule; what it has chosen stays."""
    values = given(body)
    values = {k: v for k, v in values.items() if v is not None or k == "scorecard_id"}
    if "queues" in values:
        values["queues"] = tuple(values["queues"])
    old = (await service.store.samples.rule(rule_id)).sampler
    kind, keyword = values.get("kind", old.kind), values.get("keyword", old.keyword)
    _require_usable(kind, keyword, values.get("threshold", old.threshold))
    found = await service.store.samples.change_rule(me.actor, rule_id, values, version_of(if_match))
    tag(response, found.version)
    return _rule(found)


@router.delete("/sampling-rules/{rule_id}", status_code=204)
async def remove_rule(rule_id: Id, me: Me, service: Served, if_match: IfMatch = None) -> None:
    """Delete a rule; what it has chosen stays."""
    await service.store.samples.remove_rule(me.actor, rule_id, version_of(if_match))


@router.get("/samples")
async def list_samples(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Annotated[Literal["waiting", "done", "dismissed"] | None, Query()] = None,
    agent_id: Annotated[str, Query(max_length=256)] = "",
) -> Page[SampleShown]:
    """The conversations that were chosen, newest first."""
    found = await service.store.samples.page(
        status=status or "", agent_id=agent_id, limit=limit + 1, before=int_cursor(cursor)
    )
    return page_read(found, limit, SampleShown.model_validate)


@router.get("/samples/{sample_id}")
async def show_sample(sample_id: Id, service: Served) -> SampleShown:
    """One conversation that was chosen."""
    return SampleShown.model_validate(await service.store.samples.get(sample_id))


@router.post("/samples")
async def draw_samples(me: Me, service: Served) -> Drawn:
    """Have every rule choose now, of this week's conversations so far. (It is done every hour anyway.)"""
    found = await service.store.samples.draw(me.actor, service.clock.wall_s())
    return Drawn(items=[SampleShown.model_validate(one) for one in found])


@router.delete("/samples/{sample_id}", status_code=204)
async def dismiss_sample(sample_id: Id, me: Me, service: Served) -> None:
    """Nobody needs to listen to it."""
    await service.store.samples.dismiss(me.actor, sample_id)


def _require_usable(kind: str, keyword: str, threshold: float) -> None:
    """Raises `Conflict` for a rule that would choose nothing, or everything."""
    if kind == "ticket-keyword" and not keyword.strip():
        raise Conflict("the rule needs a keyword")
    if kind == "low-survey" and threshold < 1:
        raise Conflict("the rule needs a threshold: the best score that is low, 1 or more")
    if kind == "long-hold" and threshold <= 0:
        raise Conflict("the rule needs a threshold: the seconds of hold that are long")


def _rule(found: SamplingRule) -> RuleShown:
    sampler = found.sampler
    return RuleShown(
        id=found.id,
        name=sampler.name,
        kind=sampler.kind,
        enabled=sampler.enabled,
        scorecard_id=sampler.scorecard_id,
        queues=list(sampler.queues),
        keyword=sampler.keyword,
        per_week=sampler.per_week,
        threshold=sampler.threshold,
        version=found.version,
    )


# -- calibration ----------------------------------------------------------------------------------------


class NewCalibration(Input):
    """A conversation that several inspectors are to judge, apart from each other."""

    scorecard_id: Number = Field(examples=[1])
    call_id: CallName
    agent_id: AgentName


class AgreementShown(Output):
    """`kappa` is Cohen's with quadratic weights: 1 full agreement, 0 chance; null where there is no
    variation to measure. `equal` is the share of equal answers, `difference` the mean distance in
    percent of the points."""

    answers: int = Field(examples=[40])
    equal: float | None
    difference: float | None
    kappa: float | None


class ComparisonShown(Output):
    """How far inspectors agree, over all and by item; `scores` of each inspector."""

    overall: AgreementShown
    items: dict[str, AgreementShown]
    scores: dict[str, float | None]


class CalibrationShown(Output):
    """One calibration. The comparison is there once it is closed."""

    id: int = Field(examples=[5])
    scorecard_id: int
    number: int
    call_id: str
    agent_id: str
    created_by: str
    created_at_s: float
    closed_at_s: float | None
    comparison: ComparisonShown | None = None


@router.get("/calibrations")
async def list_calibrations(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    scorecard_id: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    closed: bool | None = None,
) -> Page[CalibrationShown]:
    """Calibrations, newest first, without their comparisons."""
    found = await service.store.calibrations.page(
        limit + 1, int_cursor(cursor), scorecard_id=scorecard_id, closed=closed
    )
    return page_read(found, limit, CalibrationShown.model_validate)


@router.post("/calibrations", status_code=201)
async def add_calibration(body: NewCalibration, me: Me, service: Served) -> CalibrationShown:
    """Put a conversation up to be judged."""
    await require_spoke(service, body.call_id, body.agent_id)
    found = await service.store.calibrations.add(me.actor, **body.model_dump())
    return CalibrationShown.model_validate(found)


@router.get("/calibrations/{calibration_id}")
async def show_calibration(calibration_id: Id, service: Served) -> CalibrationShown:
    """One calibration; the comparison of its inspectors once it is closed."""
    found = await service.store.calibrations.get(calibration_id)
    answer = CalibrationShown.model_validate(found)
    if found.closed_at_s is not None:
        answer.comparison = _comparison(await service.store.calibrations.compare(calibration_id))
    return answer


@router.post("/calibrations/{calibration_id}/evaluation")
async def join_calibration(
    calibration_id: Id, response: Response, me: Me, service: Served
) -> EvaluationShown:
    """One's own judgement of it: a new draft, or the one that is there."""
    found = await service.store.calibrations.join(me.actor, calibration_id)
    tag(response, found.version)
    return shown(found)


@router.post("/calibrations/{calibration_id}/close")
async def close_calibration(calibration_id: Id, me: Me, service: Served) -> CalibrationShown:
    """Compare; from now on everybody sees what all have judged."""
    await service.store.calibrations.close(me.actor, calibration_id)
    return await show_calibration(calibration_id, service)


@router.get("/quality/agreement")
async def show_agreement(
    service: Served,
    scorecard_id: Annotated[int, Query(ge=1, le=ID_MAX)],
    since_s: Annotated[float, Query(ge=0, le=2e11)] = 0.0,
) -> ComparisonShown:
    """How far inspectors agree over all closed calibrations of a scorecard."""
    await service.store.scorecards.get(scorecard_id)
    return _comparison(await service.store.calibrations.compare_all(scorecard_id, since_s))


def _comparison(found: Comparison) -> ComparisonShown:
    return ComparisonShown(
        overall=_agreement(found.overall),
        items={item: _agreement(one) for item, one in found.items.items()},
        scores=dict(found.scores),
    )


def _agreement(found: Agreement) -> AgreementShown:
    return AgreementShown.model_validate(found)


# -- coaching -------------------------------------------------------------------------------------------


class NewCoaching(Input):
    """What somebody should try next time."""

    text: Body = Field(min_length=1, examples=["Ask for the contract number first."])
    evaluation_id: Number | None = None


class CoachingShown(Output):
    """What an agent was advised; `acknowledged_at_s`: when he has read it."""

    id: int = Field(examples=[1])
    agent_id: str
    evaluation_id: int | None
    author: str
    at_s: float
    text: str
    acknowledged_at_s: float | None


@router.get("/agents/{agent_id}/coaching/{note_id}")
async def show_coaching(agent_id: NamePath, note_id: Id, me: Me, service: Served) -> CoachingShown:
    """One thing that an agent was advised; for himself and supervisors."""
    _require_own(me, agent_id)
    return CoachingShown.model_validate(await service.store.coaching.get(agent_id, note_id))


@router.get("/agents/{agent_id}/coaching")
async def list_coaching(
    agent_id: NamePath, me: Me, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[CoachingShown]:
    """What an agent was advised, newest first; for himself and supervisors."""
    _require_own(me, agent_id)
    found = await service.store.coaching.page(agent_id, limit + 1, int_cursor(cursor))
    return page_read(found, limit, CoachingShown.model_validate)


@router.post("/agents/{agent_id}/coaching", status_code=201)
async def add_coaching(
    agent_id: NamePath, body: NewCoaching, me: Me, service: Served
) -> CoachingShown:
    """Advise an agent."""
    if agent_id not in {agent.id for agent in service.office.agents}:
        raise Missing(f"there is no agent {agent_id}")
    found = await service.store.coaching.add(me.actor, agent_id, body.text, body.evaluation_id)
    return CoachingShown.model_validate(found)


@router.post("/agents/{agent_id}/coaching/{note_id}/acknowledge")
async def acknowledge_coaching(
    agent_id: NamePath, note_id: Id, me: Me, service: Served
) -> CoachingShown:
    """Say that one has read it."""
    if require_agent(me) != agent_id:
        raise Missing(f"there is no coaching note {note_id} of yours")
    found = await service.store.coaching.acknowledge(me.actor, agent_id, note_id)
    return CoachingShown.model_validate(found)


def _require_own(me: Any, agent_id: str) -> None:
    if not me.at_least("supervisor") and me.agent_id != agent_id:
        raise Missing(f"there is no agent {agent_id} that you may see")
