"""Writing entries to the database, and the call records that follow from them, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.entry import Entry
from softswitch.store.lines import LINE_CHANGED, LineProjection
from softswitch.store.projection_centre import STARTED, CentreProjection
from softswitch.store.record import KINDS, CallRecord, apply_all
from softswitch.store.rows import Rows, Writes
from softswitch.store.schema import calls, journal
from softswitch.store.schema_centre import STORIES_TOLD_TO, facts
from softswitch.store.story import KINDS as STORY_KINDS
from softswitch.store.stretch import all_entries, rows_of
from softswitch.store.told import HeardByCall, hear

_HEARD = KINDS | STORY_KINDS
_ENDED_KEPT = 128
_IDS_A_QUERY = 500
_REBUILD_ROWS = 1_000
_ENTRIES_A_TURN = 256
"""Read into records before the loop has another turn: some three milliseconds."""
_TELL_ROWS = 100
_encoder = msgspec.json.Encoder(enc_hook=str)
_FIELDS = CallRecord.__struct_fields__
_JSON_FIELDS = ("legs", "recordings")
_ENTRY_COLUMNS = ("seq", "at_s", "kind", "call_id", "data")
_NO_ARRAYS: Mapping[int, bytes] = {}
_kind = attrgetter("kind")
_plain_values = attrgetter(*(name for name in _FIELDS if name not in _JSON_FIELDS))
_COLUMNS = (*(name for name in _FIELDS if name not in _JSON_FIELDS), *_JSON_FIELDS)


def _upsert(dialect: str) -> Any:
    insert: Any = postgresql.insert(calls) if dialect == "postgresql" else sqlite.insert(calls)
    columns = {name: insert.excluded[name] for name in _FIELDS if name != "call_id"}
    return insert.on_conflict_do_update(index_elements=["call_id"], set_=columns)


def row_of(record: CallRecord) -> tuple[Any, ...]:
    """The values of a record, in the order of `_COLUMNS`."""
    legs = _encoder.encode(record.legs).decode()
    recordings = _encoder.encode(record.recordings).decode() if record.recordings else "[]"
    return (*_plain_values(record), legs, recordings)


def record_of(row: Any) -> CallRecord:
    """The record of a row of `calls`."""
    values = dict(row._mapping)
    for name in _JSON_FIELDS:
        values[name] = msgspec.json.decode(values[name])
    return CallRecord(**values)


class Projection:
    """Writes batches of entries. Keeps the records of open calls in memory, so that a call is read
    from the database only if it began before this process or was forgotten."""

    def __init__(self, dialect: str) -> None:
        self._upsert = Rows(_upsert(dialect), _COLUMNS)
        self._insert_entries = Rows(sa.insert(journal), _ENTRY_COLUMNS)
        self._centre = CentreProjection()
        self._lines = LineProjection()
        self._open: dict[str, CallRecord] = {}
        self._ended: dict[str, CallRecord] = {}

    async def write(
        self,
        connection: AsyncConnection,
        entries: Sequence[Entry],
        arrays: Mapping[int, bytes] = _NO_ARRAYS,
    ) -> None:
        """Add entries and bring their calls' records up to date. To be called in a transaction; after
        a failure, `forget`. `arrays`: of entries, by their numbers, as far as they are at hand."""
        writes = Writes(connection)
        heard = hear(entries, _HEARD)
        writes.put(self._insert_entries, rows_of(entries, heard, arrays))
        await self._tell(writes, entries, heard)

    async def _tell(self, writes: Writes, entries: Sequence[Entry], heard: HeardByCall) -> None:
        """Write what follows from entries that are in the journal's table."""
        kinds = {*map(_kind, entries)}
        await self._write_records(writes, heard)
        await self._centre.write(writes, entries, heard, kinds)
        if LINE_CHANGED in kinds:
            await self._lines.write(writes, entries)
        await writes.send()

    async def _write_records(self, writes: Writes, heard: HeardByCall) -> None:
        await self._load(writes, heard)
        rows: list[tuple[Any, ...]] = []
        read = 0
        for call_id, of_call in heard.items():
            read += len(of_call.heard)
            if read > _ENTRIES_A_TURN:
                read = 0
                await asyncio.sleep(0)  # calls go on meanwhile
            if KINDS.isdisjoint(of_call.kinds):
                continue
            known = self._open.get(call_id) or self._ended.get(call_id)
            record = apply_all(known, of_call.heard)
            assert record is not None
            if record is not known or (record.ended_at_s is not None and call_id in self._open):
                self._keep(record)
            rows.append(row_of(record))
        writes.put(self._upsert, rows)
        # Not before: one that was read for these entries would be gone when its turn comes.
        for call_id in [*self._ended][: max(len(self._ended) - _ENDED_KEPT, 0)]:
            del self._ended[call_id]

    def _keep(self, record: CallRecord) -> None:
        if not record.ended:
            self._open[record.call_id] = record
            return
        # For what comes after the end: the recording's length, the quality of the legs.
        self._open.pop(record.call_id, None)
        self._ended[record.call_id] = record

    async def _load(self, writes: Writes, heard: HeardByCall) -> None:
        """Read the records that these entries change and that are not in memory."""
        wanted = [
            call_id
            for call_id in heard.keys() - self._open.keys() - self._ended.keys()
            if not KINDS.isdisjoint(heard[call_id].kinds) and STARTED not in heard[call_id].kinds
        ]
        ids = sorted(wanted)
        for start in range(0, len(ids), _IDS_A_QUERY):
            some = ids[start : start + _IDS_A_QUERY]
            query = sa.select(calls).where(calls.c.call_id.in_(some))
            for row in await writes.execute(query):
                self._keep(record_of(row))

    def forget(self) -> None:
        """Drop what is in memory: a transaction failed after records were changed."""
        self._open.clear()
        self._ended.clear()
        self._centre.forget()

    async def rebuild(self, connection: AsyncConnection) -> int:
        """Make all records anew from the journal, in the caller's transaction; their number."""
        self.forget()
        await connection.execute(sa.delete(calls))
        await self._centre.clear(connection)
        seq = 0
        while entries := await _entries_after(connection, seq, _REBUILD_ROWS):
            await self._tell(Writes(connection), entries, hear(entries, _HEARD))
            seq = entries[-1].seq
        await connection.execute(sa.delete(facts).where(facts.c.name == STORIES_TOLD_TO))
        counted = await connection.execute(sa.select(sa.func.count()).select_from(calls))
        return int(counted.scalar_one())

    async def told_to(self, connection: AsyncConnection) -> int | None:
        """Up to which entry stories have been told, where a version that did not tell them was here;
        None if there is nothing left to do."""
        query = sa.select(facts.c.value).where(facts.c.name == STORIES_TOLD_TO)
        found = (await connection.execute(query)).scalar()
        return None if found is None else int(found)

    async def tell_more(self, connection: AsyncConnection, told_to: int) -> int | None:
        """Tell the stories of some more entries, in the caller's transaction; as `told_to`."""
        entries = await _entries_after(connection, told_to, _TELL_ROWS)
        here = facts.c.name == STORIES_TOLD_TO
        if not entries:
            await connection.execute(sa.delete(facts).where(here))
            return None
        writes = Writes(connection)
        await self._centre.retell(writes, entries)
        await writes.send()
        seq = entries[-1].seq
        await connection.execute(sa.update(facts).where(here).values(value=str(seq)))
        return seq

    @property
    def centre(self) -> CentreProjection:
        """What keeps the tables about queues and agents."""
        return self._centre

    @property
    def calls_open(self) -> int:
        return len(self._open)


async def _entries_after(connection: AsyncConnection, seq: int, limit: int) -> list[Entry]:
    """The entries of the next rows: the last of them has the number of the last row."""
    columns = (journal.c.seq, journal.c.at_s, journal.c.kind, journal.c.call_id, journal.c.data)
    query = sa.select(*columns).where(journal.c.seq > seq).order_by(journal.c.seq).limit(limit)
    return all_entries(Entry(*row) for row in (await connection.execute(query)).all())
