"""The API at 200 requests a second while 200 calls are relayed, and what that does to the calls.

    python bench/api.py --save

The switch, its API, its media worker and the client of the API share one core; callgen, which keeps its own
busy, has the other. Requests are sent at fixed times whether or not those before have been answered, and each
is timed from when it was due. What the same calls lose and cost without requests is measured first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import callgen, figures
from bench.callgen import Work
from bench.figures import Figure
from bench.serving import Serving, spent
from softswitch.api.admin import ask

CALLS, RATE_PER_S, CONNECTIONS = 200, 200, 16
CUSTOMERS = 200
NEW_EVERY = 20
"""Every so many requests one creates a customer; the others read."""

READS = (
    "/api/v1/queues",
    "/api/v1/agents",
    "/api/v1/calls?limit=20",
    "/api/v1/customers?limit=20",
    "/api/v1/customers/7",
    "/api/v1/calls/live",
    "/api/v1/office",
    "/api/v1/session",
)
LIVE = READS.index("/api/v1/calls/live")


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """One request: how long it took from when it was due, what it was, and when, after the first."""

    took_s: float
    what: str
    after_s: float


@dataclass(slots=True)
class Load:
    """What the requests came to. Times in seconds."""

    seconds: float
    asked: list[Asked] = field(default_factory=list)
    failed: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    began_s: float = 0.0
    window_s: float = 0.0
    live_octets: int = 0

    def run(self, running: Serving) -> None:
        """Wait until the calls are up, then ask."""
        answer = next(ask(running.folder / "var", "api"))
        os.sched_setaffinity(0, {0})
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            if running.status()["tables"]["calls"] >= CALLS:
                break
            time.sleep(0.3)
        else:
            print("bench: the calls did not come about", file=sys.stderr)
            return
        time.sleep(2.0)
        before, began_s = running.cpu_s(), time.monotonic()
        if self.seconds:
            asyncio.run(self.ask(answer["url"], answer["token"]))
        else:
            time.sleep(10.0)
        self.window_s = time.monotonic() - began_s
        self.cpu = spent(before, running.cpu_s())

    async def ask(self, url: str, token: str) -> None:
        """Make some customers; when all of them are there, send requests at `RATE_PER_S`."""
        host, port = str(urlsplit(url).hostname), int(urlsplit(url).port or 0)
        due: asyncio.Queue[tuple[float, str, str, bytes] | None] = asyncio.Queue()
        head = f"Host: {host}\r\nAuthorization: Bearer {token}\r\n"
        clients = [
            asyncio.create_task(self._client(host, port, head, due)) for _ in range(CONNECTIONS)
        ]
        for number in range(CUSTOMERS // 4):
            due.put_nowait((0.0, "POST", "/api/v1/customers", _customer(number)))
        await due.join()
        self.asked.clear()
        began_s = self.began_s = time.monotonic()
        for number in range(int(self.seconds * RATE_PER_S)):
            at_s = began_s + number / RATE_PER_S
            if (wait_s := at_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            if number % NEW_EVERY == 0:
                due.put_nowait((at_s, "POST", "/api/v1/customers", _customer(1_000 + number)))
            else:
                due.put_nowait((at_s, "GET", READS[number % len(READS)], b""))
        for _ in clients:
            due.put_nowait(None)
        await asyncio.gather(*clients)

    async def _client(self, host: str, port: int, head: str, due: asyncio.Queue[Any]) -> None:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
        while (work := await due.get()) is not None:
            at_s, method, path, body = work
            more = (
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
            )
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}{more}\r\n".encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(answer.split("content-length: ")[1].split("\r\n")[0])
            await reader.readexactly(length)
            if at_s:
                what, took_s = f"{method} {path}", time.monotonic() - at_s
                self.asked.append(Asked(took_s, what, at_s - self.began_s))
            if "live" in path:
                self.live_octets = max(self.live_octets, length)
            if not answer.startswith("http/1.1 2"):
                self.failed += 1
                print(f"bench: {method} {path}: {answer.splitlines()[0]}", file=sys.stderr)
            due.task_done()  # now that it is answered: who waits for all of them begins to measure then
        writer.close()


def _customer(number: int) -> bytes:
    return json.dumps({"name": f"Customer {number}", "phones": [f"+86138{number:08}"]}).encode()


def at(values: list[float], share: float) -> float:
    """A quantile, in milliseconds."""
    found = sorted(values)
    return 1000 * found[min(len(found) - 1, int(share * len(found)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=15, help="of requests")
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    parser.add_argument("--paths", action="store_true", help="times by path")
    chosen = parser.parse_args()
    name = f"{RATE_PER_S} requests a second beside {CALLS} calls"
    measured: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as temporary:
        program = callgen.build(Path(temporary))
        lost, delay, cpu = {}, {}, {}
        for label, seconds in (("alone", 0.0), ("asked", float(chosen.seconds))):
            window = str(chosen.seconds + 12 if seconds else 14)
            options = ("-n", str(CALLS), "-r", "60", "-d", window, "--stamp")
            load = Load(seconds)
            work = Work(f"api-{label}", name, options)
            found = callgen.measure(work, program, Path(temporary), 0, load.run)
            lost[label] = found["tx"] - found["rx"]
            delay[label] = found.get("lat_ms_p99") or 0.0
            cpu[label] = 100 * load.cpu["loop"] / load.window_s
            ended = found["failed"] + found["server_bye"]
            print(f"{label}: {found['up']} calls up, {ended} ended, {lost[label]} packets lost")
            if not seconds:
                continue
            took_s, slowest = [one.took_s for one in load.asked], max(load.asked)
            note = (
                f"{len(took_s)} requests, {load.failed} failed; p50 {at(took_s, 0.5):.1f}, the slowest "
                f"{1e3 * slowest.took_s:.1f} ms ({slowest.what}, {slowest.after_s:.1f} s after the first)"
            )
            measured.append(Figure(f"{name}: p99", at(took_s, 0.99), "ms", 50, note=note))
            for path in sorted({one.what for one in load.asked} if chosen.paths else ()):
                values = [one.took_s for one in load.asked if one.what == path]
                print(
                    f"    {path:34} p50 {at(values, 0.5):7.1f}  p99 {at(values, 0.99):7.1f}  "
                    f"most {at(values, 1):7.1f} ms"
                )
            print(f"    live calls: {load.live_octets} octets")
    note = f"of {found['tx']}; {lost['alone']} without requests"
    measured.append(Figure(f"{name}: packets lost", lost["asked"], "packets", 0, note=note))
    note = f"{delay['alone']:.1f} ms without requests"
    measured.append(Figure(f"{name}: added delay p99", delay["asked"], "ms", 8, note=note))
    each_ms = 10 * (cpu["asked"] - cpu["alone"]) / RATE_PER_S
    note = f"the loop: {cpu['asked']:.0f} % of a core, {cpu['alone']:.0f} % without requests"
    measured.append(Figure(f"{name}: CPU of a request", each_ms, "ms", note=note))
    figures.show(measured)
    if chosen.save:
        figures.save("api", measured)


if __name__ == "__main__":
    main()
