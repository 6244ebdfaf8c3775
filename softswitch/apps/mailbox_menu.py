"""The owner at his mailbox: PIN, messages to hear, keep and delete, a greeting of his own."""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from softswitch import saying
from softswitch.apps.mailbox import MESSAGE_S_MIN, Mailboxes, Message
from softswitch.apps.pin_guard import PinGuard
from softswitch.apps.voicemail import BEEP
from softswitch.call.identity import PhoneIdentity
from softswitch.config.derived import FromOffice
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.audio import Recorded
    from softswitch.call.call import Call
    from softswitch.config import Office

TRIES = 3
GREETING_S_MAX = 120.0
_ENTRY_S = 10.0
_PIN_MAX = 12
_NUMBER_MAX = 32
_OTHER_BOX = "*"
_LEAVE = "#"


class MailboxMenu:
    """What the feature code ``voicemail`` leads to."""

    def __init__(self, desk: Desk, mailboxes: Mailboxes) -> None:
        self._desk = desk
        self._mailboxes = mailboxes
        self._pins = FromOffice(desk, _pins_of)
        self._guard = PinGuard()
        self._numbers = itertools.count(1)

    async def run(self, call: Call, _: str = "") -> None:
        """Let the owner in and show him his messages."""
        await call.answer()
        call.hides_digits = True
        box = await self._open(call)
        call.hides_digits = False
        if box is not None:
            await self._tell_counts(call, box)
            await self._review(call, box)
            await self._options(call, box)
        await call.play("goodbye")

    # -- the door ----------------------------------------------------------------------------------

    async def _open(self, call: Call) -> str | None:
        """The box whose PIN the caller knows: his own, or with ``*`` another."""
        identity = call.identity
        own = identity.extension if isinstance(identity, PhoneIdentity) else ""
        wanted = own if own in self._pins() else ""
        for _ in range(TRIES):
            box = wanted or await self._number(call)
            source, owner, now_s = call.caller.label, box == own, self._desk.clock.monotonic_s()
            # What does not exist is asked for a PIN all the same, and counted as one thing.
            thing = box if box in self._pins() else ""
            if self._guard.is_locked(thing, source, now_s, owner=owner):
                self._note(call, box, "locked")
                await call.play("mailbox-locked")
                return None
            pin = await call.collect("mailbox-pin", max_digits=_PIN_MAX, timeout_s=_ENTRY_S)
            if pin.startswith(_OTHER_BOX):
                wanted = ""
                continue
            if thing and hmac.compare_digest(pin.encode(), self._pins()[thing].encode()):
                self._guard.right(thing, source)
                self._note(call, box, "opened")
                return box
            if pin:
                self._guard.wrong(thing, source, self._desk.clock.monotonic_s(), owner=owner)
                self._note(call, box, "wrong PIN")
            await call.play("mailbox-wrong-pin")
        return None

    async def _number(self, call: Call) -> str:
        return await call.collect("mailbox-number", max_digits=_NUMBER_MAX, timeout_s=_ENTRY_S)

    def _note(self, call: Call, box: str, what: str) -> None:
        known = box if box in self._pins() else ""
        self._desk.journal.append(
            "mailbox-entered", call.call_id, {"box": known, "what": what}, self._desk.clock.wall_s()
        )

    # -- messages ----------------------------------------------------------------------------------

    async def _tell_counts(self, call: Call, box: str) -> None:
        new, old = self._mailboxes.counts(box)
        if not new:
            await call.play("mailbox-no-messages")
        for count, one, many in (
            (new, "mailbox-new-message", "mailbox-new-messages"),
            (old, "mailbox-saved-message", "mailbox-saved-messages"),
        ):
            if count:
                words = saying.phrase("count", count, call.language)
                await call.play_all(("mailbox-you-have", *words, one if count == 1 else many))

    async def _review(self, call: Call, box: str) -> None:
        """All messages, new ones first, until there are no more or the owner has had enough."""
        messages = self._mailboxes.messages(box)
        for message in messages:
            if not await self._present(call, message):
                return
        if messages:
            await call.play("mailbox-no-more")

    async def _present(self, call: Call, message: Message) -> bool:
        """One message, until its owner decides; False: he has had enough."""
        while True:
            key = await self._heard(call, self._envelope(call, message))
            if not key:
                key = await self._heard(call, (str(self._mailboxes.path_of(message)),))
                if not key:
                    self._mailboxes.mark_heard(message)
                    key = await call.collect("mailbox-menu", terminator="")
            match key:
                case "1":
                    continue
                case "3":
                    self._mailboxes.delete(message)
                    await call.play("mailbox-deleted")
                    return True
                case "2":
                    self._mailboxes.mark_heard(message)
                    await call.play("mailbox-kept")
                    return True
                case "8":
                    self._mailboxes.mark_heard(message)
                    await self._call_back(call, message)
                case "#":
                    return False
                case "":
                    return True

    async def _call_back(self, call: Call, message: Message) -> None:
        """To whoever left it, with the rights of the box's owner; does not return when that leads there."""
        try:
            self._note(call, message.box, "called back")
            await call.call_back(message.number_from, message.box)
        except CallError:
            if call.ended or call.onward is not None:
                raise
            await call.play("mailbox-cannot-call")

    async def _heard(self, call: Call, prompts: Iterable[str]) -> str:
        """Play these; the key that was pressed meanwhile, "" for none."""
        return await call.collect(prompts, timeout_s=0.0, terminator="")

    def _envelope(self, call: Call, message: Message) -> list[str]:
        local = datetime.fromtimestamp(message.at_s, self._desk.office.office.zone)
        try:
            caller = saying.phrase("digits", message.number_from, call.language)
        except ValueError:
            caller = []
        return [
            "mailbox-message-from",
            *(caller or ["mailbox-unknown-caller"]),
            *saying.phrase("day", local.date(), call.language),
            *saying.phrase("time", local, call.language),
        ]

    # -- greeting ----------------------------------------------------------------------------------

    async def _options(self, call: Call, box: str) -> None:
        for _ in range(TRIES):
            match await call.collect("mailbox-options", terminator=""):
                case "1":
                    await self._review(call, box)
                case "2":
                    await self._greeting(call, box)
                case "#":
                    return

    async def _greeting(self, call: Call, box: str) -> None:
        for _ in range(TRIES):
            name = f"{box}-{call.call_id}-{next(self._numbers)}.wav"
            recorded = await self._record(call, name)
            try:
                key = await self._judged(call, name, recorded)
                if key == "1":
                    self._mailboxes.take_greeting(box, name)
                    await call.play("mailbox-greeting-saved")
                elif key == "3":
                    self._mailboxes.drop_greeting(box)
                    await call.play("mailbox-greeting-standard")
            finally:
                self._mailboxes.drop_recording(name)
            if key != "2":
                return

    async def _record(self, call: Call, name: str) -> Recorded:
        def finished(_: Recorded) -> None:
            if call.ended:
                self._mailboxes.drop_recording(name)

        await call.play_all(("mailbox-greeting-record", BEEP))
        return await call.record(name, max_s=GREETING_S_MAX, noted=False, done=finished)

    async def _judged(self, call: Call, name: str, recorded: Recorded) -> str:
        if recorded.duration_s < MESSAGE_S_MIN:
            await call.play("voicemail-too-short")
            return "2"
        path = str(self._mailboxes.recording_path(name))
        return await call.collect((path, "mailbox-greeting-menu"), terminator="")


def _pins_of(office: Office) -> dict[str, str]:
    return {e.number: e.voicemail.pin for e in office.extensions if e.voicemail}
