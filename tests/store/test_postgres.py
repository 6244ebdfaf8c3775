"""What is particular to a database that is a server: it may go, be locked, and be somebody else's."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from softswitch.backup import BadBackup, make_backup, restore, verify
from softswitch.backup_postgres import PostgresFailed, count_rows
from softswitch.errors import StoreError
from softswitch.store import Store
from softswitch.store.customer_rows import Profile
from softswitch.store.customers import CustomerFilter
from softswitch.store.migrate import HEAD, migrate, revision_of
from softswitch.store.tables import metadata

SHORT = {"lock_wait_s": 0.05}


def names(first: int, last: int) -> list[str]:
    return [f"c{number}" for number in range(first, last)]


async def kept(tools: Any) -> list[str]:
    return sorted(record.call_id for record in await tools.store.calls.list(1_000))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "killed"])
async def test_a_server_that_goes_and_comes_back_loses_nothing(
    tmp_path: Path, postgres_store: Any, how: signal.Signals
) -> None:
    async with postgres_store.opened(tmp_path) as tools:
        tools.calls.whole("c0")
        assert await tools.journal.flush()
        await asyncio.to_thread(postgres_store.server.stop, how)
        try:
            for name in names(1, 20):
                tools.calls.whole(name)
            assert not await tools.journal.flush()
            assert [(a.source, a.active) for a in tools.alarms] == [("database", True)]
            with pytest.raises(StoreError):
                await tools.store.calls.count()
            assert tools.journal.snapshot()["waiting"] == 0, "all of it is in the log"
        finally:
            await asyncio.to_thread(postgres_store.server.start)
        tools.calls.whole("c20")
        await tools.flush_until_good()
        assert await kept(tools) == sorted(names(0, 21))
        assert tools.journal.alarms == {}
        assert postgres_store.numbers(tmp_path) == (tools.calls.entries,) * 3


async def test_a_server_that_is_away_at_the_start_is_waited_for(
    tmp_path: Path, postgres_store: Any
) -> None:
    async with postgres_store.opened(tmp_path) as tools:
        tools.calls.whole("c0")
    await asyncio.to_thread(postgres_store.server.stop)
    try:
        with pytest.raises(StoreError, match="cannot be reached"):
            await Store.open(tmp_path / "new", database=postgres_store.url(tmp_path))
        async with postgres_store.opened(tmp_path) as tools:
            tools.calls.whole("c1")
            assert not await tools.journal.flush()
            await asyncio.to_thread(postgres_store.server.start)
            await tools.flush_until_good()
            assert await kept(tools) == ["c0", "c1"]
    finally:
        await asyncio.to_thread(postgres_store.server.stop)
        await asyncio.to_thread(postgres_store.server.start)


async def test_a_connection_that_is_cut_is_made_anew(tmp_path: Path, postgres_store: Any) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    async with postgres_store.opened(tmp_path) as tools:
        tools.calls.whole("c0")
        assert await tools.journal.flush()
        await asyncio.to_thread(
            postgres_store.sql, tmp_path, f"{cut} AND datname = current_database()"
        )
        tools.calls.whole("c1")
        await tools.flush_until_good()
        assert await kept(tools) == ["c0", "c1"]


async def test_a_locked_table_is_an_alarm_and_loses_nothing(
    tmp_path: Path, postgres_store: Any
) -> None:
    async with postgres_store.opened(tmp_path, **SHORT) as tools:
        url = sa.make_url(postgres_store.url(tmp_path))
        other = await asyncpg.connect(
            host=str(postgres_store.server.directory), user="softswitch", database=url.database
        )
        async with other.transaction():
            await other.execute("LOCK TABLE journal IN ACCESS EXCLUSIVE MODE")
            tools.calls.whole("c0")
            assert not await tools.journal.flush()
            assert tools.journal.alarms.keys() == {"database"}
        await other.close()
        await tools.flush_until_good()
        assert await kept(tools) == ["c0"]


async def test_one_server_writes(tmp_path: Path, postgres_store: Any) -> None:
    """Two of them would give the same numbers to different entries."""
    url = postgres_store.url(tmp_path)
    async with postgres_store.opened(tmp_path):
        with pytest.raises(StoreError, match="in use by another server"):
            await Store.open(tmp_path / "other", database=url, **SHORT)
        reader = await Store.open(tmp_path / "other", database=url, read_only=True)
        assert await reader.calls.count() == 0
        await reader.close()
    async with postgres_store.opened(tmp_path):
        pass


async def test_what_an_empty_server_is_asked_to_read_is_said(tmp_path: Path, postgres: Any) -> None:
    url = await asyncio.to_thread(postgres.empty_database)
    with pytest.raises(StoreError, match="another version"):
        await Store.open(tmp_path, database=url, read_only=True)


async def test_forward_back_and_forward_again(postgres: Any) -> None:
    url = sa.make_url(await asyncio.to_thread(postgres.empty_database))
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"))

    def walk(connection: sa.Connection) -> None:
        migrate(connection)
        migrate(connection, "base")
        assert revision_of(connection) is None
        migrate(connection)
        assert revision_of(connection) == HEAD
        options = {"include_name": lambda name, kind, _: "_words" not in (name or "")}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []

    async with engine.begin() as connection:
        await connection.run_sync(walk)
    await engine.dispose()


async def test_backup_and_restore(tmp_path: Path, postgres: Any, postgres_store: Any) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    async with postgres_store.opened(source) as tools:
        for number in range(20):
            tools.calls.whole(f"c{number}")
        await tools.store.customers.add("user:a", Profile(name="王伟\n\\.\nCOPY x (", fields={}))
        assert await tools.journal.flush()
        url, saved = postgres_store.url(source), tmp_path / "office.tar.gz"
        # While the server runs, and more is written.
        made = await asyncio.to_thread(make_backup, source, saved, database=url)
        tools.calls.whole("later")
        assert await tools.journal.flush()
    assert made.rows["calls"] == 20
    assert await asyncio.to_thread(verify, saved) == made
    empty = postgres.empty_database()
    restored = await asyncio.to_thread(restore, saved, target, database=empty)
    assert restored.rows == await asyncio.to_thread(count_rows, empty) == made.rows
    with pytest.raises(BadBackup, match="--force"):
        await asyncio.to_thread(restore, saved, tmp_path / "other", database=url)
    with pytest.raises(BadBackup, match="of PostgreSQL"):
        await asyncio.to_thread(restore, saved, tmp_path / "other")
    await asyncio.to_thread(restore, saved, target, database=url, force=True)
    async with postgres_store.opened(source) as again:
        assert await again.store.calls.count() == 21, "what came after is in the journal's log"
        (one,) = await again.store.customers.page(CustomerFilter())
        assert one.profile.name == "王伟\n\\.\nCOPY x ("
    nowhere = "postgresql://nobody@/none?host=/nowhere"
    with pytest.raises(PostgresFailed, match="pg_dump"):
        await asyncio.to_thread(make_backup, source, saved, database=nowhere)


def test_a_database_that_is_given_to_a_test_again_is_as_new(postgres: Any) -> None:
    entry = "INSERT INTO journal (seq, at_s, kind, data) VALUES (1, 1.0, 'x', '{}')"
    left = "SELECT count(*), nextval('users_id_seq') FROM journal"
    one, two = postgres.new_database(), postgres.new_database()
    for url in (one, two):
        postgres.sql(url, entry)
        assert postgres.sql(url, left) == [(1, 1)]
    postgres.sql(two, "ALTER TABLE users ADD COLUMN other integer")
    postgres.take_back()
    again, other = postgres.new_database(), postgres.new_database()
    assert again == one
    assert other not in (one, two), "a test has changed its tables"
    for url in (again, other):
        assert postgres.sql(url, left) == [(0, 1)]
