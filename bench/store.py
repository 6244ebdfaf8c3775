"""The store at size: reports over ten million contacts, a customer by number among a million.

    python bench/store.py [--contacts 10000000] [--customers 1000000] [--agents 300] [--directory DIR] [--save]
    python bench/store.py --directory DIR --every day    # each report with each grouping, cold; or "year"
    python bench/store.py --directory DIR --url URL --every day    # in PostgreSQL, copied if empty

Fills a database of this version by a seeded generator (a year of contacts, most of them in office hours,
with what agents did), adds its half-hours up as a server would, and prints each figure with its bar. With
`--directory` the database is kept, and taken as it is the next time. What is called cold has nothing of the
database in memory when it begins.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from bench.figures import Figure, save, show
from bench.store_copy import copy
from bench.store_reports import SLOWEST, SPAN_S, forget, slowest
from softswitch.store import Store
from softswitch.store.customers import CustomerFilter
from softswitch.store.outcomes import outcome_report
from softswitch.store.periods import Span
from softswitch.store.report import Report, adherence_report, agent_report, queue_report
from softswitch.store.statistics import TALKS, Chosen
from softswitch.turns import flowing

ZONE = ZoneInfo("Asia/Shanghai")
YEAR_S = 365 * 86_400
CONTACTS = 10_000_000
START_S = 1_735_660_800.0  # 2025-01-01 00:00 +08:00
QUEUES = [f"queue{n}" for n in range(10)]
REGIONS = ["north", "east", "south", "west", ""]
BLOCK = 200_000
SEED = 20_251_127
LARGE, LARGE_TICKETS = 100, 5_000
"""Customers with many tickets, and how many."""


def blocks(contacts: int, agents: int) -> Iterator[dict[str, list[Any]]]:
    """Rows of contacts in the order of time, block by block."""
    rng = np.random.default_rng(SEED)
    names = [f"agent{n:03}" for n in range(agents)]
    done = 0
    busy_until = np.zeros(agents)
    while done < contacts:
        count = min(BLOCK, contacts - done)
        # Nine of ten come in the ten hours of the office.
        share = (done + np.arange(count)) / contacts * 365
        day, within = np.floor(share), share % 1
        hour = np.where(within < 0.05, within / 0.05 * 9, 0)
        hour = np.where((within >= 0.05) & (within < 0.95), 9 + (within - 0.05) / 0.9 * 10, hour)
        hour = np.where(within >= 0.95, 19 + (within - 0.95) / 0.05 * 5, hour)
        at = START_S + day * 86_400 + hour * 3_600
        queue = rng.integers(0, len(QUEUES), count)
        region = rng.integers(0, len(REGIONS), count)
        agent = rng.integers(0, agents, count)
        waited = rng.exponential(18.0, count)
        talk, hold = rng.exponential(170.0, count), rng.exponential(12.0, count)
        outcome = rng.choice(
            ["answered", "abandoned", "overflowed", "callback-done"],
            count,
            p=[0.88, 0.08, 0.03, 0.01],
        )
        numbers = rng.integers(0, 1_000_000, count)
        rows: dict[str, list[Any]] = {"visits": [], "handlings": [], "offers": [], "states": []}
        for i in range(count):
            seq = (done + i) * 8 + 1
            call, q = f"c{seq:x}", QUEUES[queue[i]]
            t, w, what = float(at[i]), float(waited[i]), str(outcome[i])
            who = names[agent[i]] if what == "answered" else ""
            answered = t + w if who else None
            rows["visits"].append(
                (
                    seq, call, call, q, "call", f"+86138{numbers[i]:08}", "", REGIONS[region[i]],
                    0.0, t, answered, t + w, w, what, "", who, 1 if who else 0,
                )
            )  # fmt: skip
            if not who:
                continue
            ended = t + w + float(talk[i]) + float(hold[i])
            rows["handlings"].append(
                (seq + 1, call, call, who, q, "call", ended + 20.0, 4.0, float(talk[i]),
                 float(hold[i]), 20.0, "done", REGIONS[region[i]])
            )  # fmt: skip
            rows["offers"].append((seq + 2, call, call, who, q, call, t, t + w, "answered"))
            number = agent[i]
            since = max(float(busy_until[number]), t)
            rows["states"].append((seq + 3, who, "on-contact", "", call, since, ended))
            rows["states"].append((seq + 4, who, "available", "", "", ended, ended + 60.0))
            busy_until[number] = ended + 60.0
        yield rows
        done += count


TABLES = {"visits": "queue_visits", "handlings": "handlings", "offers": "agent_offers"}
TABLES |= {"states": "agent_states"}


def fill(path: Path, contacts: int, customers: int, agents: int) -> None:
    """Rows past the repositories, which would take hours; the indexes are those of the migrations."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -400000")
        made = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            " AND tbl_name IN ('queue_visits', 'handlings', 'agent_offers', 'agent_states')"
        ).fetchall()
        for name, _ in made:
            database.execute(f'DROP INDEX "{name}"')
        database.execute("BEGIN")
        for rows in blocks(contacts, agents):
            for name, table in TABLES.items():
                if rows[name]:
                    marks = ", ".join("?" * len(rows[name][0]))
                    database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows[name])
        people = ((n, f"customer {n}", f"+86138{n:08}") for n in range(1, customers + 1))
        database.executemany(
            "INSERT INTO customers (id, name, phones, region, priority, tags, addresses, fields,"
            " created_at_s, changed_at_s, version)"
            """ VALUES (?, ?, '["' || ? || '"]', '', 0, '[]', '[]', '{}', 0, 0, 1)""",
            people,
        )
        database.execute(
            "INSERT INTO customer_phones SELECT substr(phones, 3, 14), id FROM customers"
        )
        database.execute("COMMIT")
        for _, sql in made:
            database.execute(sql)


