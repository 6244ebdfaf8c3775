"""Measure the switch from outside with callgen, a C program that is both caller and called party.

    make bench                                  # or: .venv/bin/python bench/callgen.py --save
    .venv/bin/python bench/callgen.py --only relay --seconds 5

The source, `tools/callgen/callgen.c`, is looked for in the folder that SOFTSWITCH_VECTORS names,
then in `../shared`. The switch and its media worker are pinned to one core, callgen to another;
every figure is CPU per unit of work of all processes of the switch, from /proc over callgen's
window.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "RESULTS.md"
FIGURES = ROOT / "bench" / "results.json"
SERVER, CALLER, CALLED = "127.0.0.1", "127.0.0.2", "127.0.0.3"
READY_S = 60.0
CALLS_MAX = 400  # with media

OFFICE = """\
[office]
name = "bench"
domain = "bench.example"

[sip]
listen = ["udp://{server}:{sip_port}"]

[media]
address = "{server}"
ports = "30000-49999"
workers = 1

[http]
listen = "{server}:{http_port}"

[storage]
directory = "var"

[recording]
calls = "{recording}"

[[trunk]]
name = "gen"
uri = "sip:{caller}"
from_addresses = ["{caller}"]
max_calls = 5000
max_calls_per_s = 5000
health_check_s = 0

[[trunk]]
name = "sink"
uri = "sip:{called}"
from_addresses = ["{called}"]
max_calls = 5000
max_calls_per_s = 5000
health_check_s = 0

[[inbound]]
from = "gen"
number = "9*"
to = "trunk:sink"

[[conference]]
number = "8000"
max_participants = 1000

[[inbound]]
from = "gen"
number = "8000"
to = "conference:8000"
"""


@dataclass(frozen=True, slots=True)
class Work:
    """One measurement: what callgen is told, and which switch it runs against."""

    name: str
    title: str
    options: tuple[str, ...]
    recording: str = "none"


def programme(seconds: int) -> list[Work]:
    window = ("-d", str(seconds), "--stamp")
    return [
        Work("setup", "set-up and tear-down, 100 a second", ("-c", "2000", "-r", "100")),
        Work("setup200", "set-up and tear-down, 200 a second", ("-c", "4000", "-r", "200")),
        Work("relay100", "100 relayed calls", ("-n", "100", *window)),
        Work("relay400", "400 relayed calls", ("-n", "400", *window)),
        Work("recorded100", "100 relayed and recorded calls", ("-n", "100", *window), "all"),
        Work(
            "conference50",
            "a conference of 50",
            ("--no-uas", "--number", "8000", "-n", "50", "-d", str(seconds)),
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
    sys.exit("bench: tools/callgen/callgen.c is not there; name its folder in SOFTSWITCH_VECTORS")


def build(folder: Path) -> Path:
    """Compile callgen into `folder`."""
    for tool, package in (("gcc", "gcc"), ("taskset", "util-linux")):
        if shutil.which(tool) is None:
            sys.exit(f"bench: {tool} is missing: apt-get install {package}")
    program = folder / "callgen"
    command = ["gcc", "-O2", "-w", "-o", str(program), str(source()), "-lpthread", "-lm"]
    subprocess.run(command, check=True)
    return program


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def free_rtp_ports(count: int) -> int:
    """The first of `count` consecutive ports that are free at both ends of callgen."""
    for first in range(10_000 + os.getpid() % 1000 * 2, 28_000, 2_000):
        try:
            for host in (CALLER, CALLED):
                for port in range(first, first + count):
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                        probe.bind((host, port))
        except OSError:
            continue
        return first
    sys.exit("bench: no free ports for the RTP of callgen; is another bench running?")


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@dataclass(frozen=True, slots=True)
class Switch:
    address: str
    caller: str
    called: str
    pids: tuple[int, ...]


@contextmanager
def switch(folder: Path, recording: str, core: int) -> Iterator[Switch]:
    """A switch pinned to `core` on a generated office, stopped by its own id at the end."""
    folder.mkdir()
    caller, called = (f"{host}:{free_port(host)}" for host in (CALLER, CALLED))
    sip_port = free_port(SERVER)
    office = OFFICE.format(
        server=SERVER,
        sip_port=sip_port,
        http_port=free_port(SERVER),
        recording=recording,
        caller=caller,
        called=called,
    )
    file, log_path = folder / "office.toml", folder / "serve.log"
    file.write_text(office)
    command = [Path(sys.executable).parent / "softswitch", "serve", file]
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline_s = time.monotonic() + READY_S
        while ": ready on " not in log_path.read_text():
            if child.poll() is not None or time.monotonic() > deadline_s:
                sys.exit(f"bench: the switch does not start:\n{log_path.read_text()}")
            time.sleep(0.05)
        pids = (child.pid, *children_of(child.pid))
        yield Switch(f"{SERVER}:{sip_port}", caller, called, pids)
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if "Traceback" in log_path.read_text():
            print(log_path.read_text(), file=sys.stderr)


def measure(work: Work, program: Path, folder: Path, cores: tuple[int, int]) -> dict[str, Any]:
    """Run one measurement; callgen's JSON, with the name of the work."""
    with switch(folder / work.name, work.recording, cores[0]) as running:
        command = [
            str(program),
            *("--server", running.address, "--uac", running.caller, "--uas", running.called),
            *("--cpu", str(cores[1]), "--pid", ",".join(map(str, running.pids))),
            *("--rtp-base", str(free_rtp_ports(2 * CALLS_MAX))),
            *("--label", work.name, *work.options),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"bench: callgen said nothing:\n{done.stderr}")
    # Streams that share a remote port are how this switch works; anything else is worth reading.
    notes = [line for line in done.stderr.splitlines() if "same remote port" not in line]
    if notes:
        print(f"{work.name}: " + "\n".join(notes[:20]), file=sys.stderr)
    head = {"name": work.name, "title": work.title, "commit": commit()}
    return {**head, **json.loads(lines[-1])}


