"""The database itself: opening it, its pragmas, its schema, and what to do with a damaged one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from softswitch.errors import StoreError
from softswitch.store.entry import Entry
from softswitch.store.migrate import HEAD, migrate, revision_of
from softswitch.store.quick import QuickReader

_log = logging.getLogger(__name__)

FILE_NAME = "softswitch.db"
# Longer than any transaction of ours; a lock held longer is an alarm, and the log holds the entries.
LOCK_WAIT_S = 4.0
_JOIN_S = 1.0
_QUICK_CHECK_BYTES_MAX = 256 * 1024 * 1024
_SALVAGE_ROWS = 256
_SALVAGE = (
    "SELECT seq, at_s, kind, call_id, data FROM journal WHERE seq BETWEEN ? AND ? ORDER BY seq"
)
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A
_CONNECT_S = 5.0
_COMMAND_S = 120.0  # a server that has vanished without a word is given up then
_POLL_S = 0.1
_ADVISORY_LOCK = 0x50F75317C4
"""One server writes: numbers of entries would be given twice. PostgreSQL drops it with the connection."""
_CORRUPT = re.compile(r"malformed|not a database|corrupt", re.IGNORECASE)
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA wal_autocheckpoint = 0",  # SQLite tells nobody when one of its own fails
)
_CHECKPOINT, _EMPTY_WAL = "PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"
_WAL_BYTES_MAX = 4 * 1024 * 1024
"""Of committed pages beside the file; then they are brought into it, as SQLite by itself would."""
# The journal's log is on disk before its transaction begins, so that a power cut may take the last
# transactions: they are read back from there. NORMAL keeps the file itself consistent. What people
# write (customers, tickets) has no log and is synced.
_JOURNAL_PRAGMA = "PRAGMA synchronous = NORMAL"


class Corrupt(StoreError):
    """The database file is damaged."""


class Unreachable(StoreError):
    """The database's server does not answer now."""


class Doubtful(StoreError):
    """A sync has failed, and what was written before it cannot be written anew just now."""


def is_corruption(error: BaseException) -> bool:
    """Whether an error of the driver says that the file is damaged (not locked, full, read-only)."""
    original = getattr(error, "orig", error)
    return isinstance(original, Exception) and bool(_CORRUPT.search(str(original)))