class Lag:
    """How late the loop was at the worst, in milliseconds; how much work in it took at the worst, and how long
    it waited for a core then: that is the machine's doing."""

    worst_ms = work_ms = queued_ms = 0.0

    async def watch(self) -> None:
        queued_ms = queued()
        while True:
            due_s, cpu_s = time.perf_counter() + 0.001, time.thread_time()
            await asyncio.sleep(0.001)
            late_ms = (time.perf_counter() - due_s) * 1_000
            before_ms, queued_ms = queued_ms, queued()
            if late_ms > self.worst_ms:
                self.worst_ms, self.queued_ms = late_ms, queued_ms - before_ms
            self.work_ms = max(self.work_ms, (time.thread_time() - cpu_s) * 1_000)

    @property
    def note(self) -> str:
        """What belongs to `worst_ms`."""
        return f"{self.work_ms:.1f} ms its own work, {self.queued_ms:.1f} ms without a core"


def queued() -> float:
    """How long this thread has been ready to run without a core to run on, in milliseconds; see the kernel's
    Documentation/scheduler/sched-stats.rst."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e6


class Watch:
    """Times things and keeps the figures. The bars are for ten million contacts; with fewer a figure has a
    name of its own and no bar."""

    def __init__(self, contacts: int, only: str, directory: Path | None) -> None:
        self.figures: list[Figure] = []
        self._contacts = contacts
        self.directory = directory
        """Where SQLite's file is; None for PostgreSQL, which cannot be told to forget."""
        self.only = only

    async def time(
        self,
        what: str,
        bar_s: float | None,
        run: Callable[[], Awaitable[Any]],
        times: int = 1,
        *,
        is_cold: bool = False,
    ) -> Any:
        """Run something some times; the figure is the slowest, with the CPU that it took. Of what has a bar
        also for how long it held the loop up. A report is made to its last row, as JSON."""
        if self.only not in what or (is_cold and self.directory is None):
            return None
        worst_s, cpu_s, found = 0.0, 0.0, None
        lag = Lag()
        watching = asyncio.create_task(lag.watch())
        for _ in range(times):
            if is_cold and self.directory is not None:
                await asyncio.to_thread(forget, self.directory)
                lag.worst_ms = lag.work_ms = lag.queued_ms = 0.0
            before_s, cpu_before_s = time.perf_counter(), time.process_time()
            found = await run()
            if isinstance(found, Report):
                async for some in flowing(found.json()):
                    b"".join(some)
            worst_s = max(worst_s, time.perf_counter() - before_s)
            cpu_s = max(cpu_s, time.process_time() - cpu_before_s)
        watching.cancel()
        self.add(what, worst_s, "s", bar_s, f"{cpu_s:.3g} s CPU")
        if bar_s is not None:
            self.add(f"{what}: the loop is held up", lag.worst_ms, "ms", 20, lag.note)
        return found

    def add(self, what: str, value: float, unit: str, bar: float | None, note: str) -> None:
        size = f"{self._contacts / 1e6:g} M contacts"
        system = "SQLite" if self.directory is not None else "PostgreSQL"
        if self.directory is None:
            what = f"PostgreSQL: {what}"
        if self._contacts < CONTACTS:
            what, bar = f"{what}, {size}", None
        self.figures.append(
            Figure(what, value, unit, bar, note=f"{system}, {size}{'; ' * bool(note)}{note}")
        )
        show(self.figures[-1:])


