"""What the ACD writes down, and how it remembers after a crash.

Every event of the engine goes into the journal before it is decided upon, so that the state of the last
snapshot and the events after it give the state at the crash again: places in line, pending callbacks,
what agents were doing. Every decision that people count goes there too (`softswitch.store.acd`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from routing import events
from softswitch.errors import SoftswitchError

_log = logging.getLogger("softswitch.acd")

EVENT = "acd-event"
SNAPSHOT_NAME = "queues.json"
REPLAYED_MAX = 200_000
"""Events read back at a start; there are more only where the snapshot was lost."""
_SNAPSHOT_VERSION = 1

# The office file says it anew at each start.
_CONFIGURATION = (
    events.QueueSet,
    events.QueueRemoved,
    events.AgentSet,
    events.AgentRemoved,
    events.CustomerSet,
    events.AssignmentSet,
    events.ClockSet,
)
_EVENTS: dict[str, type] = {
    name: kind
    for name, kind in vars(events).items()
    if dataclasses.is_dataclass(kind)
    and isinstance(kind, type)
    and kind.__module__ == events.__name__
    and kind not in _CONFIGURATION
}
_TIMES = {"not_before_s", "started_s"}


class JournalEntries(Protocol):
    """Reading a journal of earlier runs."""

    async def after(
        self, seq: int, kind: str, limit: int
    ) -> list[tuple[int, float, dict[str, Any]]]:
        """(number, wall time, particulars) of the newest `limit` entries of a kind, oldest first."""
        ...


def write_event(event: events.Event, now_s: float, epoch_s: float) -> dict[str, Any]:
    """An event as particulars of a journal entry, its times moved by `epoch_s` to Unix time."""
    data: dict[str, Any] = {"type": type(event).__name__, "unix_s": now_s + epoch_s}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if value == field.default:
            continue
        if field.name in _TIMES:
            value += epoch_s
        data[field.name] = dict(value) if isinstance(value, Mapping) else value
    return data


def read_event(data: Mapping[str, Any], epoch_s: float) -> tuple[events.Event, float] | None:
    """The event of an entry and its time on a clock that shows 0 at `epoch_s`; None for one that is
    not to be repeated."""
    fields = dict(data)
    kind = _EVENTS.get(str(fields.pop("type", "")))
    unix_s = fields.pop("unix_s", None)
    if kind is None or not isinstance(unix_s, int | float):
        return None
    try:
        for name in _TIMES & fields.keys():
            fields[name] -= epoch_s
        return msgspec.convert(fields, kind), unix_s - epoch_s
    except (msgspec.ValidationError, TypeError) as error:
        _log.warning("an event of the journal is not understood: %s", error)
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """The state when the entry `seq` was the newest; `counts` are those of the day."""

    seq: int
    unix_s: float
    engine: dict[str, Any]
    counts: dict[str, Any]


class _Written(msgspec.Struct):
    """The file of a snapshot."""

    version: int
    seq: int
    unix_s: float
    engine: dict[str, Any]
    counts: dict[str, Any]


def read_snapshot(data: bytes) -> Snapshot:
    """The snapshot that a file holds. Raises `ValueError`."""
    try:
        found = msgspec.json.decode(data, type=_Written)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if found.version != _SNAPSHOT_VERSION:
        raise ValueError(f"version {found.version}")
    return Snapshot(found.seq, found.unix_s, found.engine, found.counts)


class AcdMemory:
    """The snapshot file in `directory`, and the entries after it; without a journal that can be read
    nothing is remembered. `flush` brings the journal's entries to the disk; `alive` gives the Unix time up to
    which the last run lived, else its argument."""

    def __init__(
        self,
        directory: Path,
        entries: JournalEntries | None = None,
        flush: Callable[[], Awaitable[object]] | None = None,
        alive: Callable[[float], Awaitable[float]] | None = None,
    ) -> None:
        self._path = directory / SNAPSHOT_NAME
        self._entries = entries
        self._flush = flush
        self._alive = alive

    async def alive_until(self, unix_s: float) -> float:
        """Until when the last run lived: later than its last event, `unix_s`, where it wrote anything else."""
        return unix_s if self._alive is None else max(unix_s, await self._alive(unix_s))

    @property
    def remembers(self) -> bool:
        return self._entries is not None

    async def recall(
        self, epoch_s: float
    ) -> tuple[Snapshot | None, list[tuple[events.Event, float]]]:
        """The last snapshot, and the events since, with their times on a clock that shows 0 at
        `epoch_s`."""
        if self._entries is None:
            return None, []
        if self._flush is not None:
            await self._flush()  # what the last run wrote may still be on its way to the database
        snapshot = self._read()
        seq = snapshot.seq if snapshot is not None else 0
        try:
            found = await self._entries.after(seq, EVENT, REPLAYED_MAX)
        except SoftswitchError as error:
            _log.error("what queues and agents did before this start cannot be read: %s", error)
            return snapshot, []
        read = (read_event(data, epoch_s) for _, _, data in found)
        return snapshot, [event for event in read if event is not None]

    def _read(self) -> Snapshot | None:
        try:
            data = self._path.read_bytes()
        except OSError:
            return None
        try:
            return read_snapshot(data)
        except ValueError as error:
            _log.error("%s is damaged: %s", self._path, error)
            return None

    async def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot, the journal first: it must never say less than the snapshot."""
        if self._flush is not None:
            await self._flush()
        await asyncio.get_running_loop().run_in_executor(None, self._write, snapshot)

    def _write(self, snapshot: Snapshot) -> None:
        """Replace the file. A failure is logged: the journal has it all."""
        data = msgspec.json.encode(
            {
                "version": _SNAPSHOT_VERSION,
                "seq": snapshot.seq,
                "unix_s": snapshot.unix_s,
                "engine": snapshot.engine,
                "counts": snapshot.counts,
            }
        )
        partial = self._path.with_suffix(".part")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._path)
        except OSError as error:
            _log.error("%s cannot be written: %s", self._path, error)
