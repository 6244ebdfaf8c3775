"""A process that saves things on a disk that fails, says what it was told is saved, and is gone as if the power
went: `python -m tests.store.saving DIRECTORY SCENE`."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from pathlib import Path

from softswitch.errors import StoreError
from softswitch.store import Store
from softswitch.store.customers import Profile
from softswitch.store.database import FILE_NAME
from tests.faulty_disk import EIO, FaultyDisk
from tests.store.conftest import OpenStore


class Saving:
    def __init__(self, tools: OpenStore, disk: FaultyDisk, path: Path) -> None:
        self.tools, self.disk = tools, disk
        self.reader = sqlite3.connect(path, isolation_level=None)
        self.calls = self.refused = 0
        self.saved: list[str] = []

    async def write_calls(self, count: int) -> None:
        """In the log, and in the database if that can be."""
        for _ in range(count):
            self.tools.calls.queued(f"c{self.calls}")
            self.calls += 1
        await self.tools.journal.flush()

    async def add_customer(self) -> None:
        name = f"Wang {len(self.saved)} {self.refused}"
        try:
            await self.tools.store.customers.add("user:a", Profile(name=name))
        except StoreError:
            self.refused += 1
        else:
            self.saved.append(name)
            self.tools.calls.entries += 1

    # -- scenes -------------------------------------------------------------------------------

    async def a_change(self) -> None:
        """The sync of what somebody saves fails, with entries in the same file that were not synced yet."""
        await self.write_calls(20)  # a log's first file is a reason to sync
        await self.write_calls(20)
        self.disk.tell("database", sync_errno=EIO, fail_syncs=1)
        await self.add_customer()
        assert self.disk.told("database", "failed_syncs") == 1
        await self.add_customer()
        await self.add_customer()

    async def a_checkpoint(self) -> None:
        """The sync of a checkpoint fails, which SQLite by itself tells nobody, while somebody reads: until he
        has read, the gap cannot be closed, and nothing can be saved behind it."""
        await self.add_customer()
        await self.write_calls(20)
        await self.write_calls(20)
        self.reader.execute("BEGIN")
        self.reader.execute("SELECT count(*) FROM calls").fetchall()
        self.disk.tell("database", sync_errno=EIO, fail_syncs=1)
        while not self.disk.told("database", "failed_syncs"):
            await self.write_calls(20)
        await self.add_customer()
        await self.add_customer()

    async def all(self) -> None:
        """Every sync fails for a while."""
        await self.write_calls(20)
        await self.write_calls(20)
        with self.disk.failing("database", sync_errno=EIO):
            for _ in range(8):
                await self.write_calls(20)
                await self.add_customer()
                await asyncio.sleep(0.05)
        await self.add_customer()
        await self.write_calls(1)
        await self.add_customer()


async def main(directory: Path, scene: str) -> None:
    store = await Store.open(directory, lock_wait_s=0.2)
    tools = OpenStore(store, [])
    saving = Saving(tools, FaultyDisk.of_this_process(), directory / FILE_NAME)
    await getattr(saving, scene)()
    await tools.journal.flush()  # into the log at least
    found = {
        "calls": saving.calls,
        "entries": tools.calls.entries,
        "saved": saving.saved,
        "refused": saving.refused,
        "failed_syncs": saving.disk.told("database", "failed_syncs"),
    }
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
