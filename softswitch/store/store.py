"""The store of one office: journal, call records, and what is done with them at a start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from softswitch.clock import SystemClock
from softswitch.errors import StoreError
from softswitch.store.answers import KeptAnswers
from softswitch.store.attachments import Attachments
from softswitch.store.calibrations import Calibrations
from softswitch.store.calls import CallRecords
from softswitch.store.coaching import Coaching
from softswitch.store.customers import Customers
from softswitch.store.database import LOCK_WAIT_S, Database, reason_of
from softswitch.store.entries import JournalEntries
from softswitch.store.evaluations import Evaluations
from softswitch.store.intake import Intake
from softswitch.store.journal import Journal, StoreAlarm
from softswitch.store.ledger import Ledger
from softswitch.store.lines import LineSettings
from softswitch.store.log import EntryLog
from softswitch.store.migrate import migrate, revisions
from softswitch.store.notices import Notices
from softswitch.store.office_entries import OfficeEntries
from softswitch.store.outcomes import Outcomes
from softswitch.store.outgoing import Outgoing
from softswitch.store.record import CallRecord
from softswitch.store.recordings import Recordings
from softswitch.store.samples import Samples
from softswitch.store.schema import journal as journal_table
from softswitch.store.scorecards import Scorecards
from softswitch.store.shifts import Shifts
from softswitch.store.sla import OpenTime
from softswitch.store.statistics import Statistics
from softswitch.store.ticket_parts import TicketParts
from softswitch.store.ticket_settings import TicketSettings
from softswitch.store.ticket_steps import DEFAULT_STEPS, Step
from softswitch.store.ticket_time import TicketTime
from softswitch.store.tickets import Tickets
from softswitch.store.tokens import Tokens
from softswitch.store.users import Users
from softswitch.store.webhooks import Webhooks

_log = logging.getLogger(__name__)
_Q850_TEMPORARY_FAILURE = 41


class Store:
    """What an office keeps. Made by `open`; `journal` is written, `calls` read."""

    def __init__(
        self,
        database: Database,
        journal: Journal | None,
        log: EntryLog | None,
        executor: ThreadPoolExecutor | None,
        wall_s: Callable[[], float],
        directory: Path,
        open_time: OpenTime | None = None,
        ticket_steps: Sequence[Step] = DEFAULT_STEPS,
    ) -> None:
        self._database = database
        self._log = log
        self._executor = executor
        self._journal = journal
        self._opened_seq = journal.last_seq if journal is not None else 0
        self._closing: asyncio.Task[list[CallRecord]] | None = None
        self.calls = CallRecords(database)
        self.entries = JournalEntries(database)
        self.statistics = Statistics(database)
        self.outcomes = Outcomes(database)
        self.ledger = Ledger(database, journal, wall_s)
        self.customers = Customers(database, self.ledger)
        office_time = open_time or OpenTime(ZoneInfo("UTC"))
        self.tickets = Tickets(database, self.ledger, office_time, ticket_steps)
        self.ticket_time = TicketTime(self.tickets, self.ledger)
        self.ticket_parts = TicketParts(self.tickets, self.ledger)
        self.ticket_settings = TicketSettings(database, self.ledger)
        self.attachments = Attachments(database, self.ledger, database.directory / "attachments")
        self.notices = Notices(database, self.ledger)
        self.intake = Intake(database, self)
        self.outgoing = Outgoing(database, self.ledger)
        self.lines = LineSettings(database)
        self.scorecards = Scorecards(database, self.ledger)
        self.evaluations = Evaluations(database, self.ledger)
        self.calibrations = Calibrations(database, self.ledger, self.evaluations)
        self.samples = Samples(database, self.ledger, self.tickets.office.zone)
        self.coaching = Coaching(database, self.ledger)
        self.office_entries = OfficeEntries(database, self.ledger, directory)
        self.webhooks = Webhooks(database, self.ledger, directory)
        self.answers = KeptAnswers(database, self.ledger, directory)
        self.shifts = Shifts(database, self.ledger)
        self.recordings = Recordings(database, self.ledger, journal)
        self.users = Users(database, self.ledger)
        self.tokens = Tokens(database, self.ledger)

    @classmethod
    async def open(
        cls,
        directory: str | Path,
        *,
        database: str = "sqlite",
        read_only: bool = False,
        lock_wait_s: float = LOCK_WAIT_S,
        on_alarm: Callable[[StoreAlarm], None] | None = None,
        wall_s: Callable[[], float] | None = None,
        open_time: OpenTime | None = None,
        ticket_steps: Sequence[Step] = DEFAULT_STEPS,
    ) -> Store:
        """Open the store of `directory` (`[storage] directory`), making what is missing.

        Parameters: `database`, "sqlite" (a file in the directory) or a PostgreSQL URL; `read_only`
        reads beside a running server, makes nothing and has no journal; `lock_wait_s`, how long a
        write waits while another program locks the database; `on_alarm` is told when something
        fails and when it works again; `wall_s` stamps what people change;
        `open_time` counts what tickets promise (round the clock unless it is given); `ticket_steps`
        are what happens when a promise is nearly or quite broken.

        Raises `StoreError` where the directory cannot be used, another server uses it, or the
        database is of a newer version. A database that is locked or full now is no error: entries
        wait in the log. A damaged one is set aside and made anew.
        """
        folder = Path(directory)
        wall_s = wall_s or SystemClock().wall_s
        opened = Database(folder, database, lock_wait_s=lock_wait_s)
        if read_only:
            await opened.open_for_reading()
            return cls(opened, None, None, None, wall_s, folder, open_time, ticket_steps)
        log = EntryLog(folder / "journal")
        executor = ThreadPoolExecutor(1, thread_name_prefix="journal")
        journal = Journal(log, opened, executor, on_alarm or _ignore)
        try:
            await journal.start()
        except BaseException:
            await opened.close()
            executor.shutdown()
            log.close()
            raise
        return cls(opened, journal, log, executor, wall_s, folder, open_time, ticket_steps)

    @property
    def journal(self) -> Journal:
        """The journal; raises `StoreError` on a store opened for reading."""
        if self._journal is None:
            raise StoreError("this store was opened for reading only")
        return self._journal

    async def close(self) -> None:
        """Commit what is left and close everything."""
        if self._closing is not None and not self._closing.done():
            self._closing.cancel()
            await asyncio.gather(self._closing, return_exceptions=True)
        if self._journal is not None:
            await self._journal.stop()
        await self._database.close()
        if self._executor is not None:
            self._executor.shutdown()
        if self._log is not None:
            self._log.close()

    async def rebuild(self) -> int:
        """Make the call records anew from the journal; their number."""
        return await self.journal.rebuild()

    async def downgrade(self, revision: str) -> None:
        """Take the tables back to an older revision of the schema, as the last thing before `close`. Raises
        `StoreError`."""
        known = revisions()
        if revision not in known:
            raise StoreError(f"there is no schema {revision}; known: {', '.join(known)}")
        if not await self.journal.flush():
            raise StoreError("the database cannot be written now; nothing was changed")
        async with self.journal.exclusive:
            try:
                async with self._database.transaction() as writer:
                    await writer.run_sync(lambda connection: migrate(connection, revision))
            except SQLAlchemyError as error:
                raise StoreError(f"the schema stays as it is: {reason_of(error)}") from error

    async def close_open_calls(self, reason: str, at_s: float) -> list[CallRecord]:
        """End the records of calls that were open when the last process ended; those records, ended.

        They get the status "lost", `reason` as cause, and end when the last entry before this start
        was written: nothing is known of the time after. Recordings that were running are noted as
        stopped; `at_s` is now. While the database cannot be read there are none to return: the calls
        are closed as soon as it can.
        """
        if not self.journal.caught_up.is_set():
            self._closing = asyncio.create_task(self._close_later(reason, at_s))
            return []
        return await self._close_now(reason, at_s)

    async def _close_later(self, reason: str, at_s: float) -> list[CallRecord]:
        await self.journal.caught_up.wait()
        try:
            return await self._close_now(reason, at_s)
        except StoreError as error:
            _log.error("calls that were cut stay open until the next start: %s", error)
            return []

    async def _close_now(self, reason: str, at_s: float) -> list[CallRecord]:
        await self.journal.flush()
        cut = await self.calls.still_open(self._opened_seq)
        if not cut:
            return []
        last_life_s = await self.last_life_s(at_s)
        for record in cut:
            self._close_call(record, reason, at_s, min(last_life_s, at_s))
        await self.journal.flush()
        closed = [await self.calls.get(record.call_id) for record in cut]
        return [record for record in closed if record is not None]

    def _close_call(self, record: CallRecord, reason: str, at_s: float, ended_s: float) -> None:
        append, call_id = self.journal.append, record.call_id
        ended_s = max(ended_s, record.answered_at_s or record.started_at_s)
        end = {"by": "switch", "status": 500, "ended_at_s": ended_s}
        for leg in record.legs:
            if "ended_at_s" not in leg:
                particulars = {"leg": leg["leg"], "cause": _Q850_TEMPORARY_FAILURE, **end}
                append("leg-ended", call_id, particulars, at_s)
        for recording in record.recordings:
            if "stopped_at_s" not in recording:
                particulars = {"name": recording["name"], "frames": None, "reason": reason}
                append("recording-stopped", call_id, particulars, at_s)
        cause = {"cause": reason, "outcome": "lost", "q850": _Q850_TEMPORARY_FAILURE}
        append("call-ended", call_id, {**cause, **end}, at_s)

    async def last_life_s(self, default_s: float) -> float:
        """When the run before this one wrote its last entry: so long, at least, it was alive."""
        table = journal_table
        query = (
            sa.select(table.c.at_s)
            .where(table.c.seq <= self._opened_seq)
            .order_by(table.c.seq.desc())
            .limit(1)
        )
        try:
            async with self._database.connect() as connection:
                found = (await connection.execute(query)).scalar()
        except SQLAlchemyError:
            return default_s
        return default_s if found is None else float(found)

    def snapshot(self) -> dict[str, int]:
        return self._journal.snapshot() if self._journal is not None else {}


def _ignore(_: StoreAlarm) -> None:
    """Alarms are in the log anyway."""