# -- what is printed ------------------------------------------------------------------------------


COLUMNS = (
    "work",
    "CPU a unit",
    "core",
    "ok",
    "failed",
    "lost",
    "delay p50/p99",
    "memory a call",
    "commit",
)


def row(figures: dict[str, Any]) -> list[str]:
    if figures["mode"] == "rate":
        return [
            figures["title"],
            f"{figures['cpu_ms_per_call']:.2f} ms a call",
            f"{figures['srv_cpu_pct']:.0f} %",
            str(figures["ok"]),
            str(figures["fail"]),
            f"{figures['sip_retransmits']} resent",
            f"{figures['setup_ms_p50']:.1f} / {figures['setup_ms_p99']:.1f} ms",
            "",
            figures["commit"],
        ]
    delay = ""
    if figures.get("lat_ms_p50"):
        delay = f"{figures['lat_ms_p50']:.2f} / {figures['lat_ms_p99']:.2f} ms"
    return [
        figures["title"],
        f"{figures['cpu_pct_per_call']:.3f} % a call",
        f"{figures['srv_cpu_pct']:.0f} %",
        str(figures["up"]),
        str(figures["failed"]),
        f"{max(figures['loss_pct'], 0.0):.3f} %",
        delay,
        f"{figures['rss_kb_per_call']:.0f} KB",
        figures["commit"],
    ]


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "softswitch", "media")
    return git("rev-parse", "--short", "HEAD") + (" with local changes" if changed else "")


def report(rows: list[list[str]], command: str) -> str:
    lines = [
        "# Results",
        "",
        "CPU per unit of work, the switch and its media worker on one core, callgen on another,",
        "all on loopback; absolute times on a shared machine mean little. Written by `make bench`.",
        "",
        f"- machine: {machine()}",
        f"- date of the last measurement: {time.strftime('%Y-%m-%d')}",
        f"- command: `{command}`",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(cells) + " |" for cells in rows),
        "",
        "`core` is what the switch took of its core; `delay` is the time a packet spends between",
        "both ends of callgen, or for set-up the time from INVITE to 200.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="measurements whose name begins so")
    parser.add_argument("--seconds", type=int, default=10, help="length of the media window")
    parser.add_argument("--cores", default="0,1", help="core of the switch, core of callgen")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument(
        "--save", action="store_true", help=f"write {RESULTS.name} and {FIGURES.name}"
    )
    chosen = parser.parse_args()
    ours, theirs = (int(core) for core in chosen.cores.split(","))
    works = [w for w in programme(chosen.seconds) if w.name.startswith(chosen.only)]
    if not works:
        parser.error(f"--only: there are {', '.join(w.name for w in programme(1))}")

    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(*COLUMNS, title="softswitch")
    figures = []
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        folder = Path(temporary)
        program = build(folder)
        for work in works:
            console.print(f"[dim]{work.title} ...")
            found = measure(work, program, folder, (ours, theirs))
            if not found.get("ok", found.get("up")):
                console.print(f"{work.title}: not one call came about; left out")
                continue
            figures.append(found)
            table.add_row(*row(found))
    console.print(table)
    if chosen.json:
        chosen.json.write_text(as_json(figures))
    if chosen.save:
        merged = with_earlier(figures)
        FIGURES.write_text(as_json(merged))
        RESULTS.write_text(report([row(found) for found in merged], "make bench"))
        console.print(f"written: {RESULTS}, {FIGURES}")


def with_earlier(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These figures and, of works not measured now, those of the saved file, in their order."""
    earlier = json.loads(FIGURES.read_text())["figures"] if FIGURES.exists() else []
    found = {entry["name"]: entry for entry in [*earlier, *figures]}
    names = [work.name for work in programme(1)]
    return [found[name] for name in names if name in found]


def as_json(figures: list[dict[str, Any]]) -> str:
    return json.dumps({"machine": machine(), "figures": figures}, indent=1) + "\n"


if __name__ == "__main__":
    main()
