"""Every report with every grouping and filter, each with nothing of the database in memory.

For `bench/store.py --every`: what is measured there by name was chosen by those who wrote the sums, and what
they did not think of is what is slow.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

from softswitch.store import Store
from softswitch.store.outcomes import OutcomePer, TicketPer, outcome_report, ticket_report
from softswitch.store.periods import Span
from softswitch.store.report import Report, adherence_report, agent_report, queue_report
from softswitch.store.statistics import PER, TALKS, Chosen
from softswitch.turns import flowing

CHOSEN = {
    "all": Chosen(media=TALKS, default_s=20.0),
    "one queue": Chosen(queues=("queue1",), media=TALKS, default_s=20.0),
    "one agent": Chosen(agents=("agent007",), media=TALKS, default_s=20.0),
    "one region": Chosen(regions=("north",), media=TALKS, default_s=20.0),
    "two regions, three queues": Chosen(
        queues=("queue1", "queue4", "queue7"),
        media=TALKS,
        regions=("north", "west"),
        default_s=20.0,
    ),
}
ODD_S = 21.5
"""A T that no sum has."""
AGAIN_D = (3.0, 30.0)
"""Days within which callers come again, other than a report's own seven."""
SPAN_S = {"day": 1.0, "year": 10.0}
"""What a report of one may take."""
SLOWEST = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """One report, and how long it took."""

    name: str
    make: Callable[[], Awaitable[Any]]
    took_s: float = 0.0
    cpu_s: float = 0.0
    read: int = 0
    """Octets that came from the disk."""


def every(store: Store, span: Span) -> list[Asked]:
    """All reports of a span."""
    statistics, outcomes = store.statistics, store.outcomes
    found: list[Asked] = []

    def ask(name: str, make: Callable[[], Awaitable[Any]]) -> None:
        found.append(Asked(name, make))

    for per, (word, some) in product(PER, CHOSEN.items()):
        ask(
            f"queues per {per}, {word}",
            partial(queue_report, statistics, span, some, per, "all"),
        )
    for per, (word, some) in product(PER, CHOSEN.items()):
        odd = replace(some, default_s=ODD_S)
        ask(
            f"queues per {per}, {word}, T of {ODD_S} s",
            partial(queue_report, statistics, span, odd, per),
        )
    for word in ("all", "one agent", "one queue"):
        ask(
            f"agents, {word}",
            partial(agent_report, statistics, span, CHOSEN[word], span.end_s),
        )
    for per, (word, some) in product(get_args(OutcomePer), CHOSEN.items()):
        ask(
            f"outcomes per {per}, {word}",
            partial(outcome_report, outcomes, span, some, per),
        )
    for per, again_d in product(get_args(OutcomePer), AGAIN_D):
        ask(
            f"outcomes per {per}, again within {again_d:g} days",
            partial(outcome_report, outcomes, span, CHOSEN["all"], per, again_d * 86_400),
        )
    for per in get_args(TicketPer):
        ask(f"tickets per {per}", partial(ticket_report, outcomes, span, per))
    for agents in ((), ("agent007",)):
        ask(
            f"plans kept, {'one agent' if agents else 'all'}",
            partial(adherence_report, store.shifts, span, agents, span.end_s),
        )
    for word, some in CHOSEN.items():
        for outcome in (None, "abandoned"):
            ask(
                f"contacts behind a figure, {word}, {outcome or 'any'}",
                partial(statistics.list_visits, span, some, outcome=outcome, limit=50),
            )
    return found


def forget(directory: Path) -> None:
    """Have the system keep nothing of a database in memory: as after a night of other work."""
    os.sync()
    for path in directory.glob("softswitch.db*"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def octets_read() -> int:
    """What this process has read from disks so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


async def slowest(store: Store, directory: Path | None, span: Span, only: str = "") -> list[Asked]:
    """Make each report once, to its last row; the slowest first. Cold, where `directory` has the database."""
    took: list[Asked] = []
    for asked in every(store, span):
        if only not in asked.name:
            continue
        if directory is not None:
            await asyncio.to_thread(forget, directory)
        before_s, cpu_s, read = time.perf_counter(), time.process_time(), octets_read()
        found = await asked.make()
        if isinstance(found, Report):
            async for some in flowing(found.json()):
                b"".join(some)
        took_s = time.perf_counter() - before_s
        cpu_s, read = time.process_time() - cpu_s, octets_read() - read
        took.append(replace(asked, took_s=took_s, cpu_s=cpu_s, read=read))
    return sorted(took, key=lambda asked: -asked.took_s)
