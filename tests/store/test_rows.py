"""Rows that go to the database together: as many as there are, in their order, all or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from softswitch.store import rows
from softswitch.store.database import Database
from softswitch.store.rows import Rows, Writes
from softswitch.store.schema import calls, journal

# Not in the order of the table's columns.
ENTRIES = Rows(sa.insert(journal), ("call_id", "seq", "kind", "at_s", "data"))
SEQS = sa.select(journal.c.seq, journal.c.call_id, journal.c.data).order_by(journal.c.seq)


def entry(seq: int, kind: str | None = "digit") -> tuple[Any, ...]:
    return (f"c{seq}", seq, kind, 1.5, "{}")


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    made = Database(tmp_path)
    await made.open()
    yield made
    await made.close()


MANY = rows._PARAMETERS // 5


@pytest.mark.parametrize("count", [0, 1, MANY - 1, MANY, MANY + 1, 3 * MANY, 3 * MANY + 2])
async def test_every_row_is_written_once(database: Database, count: int) -> None:
    async with database.transaction() as connection:
        writes = Writes(connection)
        writes.put(ENTRIES, [entry(seq) for seq in range(1, count + 1)])
        await writes.send()
        await writes.send()  # nothing is left to be written again
        found = (await connection.execute(SEQS)).all()
    assert [tuple(row) for row in found] == [(n, f"c{n}", "{}") for n in range(1, count + 1)]


async def test_a_question_comes_after_what_was_put_before_it(database: Database) -> None:
    async with database.transaction() as connection:
        writes = Writes(connection)
        writes.put(ENTRIES, [entry(1)])
        assert len((await writes.execute(SEQS)).all()) == 1
        writes.put(ENTRIES, [entry(2)])
        await writes.execute(sa.delete(journal))
        writes.put(ENTRIES, [entry(3)])
        assert [row.seq for row in (await writes.execute(SEQS)).all()] == [3]


async def test_the_second_of_a_kind_takes_the_place_of_the_first_in_every_form(
    database: Database,
) -> None:
    from softswitch.store.projection import _COLUMNS, _upsert, row_of
    from softswitch.store.record import CallRecord

    upsert = Rows(_upsert("sqlite"), _COLUMNS)
    several = [row_of(CallRecord(f"c{n}", n, 1.0, caller_name="first")) for n in range(1, 71)]
    again = [row_of(CallRecord(f"c{n}", n, 1.0, caller_name="second")) for n in range(1, 71)]
    async with database.transaction() as connection:
        writes = Writes(connection)
        writes.put(upsert, several)
        writes.put(upsert, again)
        await writes.send()
        names = (await connection.execute(sa.select(calls.c.caller_name))).scalars().all()
    assert names == ["second"] * 70


async def write(connection: Any, *batches: list[tuple[Any, ...]]) -> None:
    writes = Writes(connection)
    for batch in batches:
        writes.put(ENTRIES, batch)
    await writes.send()


@pytest.mark.parametrize("count", [1, MANY])
async def test_what_is_refused_leaves_nothing_of_its_transaction(
    database: Database, count: int
) -> None:
    refused = [entry(seq, None) for seq in range(2, 2 + count)]
    async with database.transaction() as connection:
        with pytest.raises(exc.IntegrityError):
            await write(connection, [entry(1)], refused)
        await connection.rollback()
    async with database.transaction() as connection:
        assert (await connection.execute(SEQS)).all() == []


async def test_a_connection_that_is_gone_is_an_error_of_the_database(database: Database) -> None:
    connection = database.writer
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.close()
    with pytest.raises(exc.OperationalError):
        await write(connection, [entry(1)])
    await connection.invalidate()
