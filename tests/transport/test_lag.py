"""The lag sensor, on a loop that is held up on purpose."""

from __future__ import annotations

import asyncio
import time

from softswitch.transport.lag import LagSensor


async def test_a_loop_that_is_held_up_is_noticed():
    noticed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def on_lag(lag_s: float) -> None:
        if lag_s > 0.1 and not noticed.done():
            noticed.set_result(lag_s)

    sensor = LagSensor(asyncio.get_running_loop(), on_lag)
    sensor.start()
    await asyncio.sleep(0.05)
    time.sleep(0.3)  # noqa: ASYNC251 - this is what is to be measured
    async with asyncio.timeout(10):
        await noticed
    sensor.stop()
    sensor.stop()
