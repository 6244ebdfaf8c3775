"""What becomes of recordings once they are closed: an alarm, a smaller file, and one day nothing.

With `[recording] archive` a closed recording is transcoded by a process of its own at the lowest
priority, one at a time. The record is told the new name when the new file is whole on the disk, and
only when that is journaled does the WAV file go; whatever happens in between, the next start finds
the one or the other and goes on. `retain_days` after it was made a recording is deleted, whatever has been
done to its file since (a backup brought back, a copy to another machine, an archive made late).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from softswitch.apps.recording_files import purge
from softswitch.clock import Believed, Clock
from softswitch.store.ledger import Conflict

if TYPE_CHECKING:
    from softswitch.call.audio import Recorded
    from softswitch.config import Office
    from softswitch.store import Store

_log = logging.getLogger("softswitch.recordings")

ARCHIVED = "recording-archived"
_FAULT = "recording.disk"
_ARCHIVE_FAULT = "recording.archive"
_NAME = re.compile(r"([A-Za-z0-9-]{1,100}?)(-[0-9]{1,4})?\.(?:wav|flac|opus)")
"""The call's id, and a number where it is not the first recording of it."""
_TRANSCODE_S_MAX = 3_600.0
_SWEEP_EVERY_S = 3_600.0
_DAY_S = 86_400.0
_WAITING_MAX = 100_000
_AT_ONCE = 200


