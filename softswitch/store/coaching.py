"""Coaching notes: what somebody should try next time, for him and his supervisors."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.ledger import Ledger, Missing
from softswitch.store.reading import reading
from softswitch.store.schema_quality import coaching_notes, evaluations

LIST_MAX = 1_000


@dataclass(frozen=True, slots=True)
class CoachingNote:
    """What was advised; `acknowledged_at_s`: when the agent said that he has read it."""

    id: int
    agent_id: str
    evaluation_id: int | None
    author: str
    at_s: float
    text: str
    acknowledged_at_s: float | None


class Coaching:
    """The coaching notes of one office. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def page(
        self, agent_id: str, limit: int = 50, before: int | None = None
    ) -> list[CoachingNote]:
        """An agent's, newest first."""
        query = sa.select(coaching_notes).where(coaching_notes.c.agent_id == agent_id)
        if before is not None:
            query = query.where(coaching_notes.c.id < before)
        query = query.order_by(coaching_notes.c.id.desc()).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            found = (await connection.execute(query)).all()
            return [CoachingNote(**row._mapping) for row in found]

    async def get(self, agent_id: str, note_id: int) -> CoachingNote:
        """One of an agent's. Raises `Missing`."""
        here = sa.and_(coaching_notes.c.id == note_id, coaching_notes.c.agent_id == agent_id)
        async with reading(self._database) as connection:
            row = (await connection.execute(sa.select(coaching_notes).where(here))).first()
        if row is None:
            raise Missing(f"there is no coaching note {note_id} of {agent_id}")
        return CoachingNote(**row._mapping)

    async def add(
        self, actor: str, agent_id: str, text: str, evaluation_id: int | None = None
    ) -> CoachingNote:
        """Advise an agent. Raises `Missing` for an evaluation that is not his."""
        async with self._ledger.change(actor) as change:
            if evaluation_id is not None:
                here = sa.select(evaluations.c.id).where(
                    evaluations.c.id == evaluation_id, evaluations.c.agent_id == agent_id
                )
                if (await change.connection.execute(here)).first() is None:
                    raise Missing(f"there is no evaluation {evaluation_id} of {agent_id}")
            values = {
                "agent_id": agent_id,
                "evaluation_id": evaluation_id,
                "author": actor,
                "at_s": change.at_s,
                "text": text,
            }
            query = sa.insert(coaching_notes).values(values).returning(coaching_notes)
            note = CoachingNote(**(await change.connection.execute(query)).one()._mapping)
            change.note("agent-coached", f"coaching:{note.id}", agent=agent_id)
            return note

    async def acknowledge(self, actor: str, agent_id: str, note_id: int) -> CoachingNote:
        """The agent has read it. Raises `Missing` for one that is not his."""
        async with self._ledger.change(actor) as change:
            here = sa.and_(coaching_notes.c.id == note_id, coaching_notes.c.agent_id == agent_id)
            stamp = sa.func.coalesce(coaching_notes.c.acknowledged_at_s, change.at_s)
            query = sa.update(coaching_notes).where(here).values(acknowledged_at_s=stamp)
            row = (await change.connection.execute(query.returning(coaching_notes))).first()
            if row is None:
                raise Missing(f"there is no coaching note {note_id} of {agent_id}")
            change.note("coaching-acknowledged", f"coaching:{note_id}", agent=agent_id)
            return CoachingNote(**row._mapping)
