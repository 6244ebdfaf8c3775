"""`softswitch downgrade`."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from softswitch.cli.main import build
from softswitch.errors import StoreError
from softswitch.store import Store
from softswitch.store.migrate import HEAD, revisions


def schema_of(place: Path) -> str:
    with closing(sqlite3.connect(place / "var" / "softswitch.db")) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "office.toml").write_text("[office]\nname = 'x'\n")

    async def fill() -> None:
        store = await Store.open(tmp_path / "var")
        store.journal.append("call-started", "c1", {"number_from": "1001"}, 1.0)
        await store.close()

    asyncio.run(fill())
    return tmp_path


def test_two_steps_back_and_forward_again(place: Path) -> None:
    two_back = revisions()[2]
    done = CliRunner().invoke(build(), ["downgrade", str(place), "--to", two_back])
    assert done.output.startswith(f"the database has the schema {two_back} now")
    assert schema_of(place) == two_back

    async def count() -> int:
        store = await Store.open(place / "var")
        try:
            return await store.calls.count()
        finally:
            await store.close()

    assert asyncio.run(count()) == 1
    assert schema_of(place) == HEAD


def test_schemas_are_named(place: Path) -> None:
    done = CliRunner().invoke(build(), ["downgrade", str(place)])
    assert done.output.startswith(f"this version: {HEAD}; older ones: ")
    done = CliRunner().invoke(build(), ["downgrade", str(place), "--to", "9999"])
    assert isinstance(done.exception, StoreError)
    assert "there is no schema 9999; known: " in str(done.exception)
    assert schema_of(place) == HEAD


def test_a_server_that_runs_is_not_pulled_the_rug_from_under(place: Path) -> None:
    async def beside() -> BaseException | None:
        store = await Store.open(place / "var")
        try:
            words = ["downgrade", str(place), "--to", revisions()[1]]
            return (await asyncio.to_thread(CliRunner().invoke, build(), words)).exception
        finally:
            await store.close()

    assert isinstance(asyncio.run(beside()), StoreError)
    assert schema_of(place) == HEAD
