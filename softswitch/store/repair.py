"""Making a database anew from a damaged one and the journal's log."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from softswitch.store.database import Database, salvage
from softswitch.store.entry import Entry
from softswitch.store.log import EntryLog
from softswitch.store.projection import Projection
from softswitch.store.rescue import KEPT, put_rows, reindex, rows_of
from softswitch.store.stretch import in_order

CATCH_UP_BATCH = 250
"""Entries read back from the log at a time: of many the loop would be late by their records."""


async def made_anew(
    path: Path,
    log: EntryLog,
    waiting: list[Entry],
    in_thread: Callable[..., Awaitable[Any]],
) -> Database:
    """A new database, closed, beside the damaged one at `path`: what that still gives, all that the log
    holds and what waits for it. `in_thread` calls a function that blocks."""
    fresh = Database(path.parent, file_name=f"{path.name}.new")
    try:
        await fresh.lay()
        await fresh.open()
        projection = Projection(fresh.dialect)
        entries = _merged(path, log, waiting)
        while batch := await in_thread(some, entries):
            async with fresh.transaction() as writer:
                await projection.write(writer, batch)
        for table in KEPT:
            saved = rows_of(path, table)
            while (rows := await in_thread(next, saved, None)) is not None:
                async with fresh.transaction() as writer:
                    await put_rows(writer, table, rows)
        async with fresh.transaction() as writer:
            await reindex(writer)
    finally:
        await fresh.close()
    return fresh


def some(entries: Iterator[Entry]) -> list[Entry]:
    """The next few of many."""
    return list(itertools.islice(entries, CATCH_UP_BATCH))


def _merged(path: Path, log: EntryLog, waiting: list[Entry]) -> Iterator[Entry]:
    """The entries of a damaged database, of the log and of those that wait for it, in order, each once."""
    saved = in_order(itertools.chain.from_iterable(salvage(path)))
    last = 0
    for entry in heapq.merge(saved, log.read_after(0), waiting, key=lambda entry: entry.seq):
        if entry.seq > last:
            last = entry.seq
            yield entry
