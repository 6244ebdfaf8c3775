"""Entries of the office that were made through the API: the same tables as in the office file, kept in the
database. Secrets in them are sealed with a key that is in a file of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from softswitch.errors import StoreError
from softswitch.store.ledger import Conflict, Ledger, Missing, Stale
from softswitch.store.reading import reading
from softswitch.store.schema_office import office_entries

if TYPE_CHECKING:
    from softswitch.store.database import Database
    from softswitch.store.ledger import Change

ENTRIES_MAX = 100_000
KEY_NAME = "entry-key"
_KEY_OCTETS = 32
_NONCE_OCTETS = 12
_LOADING = threading.Lock()
"""Held while the key is made: all who seal share it."""


@dataclass(frozen=True, slots=True)
class OfficeEntry:
    """One entry; `version` counts its changes from 1."""

    id: int
    section: str
    name: str
    values: dict[str, Any]
    version: int
    created_at_s: float
    changed_at_s: float


class Seal:
    """Encrypts what is written into the database and may hold passwords (AES-256-GCM). The key is made
    when it is first needed, readable by the owner only; who awaits `ready` before has the loop wait for neither
    disk nor module."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / KEY_NAME
        self._key = b""

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not self._key:
            with _LOADING:
                self._key = self._key or self._load()
        return AESGCM(self._key)

    async def ready(self) -> None:
        """Have the key and the cipher at hand. The module takes 30 ms to load, and the key of a new office is
        synced, which takes as long as the disk likes. Raises `StoreError`."""
        if not self._key:
            await asyncio.to_thread(self._cipher)

    def _load(self) -> bytes:
        try:
            key = self._path.read_bytes()
        except FileNotFoundError:
            key = secrets.token_bytes(_KEY_OCTETS)
            try:
                self._keep(key)
            except OSError as error:
                raise StoreError(f"{self._path} cannot be written: {error.strerror}") from None
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from None
        if len(key) != _KEY_OCTETS:
            raise StoreError(f"{self._path} is no key of {_KEY_OCTETS} octets")
        return key

    def _keep(self, key: bytes) -> None:
        """All of it or nothing: half a key on a full disk would be the key from then on."""
        partial = self._path.with_name(f"{self._path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            with open(os.open(partial, flags, 0o600), "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def close(self, values: dict[str, Any], about: str) -> bytes:
        """`about` goes with it: what was sealed as one thing cannot be opened as another."""
        nonce = secrets.token_bytes(_NONCE_OCTETS)
        sealed: bytes = self._cipher().encrypt(nonce, msgspec.json.encode(values), about.encode())
        return nonce + sealed

    def open(self, sealed: bytes, about: str) -> dict[str, Any]:
        """Raises `StoreError` where the key is another one, or the database was tampered with."""
        from cryptography.exceptions import InvalidTag

        nonce, rest = sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:]
        try:
            found = msgspec.json.decode(self._cipher().decrypt(nonce, rest, about.encode()))
        except (InvalidTag, ValueError):
            raise StoreError(f"{about} cannot be opened with the key in {self._path}") from None
        return dict(found)


class OfficeEntries:
    """The table of entries. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger, directory: Path) -> None:
        self._database = database
        self._ledger = ledger
        self._seal = Seal(directory)

    async def all(self) -> tuple[list[OfficeEntry], list[str]]:
        """Every entry in the order in which they were made, and what is wrong with those that cannot be
        read."""
        query = sa.select(office_entries).order_by(office_entries.c.id).limit(ENTRIES_MAX)
        async with reading(self._database) as connection:
            rows = (await connection.execute(query)).all()
        found, problems = [], []
        if rows:
            with contextlib.suppress(StoreError):  # said of each entry
                await self._seal.ready()
        for row in rows:
            try:
                found.append(self._entry(row))
            except StoreError as error:
                problems.append(str(error))
        return found, problems

    async def add(self, actor: str, section: str, name: str, values: dict[str, Any]) -> OfficeEntry:
        """Raises `Conflict` for a name that is taken."""
        await self._seal.ready()
        async with self._ledger.change(actor) as change:
            await self._require_free(change, section, name)
            row = {
                "section": section,
                "name": name,
                "sealed": b"",
                "version": 1,
                "created_at_s": change.at_s,
                "changed_at_s": change.at_s,
            }
            query = sa.insert(office_entries).values(row).returning(office_entries.c.id)
            number = int((await change.connection.execute(query)).scalar_one())
            name = name or str(number)
            sealed = self._seal.close(values, _about(section, name))
            update = sa.update(office_entries).where(office_entries.c.id == number)
            await change.connection.execute(update.values(name=name, sealed=sealed))
            change.note("office-entry-added", _about(section, name), keys=sorted(values))
        return OfficeEntry(number, section, name, values, 1, change.at_s, change.at_s)

    async def change(
        self, actor: str, entry: OfficeEntry, values: dict[str, Any], version: int | None
    ) -> OfficeEntry:
        """Other values for an entry. Raises `Missing`, `Stale` where `version` is not its last."""
        await self._seal.ready()
        about = _about(entry.section, entry.name)
        sealed = self._seal.close(values, about)
        async with self._ledger.change(actor) as change:
            now = await self._version(change, entry.id, version)
            update = sa.update(office_entries).where(office_entries.c.id == entry.id)
            row = {"sealed": sealed, "version": now + 1, "changed_at_s": change.at_s}
            await change.connection.execute(update.values(row))
            keys = sorted(
                k for k in {*values, *entry.values} if values.get(k) != entry.values.get(k)
            )
            change.note("office-entry-changed", about, keys=keys)
        return OfficeEntry(
            entry.id, entry.section, entry.name, values, now + 1, entry.created_at_s, change.at_s
        )

    async def remove(self, actor: str, entry: OfficeEntry, version: int | None) -> None:
        """Raises `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            await self._version(change, entry.id, version)
            await change.connection.execute(
                sa.delete(office_entries).where(office_entries.c.id == entry.id)
            )
            change.note("office-entry-removed", _about(entry.section, entry.name))

    async def _require_free(self, change: Change, section: str, name: str) -> None:
        table = office_entries
        if name:
            taken = sa.select(table.c.id).where(table.c.section == section, table.c.name == name)
            if (await change.connection.execute(taken)).first() is not None:
                raise Conflict(f"there is a {section} {name} already")
        count = sa.select(sa.func.count()).select_from(table)
        if (await change.connection.execute(count)).scalar_one() >= ENTRIES_MAX:
            raise Conflict(f"there are {ENTRIES_MAX} entries already")

    async def _version(self, change: Change, number: int, wanted: int | None) -> int:
        query = sa.select(office_entries.c.version).where(office_entries.c.id == number)
        found = (await change.connection.execute(query)).scalar()
        if found is None:
            raise Missing("there is no such entry")
        if wanted is not None and wanted != found:
            raise Stale("the entry was changed meanwhile")
        return int(found)

    def _entry(self, row: sa.Row[tuple[Any, ...]]) -> OfficeEntry:
        values = self._seal.open(row.sealed, _about(row.section, row.name))
        return OfficeEntry(
            row.id, row.section, row.name, values, row.version, row.created_at_s, row.changed_at_s
        )


def _about(section: str, name: str) -> str:
    return f"{section}:{name}"
