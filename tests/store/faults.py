"""What goes on while something fails, and the account that is taken afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from softswitch.collector import QuietCollector
from tests.cores import waited_s

FAULT_S = float(os.environ.get("FAULT_S", "1"))
RATE = 50  # calls a second while something fails
SHORT = {"lock_wait_s": 0.2}
ROWS_OF_A_CALL = {
    "calls": 1,
    "queue_visits": 1,
    "agent_offers": 1,
    "handlings": 1,
    "surveys": 1,
    "segments": 4,
}
"""That `Calls.queued` writes: it waits, rings, somebody talks and wraps up."""


class Lag:
    """How late the event loop was at the worst, in milliseconds; `held_ms` is that without the time in which
    other programs had the core."""

    worst_ms = held_ms = 0.0

    async def watch(self) -> None:
        while True:
            before_s, waited_before_s = time.perf_counter(), waited_s()
            await asyncio.sleep(0.005)
            late_s = time.perf_counter() - before_s - 0.005
            self.worst_ms = max(self.worst_ms, late_s * 1_000)
            self.held_ms = max(self.held_ms, (late_s - waited_s() + waited_before_s) * 1_000)

    def figures(self) -> dict[str, float]:
        return {
            "loop_lag_ms": round(self.held_ms, 1),
            "with_other_programs_ms": round(self.worst_ms, 1),
        }


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    """With the collector as the exchange has it: Python's own stops every thread for 10 to 20 ms when many
    entries have come at once."""
    found = Lag()
    collector = QuietCollector(asyncio.get_running_loop(), lambda: 0, calls=lambda: 1)
    collector.start()
    task = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
        collector.stop()
        gc.freeze()  # as it was: what all tests have in common is not looked through
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def calls_for(tools: Any, seconds: float, first: int = 0) -> int:
    """Write whole calls at `RATE` for some time; how many there are then."""
    number = first
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        tools.calls.queued(f"c{number}")
        number += 1
        await asyncio.sleep(1 / RATE)
    return number


async def account(tools: Any, builders: Any, directory: Path, calls: int) -> dict[str, int]:
    """What is missing and what is there twice, of entries and of everything that follows from them; asserted to
    be nothing. Counted in a thread: the loop may be watched still."""
    await tools.flush_until_good()
    found = await asyncio.to_thread(_found, tools, builders, directory, calls)
    assert tools.journal.snapshot()["lost"] == 0
    return found


def _found(tools: Any, builders: Any, directory: Path, calls: int) -> dict[str, int]:
    for table, each in ROWS_OF_A_CALL.items():
        found = builders.sql(directory, f"SELECT call_id, count(*) FROM {table} GROUP BY 1")
        assert {call: n for call, n in found if n != each} == {}, table
        assert len(found) == calls, table
    states = "SELECT count(*), count(DISTINCT seq) FROM agent_states"
    assert builders.sql(directory, states) == [(2 * calls, 2 * calls)]
    assert builders.sql(directory, f"{states} WHERE ended_at_s IS NULL") == [(1, 1)]
    ids = [row[0] for row in builders.sql(directory, "SELECT call_id FROM calls")]
    count, distinct, last = builders.numbers(directory)
    wanted = {f"c{number}" for number in range(calls)}
    ended = builders.sql(directory, "SELECT count(*) FROM calls WHERE ended_at_s IS NULL")[0][0]
    found = {"lost": len(wanted - set(ids)), "doubled": len(ids) - len(set(ids))}
    assert found == {"lost": 0, "doubled": 0}
    assert (count, distinct, last) == (tools.calls.entries,) * 3
    assert ended == 0
    return found


async def alarm(tools: Any) -> float:
    """Seconds until something was said."""
    since_s = time.perf_counter()
    async with asyncio.timeout(20):
        while not tools.journal.alarms:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return round(time.perf_counter() - since_s, 2)


async def rows_of(tools: Any, tables: list[sa.Table]) -> dict[str, list[Any]]:
    """Everything that some tables hold, in order."""
    found = {}
    async with tools.store._database.connect() as connection:
        for table in tables:
            rows = (await connection.execute(sa.select(table))).all()
            found[table.name] = sorted(tuple(row) for row in rows)
    return found
