"""Measure the whole exchange from outside with callgen, a C program that is both caller and called party.

    python bench/callgen.py --save                  # everything, about eight minutes
    python bench/callgen.py --only relay100 --seconds 5

The source, `tools/callgen/callgen.c`, is looked for in the folder that SOFTSWITCH_VECTORS names,
then in `../shared`. The switch and its media worker are pinned to one core, callgen to another;
every figure is CPU per unit of work of all processes of the switch, from /proc over callgen's
window. callgen is late itself before the switch's core is full: what delay there is then, `paced.py`
tells. Memory is counted from a switch that stands idle with its API loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import figures
from bench.figures import Figure
from bench.serving import (
    CALLED,
    CALLER,
    ROOM,
    TRUNKS,
    Serving,
    children_of,
    need,
    other_core,
    serving,
)
from softswitch.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """One measurement: what callgen is told, which switch it runs against, and the bars:
    percent of a core a call, milliseconds of added delay (p50, p99), KB a call, packets lost."""

    name: str
    title: str
    options: tuple[str, ...]
    recording: str = "none"
    kill: bool = False
    bars: dict[str, float] = field(default_factory=dict)

    @property
    def conference(self) -> bool:
        return "--no-uas" in self.options


def programme(seconds: int) -> list[Work]:
    window = ("-d", str(seconds), "--stamp")
    room = ("--no-uas", "--number", "8000")
    quiet = {"lost": 0.0}
    return [
        Work("setup", "set-up and tear-down, 100 a second", ("-c", "2000", "-r", "100")),
        Work(
            "relay100",
            "100 relayed calls",
            ("-n", "100", *window),
            bars={"core": 0.12, **quiet},
        ),
        Work(
            "relay400",
            "400 relayed calls",
            ("-n", "400", *window),
            bars={"memory": 60, **quiet},
        ),
        Work(
            "relay1000",
            "1,000 relayed calls, half a core",
            ("-n", "1000", "-r", "60", *window),
            bars={"core": 0.06, "p50": 2, "p99": 5, "memory": 60, **quiet},
        ),
        Work(
            "relay1500",
            "1,500 relayed calls for a minute",
            ("-n", "1500", "-r", "50", "-d", "60", "--stamp"),
            bars={"core": 0.06, "p50": 4, "p99": 10, "memory": 60, **quiet},
        ),
        Work(
            "recorded100",
            "100 relayed and recorded calls",
            ("-n", "100", *window),
            "all",
            bars={"core": 0.09, **quiet},
        ),
        Work(
            "recorded400",
            "400 relayed and recorded calls",
            ("-n", "400", *window),
            "all",
            bars={"core": 0.09, **quiet},
        ),
        Work(
            "conference200",
            "a conference of 200",
            (*room, "-n", "200", "-d", str(seconds), "--settle", "10"),
            bars={"core": 0.05, **quiet},
        ),
        Work(
            "conference300",
            "a conference of 300",
            (*room, "-n", "300", "-d", str(seconds), "--settle", "10"),
            bars=quiet,
        ),
        Work(
            "kill50",
            "kill -9 of the worker, 50 recorded calls",
            ("-n", "50", "-d", "8"),
            "all",
            kill=True,
            bars={"gap": 1000},
        ),
    ]


# -- the tools ------------------------------------------------------------------------------------


def source() -> Path:
    """callgen.c, or the end of the programme with one line that says what is missing."""
    named = os.environ.get("SOFTSWITCH_VECTORS")
    folders = [Path(named)] if named else []
    folders.append(ROOT.parent / "shared")
    for folder in folders:
        found = folder / "tools" / "callgen" / "callgen.c"
        if found.is_file():
            return found
    raise figures.lacking(
        "tools/callgen/callgen.c is not there; name its folder in SOFTSWITCH_VECTORS"
    )


def build(folder: Path) -> Path:
    """Compile callgen into `folder`."""
    program = folder / "callgen"
    command = [
        need("gcc", "gcc"),
        "-O2",
        "-w",
        "-o",
        str(program),
        str(source()),
        "-lpthread",
        "-lm",
    ]
    subprocess.run(command, check=True)
    return program


def kill_worker(pid: int, after_s: float) -> None:
    """After a while, kill -9 the busiest media worker of the switch `pid`."""
    time.sleep(after_s)
    workers = children_of(pid)
    os.kill(max(workers, key=lambda worker: _ticks(worker)), signal.SIGKILL)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def measure(
    work: Work,
    program: Path,
    folder: Path,
    core: int,
    beside: Callable[[Serving], None] | None = None,
) -> Found:
    """Run one measurement; callgen's JSON. `beside` runs in a thread meanwhile."""
    first = free_port((CALLER, CALLED), count=2 * _calls(work))
    caller, called = (f"{host}:{free_port(host)}" for host in (CALLER, CALLED))
    office = TRUNKS + ROOM
    where = {"caller": caller, "called": called, "recording": work.recording}
    with serving(folder / work.name, office, core, **where) as running:
        pids = (running.pid, *children_of(running.pid))
        command = [
            str(program),
            *("--server", running.address, "--uac", caller, "--uas", called),
            *("--cpu", str(other_core(core)), "--pid", ",".join(map(str, pids))),
            *("--rtp-base", str(first)),
            *("--label", work.name, *work.options),
        ]
        if work.kill:
            # Set-up and settling take about three seconds, the window eight.
            threading.Thread(target=kill_worker, args=(running.pid, 7.0), daemon=True).start()
        thread = threading.Thread(target=beside, args=(running,)) if beside is not None else None
        if thread is not None:
            thread.start()
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        if thread is not None:
            thread.join()
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"bench: callgen said nothing:\n{done.stderr}")
    # Streams that share a remote port are how this switch works; anything else is worth reading.
    notes = [line for line in done.stderr.splitlines() if "same remote port" not in line]
    if notes:
        print(f"{work.name}: " + "\n".join(notes[:20]), file=sys.stderr)
    found: Found = json.loads(lines[-1])
    return found


