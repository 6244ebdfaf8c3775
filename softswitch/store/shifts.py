"""Agents' plans, and how they kept to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from softswitch.store.adherence import Adherence, Planned
from softswitch.store.database import Database
from softswitch.store.ledger import Conflict, Ledger, Missing, row_of
from softswitch.store.periods import Span
from softswitch.store.plans_kept import LENGTH_S_MAX, PlanKept
from softswitch.store.reading import reading
from softswitch.store.schema_shifts import shifts

LIST_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Shift:
    """A stretch of an agent's plan: "work", or a break by its reason."""

    id: int
    agent_id: str
    start_s: float
    end_s: float
    activity: str


class Shifts:
    """The plans of one office. A plan may be changed afterwards: adherence is counted when it is asked for.

    Raises `StoreError` while the database cannot be used.
    """

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def page(
        self, start_s: float, end_s: float, agent_id: str = "", limit: int = 50, after: int = 0
    ) -> list[Shift]:
        """What is planned in a span, by id."""
        query = sa.select(shifts).where(*_in(start_s, end_s), shifts.c.id > after)
        if agent_id:
            query = query.where(shifts.c.agent_id == agent_id)
        query = query.order_by(shifts.c.id).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            return [Shift(**row._mapping) for row in (await connection.execute(query)).all()]

    async def get(self, shift_id: int) -> Shift:
        """One. Raises `Missing`."""
        async with reading(self._database) as connection:
            row = await row_of(connection, shifts, shift_id, "shift")
        return Shift(**row._mapping)

    async def add(self, actor: str, agent_id: str, planned: Planned) -> Shift:
        """Plan something. Raises `Conflict` for what overlaps another stretch of the agent's plan."""
        if not 0 < planned.end_s - planned.start_s <= LENGTH_S_MAX:
            raise Conflict("a shift is longer than nothing and at most a day")
        async with self._ledger.change(actor) as change:
            overlapping = sa.select(shifts.c.id).where(
                shifts.c.agent_id == agent_id, *_in(planned.start_s, planned.end_s)
            )
            found = (await change.connection.execute(overlapping.limit(1))).scalar()
            if found is not None:
                raise Conflict(f"this overlaps shift {found}")
            row = {
                "agent_id": agent_id,
                "start_s": planned.start_s,
                "end_s": planned.end_s,
                "activity": planned.activity,
            }
            query = sa.insert(shifts).values(row).returning(shifts)
            made = Shift(**(await change.connection.execute(query)).one()._mapping)
            change.note("shift-added", f"shift:{made.id}", **row)
            return made

    async def remove(self, actor: str, shift_id: int) -> None:
        """Take something out of a plan. Raises `Missing`."""
        async with self._ledger.change(actor) as change:
            query = sa.delete(shifts).where(shifts.c.id == shift_id).returning(shifts.c.agent_id)
            if (await change.connection.execute(query)).first() is None:
                raise Missing(f"there is no shift {shift_id}")
            change.note("shift-removed", f"shift:{shift_id}")

    async def adherence(
        self, span: Span, agents: Sequence[str], now_s: float
    ) -> dict[tuple[str, str], Adherence]:
        """How agents kept to their plans, by period and agent. Raises `Conflict` for more than `PIECES_MAX`
        stretches of plans: a shorter time, or fewer agents."""
        return await PlanKept(self._database, span, agents, now_s).count()


def _in(start_s: float, end_s: float) -> list[Any]:
    # A shift is at most a day long: the index finds those that began before the span.
    return [
        shifts.c.start_s > start_s - LENGTH_S_MAX,
        shifts.c.start_s < end_s,
        shifts.c.end_s > start_s,
    ]
