"""Calls through a worker at a steady pace, with the delay that is the worker's alone.

    python bench/paced.py --share 80 --seconds 10               (as many relayed calls as take 80 % of a core)
    python bench/paced.py --share 80 --mode record
    python bench/paced.py --calls 1000                          (and whose the longest waits were)

`rtp_pacer.c` sends each leg at its own moment, stamps each packet just before its system call and takes
its return from the kernel: that a generator is late itself, or reads late, is in no figure. It has one
core, with the priority of real time where it may; the worker has another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.media_relay import Run, gap_line, wire
from bench.rtp_generator import cpu_ns, socket_of_each
from media.client import MediaClient
from media.protocol import WorkerLoad

_CALLS_MAX = 4_000
_MODES = ("relay", "record")


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of `calls`: `core` percent of the worker's, what the pacer told, and what the worker says of
    each second's longest gap."""

    calls: int
    core: float
    pacer: dict[str, Any]
    gaps: list[WorkerLoad]
    stolen: float
    """Percent of the worker's core that the machine below gave to others."""

    @property
    def lost(self) -> int:
        return int(self.pacer["sent"] - self.pacer["received"])

    @property
    def p50_ms(self) -> float:
        return float(self.pacer["p50_us"]) / 1000

    @property
    def p99_ms(self) -> float:
        return float(self.pacer["p99_us"]) / 1000

    def line(self) -> str:
        """One line for the terminal."""
        told = self.pacer
        return (
            f"{self.calls} calls  {self.core:.1f} % of a core  {self.core / self.calls:.4f} % each  "
            f"lost {self.lost} of {told['sent']}  delay p50 {self.p50_ms:.2f} p99 {self.p99_ms:.2f} "
            f"p99.9 {told['p999_us'] / 1000:.2f} ms; {self.pacer_line()}; stolen {self.stolen:.1f} %"
        )

    def pacer_line(self) -> str:
        """How well the pacer kept its own time."""
        told = self.pacer
        return (
            f"pacer {100 * told['cpu']:.0f} % of the other core, late p50 {told['late_p50_us'] / 1000:.2f} p99 "
            f"{told['late_p99_us'] / 1000:.2f} max {told['late_max_us'] / 1000:.1f} ms"
        )


def build(directory: Path) -> Path:
    """Compile the pacer."""
    program = directory / "rtp_pacer"
    source = Path(__file__).with_name("rtp_pacer.c")
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    return program


def _stolen_ticks(core: int) -> int:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            return int(line.split()[8])
    return 0


async def paced(run: Run, directory: Path, core: int = 0) -> Paced:
    """Carry one run out, the worker on `core`, all else beside it."""
    others = os.sched_getaffinity(0) - {core} or {core}
    loads: list[WorkerLoad] = []
    client = MediaClient(
        address="127.0.0.1",
        ports=(30_000, 39_999),
        workers=1,
        recordings_dir=directory / "recordings",
        on_event=lambda event: loads.append(event) if isinstance(event, WorkerLoad) else None,
        spare=False,
    )
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        await client.start()
    finally:
        os.sched_setaffinity(0, others)
    try:
        legs = [client.reserve(group=1, signalled_host=None) for _ in range(2 * run.calls)]
        sockets = socket_of_each(legs)
        pacer = await asyncio.create_subprocess_exec(
            str(build(directory)),
            str(max(sockets) + 1),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert pacer.stdin is not None
        assert pacer.stdout is not None
        ports = [int(word) for word in (await pacer.stdout.readline()).split()]
        wire(client, run, legs, [("127.0.0.1", ports[number]) for number in sockets])
        await asyncio.sleep(1.0)
        # One after the other of the same socket: they leave in one call.
        for number, leg in sorted(zip(sockets, legs, strict=True), key=lambda pair: pair[0]):
            pacer.stdin.write(f"{number} {leg.host} {leg.port}\n".encode())
        pacer.stdin.write(f"go {run.warm_s} {run.seconds}\n".encode())
        await pacer.stdin.drain()
        pid = client.snapshot()["workers"][0]["pid"]
        await asyncio.sleep(run.warm_s)
        loads.clear()
        began_s, began_ns, stolen = time.monotonic(), cpu_ns(pid), _stolen_ticks(core)
        await asyncio.sleep(run.seconds)
        spent_ns, elapsed_s = cpu_ns(pid) - began_ns, time.monotonic() - began_s
        stolen = _stolen_ticks(core) - stolen
        gaps = list(loads)
        told = json.loads(await pacer.stdout.readline())
        await pacer.wait()
    finally:
        os.sched_setaffinity(0, before)
        await client.stop()
    ticks = os.sysconf("SC_CLK_TCK") * elapsed_s
    return Paced(run.calls, spent_ns / elapsed_s / 1e7, told, gaps, 100 * stolen / ticks)


def measure(run: Run, core: int = 0) -> Paced:
    """Carry one run out in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as directory:
        return asyncio.run(paced(run, Path(directory), core))


def calls_for(share: float, mode: str, guess: int = 1_000, core: int = 0) -> int:
    """How many calls take `share` percent of a core: two short runs, as a call of many costs less."""
    for _ in range(2):
        found = measure(Run(mode, guess, 2.0, warm_s=3.0), core)
        guess = max(1, min(_CALLS_MAX, round(share * guess / found.core)))
    return guess


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.0, help="percent of a core, not calls")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--mode", choices=_MODES, default="relay")
    parser.add_argument("--core", type=int, default=0, help="core of the worker")
    chosen = parser.parse_args()
    calls = chosen.calls or 1_000
    if chosen.share:
        calls = calls_for(chosen.share, chosen.mode, calls, chosen.core)
    found = measure(Run(chosen.mode, calls, chosen.seconds), chosen.core)
    print(found.line())
    print("   p99 of each second, ms: ", [us / 1000 for us in found.pacer["p99_us_of_seconds"]])
    print("   longest of each second: ", [us / 1000 for us in found.pacer["worst_us_of_seconds"]])
    for load in found.gaps:
        print("   longest without a fetch:", gap_line(load))


if __name__ == "__main__":
    main()
