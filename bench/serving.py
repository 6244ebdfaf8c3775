"""A `softswitch serve` of its own for the measurements of signalling, and what it uses, from /proc."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import figures
from softswitch.api.admin import ask
from softswitch.ports import free_port

SERVER, CALLER, CALLED = "127.0.0.1", "127.0.0.2", "127.0.0.3"
READY_S = 60.0
SETTLE_S = 1.0

HEAD = """\
[office]
name = "bench"
domain = "bench.example"
[sip]
listen = ["udp://{server}:{sip}"]
[media]
address = "{server}"
ports = "30000-49999"
workers = 1
[storage]
directory = "var"
[http]
listen = "{server}:{http}"
[recording]
calls = "{recording}"
"""
TRUNKS = """\
[[trunk]]
name = "gen"
uri = "sip:{caller}"
from_addresses = ["{caller}"]
max_calls = 20000
max_calls_per_s = 20000
health_check_s = 0
[[trunk]]
name = "sink"
uri = "sip:{called}"
from_addresses = ["{called}"]
max_calls = 20000
max_calls_per_s = 20000
health_check_s = 0
[[inbound]]
from = "gen"
number = "9*"
to = "trunk:sink"
"""
ROOM = """\
[[conference]]
number = "8000"
max_participants = 1000
[[inbound]]
from = "gen"
number = "8000"
to = "conference:8000"
"""


def need(program: str, package: str) -> str:
    """The path of a program, or the end with one line that says what to install."""
    found = shutil.which(program)
    if found is None:
        raise figures.lacking(f"{program} is missing: apt-get install {package}")
    return found


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    ]


@dataclass(frozen=True, slots=True)
class Serving:
    """One running switch: the main process with its loop and its threads, and its media workers."""

    pid: int
    sip_port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"{SERVER}:{self.sip_port}"

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of the event loop, of the main process's other threads, of the workers."""
        loop_s = _ran_s(self.pid, self.pid)
        threads_s = sum(_ran_s(self.pid, int(t.name)) for t in _tasks(self.pid)) - loop_s
        workers_s = sum(
            _ran_s(pid, int(task.name)) for pid in children_of(self.pid) for task in _tasks(pid)
        )
        return {"loop": loop_s, "threads": threads_s, "media": workers_s}

    def rss_kib(self) -> int:
        """Resident memory of the main process and the workers, KiB."""
        found = 0
        for pid in (self.pid, *children_of(self.pid)):
            text = Path(f"/proc/{pid}/status").read_text()
            found += int(text.partition("VmRSS:")[2].split()[0])
        return found

    def status(self) -> dict[str, Any]:
        """What `softswitch status --json` shows."""
        return next(ask(self.folder / "var", "status"))


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _ran_s(pid: int, task: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0  # a thread that has just ended


def tree_cpu_s(pid: int) -> float:
    """CPU seconds so far of a process and its children."""
    own_s = sum(_ran_s(pid, int(task.name)) for task in _tasks(pid))
    return own_s + sum(tree_cpu_s(child) for child in children_of(pid))


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """The difference of two `cpu_s`, with the `total`."""
    parts = {name: after[name] - before[name] for name in after}
    return {"total": sum(parts.values()), **parts}


@contextmanager
def serving(folder: Path, office: str, core: int, **values: object) -> Iterator[Serving]:
    """A switch pinned to `core`; `office` follows `HEAD`, both are filled with `values`. Stopped by its
    own id at the end; an exception in its log ends the measurement."""
    folder.mkdir(parents=True)
    sip, api = free_port(SERVER), free_port(SERVER)
    named = {"recording": "none", "server": SERVER, "sip": sip, "http": api, **values}
    text = (HEAD + office).format(**named)
    (folder / "office.toml").write_text(text)
    log_path = folder / "serve.log"
    command = [str(Path(figures.interpreter()).with_name("softswitch")), "serve", "office.toml"]
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            [need("taskset", "util-linux"), "-c", str(core), *command],
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
        await_api(api, deadline_s)
        time.sleep(SETTLE_S)
        yield Serving(child.pid, sip, folder)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if "Traceback" in log_path.read_text():
            print(log_path.read_text()[-4000:], file=sys.stderr)
            sys.exit("bench: there was an exception in the switch")


def await_api(port: int, deadline_s: float) -> None:
    """The API loads in a thread after the server is ready; its memory and its time are no part of a
    call: wait until it answers, whatever it says."""
    while time.monotonic() < deadline_s:
        connection = http.client.HTTPConnection(SERVER, port, timeout=5.0)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
            continue
        finally:
            connection.close()
        return
    sys.exit("bench: the API does not answer")


def other_core(core: int) -> int:
    """A core for what drives the switch."""
    cores = sorted(os.sched_getaffinity(0))
    return next((c for c in reversed(cores) if c != core), core)
