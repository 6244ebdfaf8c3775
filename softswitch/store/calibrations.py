"""Calibration: inspectors judge the same conversation apart from each other, and are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.agreement import Agreement, Pair, agreement, pairs_by_item
from softswitch.store.database import Database
from softswitch.store.evaluations import (
    Draft,
    Evaluation,
    EvaluationFilter,
    Evaluations,
    insert_evaluation,
    one_evaluation,
    queue_of,
    require_call,
)
from softswitch.store.ledger import Conflict, Ledger, row_of
from softswitch.store.reading import reading
from softswitch.store.schema_quality import calibrations, evaluations
from softswitch.store.scorecards import one_scorecard
from softswitch.store.scoring import Form

LIST_MAX = 1_000
INSPECTORS_MAX = 20
COMPARED_MAX = 500


@dataclass(frozen=True, slots=True)
class Calibration:
    """One conversation for several inspectors."""

    id: int
    scorecard_id: int
    number: int
    call_id: str
    agent_id: str
    created_by: str
    created_at_s: float
    closed_at_s: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What inspectors gave, each to the same: over all, by item, and the score of each."""

    overall: Agreement
    items: Mapping[str, Agreement]
    scores: Mapping[str, float | None]


class Calibrations:
    """The calibrations of one office. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger, evaluations: Evaluations) -> None:
        self._database = database
        self._ledger = ledger
        self._evaluations = evaluations

    async def get(self, calibration_id: int) -> Calibration:
        """One. Raises `Missing`."""
        async with reading(self._database) as connection:
            return await _one(connection, calibration_id)

    async def page(
        self,
        limit: int = 50,
        before: int | None = None,
        *,
        scorecard_id: int | None = None,
        closed: bool | None = None,
    ) -> list[Calibration]:
        """Calibrations, newest first."""
        query = sa.select(calibrations)
        if scorecard_id is not None:
            query = query.where(calibrations.c.scorecard_id == scorecard_id)
        if closed is not None:
            open_ = calibrations.c.closed_at_s.is_(None)
            query = query.where(sa.not_(open_) if closed else open_)
        if before is not None:
            query = query.where(calibrations.c.id < before)
        query = query.order_by(calibrations.c.id.desc()).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            return [_calibration(row) for row in (await connection.execute(query)).all()]

    async def add(self, actor: str, scorecard_id: int, call_id: str, agent_id: str) -> Calibration:
        """Put a conversation up to be judged. Raises `Missing`."""
        async with self._ledger.change(actor) as change:
            card = await one_scorecard(change.connection, scorecard_id, None)
            await require_call(change.connection, call_id)
            values = {
                "scorecard_id": scorecard_id,
                "number": card.number,
                "call_id": call_id,
                "agent_id": agent_id,
                "created_by": actor,
                "created_at_s": change.at_s,
            }
            query = sa.insert(calibrations).values(values).returning(calibrations)
            found = _calibration((await change.connection.execute(query)).one())
            change.note("calibration-added", f"calibration:{found.id}", call=call_id)
            return found

    async def join(self, actor: str, calibration_id: int) -> Evaluation:
        """The draft of an inspector's judgement, new or the one he has. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            found = await _one(change.connection, calibration_id)
            mine = sa.select(evaluations.c.id, evaluations.c.evaluator).where(
                evaluations.c.calibration_id == calibration_id
            )
            judged = {who: number for number, who in (await change.connection.execute(mine)).all()}
            if actor in judged:
                return await one_evaluation(change.connection, judged[actor])
            if found.closed_at_s is not None:
                raise Conflict(f"calibration {calibration_id} is closed")
            if len(judged) >= INSPECTORS_MAX:
                raise Conflict(f"a calibration has at most {INSPECTORS_MAX} inspectors")
            card = await one_scorecard(change.connection, found.scorecard_id, found.number)
            queue_id = await queue_of(change.connection, found.call_id, found.agent_id)
            draft = Draft(found.scorecard_id, found.call_id, found.agent_id, queue_id)
            number = await insert_evaluation(change, card, draft, calibration_id)
            return await one_evaluation(change.connection, number)

    async def close(self, actor: str, calibration_id: int) -> Calibration:
        """Compare: from now on everybody sees what all have judged. Raises `Missing`, `Conflict`."""
        async with self._ledger.change(actor) as change:
            found = await _one(change.connection, calibration_id)
            if found.closed_at_s is not None:
                raise Conflict(f"calibration {calibration_id} is closed already")
            here = calibrations.c.id == calibration_id
            await change.connection.execute(
                sa.update(calibrations).where(here).values(closed_at_s=change.at_s)
            )
            change.note("calibration-closed", f"calibration:{calibration_id}")
            return await _one(change.connection, calibration_id)

    async def compare(self, calibration_id: int) -> Comparison:
        """How far the inspectors of one calibration agree, of what they handed in. Raises `Missing`."""
        async with reading(self._database) as connection:
            found = await _one(connection, calibration_id)
            card = await one_scorecard(connection, found.scorecard_id, found.number)
        judged = await self._handed_in(calibration_id)
        pairs = pairs_by_item({one.evaluator: _shares(card.form, one) for one in judged})
        return _comparison(pairs, {one.evaluator: one.score for one in judged})

    async def compare_all(self, scorecard_id: int, since_s: float = 0.0) -> Comparison:
        """The same over all closed calibrations of a scorecard since then (the newest
        `COMPARED_MAX`); `scores` are each inspector's mean."""
        query = (
            sa.select(calibrations)
            .where(
                calibrations.c.scorecard_id == scorecard_id,
                calibrations.c.closed_at_s.is_not(None),
                calibrations.c.closed_at_s >= since_s,
            )
            .order_by(calibrations.c.id.desc())
            .limit(COMPARED_MAX)
        )
        pairs: dict[str, list[Pair]] = {}
        given: dict[str, list[float]] = {}
        async with reading(self._database) as connection:
            found = [_calibration(row) for row in (await connection.execute(query)).all()]
            forms = {
                number: (await one_scorecard(connection, scorecard_id, number)).form
                for number in {one.number for one in found}
            }
        for one in found:
            judged = await self._handed_in(one.id)
            shares = {each.evaluator: _shares(forms[one.number], each) for each in judged}
            for item, more in pairs_by_item(shares).items():
                pairs.setdefault(item, []).extend(more)
            for each in judged:
                if each.score is not None:
                    given.setdefault(each.evaluator, []).append(each.score)
        means: dict[str, float | None] = {
            who: sum(scores) / len(scores) for who, scores in given.items()
        }
        return _comparison(pairs, means)

    async def _handed_in(self, calibration_id: int) -> list[Evaluation]:
        which = EvaluationFilter(calibration_id=calibration_id)
        found = await self._evaluations.page(which, INSPECTORS_MAX)
        return [one for one in found if one.life.status != "draft"]


def _shares(form: Form, evaluation: Evaluation) -> dict[str, float]:
    points = {item.key: item.points for item in form.items()}
    return {
        key: answer.points / points[key]
        for key, answer in evaluation.answers.items()
        if answer.points is not None
    }


def _comparison(
    pairs: Mapping[str, Sequence[Pair]], scores: Mapping[str, float | None]
) -> Comparison:
    together = [pair for of_item in pairs.values() for pair in of_item]
    items = {item: agreement(of_item) for item, of_item in pairs.items()}
    return Comparison(agreement(together), items, scores)


async def _one(connection: AsyncConnection, calibration_id: int) -> Calibration:
    return _calibration(await row_of(connection, calibrations, calibration_id, "calibration"))


def _calibration(row: Any) -> Calibration:
    return Calibration(**row._mapping)
