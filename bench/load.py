"""What the load lab's generator can do: calls with sound on one core, and signalling in two processes.

    python bench/load.py --save             # everything, about two minutes
    python bench/load.py --only sound

The generator is pinned to one core and what it calls to the other. "CPU" is the generator process's
own share of its core while all calls are up, "late" how late its pacer sent (of all ticks of that time).
A set-up run uses both cores: two generators and SIPp's UAS share them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
from collections.abc import Iterator

from bench import figures
from bench.figures import Figure
from bench.peers import SippUas, missing
from softswitch.load.plan import Plan, against_itself
from softswitch.load.result import Result
from softswitch.load.run import run

ANY = ("127.0.0.1", 5060)
CALLS = 1000


def sound(seconds: int, **options: object) -> Plan:
    """`CALLS` calls that are all up for so long."""
    rate = 100.0
    return Plan(
        **{  # type: ignore[arg-type]
            "scenario": "uac-uas", "target": ANY, "calls": CALLS, "rate": rate,
            "hold": str(CALLS / rate + seconds), "run": 1, **options,
        }
    )  # fmt: skip


def told(title: str, result: Result) -> Iterator[Figure]:
    """The figures of a run with sound."""
    figures_ = result.figures
    up = min(CALLS, max((second["live"] for second in result.seconds), default=0))
    full = [second for second in result.seconds if second["live"] >= up]
    note = (
        f"{figures_['completed']:.0f} of {CALLS} calls in order, {figures_['streams']:.0f} streams, "
        f"{figures_['packets_received']:.0f} packets, {figures_['packets_lost']:.0f} lost"
    )
    if figures_["packets_lost"]:
        note += (
            f" ({figures_['dropped_at_target']:.0f} datagrams dropped at full sockets of SIPp, "
            f"{figures_['dropped_at_generator']:.0f} at ours)"
        )
    if up < CALLS:
        note += f"; only {up:.0f} up at once"
    if result.findings:
        note += "; " + ", ".join(f"{entry['code']} {entry['count']}" for entry in result.findings)
    if result.saturated:
        note += f"; GENERATOR SATURATED: {result.saturated}"
    cpu = 100 * statistics.median(second["cpu"] for second in full)
    yield Figure(title, cpu, "% of a core", 80, note=note)
    late = max(second["late_ms"] for second in full)
    yield Figure(f"{title}: sent late, p99 of the worst second", late, "ms", 5)
    delays = f"sound p50 {figures_['delay_p50_ms']:.2f} p99 {figures_['delay_p99_ms']:.2f} ms"
    flag = float(bool(result.saturated))
    yield Figure(f"{title}: generator saturated", flag, "", 0, note=delays)


async def one_end(seconds: int) -> list[Figure]:
    """One end of each call, against a server that sends the sound back."""
    cores = sorted(os.sched_getaffinity(0))
    pin(cores[-1:])
    async with SippUas() as uas:
        pin(cores[:1])
        plan = uas.adapt(sound(seconds, scenario="uac"), media=True)
        result = await run(plan)
    pin(cores)
    return list(told("1,000 calls with sound, one end, SIPp echoes", result))


async def both_ends(seconds: int) -> list[Figure]:
    """Both ends of each call in one process."""
    cores = sorted(os.sched_getaffinity(0))
    pin(cores[:1])
    result = await run(against_itself(sound(seconds)))
    pin(cores)
    return list(told("1,000 calls with sound, both ends", result))


async def set_up(seconds: int) -> list[Figure]:
    """Calls set up and torn down, by two processes."""
    plan = Plan(
        scenario="uac", target=ANY, rate=1500.0, ramp_s=2.0, duration_s=seconds + 2.0, hold="0",
        media=False, processes=2, run=1,
    )  # fmt: skip
    async with SippUas() as uas:
        result = await run(uas.adapt(plan))
    found = result.figures
    full = [s["completed"] for s in result.seconds[3:] if s["at_s"] < seconds + 1]
    rate = statistics.mean(full) if full else 0.0
    note = (
        f"{found['completed']:.0f} of {found['attempted']:.0f} in order, {found['resent']:.0f} resent, "
        f"set-up p50 {found['setup_p50_ms']:.1f} p99 {found['setup_p99_ms']:.1f} ms, calls begun late "
        f"p99 {found['late_p99_ms']:.1f} ms"
    )
    if result.saturated:
        note += f"; GENERATOR SATURATED: {result.saturated}"
    title = "set-up and tear-down in two processes, SIPp answers"
    failed = Figure(f"{title}: failed", found["failed"], "calls", 0)
    return [Figure(title, rate, "calls/s", 1490, at_least=True, note=note), failed]


def pin(cores: list[int]) -> None:
    """This process and all that it starts from now on."""
    os.sched_setaffinity(0, cores)


PROGRAMME = {"sound one": one_end, "sound both": both_ends, "set-up": set_up}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="measurements whose name begins so")
    parser.add_argument("--seconds", type=int, default=10, help="with all calls up")
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    works = {name: work for name, work in PROGRAMME.items() if name.startswith(chosen.only)}
    if not works:
        parser.error(f"--only: there are {', '.join(PROGRAMME)}")
    for name, work in works.items():
        if work is not both_ends and missing("sipp"):
            print(f"{name}: left out, sipp is not installed (apt-get install sip-tester)")
            continue
        found = asyncio.run(work(chosen.seconds))
        figures.show(found)
        if chosen.save:
            figures.save("load", found)


if __name__ == "__main__":
    main()
