"""Rows 48 to 50 of the reliability programme for the store, with their figures.

What must hold is asserted: no record lost, none twice, whatever the disk does. How long things took is
printed. `FAULT_S=60 pytest -s tests/store/test_fault_rows.py` lets the faults last as long as the programme
asks; `FAULT_SEEDS=60` has more of them one after the other.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from softswitch.errors import StoreError
from softswitch.store import Store
from softswitch.store import journal as journal_module
from softswitch.store import log as log_module
from softswitch.store.customer_rows import Profile
from softswitch.store.projection_centre import STORY_TABLES
from softswitch.store.schema import calls as calls_table
from softswitch.store.tickets import Matter
from tests.disks import small_disk
from tests.store.faults import FAULT_S, SHORT, account, alarm, calls_for, lag, rows_of

FAULT_SEEDS = int(os.environ.get("FAULT_SEEDS", "3"))
REGION = {"name": "north", "prefixes": ["+8610"]}


# -- row 48 -----------------------------------------------------------------------------------------------


async def test_row_48_a_full_disk(tmp_path: Path, store_tools: Any, row: Any) -> None:
    with small_disk(tmp_path / "disk") as resize:
        directory = tmp_path / "disk" / "var"
        async with store_tools.opened(directory, **SHORT) as tools, lag() as late:
            calls, full_s = 0, 0.0
            while not tools.journal.alarms and calls < 5_000:
                tools.calls.queued(f"c{calls}")
                calls += 1
                await asyncio.sleep(0.001)
                if not full_s and os.statvfs(directory).f_bavail == 0:
                    full_s = time.perf_counter()
            said_s = round(time.perf_counter() - full_s, 2) if full_s else 0.0
            assert {a.source for a in tools.alarms} & {"log", "database"}
            full_at = calls
            calls = await calls_for(tools, FAULT_S, calls)
            entries = tools.store.office_entries
            with pytest.raises(StoreError):  # what somebody writes by the API is refused, in words
                await entries.add("user:a", "region", "north", REGION)
            await asyncio.to_thread(resize, "64m")
            await tools.flush_until_good()
            await entries.add("user:a", "region", "north", REGION)
            tools.calls.entries += 1
            found = await account(tools, store_tools, directory, calls)
            assert tools.journal.alarms == {}
        row(
            48,
            "disk of 1 MiB full",
            calls=calls,
            full_after=full_at,
            alarm_s=said_s,
            **found,
            **late.figures(),
        )


# -- row 49 -----------------------------------------------------------------------------------------------


async def test_row_49_a_locked_database(tmp_path: Path, store_tools: Any, row: Any) -> None:
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        with store_tools.locked(tmp_path):
            async with lag() as late:
                tools.calls.queued("c0")
                said_s = await alarm(tools)
                calls = await calls_for(tools, FAULT_S, 1)
        found = await account(tools, store_tools, tmp_path, calls)
    row(
        49,
        f"database locked for {FAULT_S:.0f} s",
        calls=calls,
        alarm_s=said_s,
        **found,
        **late.figures(),
    )


async def test_row_49_who_writes_something_first_does_not_put_off_the_alarm(
    tmp_path: Path, store_tools: Any
) -> None:
    """Entries wait for him, and would wait as long again before anything was said."""
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        with store_tools.locked(tmp_path):
            with pytest.raises(StoreError):
                await tools.store.customers.add("user:a", Profile(name="Wang"))
            assert "locked" in tools.journal.alarms["database"]
        await tools.flush_until_good()
        async with asyncio.timeout(20):
            while tools.journal.alarms:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await tools.store.customers.add("user:a", Profile(name="Wang"))
        with pytest.raises(StoreError):  # refused, though nothing is wrong with the database
            async with tools.store.ledger.change("user:a") as change:
                await change.connection.execute(
                    sa.text("INSERT INTO calls (call_id) VALUES (NULL)")
                )
        assert tools.journal.alarms == {}


@pytest.mark.parametrize("what", ["page", "deleted"])
async def test_row_49_a_damaged_or_deleted_database(
    tmp_path: Path, store_tools: Any, row: Any, what: str
) -> None:
    file = tmp_path / "softswitch.db"
    async with store_tools.opened(tmp_path, **SHORT) as tools, lag() as late:
        calls = await calls_for(tools, 0.2)
        assert await tools.journal.flush()
        if what == "deleted":
            file.unlink()
            calls = await calls_for(tools, 0.3, calls)
            found = await account(tools, store_tools, tmp_path, calls)
    if what == "page":
        damage(file, 4, 2)
        since_s = time.perf_counter()
        async with store_tools.opened(tmp_path, **SHORT) as again, lag() as late:
            started_s = round(time.perf_counter() - since_s, 2)
            again.calls.entries = tools.calls.entries
            calls = await calls_for(again, 0.2, calls)
            found = await account(again, store_tools, tmp_path, calls)
        found["start_s"] = started_s
        assert (tmp_path / "softswitch.db.damaged-1").exists()
    row(49, f"database {what}", calls=calls, **found, **late.figures())


async def test_row_49_a_read_only_database(tmp_path: Path, store_tools: Any, row: Any) -> None:
    async with store_tools.opened(tmp_path) as tools:
        calls = await calls_for(tools, 0.2)
    with store_tools.not_writable(tmp_path):
        since_s = time.perf_counter()
        store = await Store.open(tmp_path, **SHORT)
        started_s = round(time.perf_counter() - since_s, 2)
        again = store_tools.OpenStore(store, [])
        again.calls.entries = tools.calls.entries
        async with lag() as late:
            again.calls.queued(f"c{calls}")
            said_s = await alarm(again)
            calls = await calls_for(again, FAULT_S, calls + 1)
    found = await account(again, store_tools, tmp_path, calls)
    await store.close()
    row(
        49,
        f"database read-only for {FAULT_S:.0f} s",
        calls=calls,
        start_s=started_s,
        alarm_s=said_s,
        **found,
        **late.figures(),
    )


async def test_row_49_damaged_while_it_is_used(tmp_path: Path, store_tools: Any, row: Any) -> None:
    """What people have written is in no log: it comes from the damaged file."""
    file = tmp_path / "softswitch.db"
    async with store_tools.opened(tmp_path, **SHORT) as tools, lag() as late:
        calls = await calls_for(tools, 0.3)
        assert await tools.journal.flush()
        customer = await tools.store.customers.add("user:a", Profile(name="Wang", phones=["+8610"]))
        ticket = await tools.store.tickets.add("user:a", Matter(subject="No dial tone"))
        tools.calls.entries += 2
        store_tools.sql(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'segments'"
        ((page,),) = store_tools.sql(tmp_path, root)
        damage(file, page - 1, 1)
        calls = await calls_for(tools, FAULT_S, calls)
        found = await account(tools, store_tools, tmp_path, calls)
        assert (tmp_path / "softswitch.db.damaged-1").exists()
        assert (await tools.store.customers.get(customer.id)).profile.name == "Wang"
        assert (await tools.store.tickets.get(ticket.id)).matter.subject == "No dial tone"
    assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    row(
        49,
        "a page damaged while the database is used",
        calls=calls,
        **found,
        **late.figures(),
    )


async def test_row_49_the_loop_makes_no_new_database(
    tmp_path: Path, store_tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was held for 50 ms by the modules of thirty migrations, which a start on a good file never loads."""
    upgrade, threads = command.upgrade, []

    def noted(*arguments: Any) -> None:
        threads.append(threading.get_ident())
        upgrade(*arguments)

    async with store_tools.opened(tmp_path, **SHORT) as tools:
        calls = await calls_for(tools, 0.1)
        assert await tools.journal.flush()
        store_tools.sql(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")
        monkeypatch.setattr(command, "upgrade", noted)
        await asyncio.to_thread(damage, tmp_path / "softswitch.db", 3, 8)
        calls = await calls_for(tools, 0.1, calls)
        await account(tools, store_tools, tmp_path, calls)
    assert (tmp_path / "softswitch.db.damaged-1").exists()
    assert threads
    assert threading.get_ident() not in threads
    assert (tmp_path / "softswitch.db").stat().st_mode & 0o777 == 0o600


async def test_row_49_a_text_that_is_damaged_in_the_database(
    tmp_path: Path, store_tools: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A bit of the disk has changed in what an entry says; the file is whole. Its call is told without it, what
    follows is written, and lists show what there is: the journal was held up by it for ever."""
    async with store_tools.opened(tmp_path, **SHORT) as tools:
        tools.calls.start("c0")
        tools.store.journal.append("acd-queued", "c0", {"queue": "support"}, 1_000.0)
        tools.calls.entries += 1
        assert await tools.journal.flush()
    with closing(sqlite3.connect(tmp_path / "softswitch.db")) as file, file:
        file.execute("UPDATE journal SET data = '{\"queue\":' WHERE kind = 'acd-queued'")
    async with store_tools.opened(tmp_path, **SHORT) as again:
        again.calls.entries = tools.calls.entries
        connected = {"contact": "c0", "queue": "support", "agent": "li", "waited_s": 3.0}
        again.store.journal.append("acd-connected", "c0", connected, 1_003.0)
        again.calls.end("c0")
        again.calls.queued("c1")
        assert await again.journal.flush()
        assert again.journal.alarms == {}
        found = store_tools.sql(tmp_path, "SELECT call_id, queue_id, outcome FROM queue_visits")
        assert sorted(found) == [("c0", "", "answered"), ("c1", "support", "answered")]
        assert [e.data() for e in await again.store.entries.of_call("c0")][5] == {}
        await again.store.rebuild()
        found = store_tools.sql(tmp_path, "SELECT call_id FROM calls WHERE ended_at_s IS NULL")
        assert found == []
    assert "entry 6 of the journal cannot be read" in caplog.text


@pytest.mark.parametrize("done", [True, False])
async def test_row_50_nobody_knows_whether_it_was_committed(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """COMMIT fails with or without having been carried out: either way all is there once."""
    left = 5

    async with any_store.opened(tmp_path, **SHORT) as tools:
        calls = await calls_for(tools, 0.1)
        assert await tools.journal.flush()
        dialect = tools.store._database._engine.dialect
        commit = dialect.do_commit

        def failing(connection: Any) -> None:
            nonlocal left
            if left == 0:
                commit(connection)
                return
            left -= 1
            if done:
                commit(connection)
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(dialect, "do_commit", failing)
        while left:
            calls = await calls_for(tools, 0.1, calls)
            await tools.journal.flush()
        await account(tools, any_store, tmp_path, calls)


def damage(file: Path, page: int, count: int) -> None:
    """Overwrite pages, from another process: whoever closes a file lets go of all locks that his process
    has on it, SQLite's too, and the next stranger takes the log of the database away."""
    command = ["dd", f"of={file}", "bs=4096", f"seek={page}", "conv=notrunc", "status=none"]
    subprocess.run(command, input=b"\xa5" * 4_096 * count, check=True)


class Trouble:
    """What may go wrong with a database and its log, each to be entered and left."""

    def __init__(self, tools: Any, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tools, self.directory, self.monkeypatch = tools, directory, monkeypatch

    @contextmanager
    def locked(self) -> Iterator[None]:
        try:
            with self.tools.locked(self.directory):
                yield
        except sqlite3.Error:
            yield  # it is deleted or damaged just now

    @contextmanager
    def full(self) -> Iterator[None]:
        with self.tools.files_limited_to(4_096):
            yield

    @contextmanager
    def log_not_synced(self) -> Iterator[None]:
        def failing(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with self.monkeypatch.context() as patch:
            patch.setattr(log_module.os, "fdatasync", failing, raising=False)
            patch.setattr(log_module.os, "fsync", failing)
            yield

    @contextmanager
    def deleted(self) -> Iterator[None]:
        (self.directory / "softswitch.db").unlink(missing_ok=True)
        yield

    @contextmanager
    def damaged(self) -> Iterator[None]:
        path = self.directory / "softswitch.db"
        if path.exists():
            damage(path, 3, 8)
        yield


TROUBLES = ("damaged", "deleted", "locked", "log_not_synced", "full")


@pytest.mark.parametrize("seed", range(FAULT_SEEDS))
async def test_rows_48_to_50_one_after_the_other_and_two_at_once(
    tmp_path: Path, store_tools: Any, row: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With restarts in between; what is read at the end is what the journal tells when it is read anew."""
    rng = random.Random(seed)
    trouble = Trouble(store_tools, tmp_path, monkeypatch)
    calls = entries = 0
    met = []
    for _ in range(3):
        async with store_tools.opened(tmp_path, **SHORT) as tools:
            tools.calls.entries = entries
            for _ in range(3):
                # A file is damaged before the disk is full: then nobody could.
                names = sorted(rng.sample(TROUBLES, rng.choice([1, 1, 2])), key=TROUBLES.index)
                met.append("+".join(names))
                with ExitStack() as stack:
                    for name in names:
                        stack.enter_context(getattr(trouble, name)())
                    calls = await calls_for(tools, 0.1, calls)
                    await asyncio.wait({asyncio.ensure_future(tools.journal.flush())}, timeout=0.3)
                calls = await calls_for(tools, 0.04, calls)
            await account(tools, store_tools, tmp_path, calls)
            entries = tools.calls.entries
    async with store_tools.opened(tmp_path) as tools:
        tools.calls.entries = entries
        found = await account(tools, store_tools, tmp_path, calls)
        tables = [calls_table, *STORY_TABLES]
        before = await rows_of(tools, tables)
        await tools.store.rebuild()
        assert await rows_of(tools, tables) == before
    assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    row(49, f"seed {seed}: {', '.join(met)}", calls=calls, **found)


# -- row 50 -----------------------------------------------------------------------------------------------


async def test_row_50_a_slow_disk(
    tmp_path: Path, store_tools: Any, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def slowly(file: int) -> None:
        time.sleep(FAULT_S)
        real(file)

    async with store_tools.opened(tmp_path, **SHORT) as tools, lag() as late:
        monkeypatch.setattr(log_module.os, "fdatasync", slowly, raising=False)
        monkeypatch.setattr(log_module.os, "fsync", slowly)
        calls = await calls_for(tools, 2 * FAULT_S)
        monkeypatch.undo()
        found = await account(tools, store_tools, tmp_path, calls)
    row(
        50,
        f"fsync takes {FAULT_S:.0f} s",
        calls=calls,
        **found,
        **late.figures(),
    )


async def test_row_50_a_failing_sync_is_never_taken_for_good(
    tmp_path: Path, store_tools: Any, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []  # files; there is but one directory
    held: list[int] = []  # open, so that no later file is given the number of one that was deleted

    def failing(file: int) -> None:
        held.append(os.dup(file))
        if stat.S_ISREG(os.fstat(file).st_mode):
            failed.append(os.fstat(file).st_ino)
        raise OSError(errno.EIO, "Input/output error")

    async with store_tools.opened(tmp_path, **SHORT) as tools, lag() as late:
        calls = await calls_for(tools, 0.2)
        assert await tools.journal.flush()
        monkeypatch.setattr(log_module.os, "fdatasync", failing, raising=False)
        monkeypatch.setattr(log_module.os, "fsync", failing)
        tools.calls.queued(f"c{calls}")
        said_s = await alarm(tools)
        calls = await calls_for(tools, FAULT_S, calls + 1)
        async with asyncio.timeout(20):
            while len(held) < 2:  # it has been tried again  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        monkeypatch.undo()
        for file in held:
            os.close(file)
        assert len(failed) == len(set(failed)), "no file is synced again after it failed once"
        found = await account(tools, store_tools, tmp_path, calls)
    # What counts is a start from what is on the disk.
    async with store_tools.opened(tmp_path) as again:
        again.calls.entries = tools.calls.entries
        await account(again, store_tools, tmp_path, calls)
    row(
        50,
        "fsync fails (EIO)",
        calls=calls,
        alarm_s=said_s,
        failed_syncs=len(failed),
        **found,
        **late.figures(),
    )


async def test_row_50_a_disk_that_takes_long_is_said_and_the_database_goes_on(
    tmp_path: Path, store_tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alarm while the sync still lasts; what comes meanwhile need not wait for it in memory alone."""
    monkeypatch.setattr(journal_module, "SLOW_S", 0.05)
    held, let_go = threading.Event(), threading.Event()
    real = os.fsync

    def slowly(file: int) -> None:
        held.set()
        let_go.wait(30)
        real(file)

    async with store_tools.opened(tmp_path, **SHORT) as tools:
        tools.calls.queued("c0")
        assert await tools.journal.flush()
        monkeypatch.setattr(log_module.os, "fdatasync", slowly, raising=False)
        tools.calls.queued("c1")
        assert await asyncio.to_thread(held.wait, 30)
        tools.calls.queued("c2")
        await alarm(tools)
        assert "waits for the disk" in tools.journal.alarms["log"]
        known = "SELECT count(*) FROM calls"
        async with asyncio.timeout(20):
            while store_tools.sql(tmp_path, known) != [(3,)]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        let_go.set()
        async with asyncio.timeout(20):
            while tools.journal.alarms:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await account(tools, store_tools, tmp_path, 3)
