"""Counting by period and name: of days or half-hours that were added up where that is so and tells enough, else
of the contacts themselves. All are always equal; a report is put together of all of them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.database import Database
from softswitch.store.days import CONTACTS, DAY_S, made_days
from softswitch.store.periods import Span, Stretch
from softswitch.store.reading import reading
from softswitch.store.rolls import rolled_to
from softswitch.store.schema_rolls import SLOT_S
from softswitch.turns import done

Key = tuple[str, str]
"""Period and queue, agent or region; both "" where they are all taken together."""
Source = Literal["contacts", "noted", "halves", "days"]
Take = Callable[[Key, tuple[Any, ...]], None]
PAGE = 500
"""Rows that are read at a time: a large report has a hundred thousand."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted of contacts: by the time of `at_s`, told apart by `column`."""

    at_s: sa.Column[float]
    column: sa.ColumnElement[str] | None
    counts: list[Any]
    clauses: list[Any]


@dataclass(frozen=True, slots=True)
class Summed:
    """The same of sums, whose table begins with the number of the half-hour or day."""

    table: sa.Table
    column: sa.Column[str] | None
    counts: list[Any]
    clauses: list[Any]

    @property
    def number(self) -> sa.Column[int]:
        """The half-hour or the day."""
        return next(iter(self.table.columns))


@dataclass(frozen=True, slots=True)
class Sums:
    """What was added up of something. `kind` says when a day of it is known (`days`), `half_kind` when its
    half-hours are: "" as soon as half-hours are added up at all. `noted` are counts of the contacts of days of
    which `noted_kind` is known: the same counts, sooner found. `beside` is what the sums lack, counted of the
    contacts: as many counts, to be added."""

    halves: Summed | None = None
    days: Summed | None = None
    kind: str = CONTACTS
    half_kind: str = ""
    noted: list[Any] | None = None
    noted_kind: str = ""
    beside: Counted | None = None


NOTHING = Sums()


async def grouped(database: Database, span: Span, counted: Counted, sums: Sums, take: Take) -> None:
    """Have `take` told of rows of counts with the period and the name that each belongs to; a key may come
    several times."""
    async with reading(database) as connection:
        for piece, source in await pieces(connection, span, sums):
            summed = {"halves": sums.halves, "days": sums.days}.get(source)
            if summed is not None:
                await _tell(connection, span, (piece, source), summed, take)
                if sums.beside is not None:
                    await _tell(connection, span, (piece, "contacts"), sums.beside, take)
            elif source == "noted" and sums.noted is not None:
                await _tell(
                    connection, span, (piece, source), replace(counted, counts=sums.noted), take
                )
            else:
                await _tell(connection, span, (piece, source), counted, take)


async def _tell(
    connection: AsyncConnection,
    span: Span,
    told_by: tuple[Stretch, Source],
    what: Counted | Summed,
    take: Take,
) -> None:
    piece, source = told_by
    if isinstance(what, Summed):
        summed: Summed | None = what
        at_s: Any = what.number * float(SLOT_S)
        clauses = [*within(what.number, piece, source), *what.clauses]
    else:
        summed, at_s = None, what.at_s
        clauses = [at_s >= piece.start_s, at_s < piece.end_s, *what.clauses]
    period = period_of(span, piece, source, summed, at_s, connection.dialect.name)
    groups = [group for group in (period, what.column) if group is not None]
    # By their place: PostgreSQL takes an expression with parameters for another each time.
    places: list[Any] = [
        sa.literal_column(str(len(what.counts) + place)) for place in range(1, len(groups) + 1)
    ]
    query = sa.select(*what.counts, *groups).where(*clauses).group_by(*places)
    labels = None if period is None else Labels(span, piece.offset_s)
    told = _Told(len(what.counts), labels, what.column is not None, take)
    async for some in paged(connection, query):
        await done(told.each(some))


@dataclass(frozen=True, slots=True)
class _Told:
    """How the rows of one query are told: `counts` numbers, the number of the period, the name."""

    counts: int
    labels: Labels | None
    is_named: bool
    take: Take

    def each(self, rows: Sequence[Any]) -> Iterator[None]:
        counts, labels = self.counts, self.labels
        for row in rows:
            values = tuple([_plain(value) for value in row[:counts]])
            if labels is not None or self.is_named or any(values):
                label = "" if labels is None else labels(int(row[counts]))
                self.take((label, str(row[-1]) if self.is_named else ""), values)
            yield


async def paged(connection: AsyncConnection, query: sa.Select[Any]) -> AsyncIterator[Sequence[Any]]:
    """The rows of a large query, `PAGE` at a time."""
    rows = await connection.stream(query)
    async for some in rows.partitions(PAGE):
        yield some


