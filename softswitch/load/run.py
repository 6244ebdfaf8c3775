"""A whole run: generator processes, the target's own processes watched, everything put together."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from softswitch.errors import SoftswitchError
from softswitch.load.demo import cpu_ticks
from softswitch.load.kernel_drops import DropWatch
from softswitch.load.measure import Meter
from softswitch.load.plan import Plan, encode
from softswitch.load.result import Result, summarise

_READY_S = 120.0
_LINE_MAX = 256 << 20

Watch = Callable[[list[dict[str, Any]]], None]


class Generators:
    """Processes that get ready while something else is waited for: an async context manager for `run`."""

    def __init__(self, processes: int) -> None:
        self.workers = [_Worker(index) for index in range(processes)]

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(worker.spawn() for worker in self.workers))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await asyncio.gather(*(worker.close() for worker in self.workers))


async def run(
    plan: Plan,
    watch: Watch | None = None,
    stop: asyncio.Event | None = None,
    generators: Generators | None = None,
) -> Result:
    """Carry out `plan`; `watch` gets the newest word of each generator once a second, `generators` are as many
    as the plan wants, where they have been started before.

    Raises `SoftswitchError` with what a generator complained of.
    """
    if generators is None:
        async with Generators(plan.processes) as started:
            return await run(plan, watch, stop, started)
    began = time.time()
    workers = generators.workers
    target = _Target(plan.pids)
    drops = DropWatch()
    meter = Meter()
    await asyncio.gather(*(worker.start(plan) for worker in workers))
    target.begin()
    drops.begin()
    for worker in workers:
        worker.say("start")
    watching = asyncio.create_task(_watch(workers, target, drops, watch, stop))
    try:
        meters = await asyncio.gather(*(worker.result() for worker in workers))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    for found in meters:
        meter.merge(found)
    target.end(meter)
    drops.look(plan.pids, [worker.pid for worker in workers])
    return summarise(plan, meter, began, target.used(), drops.found)


async def _watch(
    workers: list[_Worker],
    target: _Target,
    drops: DropWatch,
    watch: Watch | None,
    stop: asyncio.Event | None,
) -> None:
    while True:
        await asyncio.sleep(1.0)
        target.sample()
        drops.look(target.pids, [worker.pid for worker in workers])
        if watch is not None:
            watch([worker.progress for worker in workers])
        if stop is not None and stop.is_set():
            for worker in workers:
                worker.say("stop")


class _Worker:
    """One generator process."""

    def __init__(self, index: int) -> None:
        self.progress: dict[str, Any] = {}
        self._index = index
        self._process: asyncio.subprocess.Process | None = None

    async def spawn(self) -> None:
        """Start the process, which loads itself."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "softswitch.load.worker",
            str(self._index),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_MAX,
            start_new_session=True,
        )

    async def start(self, plan: Plan) -> None:
        """Give it its plan and wait until it has bound its sockets and registered what it must."""
        self._write(encode(plan))
        async with asyncio.timeout(_READY_S):
            await self._read("ready")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid if self._process is not None else 0

    def say(self, command: str) -> None:
        """Send a line."""
        self._write(command.encode())

    def _write(self, line: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line + b"\n")

    async def _read(self, wanted: str) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            line = await self._process.stdout.readline()
            if not line:
                raise SoftswitchError("a load generator has ended without a result")
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a scenario that prints
            if not isinstance(said, dict):
                continue
            if "error" in said:
                trace = said.get("trace")
                if trace and os.environ.get("SOFTSWITCH_DEBUG"):
                    print(trace, file=sys.stderr)
                raise SoftswitchError(str(said["error"]))
            self.progress = said.get("progress", self.progress)
            if wanted in said:
                return said[wanted]

    async def result(self) -> Meter:
        """What it has measured, at its end."""
        return Meter.from_dict(await self._read("meter"))

    async def close(self) -> None:
        """End it, by force if it must be."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(5.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class _Target:
    """CPU and memory of processes that `--pid` names, from /proc (proc_pid_stat(5)); nothing elsewhere."""

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._samples: list[tuple[float, float, int]] = []

    def begin(self) -> None:
        """The window begins."""
        self._samples = []
        self.sample()

    def sample(self) -> None:
        """Look once."""
        if self.pids:
            self._samples.append((time.monotonic(), self._cpu_s(), self._rss_kb()))

    def end(self, meter: Meter) -> None:
        """Write what was seen into the seconds of the run."""
        self.sample()
        pairs = zip(self._samples, self._samples[1:], strict=False)
        for number, (before, after) in enumerate(pairs):
            second = meter.seconds.get(number)
            if second is not None:
                second.target_cpu = (after[1] - before[1]) / max(after[0] - before[0], 1e-6)
                second.target_kb = after[2]

    def used(self) -> dict[str, float]:
        """CPU seconds over the run, and memory at its begin, at most and at its end."""
        if len(self._samples) < 2:
            return {}
        first, last = self._samples[0], self._samples[-1]
        return {
            "cpu_s": last[1] - first[1],
            "seconds": last[0] - first[0],
            "rss_kb_first": first[2],
            "rss_kb_max": max(sample[2] for sample in self._samples),
            "rss_kb_last": last[2],
        }

    def _cpu_s(self) -> float:
        return cpu_ticks(self.pids) / self._ticks

    def _rss_kb(self) -> int:
        total = 0
        for pid in self.pids:
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            total += int(text.partition("VmRSS:")[2].split()[0])
        return total
