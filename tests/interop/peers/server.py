"""The switch under test as its users run it: an office in a folder, `softswitch serve`, the command
line for what it says about itself."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from softswitch.api.admin import ask
from softswitch.cli.main import build
from softswitch.store.database import FILE_NAME
from tests.databases import lay_database

from .ports import HOST, free_port, free_ports
from .process import Process, resident_kib, wait_until

COMMAND = Path(sys.executable).parent / "softswitch"
TROUBLE = ("Traceback (most recent call last)", "was never retrieved", "was never awaited")


def password_of(number: str) -> str:
    return f"interop-secret-{number}"


@dataclass(slots=True)
class Trunk:
    """A trunk known by its address, "host:port", or by `source` where that is wider."""

    name: str
    address: str
    source: str = ""
    more: str = ""  # further TOML lines of the section
    calls_per_s: int = 5000
    calls: int = 5000
    health_check_s: float = 0

    def toml(self) -> str:
        return (
            f'[[trunk]]\nname = "{self.name}"\nuri = "sip:{self.address}"\n'
            f'from_addresses = ["{self.source or self.address}"]\nhealth_check_s = {self.health_check_s}\n'
            f"max_calls = {self.calls}\nmax_calls_per_s = {self.calls_per_s}\n{self.more}\n"
        )


@dataclass(slots=True)
class OfficeFile:
    """What goes into the generated office.toml; `more` is TOML appended as it is."""

    recording: str = "none"
    extensions: tuple[str, ...] = ("1001", "1002", "1003")
    trunks: list[Trunk] = field(default_factory=list)
    more: str = ""
    sip_port: int = field(default_factory=free_port)
    http: bool = False  # the API is no peer's business, and most of the work of a start
    rtp_ports: int = 200  # four a call
    rtp_port: int = 0  # 0: where they are free
    workers: int = 1
    tls_port: int = 0  # 0: no TLS
    sip_more: str = ""  # further lines of [sip]
    extension_more: dict[str, str] = field(default_factory=dict)  # and of extensions, by number

    host: str = HOST  # with brackets where it is IPv6
    listen_more: tuple[str, ...] = ()  # further listeners
    media_more: str = ""  # further lines of [media]

    def __post_init__(self) -> None:
        self.rtp_port = self.rtp_port or free_ports(self.rtp_ports)

    def _listeners(self) -> str:
        at = [f"udp://{self.host}:{self.sip_port}", f"tcp://{self.host}:{self.sip_port}"]
        at += [f"tls://{self.host}:{self.tls_port}"] if self.tls_port else []
        at += self.listen_more
        return ", ".join(f'"{listener}"' for listener in at)

    def toml(self) -> str:
        sections = [
            '[office]\nname = "Interop"\ndomain = "interop.example"\n',
            f"[sip]\nlisten = [{self._listeners()}]\n{self.sip_more}\n",
            f'[media]\naddress = "{self.host.strip("[]")}"\n'
            f'ports = "{self.rtp_port}-{self.rtp_port + self.rtp_ports - 1}"\n'
            f"workers = {self.workers}\n{self.media_more}\n",
            '[storage]\ndirectory = "var"\n',
            f'[recording]\ncalls = "{self.recording}"\n',
        ]
        if self.http:
            sections.append(f'[http]\nlisten = "{HOST}:{free_port()}"\n')
        sections += [
            f'[[extension]]\nnumber = "{number}"\nname = "Phone {number}"\n'
            f'password = "{password_of(number)}"\n{self.extension_more.get(number, "")}\n'
            for number in self.extensions
        ]
        sections += [trunk.toml() for trunk in self.trunks]
        return "\n".join([*sections, self.more])


@dataclass(frozen=True, slots=True)
class Record:
    """One call record as `softswitch calls --json` prints it; `row` is the whole of it."""

    call_id: str
    status: str
    row: dict[str, Any]


SIP_CALLS = ("sessions", "dialogs", "events_waiting")
SIP_LINGERING = ("transactions", "handles", "timers")
CONTROL = ("calls", "legs", "sessions", "streams", "closing_streams", "recordings", "handlers")
MEDIA = ("streams", "closing", "recordings", "groups")


def busy_tables(status: dict[str, Any], *, lingering: bool) -> dict[str, Any]:
    """What a status still holds of calls. With `lingering` also what SIP keeps for a while after the
    last message of a call."""
    sip = SIP_CALLS + SIP_LINGERING if lingering else SIP_CALLS
    left: dict[str, Any] = {"live": len(status["calls"])}
    for table, names in (("sip", sip), ("tables", CONTROL), ("media", MEDIA)):
        left.update({f"{table}.{name}": status[table][name] for name in names})
    left.update({f"worker.{row['worker']}": row["streams"] for row in status["workers"]})
    return {name: size for name, size in left.items() if size}


class Server:
    """`softswitch serve` on a generated office in `directory`; can be started again later."""

    def __init__(self, directory: Path, office: OfficeFile) -> None:
        self.directory, self.office = directory, office
        directory.mkdir(parents=True, exist_ok=True)
        self.file = directory / "office.toml"
        self.file.write_text(office.toml())
        self.file.chmod(0o600)
        self.storage.mkdir(mode=0o700, exist_ok=True)
        lay_database(self.storage)
        self.process: Process | None = None
        self.starts = 0
        self._finished: list[Process] = []
        self._past: set[Path] = set()
        self._past_s = 0.0

    @property
    def address(self) -> str:
        return f"{self.office.host}:{self.office.sip_port}"

    @property
    def storage(self) -> Path:
        return self.directory / "var"

    def certificate(self) -> Path:
        """The certificate that the switch has made for itself."""
        return next(self.storage.rglob("certificate.pem"))

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        self.starts += 1
        self.process = Process(
            f"serve-{self.starts}", [COMMAND, "serve", self.file], self.directory
        )
        self.process.wait_for_log(": ready on ", timeout_s=60.0)

    def stop(self) -> None:
        """End it in the orderly way; may be called twice."""
        if self.process is not None:
            self._finished.append(self.process)
            self.process = None
        for process in self._finished:
            process.stop(timeout_s=20.0)

    def kill(self) -> Process:
        """kill -9 of the control plane alone; what it leaves behind must not stop the next start.
        `stop` ends that too."""
        assert self.process is not None
        process, self.process = self.process, None
        process.kill()
        self._finished.append(process)
        return process

    def trouble(self) -> str:
        """The output of a run that told of an unhandled error, else nothing."""
        runs = [*self._finished, *([self.process] if self.process else [])]
        for run in runs:
            log = run.log()
            if any(words in log for words in TROUBLE):
                return log
        return ""

    # -- what it says ---------------------------------------------------------------------------

    def run(self, *arguments: str) -> str:
        """Standard output of a `softswitch` command about this office; in this process, for an interpreter
        each time is half a second of work."""
        runner = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200"})
        with contextlib.chdir(self.directory):
            done = runner.invoke(build(), arguments)
        assert done.exit_code == 0, f"softswitch {' '.join(arguments)}:\n{done.output}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """Live calls, registrations, workers and table sizes, over the admin socket: what
        `softswitch status --json` prints."""
        return next(ask(self.storage, "status"))

    def registrations(self) -> int:
        return len(self.status()["registrations"])

    def exceptions(self) -> int:
        """Errors that left a handler, and calls that were broken off because of one."""
        status = self.status()
        return int(status["counters"]["exceptions"]) + int(status["tables"]["broken"])

    def wait_idle(self, *, timeout_s: float = 30.0) -> None:
        """Wait until no call is left, neither in control nor in the media workers."""
        wait_until(
            lambda: not busy_tables(self.status(), lingering=False),
            lambda: f"an idle switch; left: {busy_tables(self.status(), lingering=False)}",
            timeout_s=timeout_s,
        )
        assert self.exceptions() == 0, self.status()

    def wait_empty(self, *, timeout_s: float = 60.0) -> None:
        """Wait until every table is empty; transactions linger for 32 s (RFC 3261, RFC 6026)."""
        wait_until(
            lambda: not busy_tables(self.status(), lingering=True),
            lambda: f"empty tables; left: {busy_tables(self.status(), lingering=True)}",
            timeout_s=timeout_s,
        )

    def mark(self) -> None:
        """What it has written down by now was of tests before: `records` and `recordings` leave it out."""
        self._past_s, self._past = time.time(), set(self.storage.rglob("*.wav"))

    def noted(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Entries of the journal whose kind begins so, oldest first."""
        query = "SELECT kind, data FROM journal WHERE kind LIKE ? ORDER BY seq"
        with contextlib.closing(sqlite3.connect(self.storage / FILE_NAME)) as database:
            return [
                (found, json.loads(data)) for found, data in database.execute(query, (f"{kind}%",))
            ]

    def written(self) -> list[str]:
        """The states of all call records that are in the file, without a command."""
        query = "SELECT status FROM calls WHERE started_at_s >= ?"
        with contextlib.closing(sqlite3.connect(self.storage / FILE_NAME)) as database:
            return [status for (status,) in database.execute(query, (self._past_s,))]

    def records(self, count: int) -> list[Record]:
        """All call records, as `softswitch calls` shows them; waits until there are `count` of them and none
        is open."""

        def complete() -> bool:
            states = self.written()
            return len(states) >= count and "open" not in states

        wait_until(complete, lambda: f"{count} call records; there are {self.written()}")
        rows = json.loads(self.run("calls", str(self.file), "--json", "--limit", "10000"))
        rows = [row for row in rows if row["started_at_s"] >= self._past_s]
        assert len(rows) == count, f"{len(rows)} call records instead of {count}"
        assert all(row["status"] != "open" for row in rows), rows
        return [Record(row["call_id"], row["status"], row) for row in rows]

    def said(self) -> str:
        """The output of the current run."""
        assert self.process is not None
        return self.process.log()

    # -- its processes --------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """Process ids of the media workers that carry calls."""
        return [int(row["pid"]) for row in self.status()["workers"]]

    def pids(self) -> list[int]:
        return [self.pid, *self.workers()]

    def resident_kib(self) -> int:
        return sum(resident_kib(pid) for pid in self.pids())

    # -- recordings -----------------------------------------------------------------------------

    def recordings(self) -> list[Path]:
        return sorted(path for path in self.storage.rglob("*.wav") if path not in self._past)

    def wait_recording(self) -> Path:
        return wait_until(self.recordings, "a recording in the storage directory")[-1]
