"""Evaluations: how good a conversation was, what is written beside it, and what the agent says to it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

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
    among,
    tag,
    version_of,
)
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, page_read
from softswitch.api.problem import Refused
from softswitch.api.routes.scorecards import Key
from softswitch.api.service import Served, Service
from softswitch.api.spoke import require_recorded, require_spoke
from softswitch.store.evaluation_rules import VISIBLE
from softswitch.store.evaluations import Draft, Evaluation, EvaluationFilter, Remark
from softswitch.store.ledger import Missing
from softswitch.store.scoring import ITEMS_MAX, POINTS_MAX, Answer

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["quality"])

Status = Literal["draft", "published", "acknowledged", "appealed", "decided"]
CallName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,256}$", examples=["c-0f3a"])]
AgentName = Annotated[Line, Field(min_length=1, examples=["lilei"])]
Number = Annotated[int, Field(ge=1, le=ID_MAX)]


class AnswerModel(Input):
    """The answer to one item; `points` null: does not apply here."""

    key: Key
    points: int | None = Field(default=None, ge=0, le=POINTS_MAX)
    remark: Annotated[Line, Field(examples=["Late, but friendly."])] = ""


Answers = Annotated[
    list[AnswerModel],
    Field(max_length=ITEMS_MAX, examples=[[{"key": "greeting", "points": 2}]]),
]


class EvaluationShown(Output):
    """One evaluation. `score` is in percent, null until something counts; `raw_score` is what it would be
    without critical items, `failed` are those without points. `upheld`: whether it stood
    when its agent appealed, null until that is decided."""

    id: int = Field(examples=[7])
    scorecard_id: int
    number: int = Field(description="The form of the scorecard.")
    call_id: str = Field(examples=["c-0f3a"])
    agent_id: str = Field(examples=["lilei"])
    queue_id: str
    evaluator: str = Field(examples=["user:alice"])
    status: str = Field(examples=["published"], json_schema_extra=among(get_args(Status)))
    answers: list[AnswerModel]
    summary: str
    score: float | None
    raw_score: float | None
    passed: bool
    failed: list[str]
    calibration_id: int | None
    created_at_s: float
    changed_at_s: float
    published_at_s: float | None
    acknowledged_at_s: float | None
    appeal: str
    appealed_at_s: float | None
    decision: str
    decided_by: str
    decided_at_s: float | None
    upheld: bool | None
    version: int


class NewEvaluation(Input):
    """What is to be judged. `sample_id`: it was chosen by a sampling rule, and is done with this."""

    scorecard_id: Number = Field(examples=[1])
    call_id: CallName
    agent_id: AgentName
    queue_id: Line = ""
    answers: Answers = Field(default_factory=list)
    summary: Body = ""
    sample_id: Number | None = None


class EvaluationChange(Input):
    """Other answers to some items, or another summary."""

    answers: Answers = Field(default_factory=list)
    summary: Body | None = None


class Appeal(Input):
    """Why it is wrong."""

    text: Body = Field(min_length=1, examples=["I did ask for the identity, at 0:42."])


class Decision(Input):
    """What becomes of an appeal: the evaluation is `upheld` as it is, or some of its answers were wrong and
    `answers` takes their place."""

    upheld: bool = Field(examples=[True])
    text: Body = ""
    answers: Answers = Field(default_factory=list)


class RemarkShown(Output):
    """Something written beside an evaluation."""

    id: int = Field(examples=[1])
    at_s: float
    author: str
    recording: int
    second: float | None = Field(description="Of the recording; null: of the whole.")
    text: str


class NewRemark(Input):
    """Something to be written at a second of the recording, or of the whole."""

    text: Body = Field(min_length=1, examples=["Good question."])
    second: float | None = Field(default=None, ge=0, le=86_400, examples=[42.5])
    recording: int = Field(default=0, ge=0, le=63)


@router.get("/evaluations")
async def list_evaluations(
    me: Me,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    agent_id: Annotated[str, Query(max_length=256)] = "",
    call_id: Annotated[str, Query(max_length=256)] = "",
    status: Annotated[list[Status], Query(max_length=5)] = [],  # noqa: B006
    scorecard_id: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    calibration_id: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
) -> Page[EvaluationShown]:
    """Evaluations, newest first. An agent gets his own, once they are published."""
    inspector = me.at_least("supervisor")
    if not inspector:
        agent_id = require_agent(me)
    which = EvaluationFilter(
        agent_id=agent_id,
        call_id=call_id,
        status=tuple(status),
        scorecard_id=scorecard_id,
        calibration_id=calibration_id,
        visible_only=not inspector,
        seen_by=me.actor if inspector else "",
    )
    found = await service.store.evaluations.page(which, limit + 1, int_cursor(cursor))
    return page_read(found, limit, shown)


@router.post("/evaluations", status_code=201)
async def add_evaluation(
    body: NewEvaluation, response: Response, me: Me, service: Served
) -> EvaluationShown:
    """Begin to judge a conversation: a draft, which only its evaluator changes."""
    await require_spoke(service, body.call_id, body.agent_id)
    values = body.model_dump(exclude={"answers"})
    draft = Draft(answers=answers_of(body.answers), **values)
    return _told(response, await service.store.evaluations.add(me.actor, draft))


@router.get("/evaluations/{evaluation_id}")
async def show_evaluation(
    evaluation_id: Id, response: Response, me: Me, service: Served
) -> EvaluationShown:
    """One evaluation."""
    return _told(response, await seen(service, me, evaluation_id))


@router.patch("/evaluations/{evaluation_id}")
async def change_evaluation(
    evaluation_id: Id,
    body: EvaluationChange,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> EvaluationShown:
    """Change one's own draft; answers that are not given stay."""
    found = await service.store.evaluations.change(
        me.actor,
        evaluation_id,
        answers=answers_of(body.answers),
        summary=body.summary,
        version=version_of(if_match),
    )
    return _told(response, found)


