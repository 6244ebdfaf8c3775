"""Evaluations of conversations by a scorecard, what is written beside them, and what agents say to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import evaluation_rules as rules
from softswitch.store.database import Database
from softswitch.store.ledger import Change, Conflict, Ledger, Missing, Stale, row_of
from softswitch.store.reading import reading
from softswitch.store.schema import calls
from softswitch.store.schema_centre import queue_visits
from softswitch.store.schema_quality import (
    calibrations,
    evaluation_comments,
    evaluations,
    samples,
)
from softswitch.store.scorecards import Scorecard, one_scorecard
from softswitch.store.scoring import Answer, Score, faults_of_answers, score

LIST_MAX = 1_000
COMMENTS_MAX = 500
_encode = msgspec.json.encode
_LIFE = tuple(part.name for part in fields(rules.Life))
_FINAL = frozenset({"acknowledged", "decided"})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One inspector's judgement of one agent in one call. `number` is the scorecard's form; `answers` by
    the item's key; `calibration_id`: it measures inspectors and does not count for the agent."""

    id: int
    scorecard_id: int
    number: int
    call_id: str
    agent_id: str
    queue_id: str
    evaluator: str
    answers: Mapping[str, Answer]
    summary: str
    score: float | None
    raw_score: float | None
    passed: bool
    failed: Sequence[str]
    calibration_id: int | None
    life: rules.Life
    created_at_s: float
    changed_at_s: float
    version: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something written beside an evaluation; `second` of the call's `recording` it is about."""

    id: int
    evaluation_id: int
    at_s: float
    author: str
    recording: int
    second: float | None
    text: str


