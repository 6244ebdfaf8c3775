"""Tests of sound in real time, on a machine that has other work too.

A telephone that gets no core for a quarter of a second sends late, and what is late is rightly lost: what
is heard then says something of the machine. Who fails is asked whether anybody was kept waiting for longer
than a jitter buffer hides; only then he may try again.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softswitch import Switch

TRIES = 5
HIDDEN_MS = 40.0
_EVERY_S = 0.01
_REPORT_S = 1.1
"""Media workers report once a second."""


class Punctuality:
    """For how long this loop and the media workers of `switch` were kept waiting at most, milliseconds."""

    def __init__(self) -> None:
        self.late_ms = 0.0
        self.switch: Switch | None = None

    async def watch(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self.late_ms = max(self.late_ms, 1000 * (loop.time() - due_s))

    def note_workers(self) -> None:
        """Before the switch is stopped: a gap that was not the worker's own work was somebody else's."""
        self.note(self.switch.snapshot()["workers"] if self.switch is not None else [])

    def note(self, rows: list[dict[str, Any]]) -> None:
        """The same of what `softswitch status` shows."""
        self.late_ms = max([self.late_ms, *(row["gap_ms"] - row["gap_own_ms"] for row in rows)])


_watch: ContextVar[Punctuality | None] = ContextVar("punctuality", default=None)


def kept_waiting(status: dict[str, Any]) -> None:
    """To be called at the end of a try with the exchange in a process of its own."""
    punctuality = _watch.get()
    if punctuality is not None:
        punctuality.note(status["workers"])


async def watched(switch: Switch, failed: bool) -> None:
    """To be called at the end of a try, before `switch` is stopped."""
    punctuality = _watch.get()
    if punctuality is not None and failed:
        await asyncio.sleep(_REPORT_S)
        punctuality.switch = switch
        punctuality.note_workers()


def punctual(
    test: Callable[[Path], Coroutine[Any, Any, None]],
) -> Callable[[Path], Awaitable[None]]:
    """A test that may try again where the machine was late, in a folder of its own each time."""

    @functools.wraps(test)
    async def tried(tmp_path: Path) -> None:
        for number in range(1, TRIES + 1):
            folder = tmp_path / str(number)
            folder.mkdir()
            punctuality = Punctuality()
            _watch.set(punctuality)
            watching = asyncio.create_task(punctuality.watch())
            try:
                await test(folder)
            except AssertionError as error:
                if number == TRIES or punctuality.late_ms <= HIDDEN_MS:
                    error.add_note(
                        f"try {number}; the machine was late by {punctuality.late_ms:.0f} ms"
                    )
                    raise
            else:
                return
            finally:
                watching.cancel()

    return tried
