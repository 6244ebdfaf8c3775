"""Files of tickets. A stranger's name for a file is shown and never opened: on disk it is the number of its
row. What a browser would execute is not taken."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from softswitch.errors import StoreError
from softswitch.store.database import Database
from softswitch.store.ledger import Conflict, Ledger, Missing
from softswitch.store.reading import reading
from softswitch.store.schema_tickets import ticket_attachments, tickets

SIZE_MAX = 10 << 20
PER_TICKET_MAX = 50
NAME_MAX = 200
TYPES = frozenset(
    {
        "application/json",
        "application/msword",
        "application/pdf",
        "application/vnd.ms-excel",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/zip",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/x-wav",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "message/rfc822",
        "text/csv",
        "text/plain",
        "video/mp4",
    }
)
"""What is taken; no page, no script, no picture that holds one (SVG)."""
_FOLDER = 1_000


class TooLarge(Conflict):
    """The file has more octets than are taken."""


class WrongType(Conflict):
    """Files of this type are not taken."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a ticket. `name` and `type` are what its sender says; `sha256` of its octets, in hex;
    `comment_id`: the comment that it goes with."""

    id: int
    ticket_id: int
    name: str
    type: str
    size: int
    sha256: str
    author: str
    at_s: float
    comment_id: int | None = None


class Attachments:
    """The files of one office, in `directory`. Raises `StoreError` while they cannot be kept."""

    def __init__(self, database: Database, ledger: Ledger, directory: Path) -> None:
        self._database = database
        self._ledger = ledger
        self._directory = directory

    async def of_ticket(self, ticket_id: int) -> list[Attachment]:
        """A ticket's, oldest first."""
        table = ticket_attachments
        query = sa.select(table).where(table.c.ticket_id == ticket_id).order_by(table.c.id)
        async with reading(self._database) as connection:
            found = (await connection.execute(query.limit(PER_TICKET_MAX))).all()
            return [Attachment(**row._mapping) for row in found]

    async def of_comment(self, comment_id: int) -> list[tuple[Attachment, Path]]:
        """Those that go with a comment, and where they are, oldest first."""
        table = ticket_attachments
        query = sa.select(table).where(table.c.comment_id == comment_id).order_by(table.c.id)
        async with reading(self._database) as connection:
            rows = (await connection.execute(query.limit(PER_TICKET_MAX))).all()
            found = [Attachment(**row._mapping) for row in rows]
            return [(one, self._path(one.id)) for one in found]

    async def find(self, ticket_id: int, attachment_id: int) -> tuple[Attachment, Path]:
        """One and its file. Raises `Missing`."""
        table = ticket_attachments
        query = sa.select(table).where(table.c.id == attachment_id, table.c.ticket_id == ticket_id)
        async with reading(self._database) as connection:
            row = (await connection.execute(query)).first()
        path = self._path(attachment_id)
        if row is None or not await asyncio.to_thread(path.is_file):
            raise Missing(f"ticket {ticket_id} has no file {attachment_id}")
        return Attachment(**row._mapping), path

    async def add(
        self, actor: str, ticket_id: int, name: str, kind: str, data: bytes
    ) -> Attachment:
        """Keep a file. Raises `Missing`, `TooLarge`, `WrongType`, and `Conflict` for one too many."""
        kind = kind.partition(";")[0].strip().lower()
        check(kind, len(data))
        async with self._ledger.change(actor) as change:
            here = sa.select(tickets.c.merged_into).where(tickets.c.id == ticket_id)
            row = (await change.connection.execute(here)).first()
            if row is None:
                raise Missing(f"there is no ticket {ticket_id}")
            if row.merged_into is not None:
                raise Conflict(f"ticket {ticket_id} was merged into {row.merged_into}")
            count = sa.select(sa.func.count()).where(ticket_attachments.c.ticket_id == ticket_id)
            if (await change.connection.execute(count)).scalar_one() >= PER_TICKET_MAX:
                raise Conflict(f"a ticket has at most {PER_TICKET_MAX} files")
            values: dict[str, Any] = {
                "ticket_id": ticket_id,
                "name": _shown(name),
                "type": kind,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "author": actor,
                "at_s": change.at_s,
            }
            query = sa.insert(ticket_attachments).values(values).returning(ticket_attachments)
            found = Attachment(**(await change.connection.execute(query)).one()._mapping)
            # The file before the commit: a row without a file would be a lie, a file without a row is
            # only room, and its number is given again.
            try:
                await asyncio.to_thread(_write, self._path(found.id), data)
            except OSError as error:
                raise StoreError(f"the file cannot be kept: {error.strerror}") from error
            change.note("ticket-file-added", f"ticket:{ticket_id}", file=found.id, size=found.size)
        return found

    async def remove(self, actor: str, ticket_id: int, attachment_id: int) -> None:
        """Delete a file. Raises `Missing`."""
        await self.find(ticket_id, attachment_id)
        async with self._ledger.change(actor) as change:
            here = ticket_attachments.c.id == attachment_id
            await change.connection.execute(sa.delete(ticket_attachments).where(here))
            change.note("ticket-file-removed", f"ticket:{ticket_id}", file=attachment_id)
        await asyncio.to_thread(self._path(attachment_id).unlink, missing_ok=True)

    def _path(self, attachment_id: int) -> Path:
        return self._directory / str(attachment_id // _FOLDER) / str(attachment_id)


def check(kind: str, size: int) -> None:
    """Raises `TooLarge`, `WrongType` for what is not taken."""
    if size > SIZE_MAX:
        raise TooLarge(f"a file has at most {SIZE_MAX} octets")
    if kind not in TYPES:
        raise WrongType(
            f"files of the type {kind[:100] or 'unknown'} are not taken; those are {', '.join(sorted(TYPES))}"
        )


def _shown(name: str) -> str:
    """A file's name without folders and without what cannot be shown."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*').strip(". ")
    return plain[:NAME_MAX] or "file"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)
