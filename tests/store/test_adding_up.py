"""The background's adding up: how much at a time, how far it is, and what comes late meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from softswitch.apps.clerk import rest_s
from softswitch.store import adding_up
from softswitch.store.adding_up import ROUTINE, SLOTS_MAX, Progress, Width
from softswitch.store.column_fill import pack
from softswitch.store.periods import Span
from softswitch.store.rolls import Step
from softswitch.store.schema_rolls import SLOT_S
from softswitch.store.statistics import Chosen

UTC = ZoneInfo("UTC")
START_S = 1_735_660_800.0
DAY_S = 86_400.0


def test_a_step_grows_while_it_is_short_and_shrinks_where_it_is_long() -> None:
    width = Width(0.01, 0.03)
    for _ in range(10):
        width.took(width.slots, 0.005)
    assert width.slots == SLOTS_MAX
    width.took(SLOTS_MAX, 0.02)
    assert width.slots == SLOTS_MAX
    width.took(SLOTS_MAX, 0.04)
    assert width.slots == SLOTS_MAX // 2
    width.took(1, 0.0)  # the last of all were few: that says nothing of many
    assert width.slots == SLOTS_MAX // 2
    width.took(1, 10.0)
    assert width.slots == 1


def test_progress_says_when_the_rest_will_be_done() -> None:
    progress = Progress()
    assert progress.told(0.0) is None
    progress.seen(Step("columns", 100, 200, 1_100), 10.0)
    assert progress.told(10.0) == {
        "stage": "columns",
        "share": 0.1,
        "at_s": 200.0 * SLOT_S,
        "left_s": None,
    }
    progress.seen(Step("columns", 100, 350, 1_100), 40.0)
    told = progress.told(40.0)
    assert told is not None
    assert told["left_s"] == pytest.approx(150.0)  # 5 a second, 750 to go
    progress.seen(Step("columns", 100, 300, 1_100), 50.0)  # some are to be made anew
    told = progress.told(50.0)
    assert told is not None
    assert told["left_s"] is not None
    for stage, left, is_told in (
        ("columns", ROUTINE, False),
        ("columns", ROUTINE + 1, True),
        ("days", 100, False),
        ("", 0, False),
    ):
        progress.seen(Step(stage, 0, 1_000 - left, 1_000), 60.0)
        assert (progress.told(60.0) is not None) is is_told


def test_long_work_rests_the_longer_the_more_calls_are_up() -> None:
    assert rest_s(0.1, 0) == pytest.approx(0.1)
    assert rest_s(0.1, 3) == pytest.approx(0.4)
    assert rest_s(0.1, 10_000) == pytest.approx(1.0)
    assert rest_s(0.0, 0) > 0


async def test_what_comes_late_while_half_hours_are_packed_is_packed_with_them(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before is void; else the report of then would never know of it."""
    span = Span(START_S, START_S + DAY_S, UTC, "all")
    late: list[str] = []
    async with any_store.opened(tmp_path) as tools:
        journal = tools.journal

        def contact(call: str) -> None:
            told = {
                "contact": call,
                "queue": "support",
                "media": "call",
                "caller": f"+86{call[1:]}",
            }
            at_s = START_S + 9 * 3_600 + 60 * int(call[1:])
            journal.append("acd-queued", call, told, at_s)
            closed = {"contact": call, "queue": "support", "reason": "abandoned", "waited_s": 3.0}
            journal.append("acd-closed", call, closed, at_s + 3)

        async def pack_and_wait(*arguments: Any) -> Any:
            packed = await pack(*arguments)
            if not late:
                late.append("c5")
                contact("c5")
                assert await journal.flush()
            return packed

        monkeypatch.setattr(adding_up, "pack", pack_and_wait)
        for number in range(1, 5):
            contact(f"c{number}")
        assert await journal.flush()
        stages = []
        while await journal.roll_on(START_S + 5 * DAY_S, UTC):
            stages.append(journal.adding_up._progress.step.stage)
        assert {"sums", "columns", "days"} <= set(stages)
        assert late
        count = "SELECT count(*) FROM queue_visits"
        assert any_store.sql(tmp_path, count)[0][0] == 5
        found = await tools.store.statistics.visits(span, Chosen(default_s=21.5), "all")
        assert sum(one.entered for one in found.values()) == 5
