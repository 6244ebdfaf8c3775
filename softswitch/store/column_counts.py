"""Counting columns by period and name. What numpy does is done in a thread: it lets go of the interpreter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.column_fill import read_names
from softswitch.store.columns import Rows
from softswitch.store.periods import Span, Stretch
from softswitch.store.schema_rolls import SLOT_S
from softswitch.store.tallies import Packed
from softswitch.turns import done

_T = TypeVar("_T")
Take = Callable[[tuple[str, str], tuple[Any, ...]], None]
FIRST_SLOTS = 48
"""Half-hours that are read together at first: a day."""
SLOTS_MAX = 48 * 31
OCTETS = 1_500_000
"""What is read together is about as much: a day of a large office, a month of a small one."""
_DENSE = 4


@dataclass(frozen=True, slots=True)
class Found:
    """The groups of some rows that were counted: period and name, figures."""

    keys: list[tuple[str, str]]
    figures: list[tuple[Any, ...]]

    def told(self, take: Take) -> Iterator[None]:
        """Have `take` told of all."""
        for key, figures in zip(self.keys, self.figures, strict=True):
            take(key, figures)
            yield


async def tell(
    connection: AsyncConnection, span: Span, piece: Stretch, packed: Packed, take: Take
) -> None:
    """Have `take` told of the figures of whole half-hours; a key may come several times."""
    codes = (await read_names(connection)).codes
    label = labels_of(span, piece.offset_s)
    counting = _Counting(span, piece.offset_s, packed, codes, [*codes], label)
    low, high = int(piece.start_s // SLOT_S), int(piece.end_s // SLOT_S)
    async with aclosing(ahead(chunks(connection, (packed.table,), low, high))) as parts:
        async for slots, (blobs,) in parts:
            found = await asyncio.to_thread(counting.count, slots, blobs)
            await done(found.told(take))


async def ahead(parts: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    """The same parts, of which the next is read while one is worked on: a disk and a processor take turns
    otherwise. Not more than the next: it is held in memory. To be closed (`aclosing`),
    which ends the reading."""
    coming = asyncio.ensure_future(anext(parts))
    try:
        while True:
            try:
                part = await coming
            except StopAsyncIteration:
                return
            coming = asyncio.ensure_future(anext(parts))
            yield part
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await parts.aclose()


async def chunks(
    connection: AsyncConnection,
    tables: tuple[sa.Table, ...],
    low: int,
    high: int,
    *,
    is_backward: bool = False,
    octets: int = OCTETS,
) -> AsyncGenerator[tuple[npt.NDArray[np.int64], list[list[bytes]]], None]:
    """What is packed of the half-hours from `low` to before `high`, some at a time: their numbers in order, and
    the blobs of each table, about `octets` together. Backward, the last come first."""
    first, *others = tables
    query = sa.select(first.c.slot, *(table.c["rows"] for table in tables)).order_by(first.c.slot)
    for other in others:
        query = query.where(other.c.slot == first.c.slot)
    start, stop = (sa.bindparam(name, type_=sa.BigInteger) for name in ("start", "stop"))
    query = query.where(first.c.slot >= start, first.c.slot < stop)
    width = FIRST_SLOTS
    while low < high:
        part = (max(low, high - width), high) if is_backward else (low, min(low + width, high))
        low, high = (low, part[0]) if is_backward else (part[1], high)
        rows = (await connection.execute(query, {"start": part[0], "stop": part[1]})).all()
        if rows:
            slots, *blobs = (list(column) for column in zip(*rows, strict=True))
            yield np.array(slots, np.int64), blobs
        read = sum(len(blob) for row in rows for blob in row[1:])
        if read < octets / 2:
            width = min(width * 2, SLOTS_MAX)
        elif read > octets * 2:
            width = max(width // 2, 1)


@dataclass(frozen=True, slots=True)
class _Counting:
    span: Span
    offset_s: int
    packed: Packed
    codes: Mapping[str, int]
    names: Sequence[str]
    label: Callable[[int], str]

    def count(self, slots: npt.NDArray[np.int64], blobs: list[bytes]) -> Found:
        packed = self.packed
        rows, counts = packed.layout.unpack(blobs)
        numbers = self._numbers(slots, counts, rows)
        chosen = packed.chosen(rows, self.codes)
        if chosen is not None:
            # Not by `[]`, which takes five times as long for rows with names.
            rows, numbers = rows.compress(chosen), numbers[chosen]
        return grouped_rows(
            rows,
            (numbers, self.label),
            rows[packed.named] if packed.named else None,
            self.names,
            lambda some, groups, size: packed.count(some, groups, size, self.codes),
        )

    def _numbers(
        self, slots: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], rows: Rows
    ) -> npt.NDArray[np.int64]:
        """The period of each row."""
        if self.span.by == "all":
            return np.zeros(len(rows), np.int64)
        width_s = self.span.width_s
        number: npt.NDArray[np.int64]
        if self.offset_s % SLOT_S == 0:
            number = np.repeat((slots * SLOT_S + self.offset_s) // width_s, counts)
        else:
            at_s = np.repeat(slots * SLOT_S, counts) + rows["second"]
            number = (at_s + self.offset_s) // width_s
        return number


def labels_of(span: Span, offset_s: int) -> Callable[[int], str]:
    """The periods of numbers, each made once."""
    known: dict[int, str] = {}

    def label(number: int) -> str:
        found = known.get(number)
        if found is None:
            found = known[number] = span.label(number, offset_s)
        return found

    return label


def grouped_rows(
    rows: Rows,
    numbered: tuple[npt.NDArray[np.int64], Callable[[int], str]],
    names: npt.NDArray[Any] | None,
    texts: Sequence[str],
    count: Callable[[Rows, npt.NDArray[np.int64], int], list[npt.NDArray[Any]]],
) -> Found:
    """Count rows by period and name. `numbered`: the number of each row's period, all of them near each other,
    and what each number is called (a month is many days); `texts`: what the numbers of `names` mean."""
    if not len(rows):
        return Found([], [])
    numbers, label = numbered
    low = int(numbers.min())
    labels: dict[str, int] = {}
    places = [labels.setdefault(label(n), len(labels)) for n in range(low, int(numbers.max()) + 1)]
    width = 1 if names is None else len(texts)
    groups = (np.array(places) * width)[numbers - low]
    if names is not None:
        groups += names
    size = len(labels) * width
    if size > len(rows) * _DENSE + 1_000:
        keys, groups = np.unique(groups, return_inverse=True)
        present = np.arange(len(keys))
    else:
        keys = np.arange(size)
        present = np.flatnonzero(np.bincount(groups, minlength=size))
    figures = count(rows, groups, len(keys))
    periods = [*labels]
    told = [
        (periods[key // width], "" if names is None else texts[key % width])
        for key in keys[present].tolist()
    ]
    return Found(told, list(zip(*(one[present].tolist() for one in figures), strict=True)))
