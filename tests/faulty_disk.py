"""A disk that fails as it is told to, under the files of an exchange that runs in another process.

`faulty_disk.c` comes between that process and libc, so that SQLite's own writes and syncs fail and not only
those that go through Python. It is compiled when it is first needed.
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("faulty_disk.c")
_KINDS = ("database", "log")
_FIELDS = (
    "sync_errno", "sync_ms", "write_errno", "open_errno", "fail_syncs",
    "syncs", "failed_syncs", "failed_writes",
)  # fmt: skip
_WORD = struct.Struct("=I")
_CONTROL = "FAULTY_CONTROL"


@functools.cache
def _library() -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip("a disk that fails is made with a C compiler on Linux: apt-get install gcc")
    library = Path(tempfile.mkdtemp(prefix="softswitch-disk-")) / "faulty_disk.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return library


class FaultyDisk:
    """Says what fails, and what has failed. Kinds of files: "database" (SQLite's, with its write-ahead log) and
    "log" (the journal's own)."""

    def __init__(self, control: Path) -> None:
        with control.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    @classmethod
    def of_this_process(cls) -> FaultyDisk:
        """For who runs on such a disk."""
        return cls(Path(os.environ[_CONTROL]))

    def tell(self, kind: str, **fields: int) -> None:
        """From now on, for files of that kind: `sync_errno`, `write_errno`, `open_errno` (of opening for
        writing), `sync_ms` (what each sync takes), `fail_syncs` (how many fail; 0: all of them)."""
        for name, value in fields.items():
            _WORD.pack_into(self._page, self._at(kind, name), value)

    def told(self, kind: str, name: str) -> int:
        """One of those, or `syncs`, `failed_syncs`, `failed_writes` until now."""
        return int(_WORD.unpack_from(self._page, self._at(kind, name))[0])

    @contextmanager
    def failing(self, kind: str, **fields: int) -> Iterator[None]:
        """For a while."""
        self.tell(kind, **fields)
        try:
            yield
        finally:
            self.tell(kind, **dict.fromkeys(fields, 0))

    @staticmethod
    def _at(kind: str, name: str) -> int:
        return _WORD.size * (_KINDS.index(kind) * len(_FIELDS) + _FIELDS.index(name))


def faulty_disk(directory: Path, storage: Path, kept: Path | None = None) -> dict[str, str]:
    """What the environment of a process must say whose files in `storage` are on such a disk, told by a file
    in `directory`. In `kept` is what a power cut would leave of them."""
    control = directory / "faults"
    control.write_bytes(bytes(mmap.PAGESIZE))
    if kept is not None:
        (kept / "journal").mkdir(parents=True)
    return {
        "LD_PRELOAD": str(_library()),
        _CONTROL: str(control),
        "FAULTY_ROOT": str(storage.resolve()),
        "FAULTY_KEPT": "" if kept is None else str(kept),
    }


def disk_of(environment: dict[str, str]) -> FaultyDisk:
    """That disk, for who has started the process."""
    return FaultyDisk(Path(environment[_CONTROL]))


EIO = errno.EIO
