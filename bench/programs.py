"""The programs of the bench, each in a process of its own, with a limit of time: one that fails or hangs
ends, with all that it has started, and the next one has its turn."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import figures, runs
from bench.peers import family

GRACE_S = 20.0
"""A program that is asked to end may put its house in order for so long."""


@dataclass(frozen=True, slots=True)
class Program:
    """`bench/NAME.py`: `options` in a run of everything, `quick` in one that only shows that all goes;
    `limit_s` is three times and more what it needs."""

    name: str
    about: str
    limit_s: float
    options: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    other_figures: bool = False
    """Whether `options` lead to fewer or other figures than the program shows alone, which stay."""
    reckons: bool = False
    """Whether it only reckons, on one core: then another such program may go beside it on another."""


PROGRAMS = {
    program.name: program
    for program in (
        Program("acd", "the call distributor, alone", 300, reckons=True,
                quick=("--agents", "500", "--queues", "50", "--contacts", "5000", "--events", "2000")),
        Program("api", "the HTTP API", 240, ("--seconds", "6"), quick=("--seconds", "3")),
        # What takes minutes and what lies between others: by the program alone.
        Program("callgen", "the whole exchange, calls by a C program", 600,
                ("--seconds", "6", "--without",
                 "relay400,relay1000,relay1500,recorded400,conference200,conference300"),
                ("--only", "relay400", "--seconds", "2"), other_figures=True),
        Program("digits_heard", "in-band digits, alone", 180, reckons=True),
        Program("failover", "from one trunk to the next", 240, ("--calls", "5"), ("--calls", "2")),
        Program("load", "the load lab's own generator", 300, ("--seconds", "5"), quick=("--seconds", "3")),
        # The delay at half and four fifths of a core needs a minute and a half: by the program alone.
        Program("media_plane", "the media worker, alone", 420, ("--seconds", "2", "--without", "delay"),
                ("--only", "relay", "--seconds", "2"), other_figures=True),
        Program("overload", "calls and strangers in a crowd", 600,
                ("--only", "capacity"),
                quick=("--rates", "200", "--seconds", "8", "--runs", "1", "--sources", "1")),
        Program("refusals", "a new call turned away", 120, quick=("--calls", "2000")),
        Program("registrations", "ten thousand phones", 420, ("--day", "15"),
                ("--only", "storm", "--phones", "500")),
        Program("sip_calls", "CPU and memory of calls, driven by SIPp", 480, ("--calls", "1500"),
                quick=("--calls", "400", "--up", "50")),
        Program("sip_parse", "SIP read and written, alone", 120, reckons=True),
        # Ten million contacts take ten minutes to be made: by the program alone.
        Program("store", "the database", 600, ("--contacts", "1000000"),
                quick=("--contacts", "100000", "--customers", "10000"),
                other_figures=True, reckons=True),
    )
}  # fmt: skip


RUNNING: set[subprocess.Popen[bytes]] = set()
"""Programs that go on now: who breaks a run off ends them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program has shown, how long it took, and "" or why it did not come to its end; `lacking` where it
    has nothing here to measure with."""

    entries: dict[str, runs.Entry]
    took_s: float
    problem: str = ""
    lacking: bool = False


def carry_out(
    program: Program, folder: Path, *, quick: bool = False, core: int | None = None
) -> Outcome:
    """Run it; what it showed before it failed counts. On `core` alone if one is given, and then what it says
    is printed when it is over."""
    file = folder / f"{program.name}.shown"
    file.touch()
    # A shell in the background has its children ignore Ctrl-C; then `end` would wait for nothing.
    command = ["env", "--default-signal=INT"]
    command += [] if core is None else ["taskset", "-c", str(core)]
    command += [sys.executable, str(figures.ROOT / "bench" / f"{program.name}.py")]
    command += program.quick if quick else program.options
    began_s = time.monotonic()
    said = (folder / f"{program.name}.said").open("wb+") if core is not None else None
    child = subprocess.Popen(
        command,
        env={**os.environ, figures.SHOWN: str(file)},
        cwd=figures.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    problem = ""
    RUNNING.add(child)
    try:
        if child.wait(program.limit_s) not in (0, figures.LACKING):
            problem = f"ended with {child.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"not over after {program.limit_s:.0f} s"
    finally:
        end(child)
        RUNNING.discard(child)
        if said is not None:
            with said:
                said.seek(0)
                print(said.read().decode(errors="replace"), end="", flush=True)
    took_s = time.monotonic() - began_s
    shown = [json.loads(line) for line in file.read_text().splitlines()]
    lacking = child.returncode == figures.LACKING
    if not shown and not problem and not lacking:
        problem = "showed no figure"
    return Outcome({entry["name"]: entry for entry in shown}, took_s, problem, lacking)


def end(child: subprocess.Popen[bytes]) -> None:
    """End a program that still runs as Ctrl-C would; then, by force, whatever of it is left."""
    if child.poll() is not None:
        return
    started = {pid: _born(pid) for pid in family(child.pid)}
    child.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_S)
    for pid, born in started.items():
        if born and _born(pid) == born:  # no other has got its number meanwhile
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    child.wait()


def _born(pid: int) -> str:
    """When a process was started (proc_pid_stat(5), field 22), "" for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
