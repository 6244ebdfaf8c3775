"""Row 31: calls complete by retransmission however bad the network; the delay is what RFC 3261 costs."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from softswitch.sim.behaviour import answer
from softswitch.sim.link import Link
from softswitch.sim.loop import simulated
from softswitch.sim.phone_call import CallNotAnswered
from softswitch.sim.world import World, small_office
from tests.rows import Row

LOSSES = (0.01, 0.05, 0.10, 0.20, 0.30)
FAILURES = {0.01: 0.0, 0.05: 0.0, 0.10: 0.0, 0.20: 3.5e-5, 0.30: 1.5e-3}
"""Of one lossy leg, by theory: no final answer before timer B."""

ADDED_S = {0.01: 0.5, 0.05: 0.5, 0.10: 1.5, 0.20: 3.5, 0.30: 7.5}
"""Of the delay of answers, at most, in 99 of 100 calls: so many retransmissions of the first message (RFC 3261
17.1.1.2)."""
UNDISTURBED_S = 0.05
"""Such a call is answered within that where nothing is lost."""


async def rough_calls(loss: float, count: int, seed: int) -> tuple[int, np.ndarray]:
    """Calls from a carrier over a link that loses; (how many failed, seconds to the answer)."""
    delays: list[float] = []
    failed = 0
    async with World(seed, office=small_office()) as world:
        await world.phone("1001", behaviour=answer())
        carrier = await world.trunk("carrier-1")
        rough = Link(loss=loss, delay_s=0.01, jitter_s=0.005)
        world.network.set_link(rough, source="10.0.1.1")
        world.network.set_link(rough, destination="10.0.1.1")

        async def one() -> None:
            nonlocal failed
            call = await carrier.call("+861000")
            try:
                await call.answered()
            except CallNotAnswered:
                failed += 1
                return
            delays.append(call.times["up"] - call.times["calling"])
            await asyncio.sleep(5.0)
            call.hang_up()
            await call.ended()

        for _ in range(count):
            await one()
        await asyncio.sleep(120.0)
        assert world.switch.driver.counters.exceptions == 0
    return failed, np.array(delays)


async def check(loss: float, count: int, row: Row, seed: int = 31) -> None:
    failed, delays = await rough_calls(loss, count, seed)
    expected = FAILURES[loss] * count
    p99_s = float(np.percentile(delays, 99))
    row(
        31,
        f"{loss:.0%} of all messages lost each way",
        seed=seed,
        calls=count,
        failed=failed,
        expected=round(expected, 2),
        p99_answer_s=round(p99_s, 2),
    )
    assert failed <= expected + 2 * max(1.0, expected) ** 0.5 * (loss > 0.2)
    assert p99_s <= ADDED_S[loss] + UNDISTURBED_S


@simulated(limit_s=1e7)
@pytest.mark.parametrize("loss", [0.10, 0.20])
async def test_calls_complete(loss: float, row: Row) -> None:
    await check(loss, 150, row)


@pytest.mark.soak
@simulated(limit_s=1e7)
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_thousand_calls_complete(loss: float, row: Row) -> None:
    await check(loss, 1000, row)
