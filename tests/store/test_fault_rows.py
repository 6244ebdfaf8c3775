"""Rows 19, 48 to 51 and 56 of the reliability programme, with their figures.

What must hold is asserted: no record lost, none twice, whatever the disk does. How long things took is
printed. `FAULT_S=60 pytest -s tests/store/test_fault_rows.py` lets the faults last as long as the programme
asks; `FAULT_SEEDS=60` has more of them one after the other.
"""

from __future__ import annotations

import asyncio
import csv
import errno
import io
import json
import logging
import os
import random
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from softswitch.errors import StoreError
from softswitch.store import Store
from softswitch.store import log as log_module
from softswitch.store.customer_files import read_customers, write_customers
from softswitch.store.customers import Profile
from softswitch.store.migrate import HEAD, migrate
from softswitch.store.periods import Span
from softswitch.store.projection_centre import STORY_TABLES
from softswitch.store.rolls import roll_from
from softswitch.store.schema import calls as calls_table
from softswitch.store.schema_centre import agent_states
from softswitch.store.schema_rolls import SLOT_S
from softswitch.store.sheet import Sheet, to_csv, to_xlsx
from softswitch.store.tickets import Matter
from tests.cores import waited_s
from tests.disks import small_disk
from tests.injection import STRINGS

FAULT_S = float(os.environ.get("FAULT_S", "1"))
FAULT_SEEDS = int(os.environ.get("FAULT_SEEDS", "3"))
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
REGION = {"name": "north", "prefixes": ["+8610"]}


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
    found = Lag()
    task = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
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
    be nothing."""
    await tools.flush_until_good()
    for table, each in ROWS_OF_A_CALL.items():
        found = builders.sql(directory, f"SELECT call_id, count(*) FROM {table} GROUP BY 1")
        assert {call: n for call, n in found if n != each} == {}, table
        assert len(found) == calls, table
    states = "SELECT count(*), count(DISTINCT seq) FROM agent_states"
    assert builders.sql(directory, states) == [(2 * calls, 2 * calls)]
    assert builders.sql(directory, f"{states} WHERE ended_at_s IS NULL") == [(1, 1)]
    ids = [row[0] for row in builders.sql(directory, "SELECT call_id FROM calls")]
    count, distinct, last = builders.sql(
        directory, "SELECT count(*), count(DISTINCT seq), max(seq) FROM journal"
    )[0]
    wanted = {f"c{number}" for number in range(calls)}
    ended = builders.sql(directory, "SELECT count(*) FROM calls WHERE ended_at_s IS NULL")[0][0]
    found = {"lost": len(wanted - set(ids)), "doubled": len(ids) - len(set(ids))}
    assert found == {"lost": 0, "doubled": 0}
    assert (count, distinct, last) == (tools.calls.entries,) * 3
    assert ended == 0
    assert tools.journal.snapshot()["lost"] == 0
    return found


async def alarm(tools: Any) -> float:
    """Seconds until something was said."""
    since_s = time.perf_counter()
    async with asyncio.timeout(20):
        while not tools.journal.alarms:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return round(time.perf_counter() - since_s, 2)


# -- row 48 ---------------------------------------------------------------------------------------------


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
            resize("64m")
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


# -- row 49 ---------------------------------------------------------------------------------------------


async def test_row_49_a_locked_database(tmp_path: Path, store_tools: Any, row: Any) -> None:
    async with store_tools.opened(tmp_path, **SHORT) as tools, lag() as late:
        with store_tools.locked(tmp_path):
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
        with file.open("r+b") as stream:
            stream.seek(4_096 * 4)
            stream.write(b"\xa5" * 8_192)
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
        with file.open("r+b") as stream:
            stream.seek(4_096 * (page - 1))
            stream.write(b"\xa5" * 4_096)
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
            with path.open("r+b") as stream:
                stream.seek(4_096 * 3)
                stream.write(b"\xa5" * 4_096 * 8)
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
        before = await _rows(tools, tables)
        await tools.store.rebuild()
        assert await _rows(tools, tables) == before
    assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    row(49, f"seed {seed}: {', '.join(met)}", calls=calls, **found)


# -- row 50 ---------------------------------------------------------------------------------------------


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
        monkeypatch.undo()
        for file in held:
            os.close(file)
        assert len(held) >= 2
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


# -- row 51 ---------------------------------------------------------------------------------------------


async def test_row_51_sums_and_states_when_the_clock_is_set_back(
    tmp_path: Path, any_store: Any, row: Any
) -> None:
    """Half-hours were added up anew for all the time between, ten years of them in one transaction."""
    zone, day_s = ZoneInfo("UTC"), 86_400.0
    now_s = 1_790_000_000.0 - 1_790_000_000.0 % day_s
    span = Span(now_s - 20 * day_s, now_s, zone, "day")

    async with any_store.opened(tmp_path) as tools:

        def change(state: str, at_s: float) -> None:
            data = {"agent": "li", "old": "", "new": state}
            tools.journal.append("acd-agent-state", None, data, at_s)

        async def told() -> Any:
            states = await tools.store.statistics.states(span, (), now_s)
            return {key: times.seconds for key, times in states.items()}

        async def add_up() -> None:
            while await tools.journal.roll_on(now_s, zone):
                pass

        for number in range(40):
            state = ("available", "on-contact")[number % 2]
            change(state, now_s - 7 * day_s + number * 1_000.0)
        change("logged-out", now_s - 6 * day_s)
        assert await tools.journal.flush()
        await add_up()
        lags = {}
        for name, back_s in (("9 s", 9.0), ("4 days", 4 * day_s), ("10 years", 3_650 * day_s)):
            since_s = time.perf_counter()
            change("available", now_s - 6 * day_s - back_s)
            change("logged-out", now_s - 6 * day_s - back_s + 60.0)
            assert await tools.journal.flush()
            lags[name] = f"{time.perf_counter() - since_s:.2f} s"
            change("logged-out", now_s - 6 * day_s)  # it is set right again
            assert await tools.journal.flush()
            counted = await told()
            if name == "10 years":
                # They are made in the background; here only those that are asked for.
                async with tools.journal.exclusive, tools.store._database.transaction() as writer:
                    await roll_from(writer, int(span.start_s // SLOT_S), 1 << 40)
                tools.journal._projection.forget()
            await add_up()
            assert await told() == counted
    row(51, f"the clock is set back ({any_store.dialect})", **lags)


# -- row 56 ---------------------------------------------------------------------------------------------

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


# -- row 19 ---------------------------------------------------------------------------------------------


async def test_row_19_what_is_injected_stays_text(
    tmp_path: Path, any_store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(STRINGS) == 23
    caplog.set_level(logging.INFO)
    async with any_store.opened(tmp_path) as tools:
        store, append = tools.store, tools.journal.append
        for number, text in enumerate(STRINGS):
            call = f"c{number}"
            told = {"number_from": text, "caller_name": text, "number_to": "1002"}
            append("call-started", call, told, 1_000.0 + number)
            append("call-ended", call, {"user_agent": text, "sip_call_id": text}, 1_060.0)
            customer = await store.customers.add(text, Profile(name=text, fields={"F": text}))
            ticket = await store.tickets.add(text, Matter(subject=text, tags=[text[:60]]))
            await store.tickets.comment(text, ticket.id, text, public=False)
            kept = await store.attachments.add(text, ticket.id, text, "text/plain", b"x")
            assert "/" not in kept.name
            assert "\\" not in kept.name
            assert kept.name.isprintable()
            assert (await store.customers.get(customer.id)).profile.name == text
            assert (await store.tickets.get(ticket.id)).matter.subject == text
            assert (await store.tickets.comments(ticket.id))[0].text == text
            await store.customers.page(_asking(text))
        assert await tools.journal.flush()
        for number, text in enumerate(STRINGS):
            record = await store.calls.get(f"c{number}")
            assert (record.number_from, record.caller_name) == (text, text)
        customers = await store.customers.page(_asking(""), 100)
        assert len(customers) == len(STRINGS)
        data = write_customers(customers)
        cells = [c for line in csv.reader(io.StringIO(data.decode("utf-8-sig"))) for c in line]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        back = read_customers(data, lambda number: number)
        assert {p.name.strip() for _, p in back.profiles} == {t.strip() for t in STRINGS}
        sheet = Sheet("all", ["text"], [[text] for text in STRINGS])
        assert b"<f>" not in await asyncio.to_thread(_xml_of, to_xlsx([sheet]))
        assert to_csv(sheet).count(b"\r\n") >= len(STRINGS)
        lines = await store.ledger.lines(limit=1_000)
        assert all(json.dumps(line.details) for line in lines)
    assert await asyncio.to_thread(_outside, tmp_path) == []
    assert not [m for m in caplog.messages if "forged" in m and "\n" in m]


def _outside(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.resolve().is_relative_to(folder)]


def _asking(text: str) -> Any:
    from softswitch.store.customers import CustomerFilter

    return CustomerFilter(text=text)


def _xml_of(book: bytes) -> bytes:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        return b"".join(parts.read(name) for name in parts.namelist())


# -- rebuilt --------------------------------------------------------------------------------------------


async def test_what_is_rebuilt_is_what_was_live(tmp_path: Path, any_store: Any) -> None:
    """Every table that follows from the journal, row by row."""
    async with any_store.opened(tmp_path) as tools:
        append = tools.journal.append
        for number in range(12):
            call, at_s = f"q{number}", 1_000.0 + 50 * number
            about = {"contact": call, "queue": "support", "agent": "li", "offer": call}
            tools.calls.start(call, at_s)
            for kind, data in (
                ("acd-queued", {"caller": "+8610"}),
                ("acd-offered", {}),
                ("acd-agent-state", {"new": "offered", "old": "available"}),
                ("acd-connected", {"waited_s": 3.0}),
                ("acd-handled", {"talk_s": 9.0, "wrap_up_s": 2.0, "outcome": "ended"}),
                ("survey", {"survey": "s", "score": number % 6 or None}),
                ("acd-closed", {"outcome": "answered", "waited_s": 3.0}),
            ):
                append(kind, call, {**about, **data}, at_s + 10)
            if number % 3:
                tools.calls.end(call, at_s + 30)
            if number % 4 == 0:
                await tools.journal.flush()  # in many groups, and in few
        await tools.journal.flush()
        tables = [calls_table, agent_states, *STORY_TABLES]
        before = await _rows(tools, tables)
        assert all(before.values())
        await tools.store.rebuild()
        assert await _rows(tools, tables) == before


async def _rows(tools: Any, tables: list[sa.Table]) -> dict[str, list[Any]]:
    found = {}
    async with tools.store._database.connect() as connection:
        for table in tables:
            rows = (await connection.execute(sa.select(table))).all()
            found[table.name] = sorted(tuple(row) for row in rows)
    return found
