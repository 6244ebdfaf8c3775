"""A private PostgreSQL of Debian's package, for tests of what is kept on either database."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from softswitch.logs import QuietHandler, SyslogHandler
from softswitch.store.migrate import migrate
from tests.rows import PROPERTY, Row, line

_START_S = 30.0
_STOP_S = 20.0
_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB")
_TEMPLATE = "made_before"


@cache
def programs() -> Path | None:
    """Where initdb is: in the path, or where Debian hides it."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3])
    )
    return versions[-1].parent if versions else None


class Postgres:
    """One running cluster, reached by a socket in its own directory; nobody else can."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self.directory = directory
        self._account: dict[str, Any] = {}
        if os.getuid() == 0:  # the server refuses to be root
            self._account = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(directory, "postgres", "postgres")
        self._server: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="postgresql")

    def make(self) -> None:
        """A new cluster, running."""
        command = [self._programs / "initdb", "-D", self.directory / "data", "-U", "softswitch"]
        command += ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._account)
        self.start()
        self.run(self._make_template())

    def start(self, *options: str) -> None:
        """Start the server and wait until it answers."""
        command = [self._programs / "postgres", "-D", self.directory / "data"]
        command += ["-k", self.directory, "-c", "listen_addresses="]
        for option in (*_QUICK, *options):
            command += ["-c", option]
        with (self.directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", start_new_session=True, **self._account
            )
        self.run(self._answers())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it quickly and cleanly, SIGQUIT as if the power went."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(_STOP_S)
            self._server = None

    def close(self) -> None:
        self.stop()
        self._thread.shutdown()

    def run(self, coroutine: Any) -> Any:
        """Await something in a loop of its own, from where another may be running."""
        return self._thread.submit(asyncio.run, coroutine).result()

    def url(self, name: str) -> str:
        return f"postgresql://softswitch@/{name}?host={self.directory}"

    def new_database(self) -> str:
        """The URL of a database with the tables of this version and nothing in them."""
        self._made += 1
        name = f"office{self._made}"
        self.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return self.url(name)

    def empty_database(self) -> str:
        """The URL of a database without any table."""
        self._made += 1
        self.sql("postgres", f"CREATE DATABASE office{self._made}")
        return self.url(f"office{self._made}")

    def sql(self, name: str, query: str) -> list[tuple[Any, ...]]:
        """What an independent reader sees. `name` is a database's, or its URL."""
        return self.run(
            self._sql(name.rpartition("/")[2] if "?" not in name else _name(name), query)
        )

    async def _sql(self, name: str, query: str) -> list[tuple[Any, ...]]:
        connection = await self._connect(name)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def _connect(self, name: str) -> Any:
        return await asyncpg.connect(host=str(self.directory), user="softswitch", database=name)

    async def _answers(self) -> None:
        async with asyncio.timeout(_START_S):
            while True:
                try:
                    await (await self._connect("postgres")).close()
                    return
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)

    async def _make_template(self) -> None:
        await self._sql("postgres", f"CREATE DATABASE {_TEMPLATE}")
        url = sa.make_url(self.url(_TEMPLATE)).set(drivername="postgresql+asyncpg")
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(migrate)
        await engine.dispose()


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long programmes only for who asks for them, by `-m` or by the very name of a test; and the longest first:
    one that begins last is waited for by all."""
    asked = "soak" in config.option.markexpr or any("::" in each for each in config.args)
    if not asked:
        long = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the garbage collector need not walk through it again and again, that
    took a fifth of the time of all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of our own; the test is skipped where Debian's package is missing."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="softswitch-pg-") as directory:
        server = Postgres(found, Path(directory))
        server.make()
        yield server
        server.close()


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Row:
    """Writes down a row of the reliability programme; all of them are printed at the end."""
    return lambda number, name, **figures: record_property(PROPERTY, line(number, name, figures))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows, in order."""
    reports = (each for found in terminalreporter.stats.values() for each in found)
    kept = [p for each in reports for p in getattr(each, "user_properties", ())]
    rows = sorted({str(value) for name, value in kept if name == PROPERTY})
    if rows:
        terminalreporter.section("reliability programme")
        for each in rows:
            terminalreporter.write_line(each)


@pytest.fixture(autouse=True)
def _no_log_of_another_test() -> Iterator[None]:
    """Commands that serve set up the log of their process, which here goes on with the next test."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if isinstance(handler, QuietHandler | SyslogHandler):
            root.removeHandler(handler)
            handler.close()
