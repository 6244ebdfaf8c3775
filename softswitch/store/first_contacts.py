"""Resolution at the first contact: who was answered and did not come again in time, for any time and told apart
by anything. Contacts are gone through from the last to the first (`again`), packed as columns where they are
and as rows where not, so that no caller has to be looked up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.again import Again
from softswitch.store.column_counts import Found, Take, ahead, chunks, grouped_rows, labels_of
from softswitch.store.column_fill import (
    PAGE,
    Names,
    columns_to,
    encode_visits,
    read_names,
    visit_rows,
)
from softswitch.store.columns import ANSWERED, CALLERS, VISITS, Rows, joined
from softswitch.store.database import Database
from softswitch.store.days import DAY_S
from softswitch.store.periods import Span, Stretch
from softswitch.store.reading import reading
from softswitch.store.schema_columns import caller_columns, visit_columns
from softswitch.store.schema_rolls import SLOT_S
from softswitch.store.tallies import chosen_of
from softswitch.turns import done

FEW = 5_000
"""Of so few contacts in some time, twice as much is read the next time."""
OCTETS = 6_000_000
"""What is gone through together is about as much: what is kept of callers is put together anew each time."""


async def first_contacts(
    database: Database,
    span: Span,
    named: str,
    among: Mapping[str, tuple[str, ...]],
    again_s: float,
    take: Take,
) -> None:
    """Have `take` told, by period and name, of how many were answered whose caller can be known again, and how
    many of those did not come again within `again_s`; a key may come several times. Contacts are told apart by
    `named` and counted of the names in `among`, as in `tallies.Packed`."""
    async with reading(database) as connection:
        names = await read_names(connection)
        counting = _Counting(span, [*span.stretches()], named, among, names, Again(again_s))
        async with aclosing(ahead(_backward(connection, names, span, again_s))) as parts:
            async for part in parts:
                for found in await asyncio.to_thread(counting.count, part):
                    await done(found.told(take))


@dataclass(frozen=True, slots=True)
class _Part:
    """Contacts of some time, in order: packed, or as rows."""

    visits: Sequence[bytes] | Rows
    callers: Sequence[bytes] | Rows

    def rows(self) -> tuple[Rows, Rows]:
        if isinstance(self.visits, np.ndarray) or isinstance(self.callers, np.ndarray):
            assert isinstance(self.visits, np.ndarray)
            assert isinstance(self.callers, np.ndarray)
            return self.visits, self.callers
        return VISITS.unpack(self.visits)[0], CALLERS.unpack(self.callers)[0]


async def _backward(
    connection: AsyncConnection, names: Names, span: Span, again_s: float
) -> AsyncGenerator[_Part, None]:
    """All contacts of a span and of `again_s` after it, the last first; some more at both ends."""
    first = math.floor(span.start_s / SLOT_S)
    last = math.floor((span.end_s + again_s) / SLOT_S) + 1
    packed = max(first, min(await columns_to(connection), last))
    # Rows a day at a time, more where there are few.
    high_s, low_s, width_s = last * float(SLOT_S), packed * float(SLOT_S), DAY_S
    while high_s > low_s:
        since_s = max(high_s - width_s, low_s)
        part = await _of_rows(connection, names, since_s, high_s)
        if part is not None:
            yield part
        width_s = width_s * 2 if part is None or len(part.visits) < FEW else DAY_S
        high_s = since_s
    tables = (visit_columns, caller_columns)
    # The longer that is, the more is kept.
    octets = int(OCTETS * min(max(again_s / (14 * DAY_S), 1.0), 3.0))
    packs = chunks(connection, tables, first, packed, is_backward=True, octets=octets)
    async for _, (visits, callers) in packs:
        yield _Part(visits, callers)


async def _of_rows(
    connection: AsyncConnection, names: Names, start_s: float, end_s: float
) -> _Part | None:
    pages: list[tuple[Rows, Rows]] = []

    def encode(page: Sequence[Any]) -> Iterator[None]:
        pages.append(encode_visits(page, names))
        yield

    rows = await connection.stream(visit_rows(start_s, end_s))
    async for page in rows.partitions(PAGE):
        await done(encode(page))
    if not pages:
        return None
    return _Part(joined([v for v, _ in pages]), joined([c for _, c in pages]))


@dataclass(frozen=True, slots=True)
class _Counting:
    span: Span
    stretches: Sequence[Stretch]
    named: str
    among: Mapping[str, tuple[str, ...]]
    names: Names
    again: Again

    def count(self, part: _Part) -> list[Found]:
        """To be called for one part after the other."""
        visits, callers = part.rows()
        # Column by column: whole rows with names are ten times as slow to pick.
        caller = np.ascontiguousarray(callers["caller"])
        is_known = caller != 0
        at_s = callers["at_s"][is_known]
        later_s = self.again.before(caller[is_known], callers["call"][is_known], at_s)
        is_counted = visits["outcome"] == ANSWERED
        if (chosen := chosen_of(visits, self.among, self.names.codes)) is not None:
            is_counted &= chosen
        is_counted = is_counted[is_known]
        names = visits[self.named][is_known] if self.named else None
        found = []
        for stretch in self.stretches:
            here = np.flatnonzero(is_counted & (at_s >= stretch.start_s) & (at_s < stretch.end_s))
            if len(here):
                is_resolved = later_s[here] > at_s[here] + self.again.again_s
                some = None if names is None else names[here]
                found.append(self._grouped(some, at_s[here], is_resolved, stretch))
        return found

    def _grouped(
        self,
        names: npt.NDArray[Any] | None,
        at_s: npt.NDArray[np.float64],
        is_resolved: npt.NDArray[np.bool_],
        stretch: Stretch,
    ) -> Found:
        numbers = np.zeros(len(at_s), np.int64)
        if self.span.by != "all":
            numbers = np.floor((at_s + stretch.offset_s) / self.span.width_s).astype(np.int64)

        def count(
            resolved: Rows, groups: npt.NDArray[np.int64], size: int
        ) -> list[npt.NDArray[np.int64]]:
            return [
                np.bincount(groups, minlength=size),
                np.bincount(groups[resolved], minlength=size),
            ]

        label = labels_of(self.span, stretch.offset_s)
        return grouped_rows(is_resolved, (numbers, label), names, [*self.names.codes], count)
