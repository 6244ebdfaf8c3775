"""`softswitch serve` that also says how late its loop was: `python -m tests.watched_exchange office.toml`.

SIGUSR1: a line of JSON with the worst since the last one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from softswitch.collector import nothing_collected
from softswitch.logs import set_up
from softswitch.switch import Switch
from tests.store.faults import Lag


async def serve(file: Path) -> None:
    switch, lag = Switch.from_toml(file), Lag()
    switch.notice = lambda _: None

    def tell() -> None:
        print(json.dumps(lag.figures()), flush=True)
        lag.worst_ms = lag.held_ms = 0.0

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    watching = asyncio.create_task(lag.watch())
    await switch.serve(on_ready=lambda: print("ready", flush=True))
    watching.cancel()


if __name__ == "__main__":
    with nothing_collected():
        set_up(json_lines=False, verbose=False)
        asyncio.run(serve(Path(sys.argv[1])))
