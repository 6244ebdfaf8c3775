"""Bringing what people wrote (customers, tickets, users) out of a damaged SQLite file. The journal brings
back what it tells; these tables have no other copy."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.customer_rows import reindex_customers
from softswitch.store.projection_centre import STORY_TABLES
from softswitch.store.schema import calls, journal
from softswitch.store.schema_centre import agent_states, facts
from softswitch.store.schema_customers import customer_keys
from softswitch.store.schema_days import DAYS
from softswitch.store.schema_rolls import ROLLS
from softswitch.store.tables import metadata
from softswitch.store.tickets import reindex_tickets

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 256
_TOLD = frozenset(
    {journal, calls, agent_states, facts, customer_keys, *STORY_TABLES, *ROLLS, *DAYS}
)
"""Tables that follow from the journal, which is saved in its own way, or from others."""
_ROWID = sa.literal_column("rowid", sa.Integer)

KEPT = tuple(table for table in metadata.sorted_tables if table not in _TOLD)
"""Tables without another copy."""


def rows_of(path: Path, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """The rows that a damaged file still gives, block by block round the damage. Blocks."""
    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    )
    try:
        with engine.connect() as connection:
            try:
                last = connection.execute(
                    sa.select(sa.func.max(_ROWID)).select_from(table)
                ).scalar()
            except SQLAlchemyError:
                _log.error("the table %s cannot be read any more", table.name)
                return
            for start in range(1, (last or 0) + 1, _ROWS_AT_ONCE):
                yield list(_block(connection, table, start, start + _ROWS_AT_ONCE - 1))
    finally:
        engine.dispose()


def _block(
    connection: sa.Connection, table: sa.Table, first: int, last: int
) -> Iterator[dict[str, Any]]:
    query = sa.select(table)
    try:
        found = connection.execute(query.where(_ROWID.between(first, last))).all()
        yield from (dict(row._mapping) for row in found)
        return
    except SQLAlchemyError:
        pass  # one by one, then
    for number in range(first, last + 1):
        with contextlib.suppress(SQLAlchemyError):
            row = connection.execute(query.where(_ROWID.in_([number]))).first()
            if row is not None:
                yield dict(row._mapping)


async def put_rows(
    connection: AsyncConnection, table: sa.Table, rows: list[dict[str, Any]]
) -> None:
    """Write rescued rows; those that make no sense any more are left out."""
    if not rows:
        return
    try:
        async with connection.begin_nested():
            await connection.execute(sa.insert(table), rows)
        return
    except (SQLAlchemyError, ValueError, TypeError):
        pass
    for row in rows:
        try:
            async with connection.begin_nested():
                await connection.execute(sa.insert(table), row)
        except (SQLAlchemyError, ValueError, TypeError):
            _log.error("a row of %s is damaged and was left out", table.name)


async def reindex(connection: AsyncConnection) -> None:
    """Make the words of full-text search anew, and what customers are compared by."""
    await reindex_customers(connection)
    await reindex_tickets(connection)
