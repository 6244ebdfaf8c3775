"""How long recordings are kept: their time, those that are held back from it, and what was deleted. The files
themselves are somebody else's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from softswitch.store.database import Database
from softswitch.store.ledger import Ledger, Missing
from softswitch.store.reading import reading
from softswitch.store.schema import calls
from softswitch.store.schema_recordings import recording_holds

if TYPE_CHECKING:
    from softswitch.store.journal import Journal

LIST_MAX = 1_000
DELETED = "recording-deleted"
"""The entry of the journal that says so."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why the recordings of a call are kept beyond their time, and who says so."""

    call_id: str
    reason: str
    held_by: str
    at_s: float


class Recordings:
    """The retention of one office's recordings. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger, journal: Journal | None) -> None:
        self._database = database
        self._ledger = ledger
        self._journal = journal

    async def holds(self, limit: int = 50, after: str = "") -> list[Hold]:
        """What is held, by call."""
        table = recording_holds.c
        query = (
            sa.select(table.call_id, table.reason, table.held_by, table.at_s)
            .where(table.call_id > after)
            .order_by(table.call_id)
            .limit(max(0, min(limit, LIST_MAX)))
        )
        async with reading(self._database) as connection:
            return [Hold(*row) for row in (await connection.execute(query)).all()]

    async def made_at(self, call_ids: Sequence[str]) -> dict[str, float]:
        """When the recordings of these calls were made, by their names."""
        query = sa.select(calls.c.recordings, calls.c.started_at_s).where(
            calls.c.call_id.in_(call_ids), calls.c.recordings != "[]"
        )
        found: dict[str, float] = {}
        async with reading(self._database) as connection:
            for text, started_at_s in (await connection.execute(query)).all():
                for one in msgspec.json.decode(text):
                    made_s = one.get("stopped_at_s") or one.get("started_at_s") or started_at_s
                    found[one["name"]] = made_s
        return found

    async def held_among(self, call_ids: Sequence[str]) -> set[str]:
        """Of these calls, those whose recordings are held."""
        table = recording_holds.c
        query = sa.select(table.call_id).where(table.call_id.in_(call_ids))
        async with reading(self._database) as connection:
            return {str(call_id) for (call_id,) in (await connection.execute(query)).all()}

    async def held(self, call_id: str) -> Hold | None:
        """Why a call's recordings are held; None if they are not."""
        table = recording_holds.c
        query = sa.select(table.call_id, table.reason, table.held_by, table.at_s).where(
            table.call_id == call_id
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(query)).first()
            return None if row is None else Hold(*row)

    async def hold(self, actor: str, call_id: str, reason: str) -> Hold:
        """Keep a call's recordings until they are released. Raises `Missing` for a call without any."""
        async with self._ledger.change(actor) as change:
            query = sa.select(calls.c.recordings).where(calls.c.call_id == call_id)
            found = (await change.connection.execute(query)).scalar()
            if found is None or found == "[]":
                raise Missing(f"there is no recording of call {call_id}")
            here = recording_holds.c.call_id == call_id
            await change.connection.execute(sa.delete(recording_holds).where(here))
            row = {"call_id": call_id, "reason": reason, "held_by": actor, "at_s": change.at_s}
            await change.connection.execute(sa.insert(recording_holds).values(row))
            change.note("recording-held", f"call:{call_id}", reason=reason)
        return Hold(call_id, reason, actor, row["at_s"])  # type: ignore[arg-type]

    async def release(self, actor: str, call_id: str) -> None:
        """They go with their time again. Raises `Missing`."""
        async with self._ledger.change(actor) as change:
            here = recording_holds.c.call_id == call_id
            query = sa.delete(recording_holds).where(here).returning(recording_holds.c.call_id)
            done = await change.connection.execute(query)
            if done.first() is None:
                raise Missing(f"the recordings of call {call_id} are not held")
            change.note("recording-released", f"call:{call_id}")

    async def note_deleted(self, actor: str, call_id: str, name: str, why: str) -> None:
        """A recording's file was deleted: for the call's record and the audit log."""
        async with self._ledger.change(actor) as change:
            change.note("recording-purged", f"call:{call_id}", recording=name, why=why)
        if self._journal is not None:
            self._journal.append(DELETED, call_id, {"name": name, "why": why}, change.at_s)
