"""The store as a whole: starts, ends, who may open it, and the calls that a crash has cut."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from softswitch.errors import StoreError
from softswitch.store import MemoryStore, Store


async def test_calls_open_at_a_crash_are_closed_at_the_next_start(
    tmp_path: Path, any_store: Any
) -> None:
    async with any_store.opened(tmp_path) as tools:
        tools.calls.whole("done")
        tools.calls.start("ringing", 2_000.0)
        tools.calls.start("talking", 2_000.0)
        tools.calls.answer("talking", 2_010.0)
        tools.journal.append("digit", "talking", {"digit": "1"}, 2_070.0)
    async with any_store.opened(tmp_path) as tools:
        tools.calls.start("new", 5_000.0)
        cut = await tools.store.close_open_calls("crashed", 5_000.0)
        assert [(r.call_id, r.status, r.cause) for r in cut] == [
            ("ringing", "lost", "crashed"),
            ("talking", "lost", "crashed"),
        ]
        ringing, talking = cut
        assert (ringing.duration_s, ringing.ended_at_s) == (0.0, 2_070.0)
        assert (talking.duration_s, talking.ended_at_s) == (60.0, 2_070.0)
        assert talking.q850 == 41
        assert talking.recordings == [
            {
                "name": "talking.wav",
                "started_at_s": 2_010.0,
                "stopped_at_s": 5_000.0,
                "frames": None,
                "reason": "crashed",
            }
        ]
        assert all(leg["ended_at_s"] == 2_070.0 for record in cut for leg in record.legs)
        new = await tools.store.calls.get("new")
        assert not new.ended, "calls of this run are not touched"
        assert await tools.store.close_open_calls("crashed", 6_000.0) == []
        before = await tools.store.calls.list()
        await tools.store.rebuild()
        assert await tools.store.calls.list() == before


async def test_nothing_open_nothing_closed(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        tools.calls.whole("done")
        assert await tools.store.close_open_calls("crashed", 9_000.0) == []
        assert await MemoryStore().close_open_calls("crashed", 9_000.0) == []


async def test_a_server_has_its_directory_for_itself(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path):
        with pytest.raises(StoreError, match="in use by another server"):
            await Store.open(tmp_path)
    async with store_tools.opened(tmp_path):
        pass


async def test_others_may_read_beside_it(tmp_path: Path, store_tools: Any) -> None:
    with pytest.raises(StoreError, match="no call records yet"):
        await Store.open(tmp_path, read_only=True)
    async with store_tools.opened(tmp_path) as tools:
        reader = await Store.open(tmp_path, read_only=True)
        tools.calls.whole("c1")
        await tools.journal.flush()
        assert await reader.calls.list() == await tools.store.calls.list()
        with pytest.raises(StoreError, match="reading only"):
            reader.journal.append("digit", "c1", {}, 1.0)
        await reader.close()
    reader = await Store.open(tmp_path, read_only=True)
    assert await reader.calls.count() == 1
    await reader.close()


@pytest.mark.parametrize("read_only", [False, True])
async def test_what_is_no_database_is_said_in_words(tmp_path: Path, read_only: bool) -> None:
    (tmp_path / "softswitch.db").mkdir()
    with pytest.raises(StoreError, match=r"database|records"):
        await Store.open(tmp_path, read_only=read_only)


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        await Store.open(tmp_path / "file" / "var")


async def test_what_is_kept_is_for_the_owner_only(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path / "new" / "var") as tools:
        tools.calls.whole("c1")
        await tools.journal.flush()
        kept = tmp_path / "new" / "var"
        modes = {name: os.stat(kept / name).st_mode & 0o077 for name in os.listdir(kept)}
        assert {"softswitch.db", "softswitch.db-wal", "journal"} <= modes.keys()
        assert set(modes.values()) == {0}


async def test_the_records_of_a_closed_store_are_not_to_be_had(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="not available"):
        await store.calls.count()
    with pytest.raises(StoreError, match="not available"):
        await store.rebuild()
    assert not await store.journal.flush() or store.snapshot()["waiting"] == 0


async def test_readers_and_the_writer_do_not_wait_for_each_other(
    tmp_path: Path, any_store: Any
) -> None:
    async with any_store.opened(tmp_path) as tools:

        async def read() -> int:
            seen = 0
            for _ in range(20):
                records = await tools.store.calls.list()
                seen = max(seen, len(records))
                assert all(r.number_from == "1001" for r in records), "a record in parts"
            return seen

        async def write() -> None:
            for number in range(20):
                tools.calls.whole(f"c{number}")
                assert await tools.journal.flush()

        await asyncio.gather(write(), *(read() for _ in range(8)))
        assert await tools.store.calls.count() == 20


async def test_a_driver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    if find_spec("asyncpg") is not None:
        pytest.skip("asyncpg is installed")
    with pytest.raises(StoreError, match="pip install asyncpg"):
        await Store.open(tmp_path, database="postgresql://user@localhost/name")
