"""Leaving a message: greeting, beep, recording; kept also when the caller hangs up."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softswitch.apps.mailbox import MESSAGE_S_MIN, Mailboxes, Message
from softswitch.errors import CallEnded

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.audio import Recorded
    from softswitch.call.call import Call

BEEP = "beep"
REVIEW = "voicemail-review"
REVIEWS_MAX = 10
SEND, LISTEN, RECORD_AGAIN, DELETE = "1", "2", "3", "*"
KEPT, SHORT, AGAIN, DELETED = "kept", "short", "again", "deleted"


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
            what = await self._record(call, box)
            if what == KEPT:
                await call.play_all(("voicemail-saved", "goodbye"))
                return
            if what == DELETED:
                await call.play_all(("voicemail-deleted", "goodbye"))
                return
            if what == SHORT:
                await call.play("voicemail-too-short")

    async def _record(self, call: Call, box: str) -> str:
        """One message, from the beep on. Who ends it with a key may hear it, or take it back; who hangs
        up, at any moment, has left it."""
        message = Message(
            message_id=f"{call.call_id}-{next(self._numbers)}",
            box=box,
            call_id=call.call_id,
            number_from=call.number_from,
            caller_name=call.caller_name,
            at_s=self._desk.clock.wall_s(),
        )
        self._mailboxes.begin(message)

        undecided: list[Recorded] = []

        def finished(recorded: Recorded) -> None:
            if call.ended:
                self._mailboxes.finish(message)
            else:
                undecided.append(recorded)

        limits, decision = self._limits, SEND
        try:
            recorded = await call.record(
                self._mailboxes.recording_name(message),
                max_s=limits.max_s,
                silence_s=limits.silence_s,
                noted=False,
                done=finished,
            )
            if recorded.reason == "key" and recorded.duration_s >= MESSAGE_S_MIN:
                decision = await self._review(call, message)
        except CallEnded:
            if undecided:
                self._mailboxes.finish(message)
            raise
        if decision == SEND:
            kept = await asyncio.shield(self._mailboxes.finish(message))
            return SHORT if kept is None else KEPT
        self._mailboxes.discard(message)
        return AGAIN if decision == RECORD_AGAIN else DELETED

    async def _review(self, call: Call, message: Message) -> str:
        """What its caller decides; nothing for a while, or three times nonsense: it is sent."""
        path = str(self._mailboxes.recording_path(self._mailboxes.recording_name(message)))
        prompts: tuple[str, ...] = (REVIEW,)
        for _ in range(REVIEWS_MAX):
            key = await call.collect(prompts, terminator="")
            if key in (SEND, RECORD_AGAIN, DELETE):
                return key
            if not key:
                break
            prompts = (path, REVIEW) if key == LISTEN else ("invalid-choice", REVIEW)
        return SEND

    def _refuse(self, call: Call, box: str) -> None:
        self._desk.journal.append(
            "voicemail-refused",
            call.call_id,
            {"box": box, "why": "full"},
            self._desk.clock.wall_s(),
        )