@dataclass(frozen=True, slots=True)
class EvaluationFilter:
    """Which evaluations are asked for; "" and None mean any. `seen_by`: an inspector, from whom the
    others' judgements of calibrations that are open are kept; `visible_only`: what agents see."""

    agent_id: str = ""
    call_id: str = ""
    evaluator: str = ""
    status: tuple[str, ...] = ()
    scorecard_id: int | None = None
    calibration_id: int | None = None
    visible_only: bool = False
    seen_by: str = ""

    def clauses(self) -> list[Any]:
        """As conditions of a query of `evaluations`."""
        table, found = evaluations.c, []
        for column, text in (
            (table.agent_id, self.agent_id),
            (table.call_id, self.call_id),
            (table.evaluator, self.evaluator),
        ):
            if text:
                found.append(column == text)
        for column, number in (
            (table.scorecard_id, self.scorecard_id),
            (table.calibration_id, self.calibration_id),
        ):
            if number is not None:
                found.append(column == number)
        if self.status:
            found.append(table.status.in_(self.status))
        if self.visible_only:
            found += [table.status.in_(sorted(rules.VISIBLE)), table.calibration_id.is_(None)]
        if self.seen_by:
            open_ones = sa.select(calibrations.c.id).where(calibrations.c.closed_at_s.is_(None))
            found.append(
                sa.or_(
                    table.calibration_id.is_(None),
                    table.evaluator == self.seen_by,
                    table.calibration_id.not_in(open_ones),
                )
            )
        return found


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody begins to judge."""

    scorecard_id: int
    call_id: str
    agent_id: str
    queue_id: str = ""
    answers: Sequence[Answer] = field(default_factory=tuple)
    summary: str = ""
    sample_id: int | None = None


class Evaluations:
    """The evaluations of one office. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    # -- reading --------------------------------------------------------------------------------

    async def get(self, evaluation_id: int) -> Evaluation:
        """One. Raises `Missing`."""
        async with reading(self._database) as connection:
            return await one_evaluation(connection, evaluation_id)

    async def page(
        self, which: EvaluationFilter, limit: int = 50, before: int | None = None
    ) -> list[Evaluation]:
        """Evaluations, newest first."""
        query = sa.select(evaluations).where(*which.clauses())
        if before is not None:
            query = query.where(evaluations.c.id < before)
        query = query.order_by(evaluations.c.id.desc()).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            return [_evaluation(row) for row in (await connection.execute(query)).all()]

    async def remarks(self, evaluation_id: int) -> list[Remark]:
        """What is written beside one, in the order of the recording, then of writing."""
        table = evaluation_comments.c
        query = (
            sa.select(evaluation_comments)
            .where(table.evaluation_id == evaluation_id)
            .order_by(sa.func.coalesce(table.second, -1.0), table.id)
            .limit(COMMENTS_MAX)
        )
        async with reading(self._database) as connection:
            return [_remark(row) for row in (await connection.execute(query)).all()]

    # -- writing --------------------------------------------------------------------------------

    async def add(self, actor: str, draft: Draft) -> Evaluation:
        """Begin one by the newest form of its scorecard. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            card = await one_scorecard(change.connection, draft.scorecard_id, None)
            if card.archived:
                raise Conflict(f"scorecard {card.id} is no longer used")
            await require_call(change.connection, draft.call_id)
            if not draft.queue_id:
                queue_id = await queue_of(change.connection, draft.call_id, draft.agent_id)
                draft = replace(draft, queue_id=queue_id)
            evaluation_id = await insert_evaluation(change, card, draft, None)
            if draft.sample_id is not None:
                here = samples.c.id == draft.sample_id
                done = {"status": "done", "evaluation_id": evaluation_id}
                found = await change.connection.execute(
                    sa.update(samples).where(here).values(done).returning(samples.c.id)
                )
                if found.first() is None:
                    raise Missing(f"there is no sample {draft.sample_id}")
            return await one_evaluation(change.connection, evaluation_id)

    async def change(
        self,
        actor: str,
        evaluation_id: int,
        *,
        answers: Sequence[Answer] | None = None,
        summary: str | None = None,
        version: int | None = None,
    ) -> Evaluation:
        """Other answers: of a draft by its evaluator. Answers that are not given stay. Raises `Missing`,
        `Stale`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await _current(change, evaluation_id, version)
            if before.life.status != "draft":
                raise Conflict("what was published is changed by the decision of an appeal only")
            if before.evaluator != actor:
                raise Conflict("a draft is its evaluator's")
            await _judge(change, before, answers or (), summary, before.life)
            change.note("evaluation-changed", f"evaluation:{evaluation_id}")
            return await one_evaluation(change.connection, evaluation_id)

    async def discard(self, actor: str, evaluation_id: int, version: int | None = None) -> None:
        """Throw one's own draft away; what it was chosen by waits again. Raises `Missing`, `Stale`,
        `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await _current(change, evaluation_id, version)
            if before.life.status != "draft":
                raise Conflict("what was published stays")
            if before.evaluator != actor:
                raise Conflict("a draft is its evaluator's")
            waits = {"status": "waiting", "evaluation_id": None}
            await change.connection.execute(
                sa.update(samples).where(samples.c.evaluation_id == evaluation_id).values(waits)
            )
            for table, column in (
                (evaluation_comments, evaluation_comments.c.evaluation_id),
                (evaluations, evaluations.c.id),
            ):
                await change.connection.execute(sa.delete(table).where(column == evaluation_id))
            change.note("evaluation-discarded", f"evaluation:{evaluation_id}", call=before.call_id)

    async def publish(self, actor: str, evaluation_id: int) -> Evaluation:
        """Show it to the agent (of a calibration: hand it in). Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await _current(change, evaluation_id, None)
            if before.evaluator != actor:
                raise Conflict("a draft is its evaluator's")
            card = await one_scorecard(change.connection, before.scorecard_id, before.number)
            judged = score(card.form, before.answers)
            life = rules.publish(before.life, change.at_s, judged.open)
            await _put(change, before, _lived(life))
            change.note(
                "evaluation-published",
                f"evaluation:{evaluation_id}",
                agent=before.agent_id,
                score=before.score,
            )
            return await one_evaluation(change.connection, evaluation_id)

    async def acknowledge(self, actor: str, evaluation_id: int, agent_id: str) -> Evaluation:
        """The agent has read it. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await _own(change, evaluation_id, agent_id)
            await _put(change, before, _lived(rules.acknowledge(before.life, change.at_s)))
            change.note("evaluation-acknowledged", f"evaluation:{evaluation_id}")
            return await one_evaluation(change.connection, evaluation_id)

    async def appeal(self, actor: str, evaluation_id: int, agent_id: str, text: str) -> Evaluation:
        """The agent says that it is wrong. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await _own(change, evaluation_id, agent_id)
            await _put(change, before, _lived(rules.appeal(before.life, change.at_s, text)))
            change.note("evaluation-appealed", f"evaluation:{evaluation_id}", agent=agent_id)
            return await one_evaluation(change.connection, evaluation_id)

    async def decide(
        self,
        actor: str,
        evaluation_id: int,
        text: str,
        *,
        upheld: bool,
        answers: Sequence[Answer] = (),
    ) -> Evaluation:
        """Answer an appeal: it stays, or `answers` take the place of those that were wrong. Raises
        `Missing`, `Conflict`."""
        if upheld and answers:
            raise Conflict("an evaluation that is upheld keeps its answers")
        async with self._ledger.change(actor) as change:
            before = await _current(change, evaluation_id, None)
            life = rules.decide(
                before.life,
                change.at_s,
                text,
                upheld=upheld,
                by=actor,
                evaluator=before.evaluator,
                agent=_actor_of(before.agent_id),
            )
            if not upheld and all(before.answers.get(one.key) == one for one in answers):
                raise Conflict("an evaluation that is not upheld gets other answers: say which")
            await _judge(change, before, answers, None, life)
            after = await one_evaluation(change.connection, evaluation_id)
            change.note(
                "evaluation-decided",
                f"evaluation:{evaluation_id}",
                upheld=upheld,
                score=[before.score, after.score],
            )
            return after

    async def remark(
        self, actor: str, evaluation_id: int, text: str, second: float | None, recording: int = 0
    ) -> Remark:
        """Write something at a second of the recording, or of the whole. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            before = await _current(change, evaluation_id, None)
            if before.life.status in _FINAL:
                raise Conflict("the evaluation is closed")
            count = sa.select(sa.func.count()).where(
                evaluation_comments.c.evaluation_id == evaluation_id
            )
            if (await change.connection.execute(count)).scalar_one() >= COMMENTS_MAX:
                raise Conflict(f"an evaluation has at most {COMMENTS_MAX} comments")
            values = {
                "evaluation_id": evaluation_id,
                "at_s": change.at_s,
                "author": actor,
                "recording": recording,
                "second": second,
                "text": text,
            }
            query = sa.insert(evaluation_comments).values(values).returning(evaluation_comments)
            found = _remark((await change.connection.execute(query)).one())
            change.note("evaluation-commented", f"evaluation:{evaluation_id}", comment=found.id)
            return found


# -- inside -------------------------------------------------------------------------------------------


async def require_call(connection: AsyncConnection, call_id: str) -> None:
    """Raises `Missing` for a call there is no record of."""
    query = sa.select(calls.c.call_id).where(calls.c.call_id == call_id)
    if (await connection.execute(query)).first() is None:
        raise Missing(f"there is no call {call_id}")


async def queue_of(connection: AsyncConnection, call_id: str, agent_id: str) -> str:
    """The queue that a call came to an agent by, else the last it lay in, else the one that called back; "" for
    none."""
    table = queue_visits.c
    his = sa.case((table.agent_id == agent_id, 1), else_=0)
    query = sa.select(table.queue_id).where(table.call_id == call_id)
    query = query.order_by(his.desc(), table.seq.desc()).limit(1)
    found = (await connection.execute(query)).scalar()
    if not found:
        asked = sa.select(calls.c.origin).where(calls.c.call_id == call_id)
        kind, _, name = str((await connection.execute(asked)).scalar()).partition(":")
        found = name if kind == "queue" else ""
    return str(found)


async def insert_evaluation(
    change: Change, card: Scorecard, draft: Draft, calibration_id: int | None
) -> int:
    """A new draft of the change's actor; its id. Raises `Conflict` for an inspector who is the agent."""
    if change.actor == _actor_of(draft.agent_id):
        raise Conflict("nobody judges himself")
    answers = {answer.key: answer for answer in draft.answers}
    _check(card, answers)
    values = {
        "scorecard_id": card.id,
        "number": card.number,
        "call_id": draft.call_id,
        "agent_id": draft.agent_id,
        "queue_id": draft.queue_id,
        "evaluator": change.actor,
        "summary": draft.summary,
        "calibration_id": calibration_id,
        "created_at_s": change.at_s,
        "changed_at_s": change.at_s,
        "version": 1,
        **_judged(answers, score(card.form, answers)),
        **_lived(rules.Life()),
    }
    query = sa.insert(evaluations).values(values).returning(evaluations.c.id)
    evaluation_id = int((await change.connection.execute(query)).scalar_one())
    change.note(
        "evaluation-added",
        f"evaluation:{evaluation_id}",
        call=draft.call_id,
        agent=draft.agent_id,
        scorecard=card.id,
    )
    return evaluation_id


