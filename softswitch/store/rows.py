"""Rows written by the thousand: a statement made once into the driver's own words, its rows plain tuples.

What SQLAlchemy does for each row of an `execute` (a dictionary, its keys in order, a conversion by type)
costs more than the database does with it, and each statement takes three hops to SQLite's thread and back.
Only for columns of texts, whole numbers and doubles, which no driver of ours converts.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

_VALUES = re.compile(r"(?<=VALUES )\((?:\?, )*\?\)")
_PARAMETERS = 700
"""Of one statement for SQLite, which takes 999 everywhere: many rows in one cost a quarter less."""
_PARTS = 1, 4, 16
"""What is left of those is written by statements for a part as many."""


class Rows:
    """An INSERT of `columns`.

    Parameters: `statement`, for as many dialects as there are; `columns`, the order of values in the rows
    that are given.
    """

    def __init__(self, statement: sa.Insert, columns: Sequence[str]) -> None:
        self._statement = statement
        self._columns = tuple(columns)
        self._sql = ""
        self._several: list[tuple[int, str]] = []
        self._ordered: itemgetter[Any] | None = None

    def _prepare(self, dialect: sa.Dialect) -> None:
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=list(self._columns))
        self._sql = str(compiled)
        order = tuple(self._columns.index(name) for name in compiled.positiontup)
        in_order = order == tuple(range(len(self._columns)))
        self._ordered = None if in_order else itemgetter(*order)
        one = "(" + ", ".join("?" * len(order)) + ")"
        for part in _PARTS:
            count = max(2, _PARAMETERS // len(order) // part)
            sql = _VALUES.sub(", ".join([one] * count), self._sql, count=1)
            self._several.append((count, sql))

    async def write(self, connection: AsyncConnection, rows: list[tuple[Any, ...]]) -> None:
        """Write some rows, one at least."""
        rows = self._in_order(connection.dialect, rows)
        await connection.exec_driver_sql(self._sql, rows)

    def _in_order(self, dialect: sa.Dialect, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        if not self._sql:
            self._prepare(dialect)
        return rows if self._ordered is None else [self._ordered(row) for row in rows]

    def write_now(
        self, connection: sqlite3.Connection, dialect: sa.Dialect, rows: list[tuple[Any, ...]]
    ) -> None:
        """The same in SQLite's own thread. Raises `sqlalchemy.exc.DBAPIError`."""
        rows = self._in_order(dialect, rows)
        at = 0
        try:
            for count, sql in self._several:
                while at + count <= len(rows):
                    values = list(chain.from_iterable(rows[at : at + count]))
                    connection.execute(sql, values)
                    at += count
            if at < len(rows):
                connection.executemany(self._sql, rows[at:])
        except sqlite3.Error as error:
            kind: Any = getattr(exc, type(error).__name__, exc.DBAPIError)
            raise kind(self._sql, None, error) from error


class Writes:
    """What one transaction writes, in the order in which it was put: it goes to the database together, or
    before the next question that is asked of it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._put: list[tuple[Rows, list[tuple[Any, ...]]]] = []

    def put(self, rows: Rows, values: list[tuple[Any, ...]]) -> None:
        """Have some rows written."""
        if values:
            self._put.append((rows, values))

    async def send(self) -> None:
        """Write what was put so far."""
        if not self._put:
            return
        put, self._put = self._put, []
        if self.connection.dialect.name != "sqlite":
            for rows, values in put:
                await rows.write(self.connection, values)
            return
        raw = await self.connection.get_raw_connection()
        driver: Any = raw.driver_connection
        dialect = self.connection.dialect

        def write_all() -> None:
            for rows, values in put:
                rows.write_now(driver._conn, dialect, values)

        try:
            # No public name leads to aiosqlite's thread but for one statement at a time.
            await driver._execute(write_all)
        except ValueError as error:  # its own word for a connection that is closed
            raise exc.OperationalError("", None, error) from error

    async def execute(self, statement: sa.Executable, values: Any = None) -> Any:
        """Ask or change something, after what was put so far is written."""
        await self.send()
        return await self.connection.execute(statement, values)