class Recordings:
    """The folder of recordings. `closed` is told of each one; `start` and `stop` frame its work.

    `office()` gives the office of the moment, `alarm(name, reason)` raises and clears alarms.
    """

    def __init__(
        self,
        directory: Path,
        office: Callable[[], Office],
        store: Store | None,
        clock: Clock,
        alarm: Callable[[str, str], None],
    ) -> None:
        self._directory = directory
        self._office = office
        self._store = store
        self._clock = clock
        self._believed = Believed(clock)
        self._alarm = alarm
        self._waiting: deque[tuple[str, str]] = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.archived = 0
        self.deleted = 0

    def written(self, recorded: Recorded) -> None:
        """A file is complete, or as complete as the disk lets it be: a call's recording or a message."""
        failed = recorded.reason.startswith("disk")
        if failed:
            _log.error("recording %s ended: %s", recorded.name, recorded.reason)
        self._alarm(_FAULT, f"{recorded.name}: {recorded.reason}" if failed else "")

    def closed(self, call_id: str, recorded: Recorded) -> None:
        """A call's recording is complete: it may be archived."""
        self._enqueue(call_id, recorded.name)

    def _enqueue(self, call_id: str, name: str) -> None:
        if self._store is None or self._office().recording.archive == "none":
            return
        if len(self._waiting) < _WAITING_MAX and name.endswith(".wav"):
            self._waiting.append((call_id, name))
            self._wake.set()

    async def start(self) -> None:
        """Take up what an earlier life left behind, then work as recordings are closed."""
        if self._store is None:
            return
        self._tasks = [
            asyncio.create_task(self._archive_all(), name="recordings-archive"),
            asyncio.create_task(self._sweep_all(), name="recordings-sweep"),
        ]

    async def stop(self) -> None:
        """End the work; a transcoding under way is given up and begun anew at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def snapshot(self) -> dict[str, int]:
        """Recordings waiting to be archived; archived and deleted since the start."""
        return {
            "waiting": len(self._waiting),
            "archived": self.archived,
            "deleted": self.deleted,
        }

    # -- archiving -------------------------------------------------------------------------------

    async def _archive_all(self) -> None:
        if self._office().recording.archive != "none":
            await self._find_left_behind()
        while True:
            while self._waiting:
                call_id, name = self._waiting.popleft()
                try:
                    await self._archive(call_id, name)
                except Exception as error:  # one recording must not end the archiving of the others
                    _log.exception("recording %s is not archived", name)
                    self._alarm(_ARCHIVE_FAULT, f"{name}: {error}")
            self._wake.clear()
            await self._wake.wait()

    async def _find_left_behind(self) -> None:
        """Files that were closed, or cut, before this start and are not archived yet."""
        names = await asyncio.to_thread(_listed, self._directory)
        for name in names:
            if name.endswith(".part"):
                (self._directory / name).unlink(missing_ok=True)
                continue
            call_id = await self._owner(name)
            if call_id is not None and name.endswith(".wav"):
                self._enqueue(call_id, name)
            elif name.endswith(".wav") and await self._archived_as(name) is not None:
                (self._directory / name).unlink(missing_ok=True)  # all but this was done

    async def _owner(self, name: str) -> str | None:
        """The ended call whose record names this file."""
        if self._store is None:
            return None
        for call_id in _calls_of(name):
            record = await self._store.calls.get(call_id)
            if record is None or not record.ended:
                continue
            if name in {recording["name"] for recording in record.recordings}:
                return call_id
        return None

    async def _archived_as(self, name: str) -> str | None:
        """The file that has taken the place of a WAV file."""
        for suffix in ("flac", "opus"):
            other = f"{name.removesuffix('.wav')}.{suffix}"
            if await self._owner(other) is not None and (self._directory / other).is_file():
                return other
        return None

    async def _archive(self, call_id: str, name: str) -> None:
        from softswitch.call.loudness import repaired

        kind = self._office().recording.archive
        source = self._directory / name
        if kind == "none" or self._store is None or not source.is_file():
            return
        await asyncio.to_thread(repaired, source)
        stored = f"{name.removesuffix('.wav')}.{kind}"
        problem = await self._transcode(source, self._directory / stored, kind)
        if problem:
            _log.warning("recording %s stays as it is: %s", name, problem)
            self._alarm(_ARCHIVE_FAULT, f"{name}: {problem}")
            return
        await asyncio.to_thread(_date_as, source, self._directory / stored)
        data = {"name": name, "stored": stored}
        self._store.journal.append(ARCHIVED, call_id, data, self._clock.wall_s())
        if await self._store.journal.flush():
            source.unlink(missing_ok=True)
        self.archived += 1
        self._alarm(_ARCHIVE_FAULT, "")

    @staticmethod
    async def _transcode(source: Path, target: Path, kind: str) -> str:
        """Run the transcoder; returns what it complains of, "" for success."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "media.transcode",
            str(source),
            str(target),
            kind,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_TRANSCODE_S_MAX):
                _, said = await process.communicate()
        except TimeoutError:
            said = b"it took more than an hour"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == 0:
            return ""
        return said.decode("utf-8", "replace").strip()[-500:] or f"status {process.returncode}"

    # -- deletion --------------------------------------------------------------------------------

    async def _sweep_all(self) -> None:
        dated = False
        while True:
            try:
                if not dated:
                    await self.date_files()
                    dated = True
                await self.sweep()
            except Exception:
                _log.exception("old recordings are not deleted")
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def date_files(self) -> int:
        """Give every file the time at which its recording was made, where it has quite another one; returns
        how many had. The sweep goes by the files' times: it need not ask the database for each."""
        changed = 0
        names = await asyncio.to_thread(_listed, self._directory)
        for start in range(0, len(names) if self._store is not None else 0, _AT_ONCE):
            calls = {name: _calls_of(name) for name in names[start : start + _AT_ONCE]}
            asked = {call_id for ids in calls.values() for call_id in ids}
            made = await self._store.recordings.made_at(sorted(asked))  # type: ignore[union-attr]
            found = {name: made[name] for name in calls if name in made}
            changed += await asyncio.to_thread(_date, self._directory, found)
        return changed

    async def sweep(self) -> int:
        """Delete the recordings of calls that are older than `retain_days`; returns how many."""
        if not self._believed():
            return 0
        oldest_s = self._clock.wall_s() - self._office().recording.retain_days * _DAY_S
        names = await asyncio.to_thread(_listed, self._directory, oldest_s)
        gone = 0
        for name in names:
            call_id = await self._owner(name)
            if call_id is None or self._store is None:
                continue  # not a call's: a message on its way to its mailbox, or somebody's own file
            try:
                await purge(self._store, self._directory, "system", call_id, name, "retention")
            except Conflict:
                continue  # somebody holds it
            gone += 1
        self.deleted += gone
        return gone


def _calls_of(name: str) -> set[str]:
    """The calls whose recording a file of this name may be."""
    match = _NAME.fullmatch(name)
    return set() if match is None else {match[1], match[1] + (match[2] or "")}


def _date_as(source: Path, target: Path) -> None:
    """What is made of a file is as old as that."""
    made_s = source.stat().st_mtime
    os.utime(target, (made_s, made_s))


def _date(directory: Path, made_s: dict[str, float]) -> int:
    changed = 0
    for name, at_s in made_s.items():
        with contextlib.suppress(OSError):
            if abs((directory / name).stat().st_mtime - at_s) > _DAY_S:
                os.utime(directory / name, (at_s, at_s))
                changed += 1
    return changed


def _listed(directory: Path, older_than_s: float | None = None) -> list[str]:
    """Names in the folder, oldest first; with `older_than_s` those last written before that."""
    if not directory.is_dir():
        return []
    found = []
    for path in directory.iterdir():
        try:
            written_s = path.stat().st_mtime
        except OSError:
            continue  # gone meanwhile
        if older_than_s is None or written_s < older_than_s:
            found.append((written_s, path.name))
    return [name for _, name in sorted(found)]
