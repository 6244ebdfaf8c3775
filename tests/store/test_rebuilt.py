"""What follows from the journal is the same when it is made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from softswitch.store.projection_centre import STORY_TABLES
from softswitch.store.schema import calls as calls_table
from softswitch.store.schema_centre import agent_states
from tests.store.faults import rows_of


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
        before = await rows_of(tools, tables)
        assert all(before.values())
        await tools.store.rebuild()
        assert await rows_of(tools, tables) == before
