"""A generator process: reads its plan from standard input, tells what it does in lines of JSON.

Lines out: {"ready": true}, then once a second {"progress": {...}}, at the end {"meter": {...}}; a
failure is {"error": "..."}. Lines in: the plan, then "start", and perhaps "stop".
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import os
import sys
import traceback
from typing import Any

from softswitch.errors import SoftswitchError
from softswitch.load.lab import Lab
from softswitch.load.plan import Plan, decode
from softswitch.load.scenarios import load

_LEAD_S = 0.05
_COLLECT_S = 60


def main() -> None:
    """Entry point of the process; the argument is its number."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    index = int(sys.argv[1])
    line = _first_line()
    if not line.endswith(b"\n"):
        return  # whoever has started us is gone
    try:
        asyncio.run(_run(decode(line), index))
    except SoftswitchError as error:
        _say(error=str(error))
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # whoever has started us is gone
    except Exception as error:
        _say(error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())


def _first_line() -> bytes:
    """Read one line and not an octet more: the rest is the loop's."""
    line = bytearray()
    while not line.endswith(b"\n"):
        octet = os.read(0, 1)
        if not octet:
            break
        line += octet
    return bytes(line)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _run(plan: Plan, index: int) -> None:
    scenario = load(plan.scenario)
    lab = Lab(plan, scenario.run, index=index, prepare=scenario.prepare, finish=scenario.finish)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    async with lab:
        _say(ready=True)
        if await commands.readline() != b"start\n":
            return
        # What is alive now lives to the end. A full collection stops everything for 100 ms and more,
        # so they come once a minute instead of whenever a quarter of all objects is new.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 1_000_000)
        progress = asyncio.create_task(_progress(lab))
        listen = asyncio.create_task(_listen(lab, commands))
        try:
            meter = await lab.run(lab.now_s() + _LEAD_S)
        finally:
            progress.cancel()
            listen.cancel()
        _say(meter=meter.as_dict())


async def _listen(lab: Lab, commands: asyncio.StreamReader) -> None:
    while await commands.readline() not in (b"stop\n", b""):
        pass
    lab.stop()


async def _progress(lab: Lab) -> None:
    for second in itertools.count(1):
        await asyncio.sleep(1.0)
        if second % _COLLECT_S == 0:
            gc.collect()
        meter = lab.meter
        _say(
            progress={
                "at_s": lab.at_s(),
                "live": lab.live,
                "streams": lab.sound.live if lab.sound is not None else 0,
                "counts": dict(meter.counts),
                "setup_p50_ms": meter.times["setup"].percentile(50) / 1000,
                "setup_p99_ms": meter.times["setup"].percentile(99) / 1000,
                "delay_p50_ms": meter.delay.percentile(50) / 1000,
                "findings": dict(meter.findings),
                "cpu": meter.cpu_peak,
            }
        )


if __name__ == "__main__":
    main()
