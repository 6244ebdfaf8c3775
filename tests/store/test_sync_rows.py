"""Row 50 for SQLite's own syncs: what was said to be saved is there after a power cut, whatever failed before.

Linux' file systems forget what they could not write: the next sync of the same file is called good, and what
was to be kept by the one that failed is not on the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from softswitch.errors import StoreError
from softswitch.store import database
from softswitch.store.customers import Profile
from tests.databases import lay_database
from tests.faulty_disk import faulty_disk
from tests.store.faults import account

ROOT = Path(__file__).resolve().parents[2]


def saved_by(directory: Path, scene: str) -> tuple[dict[str, Any], Path]:
    """What a process says is saved, and what a power cut leaves of its files."""
    storage, kept = directory / "var", directory / "kept"
    storage.mkdir()
    lay_database(storage)
    environment = faulty_disk(directory, storage, kept)
    command = [sys.executable, "-m", "tests.store.saving", str(storage), scene]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, timeout=60
    )
    assert run.returncode == 0, run.stderr.decode()[-4000:]
    return json.loads(run.stdout), kept


@pytest.mark.parametrize("scene", ["a_change", "a_checkpoint", "all"])
async def test_row_50_what_sqlite_could_not_sync_is_never_said_to_be_saved(
    tmp_path: Path, store_tools: Any, row: Any, scene: str
) -> None:
    said, kept = saved_by(tmp_path, scene)
    assert said["failed_syncs"] >= 1
    assert said["saved"]
    assert store_tools.sql(kept, "PRAGMA integrity_check") == [("ok",)]
    async with store_tools.opened(kept) as tools:
        tools.calls.entries = said["entries"]
        found = await account(tools, store_tools, kept, said["calls"])
        names = {name for (name,) in store_tools.sql(kept, "SELECT name FROM customers")}
    assert set(said["saved"]) - names == set()
    row(50, f"SQLite's sync fails: {scene}", said_saved=len(said["saved"]), **found)


async def test_who_starts_after_a_kill_trusts_no_sync_of_before_and_waits_for_no_reader(
    tmp_path: Path, store_tools: Any
) -> None:
    """Whoever was killed may have met a failed sync. What he left beside the file is written anew first; while
    somebody reads it the start goes on, entries go into the log, and it is said."""
    said, _ = saved_by(tmp_path, "a_change")
    storage = tmp_path / "var"
    assert (storage / "softswitch.db-wal").stat().st_size > 0
    with closing(sqlite3.connect(storage / "softswitch.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM calls").fetchone() == (said["calls"],)
        async with asyncio.timeout(20), store_tools.opened(storage) as tools:
            assert "read by somebody" in tools.journal.alarms["database"]
            tools.calls.entries = said["entries"]
            tools.calls.queued(f"c{said['calls']}")
            assert not await tools.journal.flush()
            with pytest.raises(StoreError):
                await tools.store.customers.add("user:a", Profile(name="Wang"))
            reader.execute("COMMIT")
            await account(tools, store_tools, storage, said["calls"] + 1)
            assert tools.journal.alarms == {}
            await tools.store.customers.add("user:a", Profile(name="Wang"))


async def test_what_is_committed_beside_the_file_is_brought_into_it_in_time(
    tmp_path: Path, store_tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLite does by itself, but seen; who reads for long is not waited for."""
    monkeypatch.setattr(database, "_WAL_BYTES_MAX", 200_000)
    beside = tmp_path / "softswitch.db-wal"

    async with store_tools.opened(tmp_path) as tools:

        async def write_calls(first: int) -> list[int]:
            sizes = []
            for number in range(first, first + 20):
                tools.calls.queued(f"c{number}")
                assert await tools.journal.flush()
                sizes.append(beside.stat().st_size)
            return sizes

        assert max(await write_calls(0)) < 200_000
        with closing(sqlite3.connect(tmp_path / "softswitch.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM calls").fetchone() == (20,)
            assert max(await write_calls(20)) > 200_000
            assert reader.execute("SELECT count(*) FROM calls").fetchone() == (20,)
        assert max(await write_calls(40)) < 200_000
        await account(tools, store_tools, tmp_path, 60)
