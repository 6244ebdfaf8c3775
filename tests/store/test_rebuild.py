"""Everything that is read from the journal made anew from it: all tables, after whatever was journaled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from softswitch.store import acd, projection, record, story
from softswitch.store.lines import LINE_CHANGED
from softswitch.store.projection_centre import STORY_TABLES, SURVEY
from softswitch.store.schema import calls
from softswitch.store.schema_centre import agent_states
from softswitch.store.schema_days import DAYS
from softswitch.store.schema_lines import line_settings
from softswitch.store.schema_rolls import ROLLS

UTC = ZoneInfo("UTC")
DAY_S = 86_400.0
START_S = 1_790_000_000.0 - 1_790_000_000.0 % DAY_S
KINDS = sorted(
    record.KINDS | story.KINDS | {acd.AGENT_STATE, acd.CALLBACK_DIALLED, SURVEY, LINE_CHANGED}
)
MADE = (calls, *STORY_TABLES, agent_states, line_settings, *ROLLS, *DAYS)


def particulars(rng: random.Random, kind: str, call: str) -> dict[str, Any]:
    """What an entry may say, most of it of any kind's: now and then something is missing or of another type."""
    said = {
        "leg": rng.randint(1, 3),
        "role": rng.choice(["caller", "callee"]),
        "endpoint": rng.choice(["extension:1001", "trunk:carrier"]),
        "number_from": rng.choice(["+861065551000", "1001", ""]),
        "direction": rng.choice(["inbound", "outbound", "internal"]),
        rng.choice(["extension", "trunk", "queue_"]): "1001",
        "kind": rng.choice(["queue", "ivr", "extension"]),
        "name": f"{call}.wav" if kind.startswith("recording") else "support",
        "by": rng.choice(["caller", "callee", "switch"]),
        "status": rng.choice([200, 486, 480]),
        "outcome": rng.choice(["answered", "abandoned", "ended", "transferred", "failed"]),
        "contact": rng.choice([call, f"{call}/2"]),
        "queue": rng.choice(["support", "billing"]),
        "agent": rng.choice(["li", "han", ""]),
        "offer": rng.randint(1, 4),
        "media": rng.choice(["call", "callback", "ticket", ""]),
        "reason": rng.choice(["", "no-answer", "rejected", "overflow:full"]),
        "from_queue": "support",
        "to_queue": "billing",
        "waited_s": rng.choice([0.0, 3.5, 700.0]),
        "talk_s": rng.choice([0.0, 61.0]),
        "wrap_up_s": 5.0,
        "region": rng.choice(["north", ""]),
        "caller": rng.choice(["+861065551000", "+862155550000", ""]),
        "customer": rng.choice([7, "Wang Wei"]),
        "old": "available",
        "new": rng.choice(["available", "on-contact", "unavailable", "logged-out"]),
        "survey": "satisfaction",
        "score": rng.choice([None, 1, 5]),
        "mos": 4.1,
        "lost": 3,
        "frames": 8_000,
        "setting": rng.choice(["do_not_disturb", "forward_always"]),
        "value": rng.choice([True, "1002", None]),
    }
    if rng.random() < 0.05:
        said.pop(rng.choice(sorted(said)))
    if rng.random() < 0.02:
        said[rng.choice(sorted(said))] = ["of", {"another": "type"}]
    return said


async def tables(tools: Any) -> dict[str, list[Any]]:
    """All rows of all tables, in order."""
    found = {}
    async with tools.store._database.connect() as connection:
        for table in MADE:
            rows = (await connection.execute(sa.select(table))).all()
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


async def roll(tools: Any) -> None:
    while await tools.journal.roll_on(START_S + 30 * DAY_S, UTC):
        pass


AFTER = sorted(
    acd.CONTACT_KINDS - {acd.QUEUED}
    | {"leg-quality", "recording-stopped", "recording-archived", "recording-deleted"}
)
"""What comes when a call is over: wrap-up, the sound of it, how good it was."""
MIDDLE = sorted(set(KINDS) - {"call-started", "call-ended"})


def course(rng: random.Random, number: int) -> list[tuple[str, str]]:
    """Kinds of entries of a call, or of what is in a queue without one, in order."""
    if rng.random() < 0.2:
        name = rng.choice(["b", "ticket-"]) + str(number)
        return [(rng.choice(sorted(acd.CONTACT_KINDS)), name) for _ in range(rng.randint(1, 8))]
    middle = [rng.choice(MIDDLE) for _ in range(rng.randint(1, 30))]
    late = [rng.choice(AFTER) for _ in range(rng.randint(0, 4))]
    return [(kind, f"c{number}") for kind in ("call-started", *middle, "call-ended", *late)]


def journal(rng: random.Random) -> Iterator[tuple[str, str]]:
    """A few calls at a time."""
    waiting = [course(rng, number) for number in range(120)]
    now: list[list[tuple[str, str]]] = []
    while waiting or now:
        while waiting and len(now) < 6:
            now.append(waiting.pop())
        one = rng.choice(now)
        yield one.pop(0)
        if not one:
            now.remove(one)


async def test_all_tables_made_anew_are_what_they_were(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "_REBUILD_ROWS", 300)  # the journal is read in several parts
    rng = random.Random(1)
    seen: set[str] = set()
    async with any_store.opened(tmp_path) as tools:
        at_s = START_S
        for kind, call in journal(rng):
            at_s += rng.choice([0.0, 0.5, 3.0, 900.0])
            tools.journal.append(kind, call, particulars(rng, kind, call), at_s)
            seen.add(kind)
            if rng.random() < 0.02:
                assert await tools.journal.flush()
        assert await tools.journal.flush()
        assert seen == set(KINDS)
        assert tools.store.snapshot()["refused"] == 0
        told = await tables(tools)
        sums = {table.name for table in (*ROLLS, *DAYS)}
        assert {name for name, rows in told.items() if not rows} == sums
        await tools.store.rebuild()
        assert await tables(tools) == told
        await roll(tools)
        added_up = await tables(tools)
        assert not [name for name, rows in added_up.items() if not rows]
        await tools.store.rebuild()
        await roll(tools)
        assert await tables(tools) == added_up
