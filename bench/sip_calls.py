"""CPU, set-up time and memory of calls through the whole exchange, driven by SIPp on another core.

    python bench/sip_calls.py [--rates 200,450] [--calls 4000] [--up 400] [--save]
    python bench/sip_calls.py --only setup --with .venv-system/bin/python --rounds 3

The first rate is a third of what the exchange can take, the second two thirds: a waking costs as much as
some of the work, and at a higher rate one waking serves more messages. CPU is that of the event loop, of
the journal's threads and of the media worker, from /proc over the whole run; no media flows. Kamailio as a
stateful relay with Record-Route, where it is installed, is measured in the same run as the floor that a
program in C has for half the work.

What comes in bursts costs more than what is done in one go, by the machine alone (`bursts.py`): how much
is told with it, and what it was just before and after, for others on the same host make it dearer. `--with`
measures the exchange on another Python in turn with the bench's own. What users of Debian have is measured
beside it where there is an environment of it (`make system-python`).
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench import bursts, figures, sipp
from bench.figures import Figure
from bench.peers import HOST, Kamailio, missing
from bench.serving import TRUNKS, other_core, spent, tree_cpu_s
from softswitch.ports import free_port


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of a call in milliseconds, by part, and what SIPp has counted."""

    each_ms: dict[str, float]
    found: sipp.Outcome


def cost(folder: Path, rate: float, calls: int, core: int) -> Cost:
    folder.mkdir(parents=True)
    with sipp.between(folder / "switch", TRUNKS, core) as (switch, there):
        where = (folder / "warm", *there)
        sipp.call(*where, calls=200, rate=50)
        before = switch.cpu_s()
        found = sipp.call(*where, calls=calls, rate=rate)
        time.sleep(1.0)  # what the database has still to hear
        used = spent(before, switch.cpu_s())
    done = max(1, found.successful)
    return Cost({name: 1e3 * seconds / done for name, seconds in used.items()}, found)


def set_up(folder: Path, rate: float, calls: int, core: int) -> list[Figure]:
    machine_us = [bursts.now_us(core)]
    measured = cost(folder, rate, calls, core)
    machine_us.append(bursts.now_us(core))
    each, found = measured.each_ms, measured.found
    parts = ", ".join(f"{name} {each[name]:.2f}" for name in ("loop", "threads", "media"))
    note = f"{found.successful} calls at {rate:g}/s: {parts}; {found.failed} failed, {found.resent} resent"
    note += "; SIP alone in bursts before and after: {:.0f} and {:.0f} us".format(*machine_us)
    at = f"{rate:g} a second"
    clock = "SIPp's clock, milliseconds"
    return [
        Figure(f"CPU of a call set up and torn down, {at}", each["total"], "ms", 1.2, note=note),
        Figure(f"INVITE to 200, median, {at}", found.p50, "ms", note=clock),
        Figure(f"INVITE to 200, p99, {at}", found.percentile(0.99), "ms"),
    ]


def on_system(folder: Path, rates: list[float], calls: int, core: int) -> list[Figure]:
    """CPU of a call on the system's own Python."""
    if not figures.SYSTEM.exists():
        print(
            "bench: not measured on the system's Python: `make system-python` makes an environment"
        )
        return []
    before = figures.interpreter()
    os.environ[figures.INTERPRETER] = str(figures.SYSTEM)
    about = figures.about_interpreter(figures.interpreter())
    try:
        found = [set_up(folder / f"system-{rate:g}", rate, calls, core)[0] for rate in rates]
    finally:
        os.environ[figures.INTERPRETER] = before
    return [
        replace(each, name=f"{each.name}, system's Python", note=f"{about}; {each.note}")
        for each in found
    ]


