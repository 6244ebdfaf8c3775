"""Stories told from entries at hand are those told from the journal's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softswitch.store import projection_centre

STORY = "SELECT * FROM {} WHERE call_id = '{}' ORDER BY 1, 2"
TABLES = ("segments", "queue_visits", "agent_offers", "handlings")


def contact(kind: str, call_id: str, **data: Any) -> tuple[str, str, dict[str, Any]]:
    return f"acd-{kind}", call_id, {"contact": call_id, "queue": "support", **data}


async def a_queue_call(opened: Any, call_id: str) -> None:
    """Committed in several batches, with entries that tell something in each."""
    opened.calls.start(call_id)
    append = opened.journal.append
    append(*contact("queued", call_id, caller="+861"), 1001.0)
    await opened.flush_until_good()
    append(*contact("offered", call_id, agent="mary", offer="o1"), 1002.0)
    append(*contact("connected", call_id, agent="mary", offer="o1", waited_s=4.0), 1005.0)
    await opened.flush_until_good()
    opened.calls.answer(call_id)
    opened.calls.end(call_id)
    append(*contact("handled", call_id, agent="mary", talk_s=60.0, wrap_up_s=5.0), 1070.0)
    append(*contact("closed", call_id, outcome="answered", waited_s=4.0), 1070.0)
    await opened.flush_until_good()
    append("call-resumed", call_id, {"leg": 1}, 1071.0)
    append(*contact("handled", call_id, agent="li", talk_s=1.0), 1072.0)
    await opened.flush_until_good()


def rows(tools: Any, directory: Path, call_id: str) -> dict[str, list[tuple[Any, ...]]]:
    return {table: tools.sql(directory, STORY.format(table, call_id)) for table in TABLES}


@pytest.mark.parametrize("at_hand_max", [0, 7, 50_000])
async def test_rows_are_the_same_from_memory_from_the_table_and_rebuilt(
    tmp_path: Path, store_tools: Any, monkeypatch: pytest.MonkeyPatch, at_hand_max: int
) -> None:
    monkeypatch.setattr(projection_centre, "AT_HAND_MAX", at_hand_max)
    async with store_tools.opened(tmp_path) as opened:
        await a_queue_call(opened, "c1")
        told = rows(store_tools, tmp_path, "c1")
        assert [len(told[table]) for table in TABLES] == [4, 1, 1, 2]
        await opened.store.rebuild()
        assert rows(store_tools, tmp_path, "c1") == told


async def test_nothing_stays_at_hand_of_a_call_that_is_over(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path) as opened:
        await a_queue_call(opened, "c1")
        centre = opened.journal._projection._centre
        assert (centre._at_hand, centre._kept) == ({}, 0)