@router.delete("/evaluations/{evaluation_id}", status_code=204)
async def discard_evaluation(
    evaluation_id: Id, me: Me, service: Served, if_match: IfMatch = None
) -> None:
    """Throw one's own draft away; the sample that it was about waits again."""
    await service.store.evaluations.discard(me.actor, evaluation_id, version_of(if_match))


@router.post("/evaluations/{evaluation_id}/publish")
async def publish_evaluation(
    evaluation_id: Id, response: Response, me: Me, service: Served
) -> EvaluationShown:
    """Show it to the agent; 409 while items are not answered. Of a calibration: hand it in."""
    return _told(response, await service.store.evaluations.publish(me.actor, evaluation_id))


@router.post("/evaluations/{evaluation_id}/acknowledge")
async def acknowledge_evaluation(
    evaluation_id: Id, response: Response, me: Me, service: Served
) -> EvaluationShown:
    """Say that one has read one's own."""
    agent_id = require_agent(me)
    found = await service.store.evaluations.acknowledge(me.actor, evaluation_id, agent_id)
    return _told(response, found)


@router.post("/evaluations/{evaluation_id}/appeal")
async def appeal_evaluation(
    evaluation_id: Id, body: Appeal, response: Response, me: Me, service: Served
) -> EvaluationShown:
    """Say that one's own is wrong: once, within 14 days."""
    agent_id = require_agent(me)
    found = await service.store.evaluations.appeal(me.actor, evaluation_id, agent_id, body.text)
    return _told(response, found)


@router.post("/evaluations/{evaluation_id}/decision")
async def decide_evaluation(
    evaluation_id: Id, body: Decision, response: Response, me: Me, service: Served
) -> EvaluationShown:
    """Decide an appeal; not by the evaluator (409)."""
    found = await service.store.evaluations.decide(
        me.actor,
        evaluation_id,
        body.text,
        upheld=body.upheld,
        answers=answers_of(body.answers),
    )
    return _told(response, found)


@router.get("/evaluations/{evaluation_id}/comments")
async def list_remarks(
    evaluation_id: Id, me: Me, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[RemarkShown]:
    """What is written beside an evaluation, in the order of the recording."""
    await seen(service, me, evaluation_id)
    found = await service.store.evaluations.remarks(evaluation_id)
    page, more = page_of(found, _place_of, limit, cursor)
    return Page(items=[RemarkShown.model_validate(one) for one in page], next=more)


def _place_of(remark: Remark) -> tuple[float, int]:
    return (-1.0 if remark.second is None else remark.second, remark.id)


@router.post("/evaluations/{evaluation_id}/comments", status_code=201)
async def add_remark(evaluation_id: Id, body: NewRemark, me: Me, service: Served) -> RemarkShown:
    """Write something beside an evaluation one can see."""
    call_id = (await seen(service, me, evaluation_id)).call_id
    await require_recorded(service, call_id, body.recording, body.second)
    found = await service.store.evaluations.remark(
        me.actor, evaluation_id, body.text, body.second, body.recording
    )
    return RemarkShown.model_validate(found)


async def seen(service: Service, me: Identity, evaluation_id: int) -> Evaluation:
    """An evaluation that the asker may see. Raises `Missing`."""
    found = await service.store.evaluations.get(evaluation_id)
    if me.at_least("supervisor"):
        if found.calibration_id is not None and found.evaluator != me.actor:
            calibration = await service.store.calibrations.get(found.calibration_id)
            if calibration.closed_at_s is None:
                raise Missing(f"there is no evaluation {evaluation_id}")
        return found
    own = bool(me.agent_id) and found.agent_id == me.agent_id
    if not own or found.life.status not in VISIBLE or found.calibration_id is not None:
        raise Missing(f"there is no evaluation {evaluation_id}")
    return found


def require_agent(me: Identity) -> str:
    """The agent who asks. Raises `Refused`."""
    if not me.agent_id:
        raise Refused(403, "this is for the agent himself")
    return me.agent_id


def answers_of(models: list[AnswerModel]) -> list[Answer]:
    """The answers of a request as the scoring knows them."""
    return [Answer(one.key, one.points, one.remark) for one in models]


def _told(response: Response, found: Evaluation) -> EvaluationShown:
    tag(response, found.version)
    return shown(found)


def shown(found: Evaluation) -> EvaluationShown:
    """An evaluation as the API shows it."""
    life = found.life
    return EvaluationShown(
        id=found.id,
        scorecard_id=found.scorecard_id,
        number=found.number,
        call_id=found.call_id,
        agent_id=found.agent_id,
        queue_id=found.queue_id,
        evaluator=found.evaluator,
        status=life.status,
        answers=[
            AnswerModel(key=a.key, points=a.points, remark=a.remark) for a in found.answers.values()
        ],
        summary=found.summary,
        score=found.score,
        raw_score=found.raw_score,
        passed=found.passed,
        failed=list(found.failed),
        calibration_id=found.calibration_id,
        created_at_s=found.created_at_s,
        changed_at_s=found.changed_at_s,
        published_at_s=life.published_at_s,
        acknowledged_at_s=life.acknowledged_at_s,
        appeal=life.appeal,
        appealed_at_s=life.appealed_at_s,
        decision=life.decision,
        decided_by=life.decided_by,
        decided_at_s=life.decided_at_s,
        upheld=life.upheld,
        version=found.version,
    )
