"""Reading the journal itself: the story of one call, and what came after a certain entry."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from softswitch.errors import StoreError
from softswitch.store import acd
from softswitch.store.database import Database, reason_of
from softswitch.store.entry import Entry
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.schema import journal
from softswitch.store.schema_centre import surveys

ENTRIES_MAX = 20_000
"""Of one call; there are that many only where somebody presses keys for hours."""
_COLUMNS = (journal.c.seq, journal.c.at_s, journal.c.kind, journal.c.call_id, journal.c.data)


@dataclass(frozen=True, slots=True)
class SurveyFilter:
    """Which answers are asked for; None means any. `score_max`: no better ones; of a time from `since_s` up
    to, not including, `until_s`."""

    queue: str | None = None
    agent: str | None = None
    survey: str | None = None
    call_id: str | None = None
    score_max: int | None = None
    since_s: float | None = None
    until_s: float | None = None


class JournalEntries:
    """What is committed; what was appended just now is seen after `Journal.flush`. All methods raise
    `StoreError` while the database cannot be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_call(self, call_id: str) -> list[Entry]:
        """The entries of one call, oldest first."""
        query = sa.select(*_COLUMNS).where(journal.c.call_id == call_id).order_by(journal.c.seq)
        return [Entry(*row) for row in await self._rows(query.limit(ENTRIES_MAX))]

    async def between(self, after: int, until: int, limit: int) -> list[Entry]:
        """The first `limit` entries numbered above `after` up to `until`, oldest first."""
        query = sa.select(*_COLUMNS).where(journal.c.seq > after, journal.c.seq <= until)
        return [Entry(*row) for row in await self._rows(query.order_by(journal.c.seq).limit(limit))]

    async def of_calls(self, call_ids: Collection[str], until: int) -> list[Entry]:
        """The entries of some calls (200 at most) numbered up to `until`, oldest first."""
        if not call_ids:
            return []
        query = sa.select(*_COLUMNS).where(
            journal.c.call_id.in_(sorted(call_ids)), journal.c.seq <= until
        )
        query = query.order_by(journal.c.seq).limit(ENTRIES_MAX)
        return [Entry(*row) for row in await self._rows(query)]

    async def of_story(self, call_id: str) -> list[Entry]:
        """As `of_call`; of a call in which somebody was called back also what became of his place in line,
        which stands under the call in which he asked for it, or under the request."""
        own = await self.of_call(call_id)
        dialled = (entry.data() for entry in own if entry.kind == acd.CALLBACK_DIALLED)
        contacts = {str(data.get("contact")) for data in dialled}
        begun = {acd.story_of(contact) for contact in contacts} - {call_id}
        if not begun:
            return own
        kinds = {*acd.CONTACT_KINDS, acd.AGENT_STATE}
        query = sa.select(*_COLUMNS).where(journal.c.call_id.in_(begun), journal.c.kind.in_(kinds))
        query = query.order_by(journal.c.seq).limit(ENTRIES_MAX)
        others = [Entry(*row) for row in await self._rows(query)]
        about = (entry for entry in others if entry.data().get("contact") in contacts)
        return sorted([*own, *about], key=lambda entry: entry.seq)

    async def call_ids(self, ending: str, limit: int = 2) -> list[str]:
        """The calls whose id ends with (or is) `ending`, newest first: people copy half of it."""
        query = (
            sa.select(journal.c.call_id)
            .where(
                journal.c.kind == "call-started",
                journal.c.call_id.endswith(ending, autoescape=True),
            )
            .order_by(journal.c.seq.desc())
            .limit(limit)
        )
        return [str(row[0]) for row in await self._rows(query)]

    async def call_named(self, name: str) -> str:
        """The id of the one call whose id is `name`, or ends with it. Raises `Missing`, `Conflict`."""
        ids = await self.call_ids(name)
        if not ids:
            raise Missing(f"there is no call {name}; `softswitch calls` lists them")
        if name not in ids and len(ids) > 1:
            raise Conflict(f"{name} is the end of several calls: {', '.join(ids)}...")
        return name if name in ids else ids[0]

    async def after(
        self, seq: int, kind: str, limit: int
    ) -> list[tuple[int, float, dict[str, Any]]]:
        """(number, wall time, particulars) of the newest `limit` entries of a kind that come after the
        entry `seq`, oldest first."""
        query = (
            sa.select(journal.c.seq, journal.c.at_s, journal.c.data)
            .where(journal.c.seq > seq, journal.c.kind == kind)
            .order_by(journal.c.seq.desc())
            .limit(limit)
        )
        rows = await self._rows(query)
        return [(number, at_s, msgspec.json.decode(data)) for number, at_s, data in reversed(rows)]

    async def page(
        self,
        limit: int,
        before: int | None = None,
        *,
        kind: str | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
    ) -> list[Entry]:
        """Entries before the one numbered `before`, newest first."""
        query = sa.select(*_COLUMNS).order_by(journal.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(journal.c.seq < before)
        if kind is not None:
            query = query.where(journal.c.kind == kind)
        if since_s is not None:
            query = query.where(journal.c.at_s >= since_s)
        if until_s is not None:
            query = query.where(journal.c.at_s < until_s)
        return [Entry(*row) for row in await self._rows(query)]

    async def surveys(
        self, limit: int, before: int | None = None, which: SurveyFilter | None = None
    ) -> list[dict[str, Any]]:
        """What callers answered after their calls, newest first."""
        which = which or SurveyFilter()
        query = sa.select(surveys).order_by(surveys.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(surveys.c.seq < before)
        table = surveys.c
        for column, value in (
            (table.queue_id, which.queue),
            (table.agent_id, which.agent),
            (table.survey, which.survey),
            (table.call_id, which.call_id),
        ):
            if value is not None:
                query = query.where(column == value)
        if which.score_max is not None:
            query = query.where(table.score <= which.score_max)
        if which.since_s is not None:
            query = query.where(table.at_s >= which.since_s)
        if which.until_s is not None:
            query = query.where(table.at_s < which.until_s)
        return [dict(row._mapping) for row in await self._rows(query)]

    async def _rows(self, query: Any) -> list[Any]:
        try:
            async with self._database.connect() as connection:
                return list((await connection.execute(query)).all())
        except SQLAlchemyError as error:
            raise StoreError(f"the journal cannot be read: {reason_of(error)}") from error
