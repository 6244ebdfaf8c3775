"""The schema and its history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import softswitch.store
from softswitch.errors import StoreError
from softswitch.store import Store
from softswitch.store.migrate import HEAD, migrate, revision_of
from softswitch.store.schema import journal
from softswitch.store.tables import metadata

MIGRATIONS = Path(softswitch.store.__file__).parent / "migrations"


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def test_the_newest_revision_is_known_without_alembic() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [HEAD]


def test_the_history_ends_in_the_schema(connection: sa.Connection) -> None:
    migrate(connection)
    # The words of full-text search are virtual tables, which no metadata describe.
    options = {"include_name": lambda name, kind, _: kind != "table" or "_words" not in name}
    context = MigrationContext.configure(connection, opts=options)
    assert compare_metadata(context, metadata) == []
    indexes = sa.inspect(connection).get_indexes
    for table in metadata.tables.values():
        found = {
            (i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in indexes(table.name)
        }
        written = {
            (i.name, tuple(c.name for c in i.columns), bool(i.unique)) for i in table.indexes
        }
        assert found == written


def test_numbers_of_entries_are_row_numbers(connection: sa.Connection) -> None:
    """Else SQLite keeps every entry in two trees."""
    migrate(connection)
    plan = connection.execute(sa.text("EXPLAIN QUERY PLAN SELECT * FROM journal WHERE seq = 1"))
    assert "INTEGER PRIMARY KEY" in plan.one()[3]


def test_forward_back_and_forward_again(connection: sa.Connection) -> None:
    migrate(connection)
    assert revision_of(connection) == HEAD
    migrate(connection, "base")
    assert revision_of(connection) is None
    assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    migrate(connection)
    migrate(connection)
    assert revision_of(connection) == HEAD


async def test_a_database_of_a_newer_version_is_refused_as_it_is(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'softswitch.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"version"):
            await Store.open(tmp_path, read_only=read_only)
    with engine.begin() as connection:
        assert revision_of(connection) == "9999"
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": HEAD})
    engine.dispose()
    store = await Store.open(tmp_path)
    await store.close()


def test_statements_are_never_made_of_text() -> None:
    """Values reach the database as bound parameters only."""
    for path in (MIGRATIONS.parent).rglob("*.py"):
        source = path.read_text()
        assert 'text(f"' not in source, path
        assert ".format(" not in source, path


async def test_the_journal_of_the_first_version_is_told_while_calls_go_on(
    tmp_path: Path, store_tools: Any
) -> None:
    """A database that knew calls only: its queues and agents are read from its journal."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'softswitch.db'}")
    with engine.begin() as connection:
        migrate(connection, "0001")
        rows = []
        for number in range(1, 2_001, 2):
            data = json.dumps({"contact": f"c{number}", "queue": "support"})
            row = {"call_id": f"c{number}", "at_s": float(number)}
            rows.append({**row, "seq": number, "kind": "acd-queued", "data": data})
            rows.append({**row, "seq": number + 1, "kind": "call-ended", "data": "{}"})
        connection.execute(sa.insert(journal), rows)
    engine.dispose()
    async with store_tools.opened(tmp_path) as tools:
        tools.calls.whole("new")
        assert await tools.journal.flush()
        assert await tools.store.calls.get("new") is not None
        await asyncio.wait_for(tools.journal.told_all.wait(), 20)
        assert store_tools.sql(tmp_path, "SELECT * FROM facts") == []
        assert store_tools.sql(tmp_path, "SELECT count(*), min(outcome) FROM queue_visits") == [
            (1_000, "lost")
        ]
    async with store_tools.opened(tmp_path) as tools:
        assert store_tools.sql(tmp_path, "SELECT * FROM facts") == []
