"""Keeping the tables about queues and agents up to date with the journal, in its transactions.

A contact's rows are made anew from all its entries whenever one comes that tells something. That is
right whatever happened in between: a crash, a restart, entries that come after the end. Entries of calls
that began while we watched are at hand; those of others are read from the journal's table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import acd
from softswitch.store.column_fill import Packed
from softswitch.store.entry import Entry, integer_of, text_of
from softswitch.store.rolls import Step, roll_again, roll_from, roll_on, rolled_to, unroll
from softswitch.store.rows import Rows, Writes
from softswitch.store.schema import journal
from softswitch.store.schema_centre import (
    agent_offers,
    agent_states,
    handlings,
    queue_visits,
    segments,
    surveys,
)
from softswitch.store.schema_rolls import SLOT_S
from softswitch.store.story import KINDS, ROW_KINDS, TELLING, tell_heard
from softswitch.store.stretch import STRETCH, entries_in
from softswitch.store.told import Heard, HeardByCall, tell_entry

ENTRIES_MAX = 5_000
"""Of one story; what comes later than that is only journaled."""
_IDS_A_QUERY = 200
_STORIES_A_TURN = 32
"""Told before the loop has another turn."""
_KINDS = sorted(KINDS | {STRETCH})
_TABLES = {
    "segments": segments,
    "visits": queue_visits,
    "offers": agent_offers,
    "handlings": handlings,
}
_TIMES = {"visits": "entered_at_s", "offers": "offered_at_s", "handlings": "at_s"}
"""By which column the rows of a table are counted."""
STORY_TABLES = (*_TABLES.values(), surveys)
SURVEY = "survey"
STARTED, ENDED = "call-started", "call-ended"
AT_HAND_MAX = 50_000
"""Entries kept in memory for stories that are not over; of more, the oldest are read from the table."""
_FIELDS = {name: [field.name for field in fields(kind)] for name, kind in ROW_KINDS.items()}
_VALUES = {name: attrgetter(*columns) for name, columns in _FIELDS.items()}


@dataclass(slots=True)
class _AtHand:
    """All entries of a call so far; `told`: it has rows in the tables."""

    entries: list[Heard]
    told: bool = False


class CentreProjection:
    """Writes the rows that follow from batches of entries. Keeps the agents' present states in
    memory; after a failed transaction, `forget`."""

    def __init__(self) -> None:
        self._states: dict[str, int] | None = None  # agent -> seq of his open row
        self._rolled_to: int | None = None  # the first half-hour that is not added up
        self._at_hand: dict[str, _AtHand] = {}
        self._kept = 0
        self.late = object()
        """Another one whenever something has changed in half-hours that were added up."""
        self._inserts = {
            name: Rows(sa.insert(table), ("call_id", *_FIELDS[name]))
            for name, table in _TABLES.items()
        }

    def forget(self) -> None:
        self.late = object()
        self._states = None
        self._rolled_to = None
        self._at_hand.clear()
        self._kept = 0

    async def write(
        self,
        writes: Writes,
        entries: Sequence[Entry],
        heard: HeardByCall,
        kinds: Collection[str],
    ) -> None:
        """Bring the tables up to date with `entries`, of `kinds`, which are in the journal's table already;
        `heard`: those of calls and contacts, with their particulars."""
        self._remember(heard)
        telling = (
            call_id
            for call_id, of_call in heard.items()
            if call_id and not TELLING.isdisjoint(of_call.kinds)
        )
        await self._tell(writes, telling)
        if SURVEY in kinds:  # now that it is known of which region their callers are
            await self._write_surveys(writes, entries)
        self._let_go(heard)
        if acd.AGENT_STATE in kinds:
            changes = [entry for entry in entries if entry.kind == acd.AGENT_STATE]
            await self._write_states(writes, changes)

    # -- stories --------------------------------------------------------------------------------

    async def retell(self, writes: Writes, entries: Sequence[Entry]) -> None:
        """Tell the stories that `entries` change; may be repeated at will."""
        await self._tell(writes, {e.call_id for e in entries if e.call_id and e.kind in TELLING})
        await self._write_surveys(writes, entries)

    async def _tell(self, writes: Writes, changed: Iterable[str]) -> None:
        ids = sorted(changed)
        for start in range(0, len(ids), _IDS_A_QUERY):
            await self._retell(writes, ids[start : start + _IDS_A_QUERY])

    def _remember(self, heard: HeardByCall) -> None:
        """Keep the entries of calls from their beginning on."""
        for call_id, of_call in heard.items():
            known = self._at_hand.get(call_id)
            own = of_call.heard
            if known is None:
                if STARTED not in of_call.kinds:
                    continue
                if own[0][0].kind != STARTED:
                    begun = next(n for n, (entry, _) in enumerate(own) if entry.kind == STARTED)
                    own = own[begun:]
                known = self._at_hand[call_id] = _AtHand([])
            whole = ENDED in of_call.kinds and not known.entries and len(own) <= ENTRIES_MAX
            if not whole:  # what no story is read from need not be kept
                own = [each for each in own if each[0].kind in KINDS]
            known.entries += own
            self._kept += len(own)

    def _let_go(self, heard: HeardByCall) -> None:
        """Of the entries of calls that are over, and of the oldest where there are too many."""
        for call_id, of_call in heard.items():
            if ENDED in of_call.kinds and call_id in self._at_hand:
                self._kept -= len(self._at_hand.pop(call_id).entries)
        while self._kept > AT_HAND_MAX:
            self._kept -= len(self._at_hand.pop(next(iter(self._at_hand))).entries)

    async def _retell(self, writes: Writes, ids: list[str]) -> None:
        unknown = [call_id for call_id in ids if call_id not in self._at_hand]
        stories = await self._read(writes, unknown) if unknown else {}
        told = unknown
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TABLES}
        now: set[float] = set()
        for number, call_id in enumerate(ids, 1):
            if number % _STORIES_A_TURN == 0:
                await asyncio.sleep(0)  # calls go on meanwhile
            known = self._at_hand.get(call_id)
            if known is None:
                heard = [(entry, tell_entry(entry)) for entry in stories.get(call_id, [])]
            else:
                heard = known.entries
                if known.told:
                    told.append(call_id)
                known.told = True
            story = tell_heard(heard[:ENTRIES_MAX])
            for name, of_story in rows.items():
                if told_now := getattr(story, name):
                    values = _VALUES[name]
                    of_story += [(call_id, *values(row)) for row in told_now]
                    if name in _TIMES:
                        now.update(getattr(row, _TIMES[name]) for row in told_now)
        before = await self._times_of(writes, told)
        if self._rolled_to and any(at_s < self._rolled_to * float(SLOT_S) for at_s in now):
            before |= await self._times_of(writes, ids)  # a survey may have been there first
        for name, table in _TABLES.items():
            if told:
                await writes.execute(sa.delete(table).where(table.c.call_id.in_(told)))
            writes.put(self._inserts[name], rows[name])
        if self._rolled_to and (now or before):
            await writes.send()
            await self._roll_again(writes, before | now)

    async def _times_of(self, writes: Writes, ids: list[str]) -> set[float]:
        """When what is known of some calls was counted, where their half-hours were added up already."""
        if self._rolled_to is None:
            await writes.send()
            self._rolled_to = await rolled_to(writes.connection)
        if not self._rolled_to or not ids:
            return set()
        end_s = self._rolled_to * float(SLOT_S)
        columns = [_TABLES[name].c[column] for name, column in _TIMES.items()]
        # Surveys are not told anew, but of which region they are follows from the visits.
        queries = [
            sa.select(at_s).where(at_s.table.c.call_id.in_(ids), at_s < end_s)
            for at_s in (*columns, surveys.c.at_s)
        ]
        rows = await writes.execute(sa.union_all(*queries))
        return {float(row[0]) for row in rows.all()}

    async def roll_on(
        self,
        connection: AsyncConnection,
        now_s: float,
        zone: ZoneInfo,
        width: int = 1,
        packed: Packed | None = None,
    ) -> Step:
        """As `rolls.roll_on`, in the caller's transaction. `packed` holds what was true while `late` was what
        it is now."""
        self._rolled_to = None
        return await roll_on(connection, now_s, zone, width, packed)

    async def _roll_again(self, writes: Writes, at_s: Collection[float]) -> None:
        to = self._rolled_to or 0
        if min(at_s) < to * float(SLOT_S):
            self.late = object()
            await roll_again(writes.connection, at_s, to)

    async def _read(self, writes: Writes, ids: list[str]) -> dict[str, list[Entry]]:
        """The entries of these calls from the journal's table."""
        query = (
            sa.select(
                journal.c.seq, journal.c.at_s, journal.c.kind, journal.c.call_id, journal.c.data
            )
            .where(journal.c.call_id.in_(ids), journal.c.kind.in_(_KINDS))
            .order_by(journal.c.call_id, journal.c.seq)
        )
        rows = [Entry(*row) for row in (await writes.execute(query)).all()]
        every = (entry for row in rows for entry in entries_in(row))
        found = (entry for entry in every if entry.kind in KINDS)
        grouped = groupby(found, key=lambda entry: entry.call_id or "")
        return {call_id: list(entries) for call_id, entries in grouped}

    async def _write_surveys(self, writes: Writes, entries: Sequence[Entry]) -> None:
        rows = []
        for entry in entries:
            if entry.kind != SURVEY:
                continue
            data = entry.data()
            names = {"queue_id": "queue", "agent_id": "agent", "survey": "survey"}
            names |= {"caller": "caller", "customer": "customer"}
            texts = {column: text_of(data.get(name)) for column, name in names.items()}
            row = {"seq": entry.seq, "call_id": entry.call_id or "", "at_s": entry.at_s}
            rows.append({**row, **texts, "score": integer_of(data.get("score"))})
        if rows:
            numbers = [row["seq"] for row in rows]
            await writes.execute(sa.delete(surveys).where(surveys.c.seq.in_(numbers)))
            await writes.execute(sa.insert(surveys), rows)
            await self._times_of(writes, [])
            if self._rolled_to:
                late = [entry.at_s for entry in entries if entry.kind == SURVEY]
                await self._roll_again(writes, late)

    # -- agents ---------------------------------------------------------------------------------

    async def _write_states(self, writes: Writes, entries: Sequence[Entry]) -> None:
        states = await self._known_states(writes)
        new: dict[int, dict[str, Any]] = {}
        ended: list[dict[str, Any]] = []
        for entry in entries:
            data = entry.data()
            agent = text_of(data.get("agent"))
            former = states.get(agent)
            if former in new:
                new[former]["ended_at_s"] = entry.at_s
            elif former is not None:
                ended.append({"of_seq": former, "at_s": entry.at_s})
            new[entry.seq] = {
                "seq": entry.seq,
                "agent_id": agent,
                "state": text_of(data.get("new")),
                "reason": text_of(data.get("reason")),
                "contact_id": text_of(data.get("contact")),
                "started_at_s": entry.at_s,
                "ended_at_s": None,
            }
            states[agent] = entry.seq
        if ended:
            await writes.execute(
                sa.update(agent_states)
                .where(agent_states.c.seq == sa.bindparam("of_seq"))
                .values(ended_at_s=sa.bindparam("at_s")),
                ended,
            )
        await writes.execute(sa.insert(agent_states), list(new.values()))
        await self._times_of(writes, [])
        first = int(min(entry.at_s for entry in entries) // SLOT_S)
        if self._rolled_to and first < self._rolled_to:
            self.late = object()
            self._rolled_to = await roll_from(writes.connection, first, self._rolled_to)

    async def _known_states(self, writes: Writes) -> dict[str, int]:
        if self._states is None:
            query = sa.select(agent_states.c.agent_id, agent_states.c.seq).where(
                agent_states.c.ended_at_s.is_(None)
            )
            found = (await writes.execute(query.order_by(agent_states.c.seq))).all()
            self._states = {row.agent_id: row.seq for row in found}
        return self._states

    async def clear(self, connection: AsyncConnection) -> None:
        """Empty all tables, to be written anew."""
        self.forget()
        for table in (*STORY_TABLES, agent_states):
            await connection.execute(sa.delete(table))
        await unroll(connection)
