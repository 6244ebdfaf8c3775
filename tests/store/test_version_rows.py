"""Row 56 of the reliability programme for the store: another version, with calls up."""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path
from typing import Any

import pytest

from softswitch.store.customer_rows import Profile
from softswitch.store.database import FILE_NAME
from softswitch.store.migrate import HEAD, revisions
from softswitch.store.tickets import Matter, TicketFilter
from tests.store.faults import calls_for

RELEASED = "0006"
"""The schema of the first version; its databases are upgraded, and this version's taken back to it."""
TWO_BACK = revisions()[2]
OPEN = [f"open-{n}" for n in range(50)]
"""Calls that are up while the version is changed."""
GAP_S_MAX = 3.0
SAVED = {"0010": 6, "0016": 3}
"""What databases that old versions wrote (`data`) have of calls."""


async def there_and_back(tmp_path: Path, any_store: Any, schemas: list[str]) -> dict[str, Any]:
    """With the same calls up the database is taken back to each schema and forward again; what is lost, and how
    long nothing could be written at most."""
    async with any_store.opened(tmp_path) as tools:
        calls = await calls_for(tools, 0.3)
        for name in OPEN:
            tools.calls.start(name)
        await tools.store.customers.add("user:a", Profile(name="Wang", phones=["+8613800000001"]))
        await tools.store.tickets.add("user:a", Matter(subject="No dial tone"))
        assert await tools.journal.flush()
        entries, told_s, gap_s = tools.calls.entries, 0.0, 0.0
        await tools.store.downgrade(schemas[0])
    for number, schema in enumerate(schemas):
        # The customer's entry and the ticket's are no calls'.
        before = any_store.sql(tmp_path, "SELECT count(*), max(seq) FROM journal")
        assert before == [(entries + 2, entries + 2)], schema
        assert any_store.sql(tmp_path, "SELECT 1 FROM journal WHERE kind = 'stretch'") == []
        since_s = time.perf_counter()
        async with any_store.opened(tmp_path) as again:
            gap_s = max(gap_s, time.perf_counter() - since_s)
            again.calls.answer(OPEN[number])
            again.calls.end(OPEN[number])
            assert await again.journal.flush()
            await asyncio.wait_for(again.journal.told_all.wait(), 60)
            told_s = max(told_s, time.perf_counter() - since_s)
            entries += again.calls.entries
            assert (await again.store.calls.get(OPEN[number])).status == "answered", schema
            found = any_store.sql(tmp_path, "SELECT call_id, status FROM calls")
            states = dict(found)
            assert len(found) == len(states)
            wanted = {f"c{n}" for n in range(calls)} | {*OPEN}
            assert states.keys() == wanted, schema
            assert [one for one in OPEN if states[one] == "open"] == OPEN[number + 1 :], schema
            if number + 1 < len(schemas):
                await again.store.downgrade(schemas[number + 1])
    return {"calls": calls, "up": len(OPEN), "lost": 0, "gap_s": gap_s, "all_told_s": told_s}


def print_row(row: Any, name: str, found: dict[str, Any]) -> None:
    figures = {k: round(v, 2) if isinstance(v, float) else v for k, v in found.items()}
    row(56, name, **figures)


@pytest.mark.parametrize("schema", [RELEASED, TWO_BACK])
async def test_row_56_upgrade_and_downgrade(
    tmp_path: Path, any_store: Any, row: Any, schema: str
) -> None:
    found = await there_and_back(tmp_path, any_store, [schema])
    name = f"downgrade to {schema} and upgrade to {HEAD} with calls up ({any_store.dialect})"
    print_row(row, name, found)
    async with any_store.opened(tmp_path) as tools:
        found = await tools.store.customers.find_by_phone("+8613800000001")
        assert [one.profile.name for one in found] == ["Wang"]
        (ticket,) = await tools.store.tickets.page(TicketFilter())
        assert (ticket.matter.subject, ticket.steps_taken) == ("No dial tone", ())


@pytest.mark.soak
@pytest.mark.realtime
async def test_row_56_each_older_schema_in_turn(tmp_path: Path, any_store: Any, row: Any) -> None:
    schemas = revisions()[1:]
    found = await there_and_back(tmp_path, any_store, schemas)
    name = (
        f"back to each of {len(schemas)} older schemas, the last {schemas[-1]}, and forward again"
    )
    print_row(row, f"{name} with calls up ({any_store.dialect})", found)
    assert found["gap_s"] < GAP_S_MAX


@pytest.mark.parametrize("schema", SAVED)
async def test_row_56_databases_that_old_versions_wrote(
    tmp_path: Path, store_tools: Any, row: Any, schema: str
) -> None:
    data = Path(__file__).parent / "data" / f"office-{schema}.db.gz"
    (tmp_path / FILE_NAME).write_bytes(gzip.decompress(data.read_bytes()))
    since_s = time.perf_counter()
    async with store_tools.opened(tmp_path, database="sqlite") as tools:
        gap_s = time.perf_counter() - since_s
        for name in OPEN:
            tools.calls.start(name)
        assert await tools.journal.flush()
        await asyncio.wait_for(tools.journal.told_all.wait(), 60)
        states = dict(store_tools.sql(tmp_path, "SELECT call_id, status FROM calls"))
        old = states.keys() - {*OPEN}
        assert len(old) == SAVED[schema]
        assert {states[one] for one in OPEN} == {"open"}
        # And all of it anew from the journal that the old version wrote.
        assert await tools.store.rebuild() == len(states)
        assert dict(store_tools.sql(tmp_path, "SELECT call_id, status FROM calls")) == states
    name = f"a database that schema {schema} wrote, with calls as soon as it is open"
    print_row(row, name, {"calls": len(old), "up": len(OPEN), "lost": 0, "gap_s": gap_s})