def is_lock(error: BaseException) -> bool:
    """Whether an error of the driver says that another program holds the database just now."""
    original = getattr(error, "orig", error)
    if getattr(original, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
        return True
    return isinstance(original, sqlite3.OperationalError) and "locked" in str(original)


def is_io_error(error: BaseException) -> bool:
    """Whether an error of the driver says that the disk did not do what it was told."""
    original = getattr(error, "orig", error)
    return isinstance(original, sqlite3.OperationalError) and "disk I/O error" in str(original)


def reason_of(error: BaseException) -> str:
    """The driver's own words, on one line, without the statement (it holds callers' numbers)."""
    text = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    return text[:200] or type(error).__name__


class Database:
    """The one connection that writes and the pool that reads.

    Parameters: `directory`, where SQLite's file lives; `url`, "sqlite" or a PostgreSQL URL;
    `file_name`, another file than the usual one; `lock_wait_s`, how long a statement waits for a lock
    that another program holds.
    """

    def __init__(
        self,
        directory: Path,
        url: str = "sqlite",
        file_name: str = FILE_NAME,
        *,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        self._lock_wait_s = lock_wait_s
        self._busy_timeout = f"PRAGMA busy_timeout = {int(lock_wait_s * 1000)}"
        self.directory = directory
        self.path = directory / file_name if url == "sqlite" else None
        self._url = _engine_url(self.path, url)
        self._engine: AsyncEngine | None = None
        self._writer: AsyncConnection | None = None
        self._inode = 0
        self._doubtful = False
        self._quick: QuickReader | None = None

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    @property
    def holds_something(self) -> bool:
        """Whether there is a database that may have entries; one elsewhere always may."""
        return self.path is None or (self.path.exists() and self.path.stat().st_size > 0)

    @property
    def writer(self) -> AsyncConnection:
        if self._writer is None:
            raise StoreError("the database is not open")
        return self._writer

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """The writer in a transaction of its own. What a statement that failed has left open is rolled back
        before: a new one would fail by it, and its error would say nothing of what is wrong."""
        await self._settle()
        writer = self.writer
        if writer.in_transaction():
            await writer.rollback()
        with self._doubting():
            async with writer.begin():
                yield writer
        await self._checkpoint_large()

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[AsyncConnection]:
        """Another connection in a transaction that the disk holds when the block has been left; for one at a
        time, and not beside `transaction`."""
        await self._settle()
        with self._doubting():
            async with self.connect() as connection, connection.begin():
                yield connection
        await self._checkpoint_large()

    @property
    def dialect(self) -> str:
        return "postgresql" if self.path is None else "sqlite"

    async def open(self) -> None:
        """Connect, check a database of moderate size, bring the schema up to date.

        Raises `Corrupt` for a damaged file, `StoreError` for a database of a newer version and
        whatever the driver raises for one that cannot be written now.
        """
        await self.close()
        if self.path is not None and not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            self._engine = self._new_engine()
            self._writer = await self._connect_writer(self._engine)
            if self.path is not None:
                await self._quick_check(self._writer)
                self._inode = self.path.stat().st_ino
                # Whoever left this behind may have gone after a sync had failed.
                self._doubtful = self._doubtful or self._wal_bytes() > 0
            async with self.transaction() as writer:
                await writer.run_sync(migrate)
        except BaseException as error:
            await self.close()
            if isinstance(error, SQLAlchemyError) and is_corruption(error):
                raise Corrupt(reason_of(error)) from error
            raise

    async def lay(self) -> None:
        """A new file with all tables, made by a thread: to load what migrations are made of, and to run them,
        would hold the loop of an exchange that has calls. Raises what the driver raises, or `OSError`."""
        self.remove()
        if self.path is not None:
            await asyncio.to_thread(_lay, self.path)

    async def open_for_reading(self) -> None:
        """Connect without writing anything. Raises `StoreError` where there is nothing to read."""
        if self.path is not None and not self.path.exists():
            raise StoreError(f"{self.directory} holds no call records yet")
        self._engine = self._new_engine()
        try:
            async with self._engine.connect() as connection:
                revision = await connection.run_sync(revision_of)
        except SQLAlchemyError as error:
            await self.close()
            raise StoreError(f"the database cannot be read: {reason_of(error)}") from None
        except StoreError:
            await self.close()
            raise
        if revision != HEAD:
            await self.close()
            raise StoreError("the database is of another version; run `softswitch serve` once")

    def _new_engine(self) -> AsyncEngine:
        options: dict[str, Any] = {"pool_size": 4, "max_overflow": 4}
        connect = self._connect_server if self.path is None else self._connect_file
        options["connect_args"] = {"async_creator_fn": connect}
        try:
            return create_async_engine(self._url, **options)
        except ModuleNotFoundError as error:
            raise StoreError(
                f"PostgreSQL needs the package {error.name}; run: pip install {error.name}"
            ) from None

    async def _connect_server(self, *arguments: Any, **options: Any) -> Any:
        import asyncpg

        # A lock is waited for as long as SQLite's would be, then it is an alarm.
        settings = {"lock_timeout": f"{int(self._lock_wait_s * 1000)}ms"}
        settings["application_name"] = "softswitch"
        # To compile a report's query takes longer than most reports; and with the 4 MB that a query has by
        # itself it looks a million customers up one by one instead of joining them.
        settings |= {"jit": "off", "work_mem": "32MB"}
        try:
            return await asyncpg.connect(
                *arguments,
                timeout=_CONNECT_S,
                command_timeout=_COMMAND_S,
                server_settings=settings,
                **options,
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise Unreachable(f"PostgreSQL cannot be reached: {reason}") from error

    async def _connect_file(self, *arguments: Any, **options: Any) -> aiosqlite.Connection:
        """A connection with its pragmas set; one that fails leaves no thread behind. (aiosqlite tells
        its thread to end without waiting for it: it would then talk to a loop that has gone.)"""
        connection = aiosqlite.connect(*arguments, **options)
        thread = connection._thread
        thread.daemon = True
        try:
            await connection
        except BaseException:
            thread.join(_JOIN_S)
            raise
        try:
            await connection.execute(self._busy_timeout)
            for pragma in _PRAGMAS:
                await connection.execute(pragma)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _quick_check(self, connection: AsyncConnection) -> None:
        if self.path is None or self.path.stat().st_size > _QUICK_CHECK_BYTES_MAX:
            return  # found when it is touched; a start must not wait minutes for it
        found = (await connection.execute(sa.text("PRAGMA quick_check(1)"))).scalar()
        await connection.rollback()
        if found != "ok":
            raise Corrupt(" ".join(str(found).split())[:200])

    async def close(self) -> None:
        """Close all connections; never fails."""
        writer, self._writer = self._writer, None
        engine, self._engine = self._engine, None
        quick, self._quick = self._quick, None
        if quick is not None:
            await quick.close()
        with contextlib.suppress(SQLAlchemyError, OSError, sqlite3.Error):
            if writer is not None:
                await writer.close()
        with contextlib.suppress(SQLAlchemyError, OSError, sqlite3.Error):
            if engine is not None:
                await engine.dispose()

    async def renew_writer(self) -> None:
        """Write through a new connection: one that was opened while the file was read-only stays so,
        and of one that met an I/O error nothing is known. Readers are not disturbed."""
        engine, writer = self._engine, self._writer
        if engine is None or writer is None:
            return
        with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
            await writer.invalidate()
        with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
            await writer.close()
        self._writer = None
        self._writer = await self._connect_writer(engine)

    async def _connect_writer(self, engine: AsyncEngine) -> AsyncConnection:
        connection = await engine.connect()
        if self.path is not None:
            await connection.execute(sa.text(_JOURNAL_PRAGMA))
            await connection.rollback()
            return connection
        try:
            await self._claim(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _claim(self, connection: AsyncConnection) -> None:
        """Be the only server that writes this database; raises `StoreError` if there is another."""
        claim = sa.select(sa.func.pg_try_advisory_lock(_ADVISORY_LOCK))
        deadline_s = asyncio.get_running_loop().time() + self._lock_wait_s
        while not (await connection.execute(claim)).scalar():
            await connection.rollback()
            if asyncio.get_running_loop().time() > deadline_s:
                raise StoreError("the database is in use by another server")
            await asyncio.sleep(_POLL_S)
        await connection.rollback()

    def vanished(self) -> bool:
        """Whether the file was deleted or replaced under the open connection."""
        if self.path is None:
            return False
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def connect(self) -> AsyncConnection:
        """A connection for reading, to be used as a context."""
        if self._engine is None:
            raise StoreError("the database is not available now")
        return self._engine.connect()

    async def fetch(self, query: sa.Select[Any], values: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of a short query that is kept for good, as fast as that goes; `values` of its
        parameters. Raises as `connect` does."""
        if self._engine is None:
            raise StoreError("the database is not available now")
        if self.path is None:
            async with self._engine.connect() as connection:
                found = await connection.execute(query, values)
                return [dict(row) for row in found.mappings()]
        if self._quick is None:
            self._quick = QuickReader(self.path)
        return [dict(row) for row in await self._quick.fetch(query, values)]

    # -- what the disk holds --------------------------------------------------------------------

    async def checkpoint(self) -> bool:
        """Have the disk hold everything committed so far; False if that cannot be said now."""
        if self.path is None:
            return True
        if self._doubtful:
            return False
        try:
            with self._doubting():
                row = await self._checkpoint(_CHECKPOINT)
        except SQLAlchemyError:
            return False
        return row is not None and row[0] == 0 and row[1] == row[2]

    async def _checkpoint(self, statement: str) -> Sequence[int] | None:
        found: Sequence[int] | None = (await self.writer.execute(sa.text(statement))).first()
        await self.writer.rollback()
        return found

    async def _empty_wal(self) -> bool:
        """Bring everything into the file itself and begin anew beside it; False where somebody reads still,
        who is not waited for."""
        await self.writer.execute(sa.text("PRAGMA busy_timeout = 0"))
        try:
            found = await self._checkpoint(_EMPTY_WAL)
        finally:
            await self.writer.execute(sa.text(self._busy_timeout))
            await self.writer.rollback()
        return found is not None and found[0] == 0

    async def _checkpoint_large(self) -> None:
        """After a commit, which is good whatever becomes of this."""
        if self._wal_bytes() < _WAL_BYTES_MAX:
            return
        with contextlib.suppress(SQLAlchemyError, StoreError), self._doubting():
            await self._empty_wal()

    @contextlib.contextmanager
    def _doubting(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            self._doubtful |= self.path is not None and is_io_error(error)
            raise

    async def _settle(self) -> None:
        """After a failed sync: what was written before it may not be on the disk, though the next sync is
        called good (the kernel has thrown the pages away, or marked them as written). What is committed
        behind such a gap would not survive a power cut. So everything is written anew, into the file itself,
        by new connections, before anything else is.

        Raises `Doubtful` where that cannot be done now, or whatever the driver raises."""
        if not self._doubtful or self._writer is None or self._engine is None or self.path is None:
            return
        await self._engine.dispose()
        await self.renew_writer()
        if not await self._empty_wal():
            raise Doubtful("a sync failed; what was written before is read by somebody just now")
        try:
            await asyncio.to_thread(_sync, Path(f"{self.path}-wal"))
        except OSError as error:
            raise Doubtful(f"the database cannot be synced: {error.strerror}") from error
        self._doubtful = False
        _log.warning("the database was brought to the disk anew after a sync that may have failed")

    def _wal_bytes(self) -> int:
        """Of what is committed beside the file."""
        try:
            return 0 if self.path is None else os.stat(f"{self.path}-wal").st_size
        except OSError:
            return 0

    # -- damage ---------------------------------------------------------------------------------

    def replace_by(self, other: Database) -> Path | None:
        """Move a damaged file (and what belongs to it) away and put another, closed one in its place.
        Returns where the damaged one is now."""
        if self.path is None or other.path is None:
            return None
        if os.path.exists(f"{other.path}-wal"):
            raise StoreError("the new database could not be finished")
        if not self.path.exists():
            os.replace(other.path, self.path)
            return None
        number = 1
        while (aside := self.path.with_name(f"{FILE_NAME}.damaged-{number}")).exists():
            number += 1
        # The write-ahead log first: left behind, it would be played into the new file. The file
        # itself last and in one step: a crash in between leaves a damaged one, not an empty one.
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        os.link(self.path, aside)
        os.replace(other.path, self.path)
        return aside

    def remove(self) -> None:
        """Delete the file, closed before, with what belongs to it."""
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")

    async def keep_deleted(self) -> bool:
        """Write the contents of a deleted file, which the open connection still sees, back to disk; False where
        another has taken its place, or it is damaged. Raises `StoreError` where that cannot be done now:
        with the connection all would be gone."""
        if self.path is None or self.path.exists():
            return False
        copy = self.path.with_name(f"{FILE_NAME}.copy")
        with contextlib.suppress(FileNotFoundError):
            copy.unlink()
        for suffix in ("-wal", "-shm"):  # they belong to the file that is gone
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")
        try:
            writer = self.writer
            if writer.in_transaction():
                await writer.rollback()
            raw = await writer.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.execute("VACUUM INTO ?", (str(copy),))
            await self.close()
            os.replace(copy, self.path)
            self.path.chmod(0o600)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            if is_corruption(error):
                return False
            problem = f"the file was deleted and cannot be written anew: {reason_of(error)}"
            raise StoreError(problem) from error
        return True


def _lay(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    try:
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()


def _sync(path: Path) -> None:
    """Have the disk know that a file is empty; SQLite locks nothing by it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def salvage(path: Path) -> Iterator[list[Entry]]:
    """The entries that a damaged file still gives, in order, page by page round the damage."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            last = connection.execute("SELECT max(seq) FROM journal").fetchone()[0] or 0
        except sqlite3.Error:
            return
        for start in range(1, last + 1, _SALVAGE_ROWS):
            end = start + _SALVAGE_ROWS - 1
            try:
                rows = connection.execute(_SALVAGE, (start, end)).fetchall()
            except sqlite3.Error:
                rows = []
                for seq in range(start, end + 1):
                    with contextlib.suppress(sqlite3.Error):
                        rows += connection.execute(_SALVAGE, (seq, seq)).fetchall()
            yield [entry for row in rows if (entry := _salvaged(row)) is not None]


def _salvaged(row: tuple[Any, ...]) -> Entry | None:
    seq, at_s, kind, call_id, text = row
    if not isinstance(seq, int) or not isinstance(at_s, float) or not isinstance(kind, str):
        return None
    entry = Entry(seq, at_s, kind, call_id, text)
    return entry if entry.is_readable else None


def _engine_url(path: Path | None, url: str) -> sa.URL:
    if path is not None:
        return sa.URL.create("sqlite+aiosqlite", database=str(path))
    try:
        return sa.make_url(url).set(drivername="postgresql+asyncpg")
    except SQLAlchemyError:
        raise StoreError("the database is not understood: sqlite or postgresql://...") from None
