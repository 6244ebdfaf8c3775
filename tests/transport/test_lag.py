"""The lag sensor, on a loop that is held up on purpose."""

from __future__ import annotations

import asyncio
import time

from softswitch.transport.lag import LagSensor


async def test_a_loop_that_is_held_up_is_noticed():
    seen: list[float] = []
    sensor = LagSensor(asyncio.get_running_loop(), seen.append)
    sensor.start()
    await asyncio.sleep(0.05)
    time.sleep(0.3)  # noqa: ASYNC251 - this is what is to be measured
    while not seen:
        await asyncio.sleep(0.01)
    assert seen[0] > 0.1
    sensor.stop()
    sensor.stop()