def _actor_of(agent_id: str) -> str:
    """An agent's name in the audit log."""
    return f"agent:{agent_id}"


async def one_evaluation(connection: AsyncConnection, evaluation_id: int) -> Evaluation:
    """Raises `Missing`."""
    return _evaluation(await row_of(connection, evaluations, evaluation_id, "evaluation"))


async def _current(change: Change, evaluation_id: int, version: int | None) -> Evaluation:
    found = await one_evaluation(change.connection, evaluation_id)
    if version is not None and found.version != version:
        raise Stale(f"evaluation {evaluation_id} was changed meanwhile")
    return found


async def _own(change: Change, evaluation_id: int, agent_id: str) -> Evaluation:
    found = await one_evaluation(change.connection, evaluation_id)
    visible = found.life.status in rules.VISIBLE and found.calibration_id is None
    if found.agent_id != agent_id or not visible:
        raise Missing(f"there is no evaluation {evaluation_id}")
    return found


async def _judge(
    change: Change,
    before: Evaluation,
    answers: Sequence[Answer],
    summary: str | None,
    life: rules.Life,
) -> None:
    card = await one_scorecard(change.connection, before.scorecard_id, before.number)
    merged = {**before.answers, **{answer.key: answer for answer in answers}}
    _check(card, merged)
    values = _judged(merged, score(card.form, merged)) | _lived(life)
    if summary is not None:
        values["summary"] = summary
    await _put(change, before, values)


