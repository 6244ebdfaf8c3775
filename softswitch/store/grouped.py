"""Counting by period and name: of days or half-hours that were added up where that is so and tells enough, else
of the contacts, packed as columns where they are and as rows where not. All are always equal; a report is put
together of all of them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.column_counts import Take, labels_of
from softswitch.store.column_counts import tell as tell_columns
from softswitch.store.column_fill import columns_to
from softswitch.store.database import Database
from softswitch.store.days import DAY_S, made_days
from softswitch.store.periods import Span, Stretch
from softswitch.store.reading import reading
from softswitch.store.rolls import rolled_to
from softswitch.store.schema_rolls import SLOT_S
from softswitch.store.tallies import Packed
from softswitch.turns import done

Key = tuple[str, str]
"""Period and queue, agent or region; both "" where they are all taken together."""
Source = Literal["contacts", "columns", "halves", "days"]
_OF_DAYS = ("week", "month")
PAGE = 500
"""Rows that are read at a time: a large report has a hundred thousand."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted of contacts: by the time of `at_s`, told apart by `column`; `source`, what is joined for
    that."""

    at_s: sa.Column[float]
    column: sa.ColumnElement[str] | None
    counts: list[Any]
    clauses: list[Any]
    source: sa.FromClause | None = None


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
    """What was added up of something, by half-hour and by day, and `packed`, the contacts as columns."""

    halves: Summed | None = None
    days: Summed | None = None
    packed: Packed | None = None


async def grouped(database: Database, span: Span, counted: Counted, sums: Sums, take: Take) -> None:
    """Have `take` told of rows of counts with the period and the name that each belongs to; a key may come
    several times."""
    async with reading(database) as connection:
        for piece, source in await pieces(connection, span, sums):
            if source == "columns":
                assert sums.packed is not None
                await tell_columns(connection, span, piece, sums.packed, take)
                continue
            summed = {"halves": sums.halves, "days": sums.days}.get(source)
            for part in runs_of(span, piece, source):
                await _tell(connection, span, (part, source), summed or counted, take)


NOTHING = Sums()


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
    if isinstance(what, Counted) and what.source is not None:
        query = query.select_from(what.source)
    labels = None if period is None else Labels(span, piece.offset_s)
    label = label_of(span, piece, source)
    told = _Told(len(what.counts), labels, label, what.column is not None, take)
    async for some in paged(connection, query):
        await done(told.each(some))


@dataclass(frozen=True, slots=True)
class _Told:
    """How the rows of one query are told: `counts` numbers, the number of the period, the name. `label`: the
    period where none is numbered."""

    counts: int
    labels: Labels | None
    label: str
    is_named: bool
    take: Take

    def each(self, rows: Sequence[Any]) -> Iterator[None]:
        counts, labels = self.counts, self.labels
        for row in rows:
            values = tuple([_plain(value) for value in row[:counts]])
            if labels is not None or self.is_named or any(values):
                label = self.label if labels is None else labels(int(row[counts]))
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
        made = await made_days(connection, span.zone)
        found = _told_by(found, lambda stretch: _days_of(stretch, made))
    if sums.halves is not None:
        to = await rolled_to(connection)
        # A zone that is not whole half-hours from UTC has other half-hours.
        found = _told_by(
            found,
            lambda stretch: _halves_of(
                stretch, 0 if stretch.offset_s % SLOT_S and span.by != "all" else to, "halves"
            ),
        )
    if sums.packed is not None:
        packed_to = await columns_to(connection)
        found = _told_by(found, lambda stretch: _halves_of(stretch, packed_to, "columns"))
    return found


def runs_of(span: Span, piece: Stretch, source: Source) -> Iterator[Stretch]:
    """A piece as it is or, of days that make weeks or months, one part each: so that the database groups by
    nothing that is put together afterwards."""
    if source != "days" or span.by not in _OF_DAYS:
        yield piece
        return
    label, start_s = label_of(span, piece, source), piece.start_s
    for day in range(int((piece.end_s - piece.start_s) // DAY_S)):
        at_s = piece.start_s + day * DAY_S
        here = label_of(span, Stretch(at_s, piece.end_s, piece.offset_s), source)
        if here != label:
            yield Stretch(start_s, at_s, piece.offset_s)
            label, start_s = here, at_s
    yield Stretch(start_s, piece.end_s, piece.offset_s)


def label_of(span: Span, piece: Stretch, source: Source) -> str:
    """The period that all of one of `runs_of` lies in; "" where it has several or there is but one."""
    if source != "days" or span.by not in _OF_DAYS:
        return ""
    return span.label(int((piece.start_s + piece.offset_s) // DAY_S), piece.offset_s)


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


def _days_of(stretch: Stretch, days: frozenset[int]) -> Iterator[tuple[Stretch, Source]]:
    """Runs of whole days that are added up, and what is between them."""
    offset_s, at_s = stretch.offset_s, stretch.start_s
    low = math.ceil((stretch.start_s + offset_s) / DAY_S)
    high = math.floor((stretch.end_s + offset_s) / DAY_S)
    run = [day for day in range(low, high) if day in days] if days else []
    for index, day in enumerate(run):
        if index and run[index - 1] == day - 1:
            continue
        end = index
        while end + 1 < len(run) and run[end + 1] == run[end] + 1:
            end += 1
        start_s = day * float(DAY_S) - offset_s
        end_s = (run[end] + 1) * float(DAY_S) - offset_s
        if at_s < start_s:
            yield Stretch(at_s, start_s, offset_s), "contacts"
        yield Stretch(start_s, end_s, offset_s), "days"
        at_s = end_s
    if at_s < stretch.end_s:
        yield Stretch(at_s, stretch.end_s, offset_s), "contacts"


def _halves_of(stretch: Stretch, to: int, told: Source) -> Iterator[tuple[Stretch, Source]]:
    """The whole half-hours before `to`, and what is left at both ends."""
    low = math.ceil(stretch.start_s / SLOT_S)
    high = min(math.floor(stretch.end_s / SLOT_S), to)
    if high <= low:
        yield stretch, "contacts"
        return
    edges = (stretch.start_s, low * float(SLOT_S), high * float(SLOT_S), stretch.end_s)
    sources: tuple[Source, ...] = ("contacts", told, "contacts")
    for index, source in enumerate(sources):
        if edges[index] < edges[index + 1]:
            yield Stretch(edges[index], edges[index + 1], stretch.offset_s), source


class Labels:
    """The periods of group numbers, each made once: many rows have the same. `each` puts them in the place of
    the numbers that rows begin with."""

    def __init__(self, span: Span, offset_s: int) -> None:
        self._label = labels_of(span, offset_s)

    def __call__(self, number: int) -> str:
        return self._label(number)

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
        return None if span.by in _OF_DAYS else summed.number
    number: Any = (at_s + float(stretch.offset_s)) / float(span.width_s)
    if dialect == "postgresql":  # its casts round
        return sa.cast(sa.func.floor(number), sa.BigInteger)
    return sa.cast(number, sa.Integer)


def _plain(value: Any) -> Any:
    """Of sums: None where there was nothing, `Decimal` from PostgreSQL."""
    if value is None:
        return 0
    return value if isinstance(value, int | float) else float(value)
