"""Reading call records."""

from __future__ import annotations

import builtins

import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.projection import record_of
from softswitch.store.reading import reading
from softswitch.store.record import CallRecord
from softswitch.store.schema import calls

LIST_MAX = 1_000


class CallRecords:
    """The read side. A call appears when the group of entries that began it is committed; what was
    appended just now is seen after `Journal.flush`. All methods raise `StoreError` while the
    database cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, call_id: str) -> CallRecord | None:
        """One call's record."""
        async with reading(self._database) as connection:
            query = sa.select(calls).where(calls.c.call_id == call_id)
            row = (await connection.execute(query)).first()
            return None if row is None else record_of(row)

    async def list(self, limit: int = 50, before: int | None = None) -> list[CallRecord]:
        """Records, newest first; `before` is the `seq` of the last one of the page before."""
        query = sa.select(calls).order_by(calls.c.seq.desc()).limit(max(0, min(limit, LIST_MAX)))
        if before is not None:
            query = query.where(calls.c.seq < before)
        async with reading(self._database) as connection:
            return [record_of(row) for row in await connection.execute(query)]

    async def count(self) -> int:
        """How many calls there are records of, open ones included."""
        async with reading(self._database) as connection:
            query = sa.select(sa.func.count()).select_from(calls)
            return int((await connection.execute(query)).scalar_one())

    async def still_open(self, up_to_seq: int) -> builtins.list[CallRecord]:
        """The calls without an end that began at or before an entry, oldest first."""
        query = (
            sa.select(calls)
            .where(calls.c.ended_at_s.is_(None), calls.c.seq <= up_to_seq)
            .order_by(calls.c.seq)
        )
        async with reading(self._database) as connection:
            return [record_of(row) for row in await connection.execute(query)]
