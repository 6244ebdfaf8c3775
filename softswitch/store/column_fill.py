"""Filling columns: contacts of half-hours that are added up, packed (`columns`). What is packed equals the rows
at any moment: who changes one has its half-hour packed anew in the same transaction (`rolls`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import columns
from softswitch.store.columns import Layout, Rows, digest, filled, joined, slots_of
from softswitch.store.counting import TICKET, region_of, was_passed_on
from softswitch.store.schema_centre import agent_offers, facts, handlings, queue_visits, surveys
from softswitch.store.schema_columns import (
    COLUMNS,
    caller_columns,
    column_names,
    handling_columns,
    offer_columns,
    survey_columns,
    visit_columns,
)
from softswitch.store.schema_rolls import SLOT_S
from softswitch.turns import done

COLUMNS_TO = "columns-to"
"""Fact: the first half-hour that is not packed."""
PAGE = 250
"""Rows that are packed in one turn of the loop: about a millisecond."""
_START_S, _END_S = (sa.bindparam(name, type_=sa.Double) for name in ("start_s", "end_s"))


@dataclass(slots=True)
class Names:
    """Numbers of names; new ones have the next."""

    codes: dict[str, int] = field(default_factory=dict)
    new: list[dict[str, Any]] = field(default_factory=list)

    def of(self, names: Sequence[str]) -> list[int]:
        """The numbers of some."""
        codes = self.codes
        for name in names:
            if name not in codes:
                codes[name] = len(codes)
                self.new.append({"code": codes[name], "name": name})
        return [codes[name] for name in names]


async def read_names(connection: AsyncConnection) -> Names:
    """All that have numbers."""
    found = await connection.execute(sa.select(column_names.c.name, column_names.c.code))
    return Names({row.name: row.code for row in found})


async def columns_to(connection: AsyncConnection) -> int:
    """The first half-hour that is not packed; 0 for none at all."""
    query = sa.select(facts.c.value).where(facts.c.name == COLUMNS_TO)
    found = (await connection.execute(query)).scalar()
    return 0 if found is None else int(found)


async def set_columns_to(connection: AsyncConnection, to: int) -> None:
    """All before it are packed."""
    await connection.execute(sa.delete(facts).where(facts.c.name == COLUMNS_TO))
    await connection.execute(sa.insert(facts).values({"name": COLUMNS_TO, "value": str(to)}))


async def forget_columns(connection: AsyncConnection) -> None:
    """Empty all, to be made anew."""
    for table in (*COLUMNS, column_names):
        await connection.execute(sa.delete(table))
    await connection.execute(sa.delete(facts).where(facts.c.name == COLUMNS_TO))


@dataclass(frozen=True, slots=True)
class Packed:
    """The half-hours from `start` to before `stop`, packed but not kept yet: the rows of each table, and the
    names that had no number."""

    start: int
    stop: int
    rows: Sequence[tuple[sa.Table, Sequence[dict[str, Any]]]]
    names: Sequence[dict[str, Any]]
    contacts: int


async def pack(connection: AsyncConnection, start: int, stop: int) -> Packed:
    """Pack the half-hours from `start` to before `stop`. Reads only."""
    names = await read_names(connection)
    span = {"start_s": start * float(SLOT_S), "end_s": stop * float(SLOT_S)}
    packed: list[tuple[sa.Table, Sequence[dict[str, Any]]]] = []
    contacts = 0
    for kind in _kinds():
        made = _Made(kind, names)
        rows = await connection.stream(kind.query, span)
        async for page in rows.partitions(PAGE):
            await done(made.take(page))
        contacts = max(contacts, made.count)
        packed += made.blobs()
    return Packed(start, stop, packed, names.new, contacts)


async def keep(connection: AsyncConnection, packed: Packed) -> None:
    """Write what was packed, in the place of what was there; nothing it was made of may have changed since."""
    for deletion in _deletions():
        await connection.execute(deletion, {"start": packed.start, "stop": packed.stop})
    for table, rows in packed.rows:
        await connection.execute(sa.insert(table), rows)
    if packed.names:
        await connection.execute(sa.insert(column_names), packed.names)


async def fill(connection: AsyncConnection, start: int, stop: int) -> None:
    """Pack the half-hours from `start` to before `stop`, anew if they were."""
    await keep(connection, await pack(connection, start, stop))


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where rows come from and where they go: `encode` makes rows of each of the targets' layouts."""

    query: sa.Select[Any]
    targets: tuple[tuple[sa.Table, Layout], ...]
    encode: Callable[[Sequence[Any], Names], tuple[Rows, ...]]


@dataclass(slots=True)
class _Made:
    """Rows of one kind that are packed so far."""

    kind: _Kind
    names: Names
    at_s: list[npt.NDArray[np.float64]] = field(default_factory=list)
    parts: list[tuple[Rows, ...]] = field(default_factory=list)

    def take(self, page: Sequence[Any]) -> Iterator[None]:
        self.at_s.append(np.array([row[0] for row in page], np.float64))
        self.parts.append(self.kind.encode(page, self.names))
        yield

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(len(part) for part in self.at_s)

    def blobs(self) -> Iterator[tuple[sa.Table, Sequence[dict[str, Any]]]]:
        """What is to be inserted into each of the targets."""
        if not self.parts:
            return
        slots = slots_of(np.concatenate(self.at_s))
        numbers, firsts = np.unique(slots, return_index=True)
        ends = [*firsts[1:].tolist(), len(slots)]
        for place, (table, layout) in enumerate(self.kind.targets):
            rows = joined([part[place] for part in self.parts])
            yield (
                table,
                [
                    {"slot": number, "rows": layout.pack(rows[first:end])}
                    for number, first, end in zip(
                        numbers.tolist(), firsts.tolist(), ends, strict=True
                    )
                ],
            )