async def _put(change: Change, before: Evaluation, values: dict[str, Any]) -> None:
    values = {**values, "changed_at_s": change.at_s, "version": before.version + 1}
    here = evaluations.c.id == before.id
    await change.connection.execute(sa.update(evaluations).where(here).values(values))


def _check(card: Scorecard, answers: Mapping[str, Answer]) -> None:
    faults = faults_of_answers(card.form, answers)
    if faults:
        raise Conflict("; ".join(faults))


def _judged(answers: Mapping[str, Answer], judged: Score) -> dict[str, Any]:
    return {
        "answers": _encode(list(answers.values())).decode(),
        "score": judged.percent,
        "raw_score": judged.raw_percent,
        "passed": judged.passed,
        "failed": _encode(judged.failed).decode(),
    }


def _lived(life: rules.Life) -> dict[str, Any]:
    return {name: getattr(life, name) for name in _LIFE}


def _evaluation(row: Any) -> Evaluation:
    answers = msgspec.json.decode(row.answers, type=list[Answer])
    return Evaluation(
        id=row.id,
        scorecard_id=row.scorecard_id,
        number=row.number,
        call_id=row.call_id,
        agent_id=row.agent_id,
        queue_id=row.queue_id,
        evaluator=row.evaluator,
        answers={answer.key: answer for answer in answers},
        summary=row.summary,
        score=row.score,
        raw_score=row.raw_score,
        passed=row.passed,
        failed=msgspec.json.decode(row.failed, type=list[str]),
        calibration_id=row.calibration_id,
        life=rules.Life(**{name: getattr(row, name) for name in _LIFE}),
        created_at_s=row.created_at_s,
        changed_at_s=row.changed_at_s,
        version=row.version,
    )


def _remark(row: Any) -> Remark:
    return Remark(
        row.id, row.evaluation_id, row.at_s, row.author, row.recording, row.second, row.text
    )
