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
from hypothesis import settings
from sqlalchemy.ext.asyncio import create_async_engine

from softswitch.logs import QuietHandler, SyslogHandler
from softswitch.store.migrate import migrate
from tests.rows import PROPERTY, Row, line
from tests.together import Together, first

# What a property says does not depend on who else uses the processors: no deadline for an example.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_START_S = 30.0
_STOP_S = 20.0
_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB")
_TEMPLATE = "made_before"
_CLEAR = """
DO $$ DECLARE name text; found boolean; used text[]; BEGIN
  FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
      AND relname <> 'alembic_version' LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', name) INTO found;
    IF found THEN used := used || quote_ident(name); END IF;
  END LOOP;
  IF used IS NOT NULL THEN  -- rows that were only deleted leave gaps that new ones fill in any order
    EXECUTE 'TRUNCATE ' || array_to_string(used, ', ') || ' CASCADE';
  END IF;
  FOR name IN SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL LOOP
    EXECUTE format('ALTER SEQUENCE %I RESTART', name);
  END LOOP;
END $$
"""
_SHAPE = """
SELECT version_num, (SELECT md5(string_agg(concat_ws(' ', relname, relkind, attname, atttypid, attnotnull), ','
                                           ORDER BY relname, attnum))
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
  WHERE relnamespace = 'public'::regnamespace AND attnum > 0) FROM alembic_version
"""


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
        self._lent: list[str] = []
        self._returned: list[str] = []
        self._shape: list[tuple[Any, ...]] = []
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
        self.stop(signal.SIGQUIT)  # nothing of it is read again: no checkpoint
        self._thread.shutdown()

    def run(self, coroutine: Any) -> Any:
        """Await something in a loop of its own, from where another may be running."""
        return self._thread.submit(asyncio.run, coroutine).result()

    def url(self, name: str) -> str:
        return f"postgresql://softswitch@/{name}?host={self.directory}"

    def new_database(self) -> str:
        """The URL of a database with the tables of this version and nothing in them."""
        name = self._cleared()
        if name is None:
            self._made += 1
            name = f"office{self._made}"
            self.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        self._lent.append(name)
        return self.url(name)

    def take_back(self) -> None:
        """What `new_database` has given to the test that ended may be given again: to make one is six hundred
        files, to empty one hardly any."""
        self._returned += self._lent
        self._lent.clear()

    def _cleared(self) -> str | None:
        """One that was given back, emptied; none whose tables a test has changed."""
        while self._returned:
            name = self._returned.pop()
            if self.run(self._sql(name, _CLEAR, _SHAPE)) == self._shape:
                return name
        return None

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

    async def _sql(self, name: str, *queries: str) -> list[tuple[Any, ...]]:
        """The rows of the last of them."""
        connection = await self._connect(name)
        try:
            for query in queries:
                rows = await connection.fetch(query)
            return [tuple(row) for row in rows]
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
        self._shape = await self._sql(_TEMPLATE, _SHAPE)


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _asked_for(expression: str) -> str:
    """The marker that `-m` wants every test to have; "" for none, or where it is not that simple."""
    first = expression.partition(" and ")[0].strip()
    return first if first.isidentifier() and " or " not in expression else ""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only tests with a marker are asked for, files that never name it are not loaded: each of four
    processes took longer for that than for the interop tests themselves."""
    marker = _asked_for(config.option.markexpr)
    if not marker or collection_path.suffix != ".py" or marker in collection_path.parts:
        return None
    return marker not in collection_path.read_text() or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long programmes only for who asks for them, by `-m` or by the very name of a test; and the longest first:
    one that begins last is waited for by all."""
    asked = "soak" in config.option.markexpr or any("::" in each for each in config.args)
    if not asked:
        long = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
    items.sort(key=lambda item: not first(item))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    """Keep together what shares an exchange."""
    return Together(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the garbage collector need not walk through it again and again, that
    took a fifth of the time of all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
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
def postgres(postgres_server: Postgres) -> Iterator[Postgres]:
    """The same for one test, which gives its databases back."""
    yield postgres_server
    postgres_server.take_back()


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