@cache
def _deletions() -> tuple[sa.Delete, ...]:
    start, stop = (sa.bindparam(name, type_=sa.BigInteger) for name in ("start", "stop"))
    return tuple(sa.delete(t).where(t.c.slot >= start, t.c.slot < stop) for t in COLUMNS)


# -- kinds -----------------------------------------------------------------------------------------


def visit_rows(start_s: Any, end_s: Any) -> sa.Select[Any]:
    """What `encode_visits` takes, in the order of time."""
    table = queue_visits.c
    return (
        sa.select(
            table.entered_at_s,
            table.queue_id,
            table.agent_id,
            table.region,
            table.media,
            table.outcome,
            table.waited_s,
            table.caller,
            table.call_id,
        )
        .where(table.entered_at_s >= start_s, table.entered_at_s < end_s)
        .order_by(table.entered_at_s)
    )


def encode_visits(page: Sequence[Any], names: Names) -> tuple[Rows, Rows]:
    """Rows of `columns.VISITS` and `columns.CALLERS`."""
    at, queues, agents, regions, media, outcomes, waited, callers, calls = zip(*page, strict=True)
    at_s = np.array(at, np.float64)
    visits = filled(
        columns.VISITS,
        at_s,
        (
            ("queue", names.of(queues)),
            ("agent", names.of(agents)),
            ("region", names.of(regions)),
            ("media", names.of(media)),
            ("outcome", [columns.outcome_number(outcome) for outcome in outcomes]),
            ("waited_s", waited),
        ),
    )
    known = [
        0 if medium == TICKET else digest(caller)
        for caller, medium in zip(callers, media, strict=True)
    ]
    whose = filled(
        columns.CALLERS,
        at_s,
        (
            ("caller", np.array(known, np.uint64)),
            ("call", np.array([digest(call) for call in calls], np.uint64)),
            ("at_s", at_s),
        ),
    )
    return visits, whose


def _encode_handlings(page: Sequence[Any], names: Names) -> tuple[Rows, ...]:
    at, queues, agents, regions, media, passed_on, talk, hold, wrap_up = zip(*page, strict=True)
    rows = filled(
        columns.HANDLINGS,
        np.array(at, np.float64),
        (
            ("queue", names.of(queues)),
            ("agent", names.of(agents)),
            ("region", names.of(regions)),
            ("media", names.of(media)),
            ("passed_on", passed_on),
            ("talk_s", talk),
            ("hold_s", hold),
            ("wrap_up_s", wrap_up),
        ),
    )
    return (rows,)


def _encode_offers(page: Sequence[Any], names: Names) -> tuple[Rows, ...]:
    at, queues, agents, outcomes = zip(*page, strict=True)
    rows = filled(
        columns.OFFERS,
        np.array(at, np.float64),
        (
            ("queue", names.of(queues)),
            ("agent", names.of(agents)),
            ("outcome", [columns.offer_number(outcome) for outcome in outcomes]),
        ),
    )
    return (rows,)


def _encode_surveys(page: Sequence[Any], names: Names) -> tuple[Rows, ...]:
    at, queues, agents, regions, scores = zip(*page, strict=True)
    rows = filled(
        columns.SURVEYS,
        np.array(at, np.float64),
        (
            ("queue", names.of(queues)),
            ("agent", names.of(agents)),
            ("region", names.of(regions)),
            ("score", [np.nan if score is None else score for score in scores]),
        ),
    )
    return (rows,)


@cache
def _kinds() -> tuple[_Kind, ...]:
    done, rung, asked = handlings.c, agent_offers.c, surveys.c
    handled = (
        sa.select(
            done.at_s,
            done.queue_id,
            done.agent_id,
            region_of(handlings),
            done.media,
            sa.case((was_passed_on(), 1), else_=0),
            done.talk_s,
            done.hold_s,
            done.wrap_up_s,
        )
        .where(done.at_s >= _START_S, done.at_s < _END_S, done.outcome != "failed")
        .order_by(done.at_s)
    )
    offered = (
        sa.select(rung.offered_at_s, rung.queue_id, rung.agent_id, rung.outcome)
        .where(rung.offered_at_s >= _START_S, rung.offered_at_s < _END_S)
        .order_by(rung.offered_at_s)
    )
    scored = (
        sa.select(asked.at_s, asked.queue_id, asked.agent_id, region_of(surveys), asked.score)
        .where(asked.at_s >= _START_S, asked.at_s < _END_S)
        .order_by(asked.at_s)
    )
    visits = ((visit_columns, columns.VISITS), (caller_columns, columns.CALLERS))
    return (
        _Kind(visit_rows(_START_S, _END_S), visits, encode_visits),
        _Kind(handled, ((handling_columns, columns.HANDLINGS),), _encode_handlings),
        _Kind(offered, ((offer_columns, columns.OFFERS),), _encode_offers),
        _Kind(scored, ((survey_columns, columns.SURVEYS),), _encode_surveys),
    )
