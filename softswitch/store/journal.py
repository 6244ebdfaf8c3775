"""The journal: what happened to calls, queues and agents, in order, kept whatever the disk does.

An entry goes from memory to the log (a file, synced, within 50 ms of `append`) and from there to the
database, with the records that follow from it, in one transaction for all that has come meanwhile.
Each of the two may fail alone: the entries wait, an alarm is raised, and what was missed is caught up
from the log. The numbers of the entries make it exactly once: the database's highest number says where
to go on.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from softswitch.errors import StoreError
from softswitch.store.adding_up import AddingUp
from softswitch.store.database import (
    Corrupt,
    Database,
    Doubtful,
    Unreachable,
    is_corruption,
    is_lock,
    reason_of,
)
from softswitch.store.entry import Entry, arrays_of, make_entry
from softswitch.store.groups import ON_DISK_S, gather_s, up_to
from softswitch.store.log import EntryLog
from softswitch.store.projection import Projection
from softswitch.store.projection_centre import CentreProjection
from softswitch.store.repair import CATCH_UP_BATCH, made_anew, some
from softswitch.store.schema import journal

_log = logging.getLogger(__name__)

SLOW_S = 2.0
"""A disk that needs longer for the entries of some milliseconds is an alarm."""
_FORGETS = 0.98
"""A slow write is remembered for some fifty more."""
REST_S = 0.4
"""Between two commits of the database under load: a commit costs the event loop about a millisecond,
whatever it holds, and the log has the entries. The first after a rest, and a flush, need not wait."""
REST_MAX_S = 1.0
_REST_OF_WORK = 20.0
"""The rest lasts so many times as long as the commit took, up to `REST_MAX_S`: the busier, the more there
is in one, and the less each entry costs."""
WAITING_MAX = 200_000
"""Entries in memory while not even the log can be written; more are counted as lost."""
PENDING_MAX = 20_000
"""Entries in memory while the database cannot be written; more are read back from the log."""
_BATCH = 2_000
_RETRY_S = 1.0
_Kept: TypeAlias = tuple[bool, float, dict[int, bytes]]
_FAILURES = (SQLAlchemyError, StoreError, OSError, sqlite3.Error)
_REFUSALS = (IntegrityError, DataError, InterfaceError, OverflowError, UnicodeError)


@dataclass(frozen=True, slots=True)
class StoreAlarm:
    """Something of the store fails (`active`) or works again. `source` is "log", "database" or
    "memory"; `reason` in words."""

    source: str
    active: bool
    reason: str


class Journal:
    """The only writer of the store. `append` may be called from the event loop's thread only.

    Parameters: `log` and `database`, both owned by the store; `executor`, one thread for the log's
    files; `on_alarm` is told of failures and of their ends.
    """

    def __init__(
        self,
        log: EntryLog,
        database: Database,
        executor: ThreadPoolExecutor,
        on_alarm: Callable[[StoreAlarm], None],
        *,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._entry_log = log
        self._database = database
        self._executor = executor
        self._on_alarm = on_alarm
        self._disk_s = 0.0
        self._waiting_max = waiting_max
        self._projection: Projection | None = None
        self._seq = log.last_seq
        self._database_seq = 0
        self._waiting: list[Entry] = []  # not in the log yet
        self._pending: list[Entry] = []  # in the log, not in the database yet
        self._arrays: dict[int, bytes] = {}  # what the log has of those that are pending
        self._behind = True  # the database may miss entries that are in the log only
        self._segments_grew = False
        self._writer_doubtful = False
        self._told_to: int | None = None  # where the stories of an older version's entries end
        self._log_wake, self._database_wake = asyncio.Event(), asyncio.Event()
        self._writing: tuple[Future[_Kept], list[Entry]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ask_timer: asyncio.TimerHandle | None = None
        self._database_timer: asyncio.TimerHandle | None = None
        self._rest_until_s = 0.0
        self._catching_up = False
        self._flushes: list[tuple[int, asyncio.Future[bool]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._alarms: dict[str, str] = {}
        self._closed = False
        self._stopping = False
        self._write_lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self.adding_up = AddingUp(database, self._write_lock, self._centre, self._loop.time)
        # Set once the database has been brought up to what was before this start.
        self.caught_up = asyncio.Event()
        # Set once what an older version journaled is in the tables that it did not have.
        self.told_all = asyncio.Event()
        # Told of every entry, in the middle of what happens: must return at once.
        self.on_entry: Callable[[str, str | None, dict[str, Any], float], None] | None = None
        self.lost = 0
        self.refused = 0
        self.commits = 0

    # -- what callers use -----------------------------------------------------------------------

    def append(self, kind: str, call_id: str | None, data: dict[str, Any], at_s: float) -> int:
        """Note that something happened; its number. Returns at once and never fails.

        Parameters: `kind`, a word in the past tense ("call-started"); `call_id`, the call concerned
        or None; `data`, particulars as JSON can say them (at most 64 KiB); `at_s`, wall time.
        """
        self._seq = seq = self._seq + 1
        if self.on_entry is not None:
            self.on_entry(kind, call_id, data, at_s)
        waiting = self._waiting
        if self._closed or len(waiting) >= self._waiting_max:
            self.lost += 1
            self._alarm("memory", "entries are lost: neither log nor database takes them")
            return seq
        waiting.append(make_entry(seq, at_s, kind, call_id, data))
        if self._timer is None:
            self._timer = self._loop.call_later(gather_s(self._disk_s), self._log_wake.set)
        return seq

    async def flush(self) -> bool:
        """Wait until everything appended so far is committed to the database. False if that failed
        now; the entries are kept and committed later."""
        if self._database_seq >= self._seq and not self._waiting and not self._pending:
            return True
        if self._stopping:
            return False
        done: asyncio.Future[bool] = self._loop.create_future()
        self._flushes.append((self._seq, done))
        self._log_wake.set()
        return await done

    @property
    def exclusive(self) -> asyncio.Lock:
        """Held by whoever writes to the database: SQLite takes one writer, and polls."""
        return self._write_lock

    def change_failed(self, error: SQLAlchemyError) -> None:
        """Somebody else's write has failed: where the database is what failed it, that is said at once, not
        only when the next entries have waited as long."""
        if isinstance(error, OperationalError) or is_lock(error):
            self._database_failed(error)

    @property
    def last_seq(self) -> int:
        """The number of the newest entry."""
        return self._seq

    @property
    def alarms(self) -> dict[str, str]:
        """What fails now: source -> reason."""
        return dict(self._alarms)

    @property
    def calls_open(self) -> int:
        """How many calls are up, as far as the database knows."""
        return self._projection.calls_open if self._projection else 0

    def snapshot(self) -> dict[str, int]:
        return {
            "seq": self._seq,
            "database_seq": self._database_seq,
            "waiting": len(self._waiting),
            "pending": len(self._pending),
            "behind": int(self._behind),
            "calls_open": self.calls_open,
            "commits": self.commits,
            "lost": self.lost,
            "refused": self.refused,
            "damaged_lines": self._entry_log.damaged_lines,
        }

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the database and catch up; where it cannot be written now, go on without it.

        Raises `StoreError` for what waiting cannot mend (a newer version's database).
        """
        try:
            await self._catch_up()
            self.caught_up.set()
        except _FAILURES as error:
            if isinstance(error, StoreError) and not isinstance(error, Unreachable | Doubtful):
                raise
            if self._entry_log.last_seq == 0 and self._database.holds_something:
                # Numbers would start at 1 again, below those the database holds.
                raise StoreError(f"the database cannot be used: {reason_of(error)}") from None
            self._database_failed(error)
        if self._told_to is not None:
            self._database_wake.set()
        self._tasks = [
            self._loop.create_task(self._keep_log(), name="journal log"),
            self._loop.create_task(self._keep_database(), name="journal database"),
        ]

    async def stop(self) -> None:
        """Commit what can be committed and end."""
        if self._stopping:
            return
        self._closed = True
        await self.flush()
        self._stopping = True
        for timer in (self._timer, self._ask_timer, self._database_timer):
            if timer is not None:
                timer.cancel()
        self._log_wake.set()
        self._database_wake.set()
        await asyncio.gather(*self._tasks)
        self._tasks = []

    # -- to the log -----------------------------------------------------------------------------

    async def _keep_log(self) -> None:
        while not self._stopping:
            await self._log_wake.wait()
            self._log_wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            await self._write_log()
            self._wake_database()
        await self._written()

    async def _write_log(self) -> None:
        if not await self._written():
            return
        batch = self._waiting[:]
        if not batch:
            return
        self._writing = self._executor.submit(self._keep, batch), batch
        if self._flushes or self._stopping or self._loop.time() >= self._rest_until_s:
            await self._written()
        else:
            # Nobody needs it before the database has rested: it is seen with the next group, or then. To be
            # woken costs the loop as much as some entries.
            self._ask_timer = self._loop.call_later(ON_DISK_S, self._log_wake.set)

    def _keep(self, batch: list[Entry]) -> _Kept:
        """In the log's thread: whether a new file was begun, how long the disk took, and what was written."""
        began_s = self._loop.time()
        bodies = arrays_of(batch)
        grew = self._entry_log.write(batch, bodies)
        return (
            grew,
            self._loop.time() - began_s,
            dict(zip([entry.seq for entry in batch], bodies, strict=True)),
        )

    async def _written(self) -> bool:
        """Wait until the log's thread is done with what it was given; as `_see_written`."""
        if self._ask_timer is not None:
            self._ask_timer.cancel()
            self._ask_timer = None
        if self._writing is not None and not self._writing[0].done():
            written = asyncio.wrap_future(self._writing[0])
            while not (await asyncio.wait((written,), timeout=SLOW_S))[0]:
                # What comes meanwhile goes into the database, if that takes it.
                self._alarm(
                    "log", f"the journal's log waits for the disk for {SLOW_S:g} s and more"
                )
                self._wake_database()
            written.exception()  # as `_see_written` tells
        return self._see_written()

    def _see_written(self) -> bool:
        """Take note of what the log's thread has done, if it is done; False if that has failed."""
        if self._writing is None or not self._writing[0].done():
            return True
        (done, batch), self._writing = self._writing, None
        try:
            grew, disk_s, arrays = done.result()
        except Exception as error:
            # Whatever it is, the task must go on: everything appended comes through it.
            if not isinstance(error, OSError):
                _log.exception("the journal's log task failed")
            reason = getattr(error, "strerror", None) or type(error).__name__
            self._alarm("log", f"the journal's log cannot be written: {reason}")
            if self._timer is None:
                self._timer = self._loop.call_later(_RETRY_S, self._log_wake.set)
            return False
        self._disk_s = max(disk_s, _FORGETS * self._disk_s)
        del self._waiting[: up_to(self._waiting, batch[-1].seq)]
        if disk_s < SLOW_S or not self._waiting:
            self._clear_alarm("log")
        self._clear_alarm("memory")
        self._segments_grew |= grew
        if not self._behind:
            self._arrays |= arrays
            self._pending += batch[up_to(batch, self._database_seq) :]
            if len(self._pending) > PENDING_MAX:
                self._pending.clear()
                self._arrays = {}
                self._behind = True
        return True

    # -- to the database ------------------------------------------------------------------------

    async def _keep_database(self) -> None:
        while not self._stopping:
            await self._database_wake.wait()
            self._database_wake.clear()
            if self._database_timer is not None:
                self._database_timer.cancel()
                self._database_timer = None
            began_s = self._loop.time()
            self._catching_up = True
            try:
                await self._catch_up()
            except _FAILURES as error:
                self._database_failed(error)
            except Exception as error:
                # A bug here must not end the task: the entries are in the log, and callers wait.
                _log.exception("the journal's database task failed")
                self._database_failed(error)
            else:
                self._clear_alarm("database")
                self.caught_up.set()
                ended_s = self._loop.time()
                rest_s = min(REST_MAX_S, max(REST_S, _REST_OF_WORK * (ended_s - began_s)))
                self._rest_until_s = ended_s + rest_s
                await self._prune()
                await self._tell_more()
            self._catching_up = False
            if self._pending and "database" not in self._alarms:
                self._wake_database()
            self._finish_flushes()

    def _wake_database(self) -> None:
        """Have the database catch up: now, if somebody waits or it has rested, else after its rest. What
        comes while it works waits for the end of the rest after it."""
        if self._catching_up and not self._flushes:
            return
        if self._flushes or self._loop.time() >= self._rest_until_s:
            self._database_wake.set()
        elif self._database_timer is None:
            self._database_timer = self._loop.call_at(self._rest_until_s, self._database_wake.set)

    async def _catch_up(self) -> None:
        """Bring the database up to the newest entry there is now; where somebody waits, to the last one."""
        async with self._write_lock:
            try:
                await self._ready_database()
                self._see_written()
                if self._behind:
                    await self._catch_up_from_log()
                newest = self._seq
                while batch := self._next_batch():
                    if self._database_seq >= newest and not self._flushes:
                        break
                    await self._commit(batch)
            except (SQLAlchemyError, sqlite3.Error) as error:
                if not is_corruption(error):
                    raise
                await self._repair(reason_of(error))
                await self._catch_up_from_log()

    async def _ready_database(self) -> None:
        if self._database.is_open and self._database.vanished():
            kept = await self._database.keep_deleted()
            self._alarm("database", "the file was deleted" + ("; written anew" if kept else ""))
            await self._close_database()
        if self._writer_doubtful and self._database.is_open:
            await self._database.renew_writer()
            await self._read_position()
        self._writer_doubtful = False
        if not self._database.is_open:
            try:
                await self._database.open()
            except Corrupt as error:
                await self._repair(str(error))
            await self._read_position()

    async def _read_position(self) -> None:
        writer = self._database.writer
        self._projection = Projection(self._database.dialect)
        found = (await writer.execute(sa.select(sa.func.max(journal.c.seq)))).scalar()
        self._told_to = await self._projection.told_to(writer)
        await writer.rollback()
        self._database_seq = found or 0
        self._seq = max(self._seq, self._database_seq)
        self._behind = True

    def _next_batch(self) -> list[Entry]:
        del self._pending[: up_to(self._pending, self._database_seq)]
        if self._behind:
            return []
        # Of a backlog less at a time: the loop would be late by its records.
        size = CATCH_UP_BATCH if "database" in self._alarms else _BATCH
        batch = self._pending[:size]
        if not batch and "log" in self._alarms:
            # The log fails: better in the database alone than in memory alone.
            first = up_to(self._waiting, self._database_seq)
            batch = self._waiting[first : first + _BATCH]
        return batch

    async def _catch_up_from_log(self) -> None:
        self._pending.clear()
        self._behind = False  # what is appended from here on is pending, or makes it true again
        entries = self._entry_log.read_after(self._database_seq)
        try:
            while batch := await self._in_thread(some, entries):
                await self._commit(batch)
        except BaseException:
            self._behind = True
            raise

    async def _commit(self, batch: list[Entry]) -> None:
        batch = batch[up_to(batch, self._database_seq) :]
        if not batch:
            return
        try:
            await self._write(batch)
        except _REFUSALS:
            # One entry that the database does not take must not hold up the others for ever.
            for entry in batch:
                try:
                    await self._write([entry])
                except _REFUSALS as error:
                    self.refused += 1
                    _log.error("entry %d refused by the database: %s", entry.seq, reason_of(error))
                self._database_seq = entry.seq

    async def _write(self, entries: list[Entry]) -> None:
        assert self._projection is not None
        # Once: what it does not bring is made anew.
        arrays, self._arrays = self._arrays, {}
        try:
            async with self._database.transaction() as writer:
                await self._projection.write(writer, entries, arrays)
        except BaseException:
            # Whether it was committed is not known: the next attempt asks the database.
            self._projection.forget()
            raise
        self._database_seq = entries[-1].seq
        self.commits += 1
        # What only the database has is kept for the log, as long as that is little: either may be gone next.
        kept_max = min(PENDING_MAX, self._waiting_max // 2)
        if len(self._waiting) > kept_max:
            known = up_to(self._waiting, self._database_seq)
            del self._waiting[: min(known, len(self._waiting) - kept_max)]

    async def _close_database(self) -> None:
        await self._database.close()
        self._behind = True

    def _database_failed(self, error: BaseException) -> None:
        self._behind = True
        self._writer_doubtful |= not is_lock(error)
        self._alarm("database", f"the database cannot be written: {reason_of(error)}")
        if self._database_timer is None and not self._stopping:
            self._database_timer = self._loop.call_later(_RETRY_S, self._database_wake.set)

    # -- damage ---------------------------------------------------------------------------------

    async def _repair(self, reason: str) -> None:
        """Put a new database in the place of a damaged one: what that still gives and all that the log
        holds. The damaged file stays beside it."""
        path = self._database.path
        if path is None:
            raise StoreError(f"the database is damaged: {reason}")
        self._alarm("database", f"the database is damaged ({reason}); it is being made anew")
        await self._database.close()
        fresh = await made_anew(path, self._entry_log, self._waiting[:], self._in_thread)
        aside = self._database.replace_by(fresh)
        _log.warning("the damaged database is kept as %s", aside)
        await self._database.open()
        await self._read_position()

    async def rebuild(self) -> int:
        """Make the call records anew from the journal; their number. Raises `StoreError`."""
        await self.flush()
        async with self._write_lock:
            if self._projection is None or not self._database.is_open:
                raise StoreError("the database is not available now")
            try:
                async with self._database.transaction() as writer:
                    return await self._projection.rebuild(writer)
            except SQLAlchemyError as error:
                self._projection.forget()
                raise StoreError(f"the records cannot be rebuilt: {reason_of(error)}") from error

    async def roll_on(self, now_s: float, zone: ZoneInfo) -> bool:
        """Add some more of the half-hours and of the days of a `zone` up that reports are made of; whether
        there are more to do. Raises `StoreError`."""
        return await self.adding_up.step(now_s, zone)

    def _centre(self) -> CentreProjection | None:
        """What sums are made of, while it is up to date."""
        if self._projection is None or not self._database.is_open:
            return None
        if self._behind or self._told_to is not None:
            return None
        return self._projection.centre

    async def _tell_more(self) -> None:
        """One step of reading what an older version journaled, for tables that it did not have. New
        entries come first; the steps are short, so that nothing waits for them."""
        if self._told_to is None or self._projection is None or self._stopping:
            self.told_all.set()
            return
        async with self._write_lock:
            try:
                async with self._database.transaction() as writer:
                    self._told_to = await self._projection.tell_more(writer, self._told_to)
            except SQLAlchemyError as error:
                self._database_failed(error)
                return
        if self._told_to is None:
            self.told_all.set()
        else:
            self._database_wake.set()

    async def _prune(self) -> None:
        if not self._segments_grew or self._behind:
            return
        self._segments_grew = False
        async with self._write_lock:
            kept_seq = self._database_seq
            if await self._database.checkpoint():
                try:
                    await self._in_thread(self._entry_log.prune, kept_seq)
                except OSError as error:
                    _log.warning("old log files stay: %s", error)

    # -- the rest -------------------------------------------------------------------------------

    def _finish_flushes(self) -> None:
        failed = "database" in self._alarms or self._stopping
        still = []
        for target, done in self._flushes:
            if done.done():
                continue
            if self._database_seq >= target or self._nothing_left(target):
                done.set_result(True)
            elif failed:
                done.set_result(False)
            else:
                still.append((target, done))
        self._flushes = still

    def _nothing_left(self, target: int) -> bool:
        """Numbers given to entries that were lost are never committed."""
        first = self._waiting[0] if self._waiting else None
        return not self._behind and not self._pending and (first is None or first.seq > target)

    def _alarm(self, source: str, reason: str) -> None:
        if source in self._alarms:
            return
        self._alarms[source] = reason
        _log.error("store: %s", reason)
        self._on_alarm(StoreAlarm(source, True, reason))

    def _clear_alarm(self, source: str) -> None:
        reason = self._alarms.pop(source, None)
        if reason is not None:
            _log.warning("store: over: %s", reason)
            self._on_alarm(StoreAlarm(source, False, reason))

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        # A thread of its own: the shared pool may be stuck in look-ups.
        return await self._loop.run_in_executor(self._executor, function, *arguments)
