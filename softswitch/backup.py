"""Backups: one file with everything of the storage directory that has no other copy, made while the exchange
runs, verified when it is made and again before it is restored."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from softswitch.apps.acd_journal import SNAPSHOT_NAME
from softswitch.backup_postgres import DUMP_NAME, count_rows, dump, is_empty, load, rows_of
from softswitch.errors import SoftswitchError
from softswitch.store.database import FILE_NAME

VERSION = 1
ASIDE = "before-restore-"
"""Folders of what a restore has found there."""
MANIFEST = "manifest.json"
KEYS = ("secret", "session-key", "entry-key")
FOLDERS = ("voicemail", "prompts", "attachments")
CERTIFICATE = "tls"
"""Of our own making: telephones may have been told to know it."""
RECORDINGS = "recordings"
SET_ASIDE = ("journal", FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", SNAPSHOT_NAME)
_BLOCK = 1 << 20
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error)
_FILES_MAX = 5_000_000


class BadBackup(SoftswitchError):
    """The file is none of ours, or damaged."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds: SHA-256 and octets by name, rows by table."""

    files: dict[str, tuple[str, int]]
    rows: dict[str, int]

    @property
    def octets(self) -> int:
        return sum(size for _, size in self.files.values())


def make_backup(
    directory: Path, target: Path, *, recordings: bool = False, database: str = "sqlite"
) -> Contents:
    """Write a backup of the storage `directory` to `target` (gzipped tar, mode 0600), read it back and compare.

    The `database` ("sqlite", or a PostgreSQL URL) is copied by SQLite's own online copy or by `pg_dump`: it is
    of one moment, whatever is written meanwhile. Raises `BadBackup`, `PostgresFailed`, `OSError`.
    """
    if database == "sqlite" and not (directory / FILE_NAME).is_file():
        raise BadBackup(
            f"{directory} has no {FILE_NAME}; where the database is PostgreSQL, name office.toml"
        )
    partial = target.with_name(target.name + ".part")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=directory) as folder:
        name = FILE_NAME if database == "sqlite" else DUMP_NAME
        copy = Path(folder) / name
        if database == "sqlite":
            copy_database(directory / FILE_NAME, copy)
            rows = check_database(copy)
        else:
            rows = dump(database, copy)
        files = {name: copy, **dict(_files(directory, recordings=recordings))}
        with open(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+b") as file:
            contents = _write(file, files, rows)
            file.flush()
            os.fsync(file.fileno())
    try:
        if verify(partial) != contents:
            raise BadBackup(f"{target}: what was read back is not what was written")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return contents


def copy_database(source: Path, target: Path) -> None:
    """A copy of one moment, made beside a running server."""
    with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as reading:
        writing = sqlite3.connect(target)
        try:
            reading.backup(writing)
        finally:
            writing.close()
    reading.close()


def check_database(path: Path) -> dict[str, int]:
    """Rows by table. Raises `BadBackup` for a damaged file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            raise BadBackup(f"the database is damaged: {found}")
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " AND name NOT LIKE '%words%' ORDER BY name"
        ).fetchall()
        # Names come from the database's own catalogue.
        counts = (
            (name, connection.execute('SELECT count(*) FROM "' + name + '"').fetchone()[0])
            for (name,) in names
        )
        return dict(counts)
    except sqlite3.DatabaseError as error:
        raise BadBackup(f"the database is damaged: {error}") from None
    finally:
        connection.close()


def _files(directory: Path, *, recordings: bool) -> Iterator[tuple[str, Path]]:
    for name in KEYS:
        if (directory / name).is_file():
            yield name, directory / name
    for folder in (*FOLDERS, CERTIFICATE, *([RECORDINGS] if recordings else [])):
        for path in sorted((directory / folder).rglob("*")):
            if path.is_file() or path.is_symlink():
                yield path.relative_to(directory).as_posix(), path


def _write(file: BinaryIO, files: dict[str, Path], rows: dict[str, int]) -> Contents:
    hashes: dict[str, tuple[str, int]] = {}
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
        for name, path in files.items():
            try:
                data = path.open("rb")
            except FileNotFoundError:
                continue  # deleted meanwhile, by its owner
            with data:
                size = os.fstat(data.fileno()).st_size
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = size, 0o600, int(path.stat().st_mtime)
                reading = _Hashing(data, size)
                archive.addfile(info, reading)
                hashes[name] = reading.digest(), size
        manifest = {"version": VERSION, "files": hashes, "rows": rows}
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        archive.addfile(info, io.BytesIO(text))
    return Contents(hashes, rows)


class _Hashing:
    """Reads exactly `size` octets of a file that may grow meanwhile, and hashes them."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._hash = hashlib.sha256()

    def read(self, wanted: int = -1) -> bytes:
        wanted = self._left if wanted < 0 else min(wanted, self._left)
        data = self._file.read(wanted)
        data += bytes(wanted - len(data))  # it has become shorter: zeros, and the size stays true
        self._left -= len(data)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()


def verify(source: Path) -> Contents:
    """What a backup holds, every octet compared with its manifest. Raises `BadBackup`."""
    found: dict[str, tuple[str, int]] = {}
    manifest: Contents | None = None
    try:
        for info, data in _entries(source):
            if info.name == MANIFEST:
                manifest = read_manifest(data.read(256 * _BLOCK))
                continue
            digest = hashlib.sha256()
            while block := data.read(_BLOCK):
                digest.update(block)
            found[info.name] = digest.hexdigest(), info.size
    except _BROKEN as error:
        raise BadBackup(f"{source} is damaged: {error}") from None
    if manifest is None:
        raise BadBackup(f"{source} has no manifest: it is cut short, or none of ours")
    listed = manifest.files
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            raise BadBackup(f"{source}: {name} is damaged")
    return manifest


def read_manifest(text: bytes) -> Contents:
    """What a backup says that it holds. Raises `BadBackup`."""
    try:
        found = json.loads(text)
        if found["version"] != VERSION:
            raise BadBackup(f"a backup of version {found['version']}; this is version {VERSION}")
        files = {name: (str(digest), int(size)) for name, (digest, size) in found["files"].items()}
        return Contents(files, dict(found["rows"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise BadBackup("the manifest is damaged") from None


def _entries(source: Path) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    try:
        with gzip.open(source) as octets, tarfile.open(fileobj=octets, mode="r:") as archive:
            for number, info in enumerate(archive):
                name = PurePosixPath(info.name)
                if not info.isreg() or name.is_absolute() or ".." in name.parts:
                    raise BadBackup(f"{source}: {info.name!r} is no file of a backup")
                if number > _FILES_MAX:
                    raise BadBackup(f"{source} holds too many files")
                yield info, archive.extractfile(info)
            while octets.read(_BLOCK):  # to its end, where the sum over all stands
                pass
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise BadBackup(f"{source} cannot be read: {error}") from None


def restore(
    source: Path, directory: Path, *, force: bool = False, database: str = "sqlite"
) -> Contents:
    """Bring a backup back into the storage `directory`. What is there is set aside with `force`, else refused.
    Nothing is changed before the whole backup has been verified. Raises `BadBackup`,
    `PostgresFailed`, `OSError`."""
    contents = verify(source)
    kind = "SQLite" if FILE_NAME in contents.files else "PostgreSQL"
    if (kind == "SQLite") != (database == "sqlite"):
        raise BadBackup(f"{source} holds a database of {kind}, which is not what the office uses")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = [name for name in SET_ASIDE if (directory / name).exists()]
    if database != "sqlite" and not force and not is_empty(database):
        raise BadBackup("the database has tables already; with --force they are replaced")
    if there and not force:
        raise BadBackup(
            f"{directory} holds {', '.join(there)}; with --force it is set aside, not deleted"
        )
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=directory) as folder:
        for info, data in _entries(source):
            if info.name == MANIFEST:
                continue
            path = Path(folder) / info.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                while block := data.read(_BLOCK):
                    file.write(block)
                os.fsync(file.fileno())
        if database == "sqlite":
            rows = check_database(Path(folder) / FILE_NAME)
        else:
            rows = rows_of(Path(folder) / DUMP_NAME)
        if rows != contents.rows:
            raise BadBackup(f"{source}: the database is not the one that was saved")
        if database != "sqlite":
            load(database, Path(folder) / DUMP_NAME, force=force)
            if count_rows(database) != contents.rows:
                raise BadBackup("PostgreSQL has other rows now than were saved")
        if any(name.startswith(f"{CERTIFICATE}/") for name in contents.files):
            # One that a new office has made for itself is no reason to refuse: nobody knows it yet.
            there += [CERTIFICATE] if (directory / CERTIFICATE).exists() else []
        _set_aside(directory, there)
        for name in contents.files.keys() - {DUMP_NAME}:
            target = directory / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(Path(folder) / name, target)
    return contents


def _set_aside(directory: Path, names: list[str]) -> None:
    if not names:
        return
    number = 1
    while (aside := directory / f"{ASIDE}{number}").exists():
        number += 1
    aside.mkdir(mode=0o700)
    for name in names:
        os.replace(directory / name, aside / name)
