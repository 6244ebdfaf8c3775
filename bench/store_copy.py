"""A database of `bench/store.py` in PostgreSQL: SQLite's rows, by COPY; the indexes are made afterwards."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa

from softswitch.store import Store
from softswitch.store.schema import metadata

PAGE = 200_000
"""Rows that are copied at once."""


async def copy(source: Path, directory: Path, url: str) -> None:
    """Fill a database that has no contacts yet with the rows of another. `directory` is where the store's own
    files are."""
    await (await Store.open(directory, database=url)).close()
    server = await asyncpg.connect(url)
    try:
        if await server.fetchval("SELECT 1 FROM queue_visits LIMIT 1") is None:
            await _copy(source, server)
    finally:
        await server.close()


async def _copy(source: Path, server: asyncpg.Connection[Any]) -> None:
    began_s = time.perf_counter()
    made = [await _without_indexes(server, name) for name in metadata.tables]
    rows = 0
    with closing(
        sqlite3.connect(f"file:{source}?mode=ro", uri=True, check_same_thread=False)
    ) as old:
        for table in metadata.sorted_tables:
            rows += await _copy_table(old, server, table)
    print(f"copied {rows / 1e6:.1f} M rows in {time.perf_counter() - began_s:.0f} s")
    for statement in itertools.chain.from_iterable(made):
        await server.execute(statement, timeout=3_600)
    await server.execute("VACUUM ANALYZE", timeout=3_600)
    size = await server.fetchval("SELECT pg_database_size(current_database())")
    print(f"with indexes in {time.perf_counter() - began_s:.0f} s, {size / 1e9:.2f} GB")


async def _without_indexes(server: asyncpg.Connection[Any], table: str) -> list[str]:
    """Drop the indexes of a table; what makes them anew."""
    found = await server.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = $1 AND NOT"
        " EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname)",
        table,
    )
    for row in found:
        await server.execute(f'DROP INDEX "{row["indexname"]}"')
    return [row["indexdef"] for row in found]


async def _copy_table(
    old: sqlite3.Connection, server: asyncpg.Connection[Any], table: sa.Table
) -> int:
    names = [column.name for column in table.columns]
    texts = ", ".join(f'"{name}"' for name in names)
    truths = [place for place, column in enumerate(table.columns) if _is_truth(column)]
    cursor = old.execute(f'SELECT {texts} FROM "{table.name}"')
    await server.execute(f'DELETE FROM "{table.name}"')
    size = PAGE if not any(isinstance(c.type, sa.LargeBinary) for c in table.columns) else 1_000
    copied = 0
    while page := await asyncio.to_thread(cursor.fetchmany, size):
        if truths:
            page = [
                tuple(
                    [bool(value) if place in truths else value for place, value in enumerate(row)]
                )
                for row in page
            ]
        await server.copy_records_to_table(table.name, records=page, columns=names, timeout=3_600)
        copied += len(page)
    return copied


def _is_truth(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.Boolean)
