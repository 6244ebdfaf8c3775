"""A whole exchange in a process of its own, on a disk that fails as it is told, while calls with sound go on,
two telephones call each other and somebody writes customers down; and the account that is taken afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.serving import Serving, await_api, other_core
from bench.sounding import HOST_A, HOST_B, Heard, Sounding
from bench.sounding import office as sounding_office
from softswitch.api.admin import ask
from softswitch.ports import free_port
from softswitch.sim.behaviour import answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork
from tests.canary import Canary
from tests.databases import lay_database
from tests.faulty_disk import FaultyDisk, disk_of, faulty_disk
from tests.journaled import ENTRIES, entries_in
from tests.punctual import kept_waiting

ROOT = Path(__file__).resolve().parent.parent
SOUNDING_CALLS = 10
WRITES_EVERY_S = 0.25
RECOVERS_S = 60.0
_READY_S = 60.0
_OFFICE = """\
[office]
domain = "office.example"
[sip]
listen = ["udp://127.0.0.1:{sip}"]
[media]
address = "127.0.0.1"
ports = "{low}-{high}"
workers = 1
[storage]
directory = "var"
[recording]
calls = "all"
[[extension]]
number = "1001"
password = "secret-1001"
[[extension]]
number = "1002"
password = "secret-1002"
"""
_HTTP = """\
[http]
listen = "127.0.0.1:{http}"
"""
_STORE = ("store.log", "store.database", "store.memory")


@dataclass
class Written:
    """Customers that somebody has tried to write down."""

    saved: list[str] = field(default_factory=list)
    refused: int = 0


@dataclass
class DiskOffice:
    """It runs. `storage` is its directory."""

    serving: Serving
    disk: FaultyDisk
    storage: Path
    canary: Canary
    process: subprocess.Popen[str]
    written: Written = field(default_factory=Written)
    heard: Heard | None = None
    worker: dict[str, float] = field(default_factory=dict)
    over: bool = False

    async def status(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.serving.status)

    async def store_alarms(self) -> dict[str, str]:
        found = (await self.status())["alarms"]
        return {name: why for name, why in found.items() if name in _STORE}

    def alarms_said(self) -> int:
        """How often its log has said that something of the store fails: what mends itself is over at once."""
        return (self.serving.folder / "serve.log").read_text().count(" ERROR softswitch.store.")

    async def alarmed(self, before: int, within_s: float) -> float | None:
        """Seconds until that is said once more than `before`."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + within_s:
            if self.alarms_said() > before:
                return round(time.monotonic() - began_s, 2)
            await asyncio.sleep(0.02)
        return None

    async def recovered(self) -> float:
        """Seconds until nothing of the store fails any more."""
        began_s = time.monotonic()
        async with asyncio.timeout(RECOVERS_S):
            while await self.store_alarms():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return round(time.monotonic() - began_s, 2)

    async def lag(self) -> dict[str, float]:
        """How late its loop was since this was asked last."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        found: dict[str, float] = json.loads(await asyncio.to_thread(self.process.stdout.readline))
        return found

    async def write_customers(self, url: str, token: str) -> None:
        """Until it is over."""
        for number in range(1_000_000):
            if self.over:
                return
            name = f"Wang {number}"
            try:
                status = await asyncio.to_thread(_post, url, token, {"name": name})
            except OSError:
                status = 0
            if status == 201:
                self.written.saved.append(name)
            else:
                self.written.refused += 1
            await asyncio.sleep(WRITES_EVERY_S)


def _post(url: str, token: str, body: dict[str, object]) -> int:
    at = urlsplit(url)
    with closing(http.client.HTTPConnection(str(at.hostname), at.port, timeout=60.0)) as connection:
        head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/customers", json.dumps(body), head)
        answer = connection.getresponse()
        answer.read()
        return answer.status


@contextlib.asynccontextmanager
async def disk_office(folder: Path, *, customers: bool = True) -> AsyncIterator[DiskOffice]:
    """With calls up and heard; without `customers` nobody writes any down, and it starts in half the time."""
    storage = folder / "var"
    storage.mkdir(exist_ok=True)
    lay_database(storage)
    sip, low = free_port(), free_port(count=64)
    ends = free_port(HOST_A), free_port(HOST_B)
    text = _OFFICE.format(sip=sip, low=low, high=low + 63) + sounding_office(*ends)
    api = free_port()
    if customers:
        text += _HTTP.format(http=api)
    (folder / "office.toml").write_text(text)
    environment = faulty_disk(folder, storage)
    with _running(folder, environment) as process:
        if customers:
            await asyncio.to_thread(await_api, api, time.monotonic() + _READY_S)
        serving = Serving(process.pid, sip, folder)
        async with contextlib.AsyncExitStack() as stack:
            phones = [
                await stack.enter_async_context(_phone(number, sip)) for number in ("1001", "1002")
            ]
            for each in phones:
                assert (await each.register()).status == 200
            canary = Canary((phones[0], phones[1]), "1002")
            office = DiskOffice(serving, disk_of(environment), storage, canary, process)
            async with _busy(office, ends, customers):
                yield office
        # Recordings are closed by now, and a worker, which reports once a second, has said how it fared.
        await asyncio.sleep(1.1)
        status = await office.status()
        kept_waiting(status)
        office.worker = status["workers"][0]
    log = (folder / "serve.log").read_text()
    assert "Traceback" not in log, log[-4000:]
    assert status["counters"]["exceptions"] == 0


@contextlib.asynccontextmanager
async def _busy(office: DiskOffice, ends: tuple[int, int], customers: bool) -> AsyncIterator[None]:
    server = ("127.0.0.1", office.serving.sip_port)
    core = other_core(min(os.sched_getaffinity(0)))
    sounding = Sounding(server, *ends, SOUNDING_CALLS, core)
    await asyncio.to_thread(sounding.start)
    tasks = [asyncio.create_task(office.canary.calls())]
    if customers:
        admin = next(await asyncio.to_thread(ask, office.storage, "api"))
        tasks.append(asyncio.create_task(office.write_customers(admin["url"], admin["token"])))
    await asyncio.sleep(0.5)
    await office.lag()  # what it took to begin is another story
    try:
        yield
    finally:
        office.over = office.canary.over = True
        await asyncio.gather(*tasks)
        office.heard = await asyncio.to_thread(sounding.stop)


@contextlib.contextmanager
def _running(folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.watched_exchange", "office.toml"]
    variables = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    with (
        (folder / "serve.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "ready\n", (folder / "serve.log").read_text()[-4000:]
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _phone(number: str, port: int) -> VirtualPhone:
    return VirtualPhone(
        RealNetwork(), number=number, password=f"secret-{number}", server=("127.0.0.1", port),
        domain="office.example", behaviour=answer(),
    )  # fmt: skip


def account(office: DiskOffice) -> dict[str, int]:
    """What is missing and what is there twice, after the end; asserted to be nothing."""
    calls = SOUNDING_CALLS + office.canary.seen.calls + len(office.canary.seen.failed)
    with closing(sqlite3.connect(office.storage / "softswitch.db")) as file:

        def one(query: str) -> tuple[int, ...]:
            return tuple(file.execute(query).fetchone())

        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        entries = entries_in(file.execute(ENTRIES).fetchall())
        numbers = [entry[0] for entry in entries]
        count, distinct, last = len(numbers), len(set(numbers)), max(numbers)
        begun = [entry[3] for entry in entries if entry[2] == "call-started"]
        started, told = len(begun), len(set(begun))
        kept, ended = one("SELECT count(*), count(ended_at_s) FROM calls")
        names = [name for (name,) in file.execute("SELECT name FROM customers")]
        stopped = [json.loads(data) for *_, kind, _, data in entries if kind == "recording-stopped"]
        reasons = [data.get("reason", "") for data in stopped]
        recorded = sum(entry[2] == "recording-started" for entry in entries)
    found = {
        "entries": count,
        "lost": last - count + calls - told,
        "doubled": count - distinct + started - told + len(names) - len(set(names)),
        "falsely_saved": len(set(office.written.saved) - set(names)),
    }
    assert (found["lost"], found["doubled"], found["falsely_saved"]) == (0, 0, 0), found
    assert (kept, ended) == (calls, calls)
    assert len(reasons) == recorded > 0
    found["recordings_cut"] = sum(bool(re.match("disk", reason)) for reason in reasons)
    return found