def _calls(work: Work) -> int:
    return int(work.options[work.options.index("-n") + 1]) if "-n" in work.options else 1


# -- what is told ---------------------------------------------------------------------------------


def told(work: Work, found: Found) -> Iterator[Figure]:
    """The figures of one measurement, with the bars that are set for it."""
    title, bars = work.title, work.bars
    if found["mode"] == "rate":
        note = (
            f"{found['ok']} calls, {found['fail']} failed, {found['sip_retransmits']} requests resent, "
            f"answered after p50 {found['setup_ms_p50']:.1f} p99 {found['setup_ms_p99']:.1f} ms"
        )
        yield Figure(title, found["cpu_ms_per_call"], "ms a call", note=note)
        return
    up, failed = found["up"], found["failed"] + found["server_bye"]
    if work.kill:
        yield _silence(work, found)
        return
    note = f"{up} up, {failed} failed, {found['srv_cpu_pct']:.0f} % of the core"
    yield Figure(title, found["cpu_pct_per_call"], "% core", bars.get("core"), note=note)
    yield _lost(work, found)
    if found.get("lat_ms_p50"):
        for part in ("p50", "p99"):
            name = f"{title}: added delay {part}"
            yield Figure(name, found[f"lat_ms_{part}"], "ms", bars.get(part))
        # The same calls with and without recording: what recording does to the timing of packets.
        note = (
            f"RFC 3550, mean of the streams, worst {found['jitter3550_ms_max']:.2f} ms; spacing p99 off by "
            f"{found['iat_dev_ms_p99']:.2f} ms, at the sender {found['send_dev_ms_p99']:.2f} ms"
        )
        yield Figure(f"{title}: jitter", found["jitter3550_ms_mean"], "ms", note=note)
    if "memory" in bars:
        note = "above an idle switch with its API loaded"
        yield Figure(
            f"{title}: memory", found["rss_kb_per_call"], "KB a call", bars["memory"], note=note
        )


def _lost(work: Work, found: Found) -> Figure:
    """What never came. A room sends by its own clock, not once for each packet it hears: there what
    is missing in the numbers of its packets is lost, and fewer packets than ticks are, too."""
    if not work.conference:
        lost = found["tx"] - found["rx"]
        return Figure(
            f"{work.title}: lost", lost, "packets", work.bars.get("lost"), note=f"of {found['tx']}"
        )
    ticks = int(found["window_s"] * 50) - 1
    lost = found["rx_seq_span"] - found["rx"] + max(0, ticks * found["up"] - found["rx"])
    note = f"of {found['rx']}, by their sequence numbers and the clock"
    return Figure(f"{work.title}: lost", lost, "packets", work.bars.get("lost"), note=note)


def _silence(work: Work, found: Found) -> Figure:
    streams = 2 * found["up"]
    missing_ms = 20.0 * (found["tx"] - found["rx"]) / max(1, streams)
    note = f"{found['up']} calls went on, {found['server_bye']} were ended"
    return Figure(f"{work.title}: audio missing", missing_ms, "ms", work.bars["gap"], note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="measurements whose name begins so")
    parser.add_argument("--without", default="", help="measurements to leave out; with commas")
    parser.add_argument("--seconds", type=int, default=10, help="length of the media window")
    parser.add_argument("--core", type=int, default=0, help="core of the switch")
    parser.add_argument("--json", action="store_true", help="print what callgen said, too")
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    without = chosen.without.split(",")
    works = [
        work
        for work in programme(chosen.seconds)
        if work.name.startswith(chosen.only) and work.name not in without
    ]
    if not works:
        parser.error(f"--only: there are {', '.join(work.name for work in programme(1))}")
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        folder = Path(temporary)
        program = build(folder)
        failed = []
        for work in works:
            try:
                found = measure(work, program, folder, chosen.core)
            except (SystemExit, subprocess.SubprocessError, OSError) as error:
                print(f"{work.title}: {error}", file=sys.stderr)
                failed.append(work.name)
                continue
            if chosen.json:
                print(json.dumps(found))
            if not found.get("ok", found.get("up")):
                print(f"{work.title}: not one call came about; left out")
                continue
            measured = list(told(work, found))
            figures.show(measured)
            if chosen.save:
                figures.save("callgen", measured)
        if failed:
            sys.exit(f"bench: {', '.join(failed)} failed")


if __name__ == "__main__":
    main()