def plan(path: Path, agents: int) -> None:
    """A year of plans: five days a week from nine to six with an hour's lunch, of each agent."""
    hours = ((9, 12, "work"), (12, 13, "lunch"), (13, 18, "work"))
    with closing(sqlite3.connect(path)) as database, database:
        if database.execute("SELECT 1 FROM shifts LIMIT 1").fetchone():
            return
        rows = (
            (f"agent{n:03}", at_s + since * 3_600, at_s + until * 3_600, activity)
            for day in range(365)
            if day % 7 < 5
            for at_s in (START_S + day * 86_400,)
            for n in range(agents)
            for since, until, activity in hours
        )
        database.executemany(
            "INSERT INTO shifts (agent_id, start_s, end_s, activity) VALUES (?, ?, ?, ?)", rows
        )


def survey(path: Path) -> None:
    """One of five callers who were served is asked how it was; two of three answer."""
    with closing(sqlite3.connect(path)) as database, database:
        if database.execute("SELECT 1 FROM surveys LIMIT 1").fetchone():
            return
        database.execute(
            "INSERT INTO surveys (seq, call_id, survey, queue_id, agent_id, caller, customer, score, at_s)"
            " SELECT seq + 6, call_id, 'how-was-it', queue_id, agent_id, caller, '',"
            " CASE WHEN seq % 3 THEN 1 + seq / 40 % 5 END, left_at_s + 300 FROM queue_visits"
            " WHERE agent_id != '' AND seq / 8 % 5 = 0"
        )


def file_tickets(path: Path, customers: int) -> None:
    """Three tickets for each of a third of the customers, one in five open; 5,000 for each of a hundred."""
    with closing(sqlite3.connect(path)) as database, database:
        if database.execute("SELECT 1 FROM tickets LIMIT 1").fetchone():
            return
        owners = list(range(1, customers + 1, 3)) * 3
        owners += [n for n in range(1, min(customers, LARGE) + 1) for _ in range(LARGE_TICKETS)]
        random.Random(SEED).shuffle(owners)
        database.executemany(
            "INSERT INTO tickets (kind, subject, description, priority, status, assignee, department,"
            " customer_id, source, tags, fields, watchers, created_by, created_at_s, changed_at_s, solved_at_s,"
            " answer_target_s, solve_target_s, solve_spent_s, version) VALUES ('fault', 'No dial tone', '',"
            " 'normal', ?, '', '', ?, 'api', '[]', '{}', '[]', 'user:a', ?, 0, ?, 0, 0, 0, 1)",
            (_ticket(number, owner, len(owners)) for number, owner in enumerate(owners)),
        )


