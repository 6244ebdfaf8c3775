"""Short reads of SQLite in one hop: a thread of its own with a connection of its own, which keeps its
statements prepared. The pool hands a connection out, begins, fetches, rolls back and takes it back in a hop
each."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError

WAIT_S = 0.2


@lru_cache(maxsize=32)
def _statement(query: sa.Select[Any]) -> tuple[str, dict[str, Any]]:
    compiled = query.compile(dialect=sqlite.dialect(paramstyle="named"))
    return str(compiled), dict(compiled.params)


class QuickReader:
    """Reads a file. `path` must exist when something is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quick reads")
        self._connection: sqlite3.Connection | None = None

    async def fetch(self, query: sa.Select[Any], values: dict[str, Any]) -> Sequence[sqlite3.Row]:
        """The rows of a query that is kept for good, with the values of its parameters. Raises
        `OperationalError` as the pool does."""
        statement, known = _statement(query)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, statement, {**known, **values})

    def _read(self, statement: str, values: dict[str, Any]) -> Sequence[sqlite3.Row]:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    f"{self._path.absolute().as_uri()}?mode=ro",
                    uri=True,
                    timeout=WAIT_S,
                    isolation_level=None,
                )
                self._connection.row_factory = sqlite3.Row
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self._close()
            raise OperationalError(statement, None, error) from error

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    async def close(self) -> None:
        """Close the file; the reader cannot be used any more."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)
