"""The background's adding up, a step at a time: how much in each, and how far it has come.

Half-hours are packed from what a connection for reading sees, while the journal goes on; only what was packed
is written under its lock. A late entry meanwhile makes that void, and it is packed once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError

from softswitch.errors import StoreError
from softswitch.store.column_fill import Packed, pack
from softswitch.store.database import Database, reason_of
from softswitch.store.projection_centre import CentreProjection
from softswitch.store.reading import reading
from softswitch.store.rolls import Step
from softswitch.store.schema_rolls import SLOT_S

SLOTS_MAX = 48
ROUTINE = 4
"""So many half-hours that are left are no progress to be told of: each half-hour there is one more."""
_SUMS_S = (0.01, 0.03)
_PACK_S = (0.06, 0.18)
"""How long a step should take: the journal waits for sums, but nothing for what is packed."""


@dataclass(slots=True)
class Width:
    """How many half-hours are made in a step, so that it takes between `low_s` and `high_s`."""

    low_s: float
    high_s: float
    slots: int = 1

    def took(self, slots: int, took_s: float) -> None:
        """So long have `slots` taken."""
        if took_s > self.high_s:
            self.slots = max(1, slots // 2)
        elif took_s < self.low_s and slots == self.slots:
            self.slots = min(slots * 2, SLOTS_MAX)


@dataclass(slots=True)
class Progress:
    """How far a stage has come, and when it will be done at the pace it has had."""

    step: Step = field(default_factory=Step)
    _since: tuple[str, int, float] = ("", 0, 0.0)

    def seen(self, step: Step, now_s: float) -> None:
        """Where it is now."""
        self.step = step
        if self._since[0] != step.stage or step.at < self._since[1]:
            self._since = (step.stage, step.at, now_s)

    def told(self, now_s: float) -> dict[str, Any] | None:
        """`stage`, "sums" or "columns" (days take no time); `share` of its half-hours that are made; `at_s`,
        until when; `left_s`, in which the rest should be, None where that cannot be said yet. None while
        nothing is to be told."""
        step = self.step
        left = step.end - step.at
        if step.stage not in ("sums", "columns") or left <= ROUTINE:
            return None
        _, began, began_s = self._since
        made = step.at - began
        return {
            "stage": step.stage,
            "share": round((step.at - step.first) / max(1, step.end - step.first), 4),
            "at_s": step.at * float(SLOT_S),
            "left_s": round(left * (now_s - began_s) / made, 1) if made > 0 else None,
        }


class AddingUp:
    """Parameters: `database`; `exclusive`, held by whoever writes to it; `centre`, what writes the tables that
    sums are made of, None while the database is behind; `now_s`, a clock that only goes forward."""

    def __init__(
        self,
        database: Database,
        exclusive: asyncio.Lock,
        centre: Callable[[], CentreProjection | None],
        now_s: Callable[[], float],
    ) -> None:
        self._database = database
        self._exclusive = exclusive
        self._centre = centre
        self._now_s = now_s
        self._sums, self._packs = Width(*_SUMS_S), Width(*_PACK_S)
        self._progress = Progress()

    def told(self) -> dict[str, Any] | None:
        """As `Progress.told`."""
        return self._progress.told(self._now_s())

    async def step(self, now_s: float, zone: ZoneInfo) -> bool:
        """Make some more; whether there is more to do. Raises `StoreError`."""
        async with self._exclusive:  # what was written before is committed, and seen by who reads
            centre = self._centre()
            if centre is None:
                return False
            late = centre.late
        packed = await self._pack()
        async with self._exclusive:
            if self._centre() is not centre:
                return False
            if centre.late is not late:
                packed = None
            step = await self._write(centre, now_s, zone, packed)
        self._progress.seen(step, self._now_s())
        return step.stage != ""

    async def _pack(self) -> Packed | None:
        step = self._progress.step
        if step.stage != "columns":
            return None
        stop = min(step.at + self._packs.slots, step.end)
        began_s = self._now_s()
        async with reading(self._database) as connection:
            packed = await pack(connection, step.at, stop)
        self._packs.took(stop - step.at, self._now_s() - began_s)
        return packed

    async def _write(
        self, centre: CentreProjection, now_s: float, zone: ZoneInfo, packed: Packed | None
    ) -> Step:
        began_s, slots = self._now_s(), self._sums.slots
        try:
            async with self._database.transaction() as writer:
                step = await centre.roll_on(writer, now_s, zone, slots, packed)
        except SQLAlchemyError as error:
            centre.forget()
            raise StoreError(f"reports are not added up: {reason_of(error)}") from error
        if step.stage == "sums":
            self._sums.took(slots, self._now_s() - began_s)
        return step