def _ticket(number: int, owner: int, of: int) -> tuple[Any, ...]:
    """Spread over the year; four of five are closed after a day."""
    opened_s = START_S + YEAR_S * number / of
    if number % 5:
        return "closed", owner, opened_s, opened_s + 86_400
    return "open", owner, opened_s, None


async def measure(directory: Path, options: argparse.Namespace) -> list[Figure]:
    store = await Store.open(directory, database=options.url or "sqlite")
    gc.collect()
    gc.freeze()
    gc.disable()  # as the exchange has it: cycles are collected when nothing goes on
    watch = Watch(options.contacts, options.only, None if options.url else directory)
    await _add_up(store, watch)
    if options.every:
        await _every(store, watch, options.every)
        await store.close()
        return watch.figures
    await _days(store, watch)
    await _years(store, watch, options.contacts)
    await _customers(store, watch, options.customers)
    await store.close()
    return watch.figures


async def _add_up(store: Store, watch: Watch) -> None:
    """As the background does after an upgrade, without its rests."""
    steps, before_s, cpu_s = 0, time.perf_counter(), time.process_time()
    lag, waited_ms = Lag(), 0.0

    async def wait() -> None:
        """As the journal waits for its turn to write."""
        nonlocal waited_ms
        while True:
            asked_s = time.perf_counter()
            async with store.journal.exclusive:
                waited_ms = max(waited_ms, (time.perf_counter() - asked_s) * 1_000)
            await asyncio.sleep(0.005)

    watching = [asyncio.create_task(lag.watch()), asyncio.create_task(wait())]
    while await store.journal.roll_on(START_S + YEAR_S + 20 * 86_400, ZONE):
        steps += 1
    for task in watching:
        task.cancel()
    if steps > 1:
        took_s, cpu_s = time.perf_counter() - before_s, time.process_time() - cpu_s
        watch.add("adding all up", took_s, "s", None, f"{steps} steps, {cpu_s:.3g} s CPU")
        watch.add("adding all up: the loop is held up", lag.worst_ms, "ms", 20, lag.note)
        watch.add("adding all up: the journal waits", waited_ms, "ms", 50, "")


async def _every(store: Store, watch: Watch, length: str) -> None:
    """Each report with each grouping of an old day by half-hour, or of the year by month."""
    start_s, end_s, by = START_S, START_S + YEAR_S, "month"
    if length == "day":
        start_s, by = START_S + 100 * 86_400, "half-hour"
        end_s = start_s + 86_400
    span = Span(start_s, end_s, ZONE, by)  # type: ignore[arg-type]
    found = await slowest(store, watch.directory, span, watch.only)
    for asked in found[:SLOWEST]:
        print(
            f"    {asked.took_s:8.3f} s  {asked.cpu_s:8.3f} s CPU  {asked.read / 1e6:5.0f} MB read"
            f"  {asked.name}"
        )
    first, bar_s = found[0], SPAN_S[length]
    late = sum(asked.took_s > bar_s for asked in found)
    cpu_s = max(asked.cpu_s for asked in found)
    read = "" if watch.directory is None else f", {first.read / 1e6:.0f} MB from the disk"
    note = f"{first.name}{read}; {late} of {len(found)} take longer than {bar_s:g} s; {cpu_s:.3g} s CPU at most"
    words = "an old day by half-hour" if length == "day" else "the year by month"
    which = f"every report of {watch.only}" if watch.only else "every report"
    cold = "" if watch.directory is None else ", cold"
    watch.add(f"{words}: the slowest of {which}{cold}", first.took_s, "s", bar_s, note)


