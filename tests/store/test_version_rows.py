"""Row 56 of the reliability programme for the store: another version, with a call up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from softswitch.store.customer_rows import Profile
from softswitch.store.migrate import HEAD, migrate
from softswitch.store.tickets import Matter
from tests.store.faults import calls_for

RELEASED = "0006"
"""The schema of the version before; its databases are upgraded, and this version's taken back to it."""


async def test_row_56_upgrade_and_downgrade(tmp_path: Path, any_store: Any, row: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        calls = await calls_for(tools, 0.3)
        tools.calls.start("open")  # up while the version is changed
        await tools.store.customers.add("user:a", Profile(name="Wang", phones=["+8613800000001"]))
        await tools.store.tickets.add("user:a", Matter(subject="No dial tone"))
        assert await tools.journal.flush()
        await move(tools, RELEASED)
    before = any_store.sql(tmp_path, "SELECT count(*), max(seq) FROM journal")
    since_s = time.perf_counter()
    async with any_store.opened(tmp_path) as again:
        gap_s = round(time.perf_counter() - since_s, 2)
        again.calls.entries = tools.calls.entries
        again.calls.answer("open")
        again.calls.end("open")
        assert await again.journal.flush()
        await asyncio.wait_for(again.journal.told_all.wait(), 20)
        entries = tools.calls.entries + 2  # the customer's and the ticket's
        assert before == [(entries, entries)]
        record = await again.store.calls.get("open")
        assert record.status == "answered"
        ids = {r[0] for r in any_store.sql(tmp_path, "SELECT call_id FROM calls")}
        lost = len({f"c{n}" for n in range(calls)} - ids)
        assert lost == 0
        found = await again.store.customers.find_by_phone("+8613800000001")
        assert [one.profile.name for one in found] == ["Wang"]
        (ticket,) = await again.store.tickets.page(_any())
        assert (ticket.matter.subject, ticket.steps_taken) == ("No dial tone", ())
    row(
        56,
        f"downgrade to {RELEASED} and upgrade to {HEAD} with a call up ({any_store.dialect})",
        calls=calls,
        lost=lost,
        gap_s=gap_s,
    )


def _any() -> Any:
    from softswitch.store.tickets import TicketFilter

    return TicketFilter()


async def move(tools: Any, revision: str) -> None:
    """Bring an open store's database to a revision."""
    writer = tools.store._database.writer
    async with tools.journal.exclusive, writer.begin():
        await writer.run_sync(lambda connection: migrate(connection, revision))