async def pieces(
    connection: AsyncConnection, span: Span, sums: Sums
) -> list[tuple[Stretch, Source]]:
    """The span in pieces of constant offset from UTC, and what tells each."""
    found: list[tuple[Stretch, Source]] = [(stretch, "contacts") for stretch in span.stretches()]
    if sums.days is not None and span.width_s == DAY_S:
        made = await made_days(connection, sums.kind, span.zone)
        found = _told_by(found, lambda stretch: _days_of(stretch, made, "days"))
    if sums.halves is not None and sums.half_kind:
        made_halves = await made_days(connection, sums.half_kind, span.zone)
        found = _told_by(found, lambda stretch: _days_of(stretch, made_halves, "halves"))
    elif sums.halves is not None:
        to = await rolled_to(connection)
        found = _told_by(found, lambda stretch: _halves_of(stretch, span, to))
    if sums.noted is not None:
        noted = await made_days(connection, sums.noted_kind, span.zone)
        found = _told_by(found, lambda stretch: _days_of(stretch, noted, "noted", is_whole=False))
    return found


def _told_by(
    found: list[tuple[Stretch, Source]],
    split: Callable[[Stretch], Iterator[tuple[Stretch, Source]]],
) -> list[tuple[Stretch, Source]]:
    """Pieces of which those that only contacts tell so far are split once more."""
    return [
        part
        for stretch, source in found
        for part in (split(stretch) if source == "contacts" else [(stretch, source)])
    ]


def _days_of(
    stretch: Stretch, days: frozenset[int], told: Source, *, is_whole: bool = True
) -> Iterator[tuple[Stretch, Source]]:
    """Runs of days that are told by more than contacts, and what is between them; `is_whole`: of whole days
    only."""
    offset_s, at_s = stretch.offset_s, stretch.start_s
    first, last = (stretch.start_s + offset_s) / DAY_S, (stretch.end_s + offset_s) / DAY_S
    low, high = (
        (math.ceil(first), math.floor(last)) if is_whole else (math.floor(first), math.ceil(last))
    )
    run = [day for day in range(low, high) if day in days] if days else []
    for index, day in enumerate(run):
        if index and run[index - 1] == day - 1:
            continue
        end = index
        while end + 1 < len(run) and run[end + 1] == run[end] + 1:
            end += 1
        start_s = max(day * float(DAY_S) - offset_s, stretch.start_s)
        end_s = min((run[end] + 1) * float(DAY_S) - offset_s, stretch.end_s)
        if at_s < start_s:
            yield Stretch(at_s, start_s, offset_s), "contacts"
        yield Stretch(start_s, end_s, offset_s), told
        at_s = end_s
    if at_s < stretch.end_s:
        yield Stretch(at_s, stretch.end_s, offset_s), "contacts"


def _halves_of(stretch: Stretch, span: Span, to: int) -> Iterator[tuple[Stretch, Source]]:
    low = math.ceil(stretch.start_s / SLOT_S)
    high = min(math.floor(stretch.end_s / SLOT_S), to)
    # A zone that is not whole half-hours from UTC has other half-hours.
    if high <= low or (stretch.offset_s % SLOT_S and span.by != "all"):
        yield stretch, "contacts"
        return
    edges = (stretch.start_s, low * float(SLOT_S), high * float(SLOT_S), stretch.end_s)
    sources: tuple[Source, ...] = ("contacts", "halves", "contacts")
    for index, source in enumerate(sources):
        if edges[index] < edges[index + 1]:
            yield Stretch(edges[index], edges[index + 1], stretch.offset_s), source


class Labels:
    """The periods of group numbers, each made once: many rows have the same. `each` puts them in the place of
    the numbers that rows begin with."""

    def __init__(self, span: Span, offset_s: int) -> None:
        self._span = span
        self._offset_s = offset_s
        self._known: dict[int, str] = {}

    def __call__(self, number: int) -> str:
        label = self._known.get(number)
        if label is None:
            label = self._known[number] = self._span.label(number, self._offset_s)
        return label

    def each(self, rows: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        for number, *rest in rows:
            yield self(int(number)), *rest


def within(number: sa.Column[int], piece: Stretch, source: Source) -> list[Any]:
    """Which half-hours or days lie in a piece."""
    moved_s, width_s = (piece.offset_s, DAY_S) if source == "days" else (0, SLOT_S)
    return [
        number >= int((piece.start_s + moved_s) // width_s),
        number < int((piece.end_s + moved_s) // width_s),
    ]


def period_of(
    span: Span,
    stretch: Stretch,
    source: Source,
    summed: Summed | None,
    at_s: Any,
    dialect: str,
) -> sa.ColumnElement[int] | None:
    """The number of the period that a row belongs to."""
    if span.by == "all":
        return None
    if source == "days" and summed is not None:
        return summed.number
    number: Any = (at_s + float(stretch.offset_s)) / float(span.width_s)
    if dialect == "postgresql":  # its casts round
        return sa.cast(sa.func.floor(number), sa.BigInteger)
    return sa.cast(number, sa.Integer)


def _plain(value: Any) -> Any:
    """Of sums: None where there was nothing, `Decimal` from PostgreSQL."""
    if value is None:
        return 0
    return value if isinstance(value, int | float) else float(value)