def in_turn(folder: Path, rates: list[float], chosen: argparse.Namespace) -> list[Figure]:
    """The same exchange on several Pythons, one after the other, `rounds` times: medians."""
    pythons = [figures.interpreter(), *map(os.path.abspath, chosen.others)]
    shown = []
    for rate in rates:
        costs: dict[str, list[Cost]] = {path: [] for path in pythons}
        for number, path in itertools.product(range(chosen.rounds), pythons):
            os.environ[figures.INTERPRETER] = path
            where = folder / f"{rate:g}-{number}-{pythons.index(path)}"
            measured = cost(where, rate, chosen.calls, chosen.core)
            costs[path].append(measured)
            parts = ", ".join(f"{name} {ms:.3f}" for name, ms in measured.each_ms.items())
            print(f"  {rate:g} a second, {path}: {parts}", flush=True)
        for path, found in costs.items():
            totals = [each.each_ms["total"] for each in found]
            loops = [each.each_ms["loop"] for each in found]
            title = f"CPU of a call, {rate:g} a second, {figures.about_interpreter(path)}"
            note = f"of {', '.join(f'{total:.2f}' for total in totals)}; loop {median(loops):.2f}"
            shown.append(Figure(title, median(totals), "ms", 1.2, note=note))
    return shown


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

    def __init__(
        self,
        folder: Path,
        *where: *sipp.Where,
        calls: int,
        rate: float,
        hold_ms: int = 0,
        patience_s: float = sipp.PATIENCE_S,
    ) -> None:
        self._pool = ThreadPoolExecutor(1)
        call = functools.partial(sipp.call, folder, *where, calls=calls, rate=rate)
        self._running = self._pool.submit(call, hold_ms=hold_ms, patience_s=patience_s)

    def wait(self) -> sipp.Outcome:
        """Its outcome, once all its calls are over."""
        with self._pool:
            return self._running.result()


def kamailio(folder: Path, rate: float, calls: int, core: int) -> list[Figure]:
    """The same calls through a relay in C that keeps transactions but no calls."""
    if missing("kamailio"):
        print("bench: kamailio is missing (apt-get install kamailio): no comparison")
        return []
    return asyncio.run(_kamailio(folder, rate, calls, core))


async def _kamailio(folder: Path, rate: float, calls: int, core: int) -> list[Figure]:
    driver = other_core(core)
    async with Kamailio(1, core, children=1) as proxy:
        with sipp.called(folder, HOST, proxy.callee_ports[0], driver):
            where = (f"{HOST}:{proxy.port}", HOST, free_port(HOST), driver)
            call = functools.partial(sipp.call, folder / "peer", *where, number="900123")
            await asyncio.to_thread(call, calls=100, rate=50)
            before = tree_cpu_s(proxy.pids[0])
            found = await asyncio.to_thread(call, calls=calls, rate=rate)
            used = tree_cpu_s(proxy.pids[0]) - before
    each = 1e3 * used / max(1, found.successful)
    note = f"{found.successful} calls, {found.failed} failed: a stateful relay in C, no B2BUA, media, records"
    return [Figure("Kamailio, the same calls", each, "ms", note=note)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", default="200,450", help="calls a second, one after another")
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--up", type=int, default=400)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--only", choices=("bursts", "setup", "system", "memory", "kamailio"))
    parser.add_argument(
        "--with", dest="others", action="append", default=[], metavar="PYTHON",
        help="compare with the exchange on this Python, that of an environment with the project in it",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=1, help="of --with")
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    rates = [float(rate) for rate in chosen.rates.split(",")]
    parts: dict[str, Callable[[Path], list[Figure]]] = {
        "bursts": lambda folder: bursts.measure(4.0, chosen.core),
        "setup": lambda folder: (
            in_turn(folder, rates, chosen)
            if chosen.others
            else [
                figure
                for rate in rates
                for figure in set_up(folder / f"{rate:g}", rate, chosen.calls, chosen.core)
            ]
        ),
        "system": lambda folder: on_system(folder, rates, chosen.calls, chosen.core),
        "memory": lambda folder: memory(folder, chosen.up, chosen.core),
        "kamailio": lambda folder: kamailio(folder, rates[0], chosen.calls, chosen.core),
    }
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        for name, measure in parts.items():
            if chosen.only in (None, name):
                found = measure(Path(temporary))
                figures.show(found)
                if chosen.save:
                    figures.save("sip_calls", found)


if __name__ == "__main__":
    main()
