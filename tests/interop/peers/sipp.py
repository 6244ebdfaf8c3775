"""SIPp (Debian's sip-tester): its embedded scenarios and ours, and the counters it leaves."""

from __future__ import annotations

import csv
import re
import time
from dataclasses import dataclass
from pathlib import Path

from .ports import HOST, free_port, free_ports, listening
from .process import Process, require, wait_until
from .script import Script

_BIND_ERROR = 254
_SEEN_S = 1.0
_REFUSED = re.compile(
    r"Aborting call on unexpected message for Call-Id '([^']*)': [^\n]*received 'SIP/2.0 ([0-9]{3})"
)
SCENARIOS = Path(__file__).parent.parent / "sipp"


@dataclass(frozen=True, slots=True)
class Counts:
    """What one SIPp counted from its start on."""

    calls: int
    successful: int
    failed: int
    retransmissions: int  # messages that this SIPp sent again
    received_again: int  # messages that reached this SIPp more than once
    unexpected: int
    details: str  # the raw rows, for the failure's text


class Sipp:
    """One SIPp process.

    Parameters: `scenario` an embedded scenario's name, a file of tests/interop/sipp, or a script; `server`
    "host:port" or None for a listening one; `number` the called number; `username`/`password`
    answer challenges; `calls`, `rate` (a second), `limit` at once; `hold_ms` for pauses without a
    length; `keys` fills `[name]` in a scenario; `fields` are lines of the injection file.
    """

    def __init__(
        self,
        directory: Path,
        scenario: str | Script,
        *,
        server: str | None = None,
        host: str = HOST,
        port: int | None = None,
        number: str = "service",
        username: str = "",
        password: str = "",
        calls: int | None = 1,
        rate: int = 10,
        limit: int | None = None,
        hold_ms: int = 0,
        keys: dict[str, str] | None = None,
        fields: list[str] | None = None,
        rtp_echo: bool = False,
        extra: list[str] | None = None,
    ) -> None:
        program = require("sipp", "sip-tester")
        self.host, self.port = host, port or free_port()
        self._calls = server is not None
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        if isinstance(scenario, Script):
            own = directory / f"{scenario.name}.xml"
            own.write_text(scenario.text())
        else:
            own = SCENARIOS / scenario
        self.name = own.stem
        self._statistics = directory / "statistics.csv"
        command: list[str | Path] = [program]
        if server is not None:
            command.append(server)
        command += ["-sf", own] if own.exists() else ["-sn", own.name]
        command += ["-i", host, "-p", str(self.port), "-mi", host]
        command += ["-nostdin", "-s", number, "-d", str(hold_ms)]
        command += ["-trace_stat", "-stf", self._statistics, "-fd", "1", "-trace_counts"]
        command += ["-trace_err", "-error_file", directory / "errors.log", "-r", str(rate)]
        if calls is not None:
            command += ["-m", str(calls)]
        if limit is not None:
            command += ["-l", str(limit)]
        if username:
            command += ["-au", username, "-ap", password]
        for key, value in (keys or {}).items():
            command += ["-key", key, value]
        if fields is not None:
            (directory / "fields.csv").write_text("\n".join(["SEQUENTIAL", *fields]) + "\n")
            command += ["-inf", directory / "fields.csv"]
        if rtp_echo:
            command.append("-rtp_echo")
        self._command = [*command, *(extra or [])]
        self.process = self._started()
        self._patient_s = time.monotonic() + _SEEN_S
        try:
            wait_until(self._is_up, lambda: f"SIPp to listen:\n{self.process.tail()}")
        except BaseException:
            self.stop()
            raise

    def _started(self) -> Process:
        own = ["-mp", str(free_ports(4)), "-cp", str(free_port())]
        return Process(f"sipp-{self.name}", [*self._command, *own], self.directory)

    def _is_up(self) -> bool:
        """It has its ports; one that found them taken, which happens where more processes ask for ports than
        there are, tries again until that is over."""
        if self.process.running():
            late = self._calls and time.monotonic() > self._patient_s  # by TCP it listens nowhere
            return late or listening(self.port, self.process.pid)
        if self.process.child.returncode == _BIND_ERROR:
            self.process = self._started()
            return False
        assert self._calls, f"SIPp ended:\n{self.process.tail()}\n{self.errors()}"
        return True

    def wait(self, *, timeout_s: float = 60.0) -> Counts:
        """Wait until all its calls are over; the caller judges the counts."""
        self.process.wait(timeout_s=timeout_s)
        return self.counts()

    def stop(self) -> None:
        self.process.stop()

    def errors(self) -> str:
        path = self.directory / "errors.log"
        return path.read_text(errors="replace")[:1500] if path.exists() else ""

    def refusals(self) -> dict[str, int]:
        """The status that broke a call off, by Call-ID."""
        path = self.directory / "errors.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return {call_id: int(status) for call_id, status in _REFUSED.findall(text)}

    def counts(self) -> Counts:
        rows = _rows(self._statistics)
        assert rows, f"{self.name} left no statistics:\n{self.process.tail()}"
        row = rows[-1]
        again, unexpected, details = self._message_counts()
        return Counts(
            calls=int(row["TotalCallCreated"]),
            successful=int(row["SuccessfulCall(C)"]),
            failed=int(row["FailedCall(C)"]),
            retransmissions=int(row["Retransmissions(C)"]),
            received_again=again,
            unexpected=unexpected + int(row["FailedUnexpectedMessage(C)"]),
            details=f"{details}\n{self.errors()}",
        )

    def _message_counts(self) -> tuple[int, int, str]:
        """Retransmissions received and unexpected messages, by message of the scenario."""
        files = sorted(self.directory.glob("*_counts.csv"))
        if not files:
            return 0, 0, ""
        rows = _rows(files[-1])
        if not rows:
            return 0, 0, ""
        last = {name: value for name, value in rows[-1].items() if name and value}
        received = {name.rsplit("_", 1)[0] for name in last if name.endswith("_Recv")}
        again = sum(int(last.get(f"{name}_Retrans", 0)) for name in received)
        unexpected = sum(int(value) for name, value in last.items() if name.endswith("_Unexp"))
        return again, unexpected, str({n: v for n, v in last.items() if v != "0"})


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter=";"))


def register(
    directory: Path,
    *,
    server: str,
    number: str,
    password: str,
    port: int,
    expires_s: int = 3600,
    host: str = HOST,
) -> None:
    """Register `number` with the contact `host`:`port`, by a challenged REGISTER of SIPp."""
    phone = Sipp(
        directory / f"register-{number}-{host}-{port}-{expires_s}",
        "register.xml",
        server=server,
        host=host,
        port=port,
        number=number,
        username=number,
        password=password,
        keys={"expires": str(expires_s)},
    )
    try:
        counts = phone.wait()
        assert counts.successful == 1, f"{number} cannot register: {counts}\n{phone.process.tail()}"
    finally:
        phone.stop()
