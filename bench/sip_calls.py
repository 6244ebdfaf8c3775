"""CPU, set-up time and memory of calls through the whole exchange, driven by SIPp on another core.

    python bench/sip_calls.py [--rate 200] [--calls 4000] [--up 400] [--save]

CPU is that of the event loop, of the journal's threads and of the media worker, from /proc over the
whole run; no media flows. Kamailio as a stateful relay with Record-Route, where it is installed, is
measured in the same run as the floor that a program in C has for half the work.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import figures
import sipp
from figures import Figure
from serving import (
    CALLED,
    CALLER,
    SERVER,
    TRUNKS,
    free_port,
    other_core,
    spent,
    tree_cpu_s,
)

KAMAILIO = """\
fork=no
children=1
listen=udp:{server}:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
request_route {{
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    if (is_method("CANCEL")) {{ t_relay(); exit; }}
    record_route();
    $du = "sip:{called}";
    t_relay();
}}
"""


def set_up(folder: Path, rate: float, calls: int, core: int) -> list[Figure]:
    with sipp.between(folder / "switch", TRUNKS, core) as (switch, there):
        where = (folder / "warm", *there)
        sipp.call(*where, calls=200, rate=50)
        before = switch.cpu_s()
        found = sipp.call(*where, calls=calls, rate=rate)
        time.sleep(1.0)  # what the database has still to hear
        used = spent(before, switch.cpu_s())
    each = {name: 1e3 * seconds / max(1, found.successful) for name, seconds in used.items()}
    parts = ", ".join(f"{name} {each[name]:.2f}" for name in ("loop", "threads", "media"))
    note = f"{found.successful} calls at {rate:g}/s: {parts}; {found.failed} failed, {found.resent} resent"
    return [
        Figure("CPU of a call set up and torn down", each["total"], "ms", 1.2, note=note),
        Figure("INVITE to 200, median", found.p50, "ms", note="SIPp's clock, milliseconds"),
        Figure("INVITE to 200, p99", found.percentile(0.99), "ms"),
    ]


def memory(folder: Path, count: int, core: int) -> list[Figure]:
    """Calls that are up, without media packets: the streams are open and configured."""
    hold_s = 20
    with sipp.between(folder / "memory", TRUNKS, core) as (switch, where):
        sipp.call(folder / "first", *where, calls=20, rate=20)
        time.sleep(2.0)
        empty = switch.rss_kib()
        process = Background(folder / "up", *where, calls=count, rate=100, hold_ms=hold_s * 1000)
        time.sleep(count / 100 + 3)
        up = len(switch.status()["calls"])
        kib = (switch.rss_kib() - empty) / max(1, up)
        process.wait()
    return [
        Figure("memory of a call in progress", kib, "KB", 60, note=f"{up} calls up, media open")
    ]


class Background:
    """A calling SIPp that goes on while something is looked at."""

    def __init__(self, *where: object, **options: object) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._running = self._pool.submit(sipp.call, *where, **options)

    def wait(self) -> sipp.Outcome:
        """Its outcome, once all its calls are over."""
        with self._pool:
            return self._running.result()


def kamailio(folder: Path, rate: float, calls: int, core: int) -> list[Figure]:
    """The same calls through a relay in C that keeps transactions but no calls."""
    if shutil.which("kamailio") is None:
        print("bench: kamailio is missing (apt-get install kamailio): no comparison")
        return []
    caller, called, port = free_port(CALLER), free_port(CALLED), free_port(SERVER)
    driver = other_core(core)
    file = folder / "kamailio.cfg"
    file.write_text(KAMAILIO.format(server=SERVER, port=port, called=f"{CALLED}:{called}"))
    command = ["taskset", "-c", str(core), "kamailio", "-DD", "-E", "-f", str(file), "-m", "64"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2.0)
        if child.poll() is not None:
            print("bench: kamailio does not start: no comparison")
            return []
        with sipp.called(folder, CALLED, called, driver):
            where = (folder / "peer", f"{SERVER}:{port}", CALLER, caller, driver)
            sipp.call(*where, calls=100, rate=50)
            before = tree_cpu_s(child.pid)
            found = sipp.call(*where, calls=calls, rate=rate)
            used = tree_cpu_s(child.pid) - before
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
    each = 1e3 * used / max(1, found.successful)
    note = f"{found.successful} calls: a stateful relay in C, no B2BUA, no media, no records"
    return [Figure("Kamailio 5.6, the same calls", each, "ms", note=note)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--up", type=int, default=400)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--only", choices=("setup", "memory", "kamailio"))
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        folder = Path(temporary)
        if chosen.only in (None, "setup"):
            found += set_up(folder, chosen.rate, chosen.calls, chosen.core)
        if chosen.only in (None, "memory"):
            found += memory(folder, chosen.up, chosen.core)
        if chosen.only in (None, "kamailio"):
            found += kamailio(folder, chosen.rate, chosen.calls, chosen.core)
    figures.show(found)
    if chosen.save:
        figures.save("sip_calls", found)


if __name__ == "__main__":
    main()