async def _days(store: Store, watch: Watch) -> None:
    statistics, chosen = store.statistics, Chosen(media=TALKS, default_s=20.0)
    for name, day in (("an old day", 100), ("a new day", 364)):
        span = Span(START_S + day * 86_400, START_S + (day + 1) * 86_400, ZONE, "half-hour")

        async def queues(span: Span = span) -> Any:
            return await queue_report(statistics, span, chosen, "queue", "all")

        async def agents(span: Span = span) -> Any:
            return await agent_report(statistics, span, chosen, span.end_s)

        async def outcomes(span: Span = span) -> Any:
            return await outcome_report(store.outcomes, span, chosen, "queue")

        async def regions(span: Span = span) -> Any:
            return await outcome_report(store.outcomes, span, chosen, "region")

        async def by_agent(span: Span = span) -> Any:
            return await outcome_report(store.outcomes, span, chosen, "agent")

        await watch.time(f"{name}: queues by half-hour, every formula", 1, queues, 3)
        await watch.time(f"{name}: agents by half-hour", 1, agents, 3)
        await watch.time(f"{name}: outcomes by half-hour", 1, outcomes, 3)
        await watch.time(f"{name}: outcomes of regions by half-hour", 1, regions, 3)
        await watch.time(f"{name}: outcomes of agents by half-hour", 1, by_agent, 3)
        for what, run in (
            ("outcomes", outcomes),
            ("outcomes of agents", by_agent),
            ("agents", agents),
        ):
            await watch.time(f"{name}: {what} by half-hour, cold", 1, run, 3, is_cold=True)
    span = Span(START_S + 50 * 86_400, START_S + 51 * 86_400, ZONE, "hour")
    odd = Chosen(media=TALKS, default_s=21.5)
    await watch.time(
        "a day: a T that nobody foresaw", 1, lambda: queue_report(statistics, span, odd, "queue"), 3
    )
    await watch.time(
        "a page of the contacts behind a figure",
        None,
        lambda: statistics.list_visits(span, chosen, outcome="abandoned", limit=50),
        3,
    )


async def _years(store: Store, watch: Watch, contacts: int) -> None:
    statistics, outcomes = store.statistics, store.outcomes
    chosen, some = (
        Chosen(media=TALKS, default_s=20.0),
        Chosen(queues=("queue1",), media=TALKS, default_s=20.0),
    )
    odd = Chosen(media=TALKS, default_s=21.5)
    north = Chosen(regions=("north",), media=TALKS, default_s=20.0)
    one = Chosen(agents=("agent007",), media=TALKS, default_s=20.0)

    def year(by: str) -> Span:
        return Span(START_S, START_S + YEAR_S, ZONE, by)  # type: ignore[arg-type]

    month, day, hour = year("month"), year("day"), year("hour")
    whole = await queue_report(statistics, month, chosen, "queue")
    total = sum(row["entered"] for row in whole.rows)
    assert total == contacts, (total, contacts)
    runs: list[tuple[str, float | None, Callable[[], Awaitable[Any]]]] = [
        (
            "queues by month, every formula",
            10,
            lambda: queue_report(statistics, month, chosen, "queue", "all"),
        ),
        ("queues by day", 10, lambda: queue_report(statistics, day, chosen, "queue")),
        ("regions by month", 10, lambda: queue_report(statistics, month, chosen, "region")),
        ("all queues by hour", 10, lambda: queue_report(statistics, hour, chosen, "all")),
        (
            "queues, a T that nobody foresaw",
            10,
            lambda: queue_report(statistics, month, odd, "queue"),
        ),
        ("agents by month", 10, lambda: agent_report(statistics, month, chosen, month.end_s)),
        ("agents by day", 10, lambda: agent_report(statistics, day, chosen, day.end_s)),
        (
            "contacts and service level of agents",
            10,
            lambda: queue_report(statistics, month, chosen, "agent", "all"),
        ),
        ("agents of one queue", 10, lambda: agent_report(statistics, month, some, month.end_s)),
        ("outcomes of queues", 10, lambda: outcome_report(outcomes, month, chosen, "queue")),
        ("outcomes of agents", 10, lambda: outcome_report(outcomes, month, chosen, "agent")),
        ("outcomes of regions", 10, lambda: outcome_report(outcomes, month, chosen, "region")),
        (
            "outcomes of agents, again within 3 days",
            10,
            lambda: outcome_report(outcomes, month, chosen, "agent", 3 * 86_400.0),
        ),
        (
            "outcomes of agents, again within 30 days",
            10,
            lambda: outcome_report(outcomes, month, chosen, "agent", 30 * 86_400.0),
        ),
        (
            "agents, callers of one region",
            10,
            lambda: queue_report(statistics, month, north, "agent"),
        ),
        ("one agent by region", 10, lambda: queue_report(statistics, month, one, "region")),
        (
            "how all agents kept to their plans, by month",
            10,
            lambda: adherence_report(store.shifts, month, (), month.end_s),
        ),
        (
            "the same by day",
            10,
            lambda: adherence_report(store.shifts, day, (), day.end_s),
        ),
    ]
    for name, bar_s, run in runs:
        await watch.time(f"the year: {name}", bar_s, run)


