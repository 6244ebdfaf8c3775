"""The journal's log: append-only files that hold every entry before the database does.

A database can be locked, full, damaged or deleted; then the entries wait here, and what it has lost is
read back from here. Files are named by their first entry, start anew at `SEGMENT_BYTES_MAX` and the
oldest go once the database holds them for good. All methods block; the journal calls them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from softswitch.errors import StoreError
from softswitch.store.entry import ENTRY_BYTES_MAX, Entry, arrays_of, lines_of, read_line

SEGMENT_BYTES_MAX = 16 * 1024 * 1024
SEGMENTS_KEPT_MIN = 8
_SUFFIX = ".log"
_READ_BYTES = 1 << 20
_LINE_BYTES_MAX = 2 * ENTRY_BYTES_MAX


class EntryLog:
    """The files of one directory, for one process at a time (a lock says so).

    Parameters: `directory`, made with mode 0700 if it is missing; `segment_bytes`, when the next file
    is begun; `segments_kept`, how many `prune` leaves.

    Raises `StoreError` where the directory cannot be used or another process uses it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES_MAX,
        segments_kept: int = SEGMENTS_KEPT_MIN,
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segments_kept = max(1, segments_kept)
        self._file = -1
        self._size = 0
        self.damaged_lines = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{directory} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.last_seq = self._open_last()
        except BlockingIOError:
            os.close(self._lock)
            raise StoreError(f"{directory} is in use by another server") from None
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"{directory} cannot be used: {error.strerror}") from None

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._lock >= 0:
            # Said aloud: a child that is just being started holds the lock too until it runs its program.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = -1

    # -- writing --------------------------------------------------------------------------------

    def write(self, entries: list[Entry], bodies: list[bytes] | None = None) -> bool:
        """Put entries at the end, in order of their numbers, and have the disk keep them. True if a new
        file was begun for them. `bodies`, the `arrays_of` them, where they are at hand.

        Raises `OSError`; then none of them counts as written and all must be given again.
        """
        if not entries:
            return False
        full = self._file < 0 or self._size >= self._segment_bytes
        if full:
            self._begin_segment(entries[0].seq)
        data = memoryview(lines_of(arrays_of(entries) if bodies is None else bodies))
        before = self._size
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            self._size += written
            os.fdatasync(self._file)
        except OSError:
            self._give_up_segment(before)
            raise
        self.last_seq = entries[-1].seq
        return full

    def _begin_segment(self, first_seq: int) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        path = self._directory / f"{first_seq:019d}{_SUFFIX}"
        # The same batch once more: a file that could not be synced is not synced again (a later sync may
        # be called good without the pages that were lost). None of its entries counts as written.
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._size = 0
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        except OSError:
            self._give_up_segment(0)  # a file that a power cut may take away holds nothing
            raise
        finally:
            os.close(directory)

    def _give_up_segment(self, good_bytes: int) -> None:
        """After a failed write or sync the kernel may have thrown the pages away and call the next
        sync good: cut the file back and go on in a new one."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, good_bytes)
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1

    # -- reading --------------------------------------------------------------------------------

    def segments(self) -> list[tuple[int, Path]]:
        """The files, oldest first, with the number that their names give."""
        found = []
        for path in self._directory.iterdir():
            if path.suffix == _SUFFIX and path.stem.isascii() and path.stem.isdigit():
                found.append((int(path.stem), path))
        return sorted(found)

    def read_after(self, seq: int) -> Iterator[Entry]:
        """The entries with a higher number, in order; damaged lines are left out and counted."""
        segments = self.segments()
        highest = seq
        for index, (_, path) in enumerate(segments):
            if index + 1 < len(segments) and segments[index + 1][0] <= seq + 1:
                continue
            for entry in self._read(path):
                if entry is None:
                    self.damaged_lines += 1
                elif entry.seq > highest:
                    highest = entry.seq
                    yield entry

    def _read(self, path: Path) -> Iterator[Entry | None]:
        with path.open("rb", buffering=_READ_BYTES) as file:
            while line := file.readline(_LINE_BYTES_MAX):
                yield read_line(line[:-1]) if line.endswith(b"\n") else None

    def _open_last(self) -> int:
        """Go on in the newest file: find its last entry, cut off what a crash left half written."""
        segments = self.segments()
        last_seq = 0
        for first_seq, path in reversed(segments):
            good_bytes = self._good_end(path)
            last_seq = max((e.seq for e in self._read(path) if e is not None), default=0)
            if last_seq == 0:
                last_seq = first_seq - 1
            if path == segments[-1][1]:
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                if os.fstat(self._file).st_size > good_bytes:
                    os.ftruncate(self._file, good_bytes)
                self._size = good_bytes
            if last_seq > 0:
                break
        return last_seq

    def _good_end(self, path: Path) -> int:
        """Where the last whole line ends."""
        end = position = 0
        with path.open("rb", buffering=_READ_BYTES) as file:
            while line := file.readline(_LINE_BYTES_MAX):
                position += len(line)
                if line.endswith(b"\n"):
                    end = position
        return end

    def prune(self, kept_seq: int) -> int:
        """Delete files all of whose entries are at or below `kept_seq`, but for the newest few.
        Returns how many went."""
        segments = self.segments()
        gone = 0
        for (_, path), (next_first, _) in pairwise(segments):
            if len(segments) - gone <= self._segments_kept or next_first > kept_seq + 1:
                break
            path.unlink(missing_ok=True)
            gone += 1
        return gone
