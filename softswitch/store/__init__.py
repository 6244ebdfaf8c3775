"""What an office keeps: the journal of what happened, and the call records read from it.

store = await Store.open("var")
store.journal.append("call-started", "c1", {"number_from": "1001"}, at_s=clock.wall_s())
records = await store.calls.list(limit=20)
await store.close()
"""

from __future__ import annotations

from softswitch.store.calls import CallRecords
from softswitch.store.entry import Entry
from softswitch.store.journal import Journal, StoreAlarm
from softswitch.store.memory import MemoryStore
from softswitch.store.record import CallRecord
from softswitch.store.store import Store

__all__ = ["CallRecord", "CallRecords", "Entry", "Journal", "MemoryStore", "Store", "StoreAlarm"]
