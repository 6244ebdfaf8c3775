"""How plans were kept, counted where the rows are: whole half-hours of a plan from those that are added up,
what is left at its ends from the states themselves. The two are equal to comparing every state with every
stretch (`adherence.adherence`), which takes hours over a year of a large office."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.adherence import AT_WORK, WORK, Adherence, Done, Planned, fits
from softswitch.store.counting import slot_of
from softswitch.store.database import Database
from softswitch.store.grouped import Key, Labels, paged, period_of
from softswitch.store.ledger import Conflict
from softswitch.store.periods import Span, Stretch
from softswitch.store.reading import reading
from softswitch.store.rolls import rolled_to
from softswitch.store.schema_centre import agent_states
from softswitch.store.schema_rolls import SLOT_S, state_rolls
from softswitch.store.schema_shifts import shifts
from softswitch.store.statistics import StateTimes, Statistics
from softswitch.turns import done, emptied

LENGTH_S_MAX = 24 * 3_600.0
"""Of a shift."""
PIECES_MAX = 500_000
_CUTS_MAX = 20_000
_RUN_S = 7 * 86_400.0
"""States of an agent are read together for ends of his plan that are not further apart."""


@dataclass(slots=True)
class Kept:
    """Of one agent in one period, in seconds."""

    planned_s: float = 0.0
    planned_work_s: float = 0.0
    adherent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a plan, or of what is left of it, within one period."""

    key: Key
    planned: Planned


_Cut = tuple[str, float, float, tuple[Planned, ...]]
"""Period, seconds, seconds planned as work, and what is left at the ends."""


