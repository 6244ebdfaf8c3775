"""Row 51 of the reliability programme for the store: the clock is set back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from softswitch.store.periods import Span
from softswitch.store.rolls import roll_from
from softswitch.store.schema_rolls import SLOT_S


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
