"""Reading call records."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.entry import text_of
from softswitch.store.projection import record_of
from softswitch.store.reading import reading
from softswitch.store.record import CallRecord
from softswitch.store.schema import calls
from softswitch.store.schema_centre import queue_visits
from softswitch.store.schema_customers import customers

LIST_MAX = 1_000
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls are asked for; None and empty mean any. `number`: either end's, as it was dialled;
    `queue` and `agent`: calls that waited there or were answered by him; `customer`: of him, and of those
    who turned out to be him; `own`: of this extension, which it began or which were for it, or answered from a
    queue by this agent. `sip_call_id`: of either leg, octet by octet (RFC 3261 20.8); `user_agent`: what either
    telephone says it is begins with this, in whatever case. No index is kept for these two, which would cost
    every call: records are read from the newest on until enough are found, so a time makes it quick."""

    number: tuple[str, ...] = ()
    status: str | None = None
    direction: str | None = None
    queue: str | None = None
    agent: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    recorded: bool = False
    customer: int | None = None
    own: tuple[str, str] | None = None
    call_id: str | None = None
    sip_call_id: str = ""
    user_agent: str = ""

    def clauses(self) -> builtins.list[Any]:
        """As conditions of a query of `calls`."""
        table, found = calls.c, []
        if self.number:
            found.append(
                sa.or_(table.number_from.in_(self.number), table.number_to.in_(self.number))
            )
        for column, value in (
            (table.status, self.status),
            (table.direction, self.direction),
            (table.call_id, self.call_id),
        ):
            if value is not None:
                found.append(column == value)
        for visited, value in (
            (queue_visits.c.queue_id, self.queue),
            (queue_visits.c.agent_id, self.agent),
        ):
            if value is not None:
                visits = sa.select(queue_visits.c.call_id).where(visited == value)
                found.append(table.call_id.in_(visits))
        if self.customer is not None:
            same = sa.or_(customers.c.id == self.customer, customers.c.merged_into == self.customer)
            found.append(table.customer_id.in_(sa.select(customers.c.id).where(same)))
        if self.own is not None:
            extension, agent = self.own
            answered = sa.select(queue_visits.c.call_id).where(queue_visits.c.agent_id == agent)
            numbers = (table.number_from == extension, table.number_to == extension)
            found.append(sa.or_(*numbers, table.call_id.in_(answered)))
        if self.since_s is not None:
            found.append(table.started_at_s >= self.since_s)
        if self.until_s is not None:
            found.append(table.started_at_s < self.until_s)
        if self.recorded:
            found.append(table.recordings != "[]")
        if self.sip_call_id:
            name = _encode(text_of(self.sip_call_id)).decode()
            here = f'"sip_call_id":{name}'
            found.append(table.legs.contains(here, autoescape=True))
            # For databases that tell no capital letters apart.
            found.append(sa.func.replace(table.legs, here, "") != table.legs)
        if self.user_agent:
            begins = _encode(text_of(self.user_agent)).decode()[:-1]
            found.append(table.legs.icontains(f'"user_agent":{begins}', autoescape=True))
        return found


ANY = CallFilter()


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

    async def list(
        self, limit: int = 50, before: int | None = None, which: CallFilter = ANY
    ) -> list[CallRecord]:
        """Records, newest first; `before` is the `seq` of the last one of the page before."""
        query = sa.select(calls).order_by(calls.c.seq.desc()).limit(max(0, min(limit, LIST_MAX)))
        query = query.where(*which.clauses())
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
