"""Builders for tests of the store."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from softswitch.store import Store, StoreAlarm
from tests.databases import lay_database
from tests.journaled import ENTRIES, entries_in

Append = Callable[[str, str | None, dict[str, Any], float], int]


class Calls:
    """Writes the entries of whole calls, as call control does, at made-up times."""

    def __init__(self, append: Append) -> None:
        self.append = append
        self.entries = 0

    def _note(self, kind: str, call_id: str, at_s: float, /, **data: Any) -> None:
        self.append(kind, call_id, data, at_s)
        self.entries += 1

    def start(self, call_id: str, at_s: float = 1_000.0) -> None:
        numbers = {"number_from": "1001", "number_to": "1002", "caller_name": "Li Lei"}
        self._note("call-started", call_id, at_s, **numbers, direction="internal", extension="1001")
        self._note("call-routed", call_id, at_s, kind="extension", name="1002")
        self._note("leg-started", call_id, at_s, leg=1, role="caller", endpoint="1001")
        self._note("leg-started", call_id, at_s, leg=2, role="callee", endpoint="1002")
        self._note("leg-ringing", call_id, at_s + 1, leg=2)

    def answer(self, call_id: str, at_s: float = 1_005.0) -> None:
        self._note("leg-answered", call_id, at_s, leg=2, codec="PCMA")
        self._note("leg-answered", call_id, at_s, leg=1, codec="PCMA")
        self._note("call-answered", call_id, at_s)
        self._note("recording-started", call_id, at_s, name=f"{call_id}.wav")

    def end(self, call_id: str, at_s: float = 1_065.0) -> None:
        for leg in (1, 2):
            self._note("leg-ended", call_id, at_s, leg=leg, by="caller", status=200, cause=16)
        ended = {"by": "caller", "status": 200, "q850": 16, "cause": 16, "outcome": "answered"}
        self._note("call-ended", call_id, at_s, **ended)
        self._note("leg-quality", call_id, at_s, leg=1, packets=3_000, lost=2)
        stopped = {"name": f"{call_id}.wav", "frames": 480_000, "reason": "ended"}
        self._note("recording-stopped", call_id, at_s, **stopped)

    def queued(self, call_id: str, at_s: float = 1_000.0) -> None:
        """A whole call that waits, is taken by an agent and asked how it was."""
        about = {"contact": call_id, "queue": "support", "agent": "li", "offer": call_id}
        self.start(call_id, at_s)
        for kind, data in (
            ("acd-queued", {"caller": "+8610", "region": "north"}),
            ("acd-offered", {}),
            ("acd-agent-state", {"new": "on-contact", "old": "available"}),
            ("acd-connected", {"waited_s": 3.0}),
            ("acd-handled", {"talk_s": 9.0, "wrap_up_s": 2.0, "outcome": "ended"}),
            ("acd-agent-state", {"new": "available", "old": "on-contact"}),
            ("survey", {"survey": "s", "score": 4}),
            ("acd-closed", {"outcome": "answered", "waited_s": 3.0}),
        ):
            self._note(kind, call_id, at_s + 10, **about, **data)
        self.answer(call_id, at_s + 13)
        self.end(call_id, at_s + 65)

    def whole(self, call_id: str, at_s: float = 1_000.0) -> None:
        self.start(call_id, at_s)
        self.answer(call_id, at_s + 5)
        self.end(call_id, at_s + 65)


class OpenStore:
    """A store with the alarms that it gave."""

    def __init__(self, store: Store, alarms: list[StoreAlarm]) -> None:
        self.store = store
        self.journal = store.journal
        self.alarms = alarms
        self.calls = Calls(store.journal.append)

    async def flush_until_good(self) -> None:
        """Flush again until the database takes everything, as it must once the fault is over."""
        while not await self.journal.flush():
            pass


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[OpenStore]:
    alarms: list[StoreAlarm] = []
    if "database" not in options:
        lay_database(directory)
    store = await Store.open(directory, on_alarm=alarms.append, **options)
    try:
        yield OpenStore(store, alarms)
    finally:
        await store.close()


def sql(directory: Path, query: str) -> list[tuple[Any, ...]]:
    """What an independent reader of the database sees."""
    with closing(sqlite3.connect(directory / "softswitch.db")) as connection:
        return connection.execute(query).fetchall()


def write(directory: Path, *statements: str) -> None:
    """What a stranger does to the database."""
    with closing(sqlite3.connect(directory / "softswitch.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size`: what a full disk does to a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Another program holds the database: another process, for of the locks of its own a process has other
    ideas. Raises `sqlite3.DatabaseError` where it cannot be held."""
    command = [sys.executable, "-S", "-c", _HOLD, str(directory / "softswitch.db")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if holder.stdout.readline() != b"held\n":
            raise sqlite3.DatabaseError("the database cannot be held")
        try:
            yield
        finally:
            holder.stdin.close()


_HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def not_writable(directory: Path) -> Iterator[None]:
    """The database file may be read only. Root may write anything, so root becomes nobody."""
    file = directory / "softswitch.db"
    if os.geteuid() != 0:
        file.chmod(0o400)
        yield
        file.chmod(0o600)
        return
    for path in directory.parents:  # pytest's own folders are closed to nobody
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, 65534, -1)
    os.chown(file, 0, -1)
    file.chmod(0o444)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        file.chmod(0o666)


class Tools:
    """The builders of this file as one value."""

    dialect = "sqlite"
    Calls = Calls
    OpenStore = OpenStore
    opened = staticmethod(opened)
    sql = staticmethod(sql)
    write = staticmethod(write)
    locked = staticmethod(locked)
    not_writable = staticmethod(not_writable)
    files_limited_to = staticmethod(files_limited_to)

    def entries(self, directory: Path) -> list[tuple[Any, ...]]:
        """What is in the journal's table."""
        return entries_in(self.sql(directory, ENTRIES))

    def numbers(self, directory: Path) -> tuple[int, int, int | None]:
        """How many entries it has, how many numbers they have, and the highest."""
        numbers = [entry[0] for entry in self.entries(directory)]
        return len(numbers), len(set(numbers)), max(numbers, default=None)


class PostgresTools(Tools):
    """The same over PostgreSQL: each directory has a database of its own."""

    dialect = "postgresql"

    def __init__(self, server: Any) -> None:
        self.server = server
        self._urls: dict[Path, str] = {}

    def url(self, directory: Path) -> str:
        if directory not in self._urls:
            self._urls[directory] = self.server.new_database()
        return self._urls[directory]

    def opened(self, directory: Path, **options: Any) -> Any:  # type: ignore[override]
        return opened(directory, database=self.url(directory), **options)

    def sql(self, directory: Path, query: str) -> list[tuple[Any, ...]]:  # type: ignore[override]
        return self.server.sql(self.url(directory), query)  # type: ignore[no-any-return]

    def write(self, directory: Path, *statements: str) -> None:  # type: ignore[override]
        for statement in statements:
            self.server.sql(self.url(directory), statement)


@pytest.fixture
def store_tools() -> Tools:
    """Stores in files, for tests of what files do."""
    return Tools()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest) -> Tools:
    """Stores on either database: what holds must hold on both."""
    if request.param == "sqlite":
        return Tools()
    return PostgresTools(request.getfixturevalue("postgres"))


@pytest.fixture
def postgres_store(postgres: Any) -> PostgresTools:
    """Stores on PostgreSQL, for tests of what a server does."""
    return PostgresTools(postgres)
