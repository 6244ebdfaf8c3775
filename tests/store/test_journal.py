"""The journal: order, groups, and what happens when the database or the disk does not play."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from softswitch.errors import StoreError
from softswitch.store import MemoryStore, Store, StoreAlarm, projection
from softswitch.store import journal as journal_module
from softswitch.store.database import Database
from softswitch.store.groups import gather_s
from softswitch.store.journal import PENDING_MAX, REST_S, Journal
from softswitch.store.log import EntryLog

SHORT = {"lock_wait_s": 0.05}
NAMES = [f"c{number}" for number in range(20)]


async def holds(tools: Any, store: Store, names: list[str]) -> None:
    """The store has exactly these whole calls, once each, and the records that follow."""
    memory = MemoryStore()
    calls = tools.Calls(memory.journal.append)
    for name in names:
        calls.whole(name)
    assert await store.calls.list(1_000) == await memory.calls.list(1_000)


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What `ask` gives once it gives something; another task works on it meanwhile."""
    while not (answer := await ask()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return answer


def names_in(directory: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in directory.glob(pattern))


def last_number(tools: Any, directory: Path) -> tuple[int, int | None]:
    count, _, last = tools.numbers(directory)
    return count, last


def test_entries_gather_for_what_a_quick_disk_does_not_need() -> None:
    assert gather_s(0.0) == gather_s(0.003) == 0.035
    assert gather_s(0.005) == pytest.approx(0.03)
    assert gather_s(0.01) == gather_s(1.0) == 0.02
    for disk_s in (0.0, 0.002, 0.005, 0.008):
        assert gather_s(disk_s) + 3 * disk_s < 0.05


async def test_entries_keep_their_order_and_come_in_groups(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        numbers = [tools.journal.append("digit", "c1", {"n": n}, float(n)) for n in range(1_000)]
        assert numbers == list(range(1, 1_001))
        assert await tools.journal.flush()
        assert tools.journal.snapshot()["commits"] <= 2
        rows = any_store.sql(tmp_path, "SELECT seq, at_s, kind, call_id, data FROM journal")
        assert rows == [(n + 1, float(n), "digit", "c1", f'{{"n":{n}}}') for n in range(1_000)]
        assert tools.alarms == []


async def test_an_entry_is_committed_without_being_asked_for(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path) as tools, asyncio.timeout(20):
        tools.calls.start("c1")
        await until(lambda: tools.store.calls.get("c1"))
        assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]


async def test_what_comes_at_once_after_the_end_of_many_calls_leaves_their_records(
    tmp_path: Path, any_store: Any
) -> None:
    """More ended calls than are kept in memory: their records were read, dropped and written empty."""
    calls = [f"c{number}" for number in range(projection._ENDED_KEPT + 20)]
    async with any_store.opened(tmp_path) as tools:
        for call in calls:
            tools.calls.whole(call)
        assert await tools.journal.flush()
        tools.journal._projection.forget()
        for call in calls:
            tools.journal.append("leg-quality", call, {"leg": 2, "packets": 50, "lost": 1}, 1_070.0)
        assert await tools.journal.flush()
        for call in calls:
            record = await tools.store.calls.get(call)
            assert (record.status, record.duration_s, len(record.legs)) == ("answered", 60.0, 2)
        assert len(tools.journal._projection._ended) == projection._ENDED_KEPT


async def test_numbers_and_records_go_on_after_a_restart(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        tools.calls.start("c1")
        tools.calls.answer("c1")
    async with any_store.opened(tmp_path) as tools:
        first = tools.journal.append("digit", "c1", {}, 1.0)
        assert first == 10
        tools.calls.end("c1")
        await tools.journal.flush()
        record = await tools.store.calls.get("c1")
        assert (record.status, record.duration_s, len(record.legs)) == ("answered", 60.0, 2)


async def test_nothing_new_needs_no_commit(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        assert await tools.journal.flush()
        assert tools.journal.snapshot()["commits"] == 0


async def test_what_comes_during_a_commit_waits_for_the_rest_after_it(
    tmp_path: Path, store_tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        commit = tools.journal._commit

        async def slowly(batch: list[Any]) -> None:
            await asyncio.sleep(0.1)
            await commit(batch)

        monkeypatch.setattr(tools.journal, "_commit", slowly)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for n in range(100):
            tools.journal.append("digit", "c1", {"n": n}, float(n))
            await asyncio.sleep(0.01)
        assert tools.journal.snapshot()["commits"] <= 2 + (loop.time() - began_s) / REST_S
        await until(lambda: asyncio.sleep(0, tools.journal.snapshot()["database_seq"] == 100))
    assert last_number(store_tools, tmp_path) == (100, 100)


async def test_the_loop_is_not_woken_for_a_group_in_the_log_while_the_database_rests(
    tmp_path: Path, store_tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REST_S", "REST_MAX_S"):
        monkeypatch.setattr(journal_module, name, 60.0)
    loop, woken = asyncio.get_running_loop(), []
    wake = loop.call_soon_threadsafe
    async with store_tools.opened(tmp_path) as tools:
        tools.calls.whole("c1")
        assert await tools.journal.flush()
        loop.call_soon_threadsafe = lambda *call, **how: (woken.append(call), wake(*call, **how))
        try:
            for _ in range(10):
                tools.journal.append("digit", "c1", {}, 1.0)
                await asyncio.sleep(0.03)
            assert not woken
        finally:
            del loop.call_soon_threadsafe
        await until(lambda: asyncio.sleep(0, not tools.journal.snapshot()["waiting"]))
        lines = b"".join(path.read_bytes() for path in (tmp_path / "journal").glob("*.log"))
        assert lines.count(b'"digit"') == 10
        assert tools.journal.snapshot()["pending"] == 10
        assert await tools.journal.flush()  # whoever asks does not wait for the end of the rest
        assert tools.journal.snapshot()["database_seq"] == tools.journal.last_seq


async def test_many_may_wait_for_the_same_commit(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        tools.calls.whole("c1")
        done = await asyncio.gather(*(tools.journal.flush() for _ in range(50)))
        assert done == [True] * 50
        assert tools.journal.snapshot()["commits"] <= 2


# -- the database does not play --------------------------------------------------------------------


async def test_a_locked_database_holds_nobody_up(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        tools.calls.whole(NAMES[0])
        assert await tools.journal.flush()
        with store_tools.locked(tmp_path):
            for name in NAMES[1:]:
                tools.calls.whole(name)
            assert not await tools.journal.flush()
            assert [(a.source, a.active) for a in tools.alarms] == [("database", True)]
            assert "locked" in tools.alarms[0].reason
            assert tools.journal.snapshot()["waiting"] == 0, "all of it is in the log"
        await tools.flush_until_good()
        await holds(store_tools, tools.store, NAMES)
        assert [(a.source, a.active) for a in tools.alarms][1:] == [("database", False)]
        assert tools.journal.alarms == {}


async def test_what_a_locked_database_missed_is_there_after_a_restart(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        with store_tools.locked(tmp_path):
            for name in NAMES:
                tools.calls.whole(name)
            await tools.store.close()
    assert last_number(store_tools, tmp_path) == (0, None)
    async with store_tools.opened(tmp_path) as tools:
        await holds(store_tools, tools.store, NAMES)


async def test_a_database_locked_at_the_start_is_waited_for(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path):
        pass
    with store_tools.locked(tmp_path):
        async with store_tools.opened(tmp_path, **SHORT) as tools:
            tools.calls.start("cut")
        store = await Store.open(tmp_path, **SHORT)
        assert store.journal.alarms.keys() == {"database"}
        calls = store_tools.Calls(store.journal.append)
        calls.whole("new")
        assert await store.close_open_calls("crashed", 2_000.0) == []
    async with asyncio.timeout(20):
        record = await until(lambda: ended_record(store, "cut"))
    assert (record.status, record.cause) == ("lost", "crashed")
    whole = await store.calls.get("new")
    assert whole is not None
    assert whole.status == "answered"
    await store.close()


async def ended_record(store: Store, name: str) -> Any:
    try:
        record = await store.calls.get(name)
    except StoreError:
        return None
    return record if record is not None and record.ended else None


@pytest.mark.limit("journal before database")
async def test_memory_is_bounded_while_the_database_is_away(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        with store_tools.locked(tmp_path):
            assert await tools.journal.flush()
            for number in range(1, PENDING_MAX + 2):
                tools.journal.append("digit", "c1", {}, 1.0)
                if number == PENDING_MAX:
                    assert not await tools.journal.flush()
                    assert tools.journal.snapshot()["pending"] == PENDING_MAX
            assert not await tools.journal.flush()
            assert tools.journal.snapshot()["pending"] == 0, "the log has them"
        await tools.flush_until_good()
        assert last_number(store_tools, tmp_path) == (PENDING_MAX + 1, PENDING_MAX + 1)


async def test_a_read_only_database_is_waited_for(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path) as tools:
        tools.calls.whole(NAMES[0])
    with store_tools.not_writable(tmp_path):
        store = await Store.open(tmp_path, **SHORT)
        calls = store_tools.Calls(store.journal.append)
        for name in NAMES[1:]:
            calls.whole(name)
        assert not await store.journal.flush()
        assert "readonly" in store.journal.alarms["database"]
        assert store.snapshot()["waiting"] == 0
    async with asyncio.timeout(20):
        await until(store.journal.flush)
    await holds(store_tools, store, NAMES)
    await store.close()


async def test_a_full_disk_loses_nothing(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        tools.calls.whole(NAMES[0])
        assert await tools.journal.flush()
        with store_tools.files_limited_to(4_096):
            for name in NAMES[1:]:
                tools.calls.whole(name)
            assert not await tools.journal.flush()
            assert {alarm.source for alarm in tools.alarms} == {"log", "database"}
            assert tools.journal.snapshot()["waiting"] > 0
        await tools.flush_until_good()
        await holds(store_tools, tools.store, NAMES)
        assert tools.journal.snapshot()["lost"] == 0


async def test_the_database_goes_on_while_the_log_cannot_be_written(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        journal_directory = tmp_path / "journal"
        tools.calls.whole(NAMES[0])
        assert await tools.journal.flush()
        # The next file of the log cannot be made, and the one that is open is full.
        size = max(path.stat().st_size for path in journal_directory.glob("*.log"))
        with store_tools.files_limited_to(max(size, 1 << 20)):
            for path in journal_directory.glob("*.log"):
                os.truncate(path, 1 << 20)
            for name in NAMES[1:]:
                tools.calls.whole(name)
            assert await tools.journal.flush()
            assert tools.journal.alarms.keys() == {"log"}
            await holds(store_tools, tools.store, NAMES)
        tools.calls.start("after")
        assert await tools.journal.flush()
        assert await tools.store.calls.count() == len(NAMES) + 1


@pytest.mark.limit("journal in memory")
async def test_what_does_not_fit_into_memory_is_counted(tmp_path: Path, store_tools: Any) -> None:
    alarms: list[StoreAlarm] = []
    log, database = EntryLog(tmp_path / "journal"), Database(tmp_path)
    with closing(log), ThreadPoolExecutor(1) as executor:
        journal = Journal(log, database, executor, alarms.append, waiting_max=10)
        await journal.start()
        with store_tools.files_limited_to(64):
            for _ in range(10):
                journal.append("digit", "c1", {}, 1.0)
            assert not await journal.flush()
            assert (journal.lost, journal.snapshot()["waiting"]) == (0, 10)
            journal.append("digit", "c1", {}, 1.0)
            assert (journal.lost, journal.snapshot()["waiting"]) == (1, 10)
            assert "memory" in {alarm.source for alarm in alarms}
        while not await journal.flush():
            pass
        journal.append("digit", "c1", {}, 1.0)
        assert await journal.flush()
        await journal.stop()
        await database.close()
    assert last_number(store_tools, tmp_path) == (11, 12)


async def test_old_log_files_go_once_the_database_has_them(
    tmp_path: Path, store_tools: Any
) -> None:
    log = EntryLog(tmp_path / "journal", segment_bytes=2_000, segments_kept=2)
    database = Database(tmp_path, lock_wait_s=0.05)
    with closing(log), ThreadPoolExecutor(1) as executor:
        journal = Journal(log, database, executor, lambda alarm: None)
        await journal.start()
        with store_tools.locked(tmp_path):
            for number in range(40):
                store_tools.Calls(journal.append).whole(f"c{number}")
                assert not await journal.flush()
                if len(log.segments()) > 4:
                    break
            held_back = len(log.segments())
        assert held_back > 4, "nothing may go that the database has not"
        store_tools.Calls(journal.append).whole("after")
        while not await journal.flush():
            pass
        for number in range(40, 80):
            store_tools.Calls(journal.append).whole(f"c{number}")
            assert await journal.flush()
        assert len(log.segments()) <= 3
        last = journal.last_seq
        await journal.stop()
        await database.close()
    assert last_number(store_tools, tmp_path) == (last, last)


async def test_an_entry_that_the_database_refuses_does_not_hold_up_the_others(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        with closing(sqlite3.connect(tmp_path / "softswitch.db")) as stranger:
            stranger.execute("INSERT INTO journal VALUES (5, 1.0, 'x', NULL, '{}')")
            stranger.commit()
        for _ in range(9):
            tools.journal.append("digit", "c1", {}, 2.0)
        assert await tools.journal.flush()
        assert tools.journal.snapshot()["refused"] == 1
        assert last_number(store_tools, tmp_path) == (9, 9)


async def test_a_transaction_that_a_failure_has_left_open_stops_nothing_and_alarms_nobody(
    tmp_path: Path, any_store: Any
) -> None:
    async with any_store.opened(tmp_path) as tools:
        with pytest.raises(SQLAlchemyError):
            await tools.store._database.writer.execute(sa.text("SELECT nothing FROM nowhere"))
        assert tools.store._database.writer.in_transaction()
        tools.calls.whole("c1")
        assert await tools.store.journal.flush()
        assert tools.alarms == []
        await holds(any_store, tools.store, ["c1"])


async def test_after_the_end_nothing_is_taken_and_that_is_counted(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        await tools.store.close()
        tools.journal.append("digit", "c1", {}, 1.0)
        assert tools.journal.lost == 1


# -- damage ------------------------------------------------------------------------------------------


def _zeros(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


def _half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _text(file: Path) -> None:
    file.write_text("this is not a database, but long enough to be looked at as one\n" * 20)


def _page(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(4_096 * 5)
        stream.write(b"\xa5" * 4_096)


@pytest.mark.parametrize("damage", [_zeros, _half, _text, _page, Path.unlink])
async def test_a_damaged_database_is_set_aside_and_made_anew(
    tmp_path: Path, store_tools: Any, damage: Any
) -> None:
    names = [f"c{number}" for number in range(100)]
    async with store_tools.opened(tmp_path) as tools:
        for name in names:
            tools.calls.whole(name)
    damage(tmp_path / "softswitch.db")
    async with store_tools.opened(tmp_path) as tools:
        await holds(store_tools, tools.store, names)
        tools.calls.whole("after")
        assert await tools.journal.flush()
        await holds(store_tools, tools.store, [*names, "after"])
    assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    kept = [] if damage is Path.unlink else ["softswitch.db.damaged-1"]
    assert names_in(tmp_path, "*.damaged-?") == kept
    assert names_in(tmp_path, "*.new*") == []


async def test_what_the_log_no_longer_holds_is_taken_from_the_damaged_file(
    tmp_path: Path, store_tools: Any
) -> None:
    names = [f"c{number}" for number in range(200)]
    async with store_tools.opened(tmp_path) as tools:
        for name in names:
            tools.calls.whole(name)
    for path in (tmp_path / "journal").glob("*.log"):
        path.unlink()
    total = len(names) * 14
    with (tmp_path / "softswitch.db").open("r+b") as stream:
        data = stream.read()
        pages = [data[at : at + 4_096] for at in range(0, len(data), 4_096)]
        leaves = [n for n, p in enumerate(pages) if p[:1] == b"\x0d" and b"leg-started" in p]
        stream.seek(4_096 * leaves[len(leaves) // 2])
        stream.write(b"\xa5" * 4_096)
    async with store_tools.opened(tmp_path) as tools:
        saved, last = last_number(store_tools, tmp_path)
        assert total - 200 < saved < total
        assert last == total
        assert await tools.store.calls.count() >= len(names) - 15
        assert tools.journal.append("digit", "c1", {}, 1.0) == total + 1


async def test_a_database_damaged_while_it_is_used(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        for name in NAMES[:10]:
            tools.calls.whole(name)
        assert await tools.journal.flush()
        store_tools.sql(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")
        _zeros(tmp_path / "softswitch.db")
        for name in NAMES[10:]:
            tools.calls.whole(name)
        await tools.flush_until_good()
        await holds(store_tools, tools.store, NAMES)
    assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("log_too", [False, True])
async def test_a_database_deleted_while_it_is_used(
    tmp_path: Path, store_tools: Any, log_too: bool
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        for name in NAMES[:10]:
            tools.calls.whole(name)
        assert await tools.journal.flush()
        for name in names_in(tmp_path, "softswitch.db*"):
            os.unlink(tmp_path / name)
        if log_too:
            for path in (tmp_path / "journal").glob("*.log"):
                os.truncate(path, 0)
        for name in NAMES[10:]:
            tools.calls.whole(name)
        await tools.flush_until_good()
        await holds(store_tools, tools.store, NAMES)
        assert "deleted" in tools.alarms[0].reason
    assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]


async def test_an_older_copy_of_the_database_is_brought_up_to_date(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        for name in NAMES[:10]:
            tools.calls.whole(name)
    copy = (tmp_path / "softswitch.db").read_bytes()
    async with store_tools.opened(tmp_path) as tools:
        for name in NAMES[10:]:
            tools.calls.whole(name)
    (tmp_path / "softswitch.db").write_bytes(copy)
    async with store_tools.opened(tmp_path) as tools:
        await holds(store_tools, tools.store, NAMES)


async def test_records_are_rebuilt_from_the_journal(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        for name in NAMES:
            tools.calls.whole(name)
        assert await tools.journal.flush()
        any_store.write(
            tmp_path,
            "UPDATE calls SET status = 'busy' WHERE call_id < 'c5'",
            "DELETE FROM calls WHERE call_id > 'c5'",
        )
        assert await tools.store.rebuild() == len(NAMES)
        await holds(any_store, tools.store, NAMES)
