"""The tables of `softswitch status` and `softswitch calls`."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from softswitch.cli.status import live_table, records_table, status_tables
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

ID = "c1a21eae1f5a-6c20b6"
RECORD: dict[str, Any] = {
    "call_id": ID, "started_at_s": 1_790_000_000.0, "number_from": "+8613800000001",
    "customer_name": "Wang Wei", "number_to": "5000", "status": "no-answer", "duration_s": 5.3,
    "ended_by": "caller", "recording": f"{ID}.wav",
}  # fmt: skip
LIVE: dict[str, Any] = {
    "call_id": ID, "from": "1001", "customer": None, "to": "1002", "state": "talking", "age_s": 6.2,
    "legs": [{"endpoint": f"extension:100{n}", "state": "answered"} for n in range(1, 9)],
}  # fmt: skip


def printed(table: Any, width: int) -> str:
    out = io.StringIO()
    Console(width=width, file=out).print(table)
    return out.getvalue()


def of_all(answer: dict[str, Any]) -> str:
    return "".join(printed(table, 120) for table in status_tables(answer))


def test_the_id_of_a_call_is_whole_on_any_screen() -> None:
    for width in (60, 80, 200):
        assert ID in printed(records_table([RECORD]), width)
        assert ID in printed(live_table([LIVE]), width)


def test_columns_in_which_nothing_stands_are_left_out() -> None:
    nobody = {**RECORD, "customer_name": None, "recording": None}
    shown = printed(records_table([nobody]), 120)
    assert "customer" not in shown
    assert "recording" not in shown
    both = printed(records_table([nobody, RECORD]), 200)
    assert "Wang Wei" in both
    assert f"{ID}.wav" in both
    assert "customer" not in printed(live_table([LIVE]), 200)
    assert "Wang Wei" in printed(live_table([{**LIVE, "customer": {"name": "Wang Wei"}}]), 200)
    assert records_table([]).row_count == live_table([]).row_count == 0


@simulated()
async def test_a_storm_is_shown_with_who_waits_and_how_late_the_loop_is() -> None:
    async with World(6) as world:
        answer = world.switch.snapshot()
        assert "More than could be done" not in of_all(answer)
        calls = next(row for row in answer["overload"]["classes"] if row["class"].startswith("new"))
        calls |= {"waiting": 512, "wait_ms": 48, "refused": 1234}
        answer["overload"]["lag_ms"] = 31.4
        text = " ".join(of_all(answer).split())
        assert "512 (48 ms)" in text
        assert "1234" in text
        assert "the loop is 31 ms late; refused: 503, come again in 2 to 10 s" in text


@simulated()
async def test_what_reports_wait_for_is_shown_with_when_it_will_be_done() -> None:
    async with World(6) as world:
        answer = world.switch.snapshot()
        assert answer["reports"] is None
        assert "reports are slow" not in of_all(answer)
        progress = {"stage": "columns", "share": 0.43, "at_s": 1_735_700_000.0, "left_s": 300.0}
        answer["reports"] = progress
        text = " ".join(of_all(answer).split())
        assert "contacts are packed: 43%, until 2025-01-01, about 5 min left" in text
        answer["reports"] = {**progress, "stage": "sums", "left_s": None}
        assert "added up: 43%, until 2025-01-01; later" in " ".join(of_all(answer).split())
