"""Rows written by the thousand: a statement made once into the driver's own words, its rows plain tuples.

What SQLAlchemy does for each row of an `execute` (a dictionary, its keys in order, a conversion by type)
costs more than the database does with it. Only for columns of texts, whole numbers and doubles, which
no driver of ours converts.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection


class Rows:
    """An INSERT of `columns`.

    Parameters: `statement`, for as many dialects as there are; `columns`, the order of values in the rows
    that `write` is given.
    """

    def __init__(self, statement: sa.Insert, columns: Sequence[str]) -> None:
        self._statement = statement
        self._columns = tuple(columns)
        self._sql = ""
        self._ordered: itemgetter[Any] | None = None

    def _prepare(self, dialect: sa.Dialect) -> None:
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=list(self._columns))
        self._sql = str(compiled)
        order = tuple(self._columns.index(name) for name in compiled.positiontup)
        in_order = order == tuple(range(len(self._columns)))
        self._ordered = None if in_order else itemgetter(*order)

    async def write(self, connection: AsyncConnection, rows: list[tuple[Any, ...]]) -> None:
        """Write some rows, one at least."""
        if not self._sql:
            self._prepare(connection.dialect)
        if self._ordered is not None:
            rows = [self._ordered(row) for row in rows]
        await connection.exec_driver_sql(self._sql, rows)