async def _customers(store: Store, watch: Watch, customers: int) -> None:
    rng = np.random.default_rng(1)

    async def by_number(
        what: str, ask: Callable[[str], Awaitable[Any]], among: int = customers
    ) -> None:
        if watch.only not in what:
            return
        times = []
        cpu_s = time.process_time()
        for number in rng.integers(1, among, 2_000):
            before_s = time.perf_counter()
            found = await ask(f"+86138{number:08}")
            times.append((time.perf_counter() - before_s) * 1_000)
            assert found
        cpu_ms = (time.process_time() - cpu_s) / 2
        times.sort()
        note = f"median {times[len(times) // 2]:.3f} ms, {cpu_ms:.3f} ms CPU each"
        watch.add(f"{what} among {customers:,}, p99", times[-len(times) // 100], "ms", 1, note)

    await by_number("a customer by number", store.customers.find_by_phone)
    asked = store.customers.caller
    await by_number("who calls, with open tickets,", lambda n: asked(n, 5))
    await by_number(f"who calls, with {LARGE_TICKETS:,} tickets,", lambda n: asked(n, 5), LARGE)
    await watch.time(
        "a page of customers", None, lambda: store.customers.page(CustomerFilter(), 50), 3
    )


async def run(options: argparse.Namespace, directory: Path) -> list[Figure]:
    path = directory / "softswitch.db"
    if not path.exists():
        before_s = time.perf_counter()
        await (await Store.open(directory)).close()
        await asyncio.to_thread(fill, path, options.contacts, options.customers, options.agents)
        print(
            f"filled in {time.perf_counter() - before_s:.0f} s, {path.stat().st_size / 1e9:.2f} GB"
        )
    await asyncio.to_thread(plan, path, options.agents)
    await asyncio.to_thread(file_tickets, path, options.customers)
    await asyncio.to_thread(survey, path)
    if not options.url:
        return await measure(directory, options)
    with tempfile.TemporaryDirectory(prefix="softswitch-store-") as own:
        await copy(path, Path(own), options.url)
        return await measure(Path(own), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--agents", type=int, default=300)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--url", default="", help="measure a copy in PostgreSQL, of this URL")
    parser.add_argument("--only", default="", help="reports whose name holds this")
    parser.add_argument(
        "--every", choices=list(SPAN_S), help="each report with each grouping, cold"
    )
    parser.add_argument("--save", action="store_true", help="keep the figures in RESULTS.md")
    options = parser.parse_args()
    if options.directory is not None:
        options.directory.mkdir(parents=True, exist_ok=True)
        figures = asyncio.run(run(options, options.directory))
    else:
        with tempfile.TemporaryDirectory(prefix="softswitch-store-") as directory:
            figures = asyncio.run(run(options, Path(directory)))
    if options.save:
        save("store", figures)


if __name__ == "__main__":
    main()
