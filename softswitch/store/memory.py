"""A store that keeps nothing: for simulations on virtual time, where no thread may be waited for."""

from __future__ import annotations

from typing import Any

from softswitch.store.entry import Entry, make_entry
from softswitch.store.record import CallRecord, apply


class MemoryJournal:
    """`Journal`'s interface; entries are kept in a list and records follow at once."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.records: dict[str, CallRecord] = {}

    def append(self, kind: str, call_id: str | None, data: dict[str, Any], at_s: float) -> int:
        """As `Journal.append`."""
        entry = make_entry(len(self.entries) + 1, at_s, kind, call_id, data)
        self.entries.append(entry)
        if entry.call_id is not None:
            record = apply(self.records.get(entry.call_id), entry)
            if record is not None:
                self.records[entry.call_id] = record
        return entry.seq

    async def flush(self) -> bool:
        return True

    def snapshot(self) -> dict[str, int]:
        open_calls = sum(not record.ended for record in self.records.values())
        return {"seq": len(self.entries), "calls_open": open_calls, "lost": 0}


class MemoryRecords:
    """`CallRecords`' interface over a `MemoryJournal`."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    async def get(self, call_id: str) -> CallRecord | None:
        return self._journal.records.get(call_id)

    async def list(self, limit: int = 50, before: int | None = None) -> list[CallRecord]:
        newest = sorted(self._journal.records.values(), key=lambda r: r.seq, reverse=True)
        return [r for r in newest if before is None or r.seq < before][:limit]

    async def count(self) -> int:
        return len(self._journal.records)


class MemoryStore:
    """A `Store` in memory."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.calls = MemoryRecords(self.journal)

    async def close(self) -> None:
        """Nothing to close."""

    async def close_open_calls(self, reason: str, at_s: float) -> list[CallRecord]:
        """No process was before this one."""
        return []

    def snapshot(self) -> dict[str, int]:
        return self.journal.snapshot()
