"""Reading the journal itself: the story of one call, and what came after a certain entry."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from operator import attrgetter
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
from softswitch.store.stretch import KINDS, SPAN, SPAN_S, STRETCH, all_entries, entries_in

ENTRIES_MAX = 20_000
"""Of one call; there are that many only where somebody presses keys for hours."""
_COLUMNS = (journal.c.seq, journal.c.at_s, journal.c.kind, journal.c.call_id, journal.c.data)


_SEQ = attrgetter("seq")
_ROWS_MIN = 100
"""So many rows are read at a time, at least: of a stretch only one entry may be wanted, or none."""


def _may_have_below(seq: int) -> Any:
    """The rows in which there may be entries with a lower number."""
    # One range of numbers first: by an OR alone the whole table would be gone through.
    return sa.and_(
        journal.c.seq < seq + SPAN, sa.or_(journal.c.seq < seq, journal.c.kind == STRETCH)
    )


def _has_kind(kind: str) -> Any:
    """The rows that have an entry of a kind, and stretches in which its name stands elsewhere."""
    if kind not in KINDS:
        return journal.c.kind == kind
    inside = journal.c.data.contains(f'"{kind}"', autoescape=True)
    return sa.or_(journal.c.kind == kind, sa.and_(journal.c.kind == STRETCH, inside))


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
        return all_entries(await self._read(query.limit(ENTRIES_MAX)))

    async def between(self, after: int, until: int, limit: int) -> list[Entry]:
        """The first `limit` entries numbered above `after` up to `until`, oldest first."""
        ordered = sa.select(*_COLUMNS).order_by(journal.c.seq)
        query = ordered.where(journal.c.seq > after, _may_have_below(until + 1))
        rows = await self._read(query.limit(limit))
        if len(rows) == limit:  # the rest of what is up to the last row
            last = rows[-1].seq
            until = min(until, last)
            rest = (journal.c.kind == STRETCH, journal.c.seq > last, journal.c.seq < until + SPAN)
            rows += await self._read(ordered.where(*rest))
        return [entry for entry in all_entries(rows) if after < entry.seq <= until][:limit]

    async def of_calls(self, call_ids: Collection[str], until: int) -> list[Entry]:
        """The entries of some calls (200 at most) numbered up to `until`, oldest first."""
        if not call_ids:
            return []
        query = sa.select(*_COLUMNS).where(
            journal.c.call_id.in_(sorted(call_ids)), _may_have_below(until + 1)
        )
        rows = await self._read(query.order_by(journal.c.seq).limit(ENTRIES_MAX))
        return [entry for entry in all_entries(rows) if entry.seq <= until]

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
        others = await self._read(query)
        about = (entry for entry in others if entry.data().get("contact") in contacts)
        return sorted([*own, *about], key=lambda entry: entry.seq)

    async def call_ids(self, ending: str, limit: int = 2) -> list[str]:
        """The calls whose id ends with (or is) `ending`, newest first: people copy half of it."""
        query = (
            sa.select(journal.c.call_id)
            .where(
                _has_kind("call-started"),
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
        query = sa.select(*_COLUMNS).where(journal.c.seq > seq, _has_kind(kind))
        found = await self._newest(query, limit, lambda e: e.seq > seq and e.kind == kind)
        return [(e.seq, e.at_s, msgspec.json.decode(e.text)) for e in reversed(found)]

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
        if kind == STRETCH:
            return []  # a way to keep entries, no entry
        query = sa.select(*_COLUMNS)
        if before is not None:
            query = query.where(_may_have_below(before))
        if kind is not None:
            query = query.where(_has_kind(kind))
        if since_s is not None:
            query = query.where(journal.c.at_s >= since_s - SPAN_S)
        if until_s is not None:
            query = query.where(journal.c.at_s < until_s + SPAN_S)

        def wanted(entry: Entry) -> bool:
            return (
                (before is None or entry.seq < before)
                and (kind is None or entry.kind == kind)
                and (since_s is None or entry.at_s >= since_s)
                and (until_s is None or entry.at_s < until_s)
            )

        return await self._newest(query, limit, wanted)

    async def _newest(
        self, query: sa.Select[Any], limit: int, wanted: Callable[[Entry], bool]
    ) -> list[Entry]:
        """The newest `limit` entries that are wanted, of the rows of a query, newest first."""
        at_once = max(limit, _ROWS_MIN)
        query = query.order_by(journal.c.seq.desc()).limit(at_once)
        found: list[Entry] = []
        rows = await self._read(query)
        while rows:
            found += [entry for row in rows for entry in entries_in(row) if wanted(entry)]
            last = rows[-1].seq
            # Of what is older there may be more in stretches that are not read yet.
            if len(rows) < at_once or sum(entry.seq >= last for entry in found) >= limit:
                break
            rows = await self._read(query.where(journal.c.seq < last))
        return sorted(found, key=_SEQ, reverse=True)[:limit]

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

    async def _read(self, query: Any) -> list[Entry]:
        """Rows of the journal's table, stretches among them."""
        return [Entry(*row) for row in await self._rows(query)]

    async def _rows(self, query: Any) -> list[Any]:
        try:
            async with self._database.connect() as connection:
                return list((await connection.execute(query)).all())
        except SQLAlchemyError as error:
            raise StoreError(f"the journal cannot be read: {reason_of(error)}") from error
