"""The part of a backup that is a PostgreSQL database: `pg_dump` writes it as it is at one moment while the
server runs, its rows are counted in what was written, and again in the database after `pg_restore`."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from softswitch.errors import SoftswitchError

DUMP_NAME = "database.pgdump"
_COPY = re.compile(rb'COPY (?:[\w"]+\.)?"?(\w+)"? \(')
_CONNECT_S = 10.0


class PostgresFailed(SoftswitchError):
    """`pg_dump` or `pg_restore` is missing, or says why it failed."""


def dump(url: str, target: Path) -> dict[str, int]:
    """Write a database to `target`; rows by table. Raises `PostgresFailed`."""
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"]
    _run("pg_dump", url, *options)
    target.chmod(0o600)
    return rows_of(target)


def rows_of(source: Path) -> dict[str, int]:
    """Rows by table of what `dump` has written. Raises `PostgresFailed` for a damaged one."""
    command = [_program("pg_restore"), "--data-only", "--file=-", str(source)]
    found: dict[str, int] = {}
    table = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        for line in reading.stdout:  # a line is a row: its own line breaks are escaped
            if table and line == b"\\.\n":
                table = ""
            elif table:
                found[table] += 1
            elif begins := _COPY.match(line):
                table = begins[1].decode()
                found[table] = 0
        said = reading.stderr.read().decode(errors="replace")
    if reading.returncode != 0:
        raise PostgresFailed(f"{source.name} is damaged: {_last_line(said)}")
    return dict(sorted(found.items()))


def is_empty(url: str) -> bool:
    """Whether a database has no tables. Raises `PostgresFailed`."""
    return not _ask(url, _tables)


def load(url: str, source: Path, *, force: bool) -> None:
    """Bring a dump into the database, all of it or nothing; with `force` in place of what is there. Raises
    `PostgresFailed`."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    if force:
        options += ["--clean", "--if-exists"]
    _run("pg_restore", url, *options, str(source))


def count_rows(url: str) -> dict[str, int]:
    """Rows by table of a database. Raises `PostgresFailed`."""

    async def count(connection: Any) -> dict[str, int]:
        # Names come from the database's own catalogue.
        return {
            name: await connection.fetchval(f'SELECT count(*) FROM "{name}"')
            for name in await _tables(connection)
        }

    found: dict[str, int] = _ask(url, count)
    return found


async def _tables(connection: Any) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
    return [str(row[0]) for row in await connection.fetch(query)]


def _ask(url: str, what: Any) -> Any:
    import asyncpg

    async def ask() -> Any:
        connection = await asyncpg.connect(url, timeout=_CONNECT_S)
        try:
            return await what(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(ask())
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise PostgresFailed(f"PostgreSQL cannot be read: {error or 'no answer'}") from None


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PostgresFailed(f"{name} is not installed; on Debian: apt install postgresql-client")
    return found


def _run(program: str, url: str, *options: str) -> None:
    """Run one of PostgreSQL's programs; the password is not among its arguments, which others can see."""
    parsed = sa.make_url(url)
    told = parsed.set(drivername="postgresql", password=None).render_as_string()
    environment = dict(os.environ)
    if parsed.password is not None:
        environment["PGPASSWORD"] = str(parsed.password)
    done = subprocess.run(
        [_program(program), f"--dbname={told}", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PostgresFailed(f"{program}: {_last_line(done.stderr)}")


def _last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if "error" in line.lower()] or said.splitlines()
    return lines[0][:300] if lines else "it failed without a word"
