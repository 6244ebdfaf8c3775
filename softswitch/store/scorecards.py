"""Scorecards: what is asked of a conversation, in every form that was ever used."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.database import Database
from softswitch.store.ledger import Change, Conflict, Ledger, Missing, Stale
from softswitch.store.reading import reading
from softswitch.store.schema_quality import scorecard_forms, scorecards
from softswitch.store.scoring import Form, faults_of_form

LIST_MAX = 1_000
FORMS_MAX = 1_000
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Scorecard:
    """A scorecard with one of its forms; `number` is which, counted from 1."""

    id: int
    name: str
    number: int
    form: Form
    archived: bool
    created_at_s: float
    changed_at_s: float
    version: int


class Scorecards:
    """The scorecards of one office. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def get(self, scorecard_id: int, number: int | None = None) -> Scorecard:
        """One, in its newest form or another. Raises `Missing`."""
        async with reading(self._database) as connection:
            return await one_scorecard(connection, scorecard_id, number)

    async def page(
        self, limit: int = 50, after: int = 0, *, archived: bool = False
    ) -> list[Scorecard]:
        """Scorecards by id, in their newest form; with `archived` also those no longer used."""
        query = _joined(scorecards.c.number == scorecard_forms.c.number)
        query = query.where(scorecards.c.id > after).order_by(scorecards.c.id)
        if not archived:
            query = query.where(sa.not_(scorecards.c.archived))
        async with reading(self._database) as connection:
            query = query.limit(max(0, min(limit, LIST_MAX)))
            return [_scorecard(row) for row in (await connection.execute(query)).all()]

    async def add(self, actor: str, name: str, form: Form) -> Scorecard:
        """A new one. Raises `Conflict` for a form that makes no sense."""
        _check(form)
        async with self._ledger.change(actor) as change:
            values = {
                "name": name,
                "number": 1,
                "archived": False,
                "created_at_s": change.at_s,
                "changed_at_s": change.at_s,
                "version": 1,
            }
            query = sa.insert(scorecards).values(values).returning(scorecards.c.id)
            scorecard_id = int((await change.connection.execute(query)).scalar_one())
            await _put_form(change, scorecard_id, 1, form)
            change.note("scorecard-added", f"scorecard:{scorecard_id}", name=name)
            return await one_scorecard(change.connection, scorecard_id, None)

    async def change(
        self,
        actor: str,
        scorecard_id: int,
        *,
        name: str | None = None,
        form: Form | None = None,
        archived: bool | None = None,
        version: int | None = None,
    ) -> Scorecard:
        """Another name or form; another form is a new number, for what is judged from now on. Raises
        `Missing`, `Stale`, `Conflict`."""
        if form is not None:
            _check(form)
        async with self._ledger.change(actor) as change:
            before = await one_scorecard(change.connection, scorecard_id, None)
            if version is not None and before.version != version:
                raise Stale(f"scorecard {scorecard_id} was changed meanwhile")
            number = before.number
            if form is not None and form != before.form:
                number += 1
                if number > FORMS_MAX:
                    raise Conflict(f"a scorecard has at most {FORMS_MAX} forms")
                await _put_form(change, scorecard_id, number, form)
            values = {
                "name": before.name if name is None else name,
                "archived": before.archived if archived is None else archived,
                "number": number,
                "changed_at_s": change.at_s,
                "version": before.version + 1,
            }
            here = scorecards.c.id == scorecard_id
            await change.connection.execute(sa.update(scorecards).where(here).values(values))
            change.note(
                "scorecard-changed",
                f"scorecard:{scorecard_id}",
                name=[before.name, values["name"]],
                number=[before.number, number],
                archived=[before.archived, values["archived"]],
            )
            return await one_scorecard(change.connection, scorecard_id, None)


async def one_scorecard(
    connection: AsyncConnection, scorecard_id: int, number: int | None
) -> Scorecard:
    """A scorecard in one of its forms, the newest for None. Raises `Missing`."""
    which = scorecards.c.number if number is None else number
    query = _joined(scorecard_forms.c.number == which).where(scorecards.c.id == scorecard_id)
    row = (await connection.execute(query)).first()
    if row is None:
        raise Missing(f"there is no scorecard {scorecard_id}" + (f", {number}" if number else ""))
    return _scorecard(row)


def _joined(which: sa.ColumnElement[bool]) -> sa.Select[tuple[object, ...]]:
    here = sa.and_(scorecard_forms.c.scorecard_id == scorecards.c.id, which)
    return sa.select(
        scorecards, scorecard_forms.c.form, scorecard_forms.c.number.label("form_number")
    ).join(scorecard_forms, here)


def _scorecard(row: sa.Row[tuple[object, ...]]) -> Scorecard:
    return Scorecard(
        id=row.id,
        name=row.name,
        number=row.form_number,
        form=msgspec.json.decode(row.form, type=Form),
        archived=row.archived,
        created_at_s=row.created_at_s,
        changed_at_s=row.changed_at_s,
        version=row.version,
    )


async def _put_form(change: Change, scorecard_id: int, number: int, form: Form) -> None:
    values = {
        "scorecard_id": scorecard_id,
        "number": number,
        "form": _encode(form).decode(),
        "created_by": change.actor,
        "created_at_s": change.at_s,
    }
    await change.connection.execute(sa.insert(scorecard_forms).values(values))


def _check(form: Form) -> None:
    faults = faults_of_form(form)
    if faults:
        raise Conflict("; ".join(faults))
