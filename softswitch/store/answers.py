"""Answers to creations that may be asked for again, kept for a day; sealed, as they may hold secrets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from softswitch.errors import StoreError
from softswitch.store.office_entries import Seal
from softswitch.store.reading import reading
from softswitch.store.schema_office import idempotency

if TYPE_CHECKING:
    from softswitch.store.database import Database
    from softswitch.store.ledger import Ledger

KEPT_S = 86_400.0
BODY_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What was answered to which request."""

    request_hash: str
    status: int
    headers: list[tuple[str, str]]
    body: str


class KeptAnswers:
    """The table of answers. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger, directory: Path) -> None:
        self._database = database
        self._ledger = ledger
        self._seal = Seal(directory)

    async def find(self, key_hash: str, now_s: float) -> KeptAnswer | None:
        """The answer to this key, if it is not too old."""
        query = sa.select(idempotency).where(
            idempotency.c.key_hash == key_hash, idempotency.c.at_s > now_s - KEPT_S
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        await self._seal.ready()
        body = self._seal.open(row.body, f"answer:{key_hash}")["body"]
        headers = msgspec.json.decode(row.headers, type=list[tuple[str, str]])
        return KeptAnswer(row.request_hash, row.status, headers, str(body))

    async def keep(self, key_hash: str, answer: KeptAnswer) -> None:
        """Remember an answer; forget old ones."""
        await self._seal.ready()
        row = {
            "key_hash": key_hash,
            "request_hash": answer.request_hash,
            "status": answer.status,
            "headers": msgspec.json.encode(answer.headers).decode(),
            "body": self._seal.close({"body": answer.body}, f"answer:{key_hash}"),
        }
        table = idempotency
        try:
            async with self._ledger.change("switch:idempotency") as change:
                old = sa.delete(table).where(
                    sa.or_(table.c.at_s < change.at_s - KEPT_S, table.c.key_hash == key_hash)
                )
                await change.connection.execute(old)
                await change.connection.execute(sa.insert(table).values(at_s=change.at_s, **row))
        except SQLAlchemyError as error:  # pragma: no cover - the ledger translates
            raise StoreError(str(error)) from error
