"""SIPp (Debian's sip-tester) as caller and called party of the measurements, and what it counted."""

from __future__ import annotations

import contextlib
import csv
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.serving import CALLED, CALLER, Serving, need, other_core, serving
from softswitch.ports import free_port

BUFFER_OCTETS = 4 * 1024 * 1024
"""Of its socket, as far as the system allows: by itself it has 64 KiB, a hundred messages, 15 ms of a rush."""
SETTLE_S = 3
PATIENCE_S = 300.0
"""For all calls of a run to be over."""

SCENARIOS = Path(__file__).parent / "sipp_scenarios"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a calling SIPp. `took_s` is its whole run, `setup_ms` the sorted times from INVITE to
    200 of the calls that came about, `refused` those that got a 503, `steady_per_s` the calls completed a
    second after the first seconds and until the last call was begun, `each_s` those of each of these
    seconds, `begun_per_s` the calls begun a second in them."""

    calls: int
    successful: int
    failed: int
    refused: int
    resent: int
    took_s: float
    setup_ms: list[float]
    steady_per_s: float
    each_s: list[int]
    begun_per_s: float

    def percentile(self, part: float) -> float:
        """A percentile of the set-up times, milliseconds; 0 without calls."""
        if not self.setup_ms:
            return 0.0
        return self.setup_ms[min(len(self.setup_ms) - 1, int(part * len(self.setup_ms)))]

    @property
    def p50(self) -> float:
        return statistics.median(self.setup_ms) if self.setup_ms else 0.0


@contextlib.contextmanager
def called(folder: Path, host: str, port: int, core: int) -> Iterator[None]:
    """A SIPp that answers every call."""
    command = [*_pinned(core), "-sn", "uas", "-i", host, "-p", str(port), "-nostdin"]
    command += _ports(host)
    command += ["-recv_timeout", "60000", "-buff_size", str(BUFFER_OCTETS)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(1.0)
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


Where = tuple[str, str, int, int]
"""The switch, and whence a calling SIPp calls it: host, port and core."""


@contextlib.contextmanager
def between(folder: Path, office: str, core: int) -> Iterator[tuple[Serving, Where]]:
    """A switch of `office` on `core` whose trunk `caller` may call, and whose trunk `called` answers; what
    drives it is on another core."""
    caller, called_port, driver = free_port(CALLER), free_port(CALLED), other_core(core)
    trunks = {"caller": f"{CALLER}:{caller}", "called": f"{CALLED}:{called_port}"}
    with (
        serving(folder, office, core, **trunks) as switch,
        called(folder.parent, CALLED, called_port, driver),
    ):
        yield switch, (switch.address, CALLER, caller, driver)


def call(
    folder: Path,
    server: str,
    host: str,
    port: int,
    core: int,
    *,
    calls: int,
    rate: float,
    hold_ms: int = 0,
    number: str = "9123",
    patience_s: float = PATIENCE_S,
    settle_s: int = SETTLE_S,
) -> Outcome:
    """Make `calls` calls at `rate` a second and wait until all are over; what is steady begins after
    `settle_s` seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.csv"):
        old.unlink()
    command = [*_pinned(core), server, "-sf", str(SCENARIOS / "caller.xml"), "-i", host]
    command += ["-p", str(port), "-s", number, "-m", str(calls), "-r", f"{rate:.0f}"]
    command += ["-d", str(hold_ms), "-l", "100000", "-nostdin", "-trace_stat", "-fd", "1"]
    command += ["-stf", "statistics.csv", "-trace_rtt", "-rtt_freq", "1"]
    command += _ports(host)
    command += ["-recv_timeout", "40000", "-buff_size", str(BUFFER_OCTETS)]
    began_s = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(patience_s)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    took_s = time.monotonic() - began_s
    if process.returncode not in (0, 1):  # 1: there were calls that failed, which are counted
        raise RuntimeError(f"bench: SIPp has ended with {process.returncode}: see {folder}")
    rows = _rows(folder / "statistics.csv")
    row = rows[-1]
    refused = int(row.get("GenericCounter1(C)") or 0)
    steady = _begun(rows, calls)[settle_s:]
    times = [float(r["response_time_ms"]) for f in folder.glob("*_rtt.csv") for r in _rows(f)]
    return Outcome(
        calls=int(row["TotalCallCreated"]),
        successful=int(row["SuccessfulCall(C)"]) - refused,
        failed=int(row["FailedCall(C)"]),
        refused=refused,
        resent=int(row["Retransmissions(C)"]),
        took_s=took_s,
        setup_ms=sorted(times),
        steady_per_s=_per_s(steady, _completed),
        begun_per_s=_per_s(steady, lambda row: int(row["TotalCallCreated"])),
        each_s=[after - before for before, after in pairwise(map(_completed, steady))],
    )


def _begun(rows: list[dict[str, str]], calls: int) -> list[dict[str, str]]:
    """The rows, one a second, while calls were being begun."""
    return [row for row in rows if int(row["TotalCallCreated"]) < calls]


def _completed(row: dict[str, str]) -> int:
    return int(row["SuccessfulCall(C)"]) - int(row.get("GenericCounter1(C)") or 0)


def _per_s(rows: list[dict[str, str]], count: Callable[[dict[str, str]], int]) -> float:
    """By how much something grew a second from the first row to the last."""
    if len(rows) < 2:
        return 0.0
    first, last = rows[0], rows[-1]
    return (count(last) - count(first)) / max(0.001, _time_s(last) - _time_s(first))


def _time_s(row: dict[str, str]) -> float:
    """SIPp's own stamp: date, tab, time, tab, seconds since the epoch."""
    return float(row["CurrentTime"].split("\t")[-1])


def _ports(host: str) -> list[str]:
    """For its control socket and its sound: SIPp ends at once where one of them is taken."""
    return ["-cp", str(free_port(host)), "-mp", str(free_port(host, 4))]


def _pinned(core: int) -> list[str]:
    return [need("taskset", "util-linux"), "-c", str(core), need("sipp", "sip-tester")]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter=";"))
