"""Leaving a message: greeting, beep, recording; kept also when the caller hangs up."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softswitch.apps.mailbox import Mailboxes, Message

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.audio import Recorded
    from softswitch.call.call import Call

BEEP = "beep"


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """How long a message may last, and after how much silence it is over, in seconds; how often a
    caller whose message was too short may try."""

    max_s: float = 180.0
    silence_s: float = 10.0
    tries: int = 3


class Voicemail:
    """The application of ``voicemail:NUMBER`` destinations."""

    def __init__(
        self, desk: Desk, mailboxes: Mailboxes, limits: MessageLimits | None = None
    ) -> None:
        self._desk = desk
        self._mailboxes = mailboxes
        self._limits = limits if limits is not None else MessageLimits()
        self._numbers = itertools.count(1)

    async def run(self, call: Call, box: str) -> None:
        """Greet, record, keep. A key during the greeting leads to the beep at once."""
        await call.answer()
        own = self._mailboxes.greeting(box)
        for attempt in range(self._limits.tries):
            if self._mailboxes.is_full(box):
                self._refuse(call, box)
                await call.play("mailbox-full")
                return
            if attempt == 0:
                greeting = "voicemail-greeting" if own is None else str(own)
                await call.collect(greeting, timeout_s=0.0)
            await call.play(BEEP)
            if await self._record(call, box) is not None:
                await call.play_all(("voicemail-saved", "goodbye"))
                return
            await call.play("voicemail-too-short")

    async def _record(self, call: Call, box: str) -> Message | None:
        message = Message(
            message_id=f"{call.call_id}-{next(self._numbers)}",
            box=box,
            call_id=call.call_id,
            number_from=call.number_from,
            caller_name=call.caller_name,
            at_s=self._desk.clock.wall_s(),
        )
        self._mailboxes.begin(message)
        keeping: list[asyncio.Task[Message | None]] = []

        def finished(_: Recorded) -> None:
            keeping.append(self._mailboxes.finish(message))

        limits = self._limits
        await call.record(
            self._mailboxes.recording_name(message),
            max_s=limits.max_s,
            silence_s=limits.silence_s,
            noted=False,
            done=finished,
        )
        return await asyncio.shield(keeping[0])

    def _refuse(self, call: Call, box: str) -> None:
        self._desk.journal.append(
            "voicemail-refused",
            call.call_id,
            {"box": box, "why": "full"},
            self._desk.clock.wall_s(),
        )
