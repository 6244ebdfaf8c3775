"""The tables of `softswitch status` and `softswitch calls`."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from softswitch.cli.status import live_table, records_table

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