@dataclass(slots=True)
class PlanKept:
    """One count: of the plans of `agents` (all for none) in `span`, as far as it has passed at `now_s`."""

    database: Database
    span: Span
    agents: Sequence[str]
    now_s: float
    _kept: dict[Key, Kept] = field(default_factory=dict)
    _ends: dict[str, list[Piece]] = field(default_factory=dict)
    _slots: tuple[int, int] = (0, 0)
    _longest_s: float = 0.0
    _cuts: dict[tuple[float, float, str], list[_Cut]] = field(default_factory=dict)

    async def count(self) -> dict[Key, Adherence]:
        """By period and agent. Raises `Conflict` for too many stretches."""
        async with reading(self.database) as connection:
            self._slots = await self._whole_half_hours(connection)
            await self._read_plans(connection)
            if self._slots[0] < self._slots[1]:
                for stretch in self.span.stretches():
                    await self._add_half_hours(connection, stretch)
            while self._ends:
                await self._add_ends(connection, *self._ends.popitem())
        names = tuple(sorted({agent for _, agent in self._kept}))
        worked = await Statistics(self.database).states(self.span, names, self.now_s)
        found: dict[Key, Adherence] = {}
        await done(self._compared(worked, found))
        await emptied(worked)
        return found

    def _compared(
        self, worked: dict[Key, StateTimes], found: dict[Key, Adherence]
    ) -> Iterator[None]:
        for key in tuple(self._kept):
            kept = self._kept.pop(key)
            spent = worked.pop(key, None)
            states = {} if spent is None else spent.seconds
            worked_s = sum(states.get(state, 0.0) for state in AT_WORK)
            found[key] = Adherence(kept.planned_s, kept.planned_work_s, kept.adherent_s, worked_s)
            yield

    @property
    def _end_s(self) -> float:
        return min(self.span.end_s, self.now_s)

    async def _whole_half_hours(self, connection: AsyncConnection) -> tuple[int, int]:
        """From which half-hour to before which they are taken as they are added up. None where the zone's
        periods cut them."""
        if any(stretch.offset_s % SLOT_S for stretch in self.span.stretches()):
            return 0, 0
        first, stop = _whole(self.span.start_s, self._end_s)
        return first, min(stop, await rolled_to(connection))

    # -- plans -------------------------------------------------------------------------------------

    def _planned(self) -> list[Any]:
        # A shift is at most a day long: the index finds those that began before the span.
        found: list[Any] = [
            shifts.c.start_s > self.span.start_s - LENGTH_S_MAX,
            shifts.c.start_s < self._end_s,
            shifts.c.end_s > self.span.start_s,
        ]
        return [*found, shifts.c.agent_id.in_(list(self.agents))] if self.agents else found

    async def _read_plans(self, connection: AsyncConnection) -> None:
        table, count = shifts.c, 0
        query = sa.select(table.agent_id, table.start_s, table.end_s, table.activity)
        async for some in paged(connection, query.where(*self._planned())):
            count += len(some)
            if count > PIECES_MAX:
                raise Conflict(
                    f"there are more than {PIECES_MAX} stretches of plans in that time: ask for less of it"
                )
            await done(self._take_all(some))

    def _take_all(self, rows: Sequence[Any]) -> Iterator[None]:
        kept, known = self._kept, self._cuts
        for agent, start_s, end_s, activity in rows:
            # Many agents have the same hours.
            cuts = known.get((start_s, end_s, activity))
            if cuts is None:
                self._longest_s = max(self._longest_s, end_s - start_s)
                if len(known) >= _CUTS_MAX:
                    known.clear()
                cuts = [*self._cut(Planned(start_s, end_s, activity))]
                known[start_s, end_s, activity] = cuts
            for period, length_s, work_s, ends in cuts:
                key = (period, agent)
                so_far = kept.get(key)
                if so_far is None:
                    so_far = kept[key] = Kept()
                so_far.planned_s += length_s
                so_far.planned_work_s += work_s
                if ends:
                    mine = self._ends.setdefault(agent, [])
                    mine += [Piece(key, end) for end in ends]
            yield

    def _cut(self, planned: Planned) -> Iterator[_Cut]:
        """What of a stretch lies in which period."""
        at_s = max(planned.start_s, self.span.start_s)
        for period, length_s in self.span.cuts(at_s, min(planned.end_s, self._end_s)):
            piece = Planned(at_s, at_s + length_s, planned.activity)
            at_s += length_s
            work_s = length_s if planned.activity == WORK else 0.0
            yield period, length_s, work_s, self._ends_of(piece)

    def _ends_of(self, planned: Planned) -> tuple[Planned, ...]:
        """What of a piece is no whole half-hour that is added up."""
        first, stop = _whole(planned.start_s, planned.end_s)
        first, stop = max(first, self._slots[0]), min(stop, self._slots[1])
        if first >= stop:
            return (planned,)
        edges = (
            (planned.start_s, first * float(SLOT_S)),
            (stop * float(SLOT_S), planned.end_s),
        )
        return tuple(
            Planned(start_s, end_s, planned.activity) for start_s, end_s in edges if start_s < end_s
        )

    # -- what was done -----------------------------------------------------------------------------

    async def _add_half_hours(self, connection: AsyncConnection, stretch: Stretch) -> None:
        """Every planned half-hour by its key: no row is looked at that is not planned for."""
        dialect, plan, done = connection.dialect.name, shifts.c, state_rolls.c
        # The database goes through all stretches for each of these.
        numbers = range(int(self._longest_s // SLOT_S) + 1)
        nth = sa.values(sa.column("k", sa.Integer), name="nth").data([(n,) for n in numbers])
        ahead = nth.cte("nth")
        slot = slot_of(plan.start_s, dialect) + ahead.c.k
        fitting = sa.case(
            (plan.activity == WORK, done.state.in_(sorted(AT_WORK))),
            (done.state == "unavailable", done.reason.in_([sa.literal(""), plan.activity])),
            else_=done.state == "logged-out",
        )
        first, stop = _whole(stretch.start_s, stretch.end_s)
        at_s = done.slot * float(SLOT_S)
        period = period_of(self.span, stretch, "halves", None, at_s, dialect)
        query = (
            sa.select(
                plan.agent_id, sa.func.sum(done.seconds), *(() if period is None else (period,))
            )
            .select_from(shifts)
            .join(ahead, slot * float(SLOT_S) < plan.end_s)
            .join(state_rolls, sa.and_(done.slot == slot, done.agent_id == plan.agent_id))
            .where(
                *self._planned(),
                slot * float(SLOT_S) >= plan.start_s,
                (slot + 1) * float(SLOT_S) <= plan.end_s,
                done.slot >= max(first, self._slots[0]),
                done.slot < min(stop, self._slots[1]),
                fitting,
            )
            .group_by(plan.agent_id, *(() if period is None else (sa.literal_column("3"),)))
        )
        labels = Labels(self.span, stretch.offset_s)
        async for some in paged(connection, query):
            for row in some:
                key = "" if period is None else labels(int(row[2])), row[0]
                self._kept[key].adherent_s += row[1]

    async def _add_ends(self, connection: AsyncConnection, agent: str, ends: list[Piece]) -> None:
        ends.sort(key=lambda piece: piece.planned.start_s)
        run: list[Piece] = []
        for piece in ends:
            if run and piece.planned.start_s > run[-1].planned.end_s + _RUN_S:
                await self._add_run(connection, agent, run)
                run = []
            run.append(piece)
        await self._add_run(connection, agent, run)

    async def _add_run(self, connection: AsyncConnection, agent: str, run: list[Piece]) -> None:
        """States of an agent do not overlap: the last that began before a time is all that lasts then."""
        table = agent_states.c
        start_s, end_s = run[0].planned.start_s, run[-1].planned.end_s
        before = sa.select(sa.func.max(table.started_at_s)).where(
            table.agent_id == agent, table.started_at_s <= start_s
        )
        first_s = sa.func.coalesce(before.scalar_subquery(), start_s)
        query = (
            sa.select(table.state, table.reason, table.started_at_s, table.ended_at_s)
            .where(
                table.agent_id == agent,
                table.started_at_s >= first_s,
                table.started_at_s < end_s,
            )
            .order_by(table.started_at_s)
        )
        starts = [piece.planned.start_s for piece in run]
        async for some in paged(connection, query):
            await done(self._compare_all(run, starts, some))

    def _compare_all(
        self, run: list[Piece], starts: list[float], rows: Sequence[Any]
    ) -> Iterator[None]:
        for state, reason, since_s, until_s in rows:
            last_s = self._end_s if until_s is None else min(until_s, self._end_s)
            self._compare(run, starts, Done(since_s, last_s, state, reason))
            yield

    def _compare(self, run: list[Piece], starts: list[float], state: Done) -> None:
        """Pieces of a plan are in order and do not overlap."""
        at = max(0, bisect_right(starts, state.start_s) - 1)
        while at < len(run) and run[at].planned.start_s < state.end_s:
            piece = run[at]
            planned = piece.planned
            length_s = min(planned.end_s, state.end_s) - max(planned.start_s, state.start_s)
            if length_s > 0 and fits(planned, state):
                self._kept[piece.key].adherent_s += length_s
            at += 1


def _whole(start_s: float, end_s: float) -> tuple[int, int]:
    """From which half-hour to before which they lie in an interval."""
    first = int(start_s // SLOT_S)
    if first * float(SLOT_S) < start_s:
        first += 1
    return first, int(end_s // SLOT_S)
