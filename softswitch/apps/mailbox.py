"""Mailboxes: messages as WAV files, each with what is known of it in a JSON file beside it.

``voicemail/<box>/<id>.wav`` and ``<id>.json``; ``greeting-<id>.wav`` is the box's own: under a new name each
time, because the media plane remembers what a file of a name says. A message that is being recorded has
``<id>.draft``: after a crash its recording is found by it, repaired and kept. Names are made of our own
ids, never of what a caller says.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from softswitch.call.loudness import repaired, voiced_s
from softswitch.clock import Believed, Clock
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.call.cdr import JournalWriter

_log = logging.getLogger("softswitch.apps")

MESSAGES_MAX = 100
"""Messages of one box, new and old; a caller beyond them is told that the box is full."""

MESSAGE_S_MIN = 1.0
VOICED_S_MIN = 0.3
"""A message with less sound than this is a caller who only listened to the greeting."""

_DAY_S = 86_400.0
_BOX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_GREETING = "greeting-"

OnChanged: TypeAlias = Callable[[str, int, int], None]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message: who called whom and when (seconds since the epoch), how long it is, whether its
    owner has heard it and been mailed it."""

    message_id: str
    box: str
    call_id: str
    number_from: str
    caller_name: str
    at_s: float
    duration_s: float = 0.0
    heard: bool = False
    mailed: bool = False


@dataclass(slots=True)
class _Box:
    messages: dict[str, Message]
    drafts: set[str]
    greeting: Path | None = None


class Mailboxes:
    """All mailboxes of an exchange, in memory as far as lists go.

    Parameters: `directory`, the storage directory; `retain_days`, after how long messages go;
    `messages_max` a box. `on_changed` callbacks get (box, new, old) after every change.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        journal: JournalWriter,
        *,
        retain_days: int = 180,
        messages_max: int = MESSAGES_MAX,
    ) -> None:
        self._directory = directory / "voicemail"
        self._recordings = directory / "recordings"
        self._clock = clock
        self._believed = Believed(clock)
        self._journal = journal
        self._retain_s = retain_days * _DAY_S
        self._messages_max = messages_max
        self._boxes: dict[str, _Box] = {}
        self._tasks: set[asyncio.Task[Message | None]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self.on_changed: list[OnChanged] = []
        self.on_message: list[Callable[[Message], None]] = []

    def keep_for(self, days: int) -> None:
        """Messages go after so many days from now on."""
        self._retain_s = days * _DAY_S

    # -- beginning and end -------------------------------------------------------------------------

    async def start(self) -> None:
        """Read what is there, finish what a crash has left half done."""
        loop = asyncio.get_running_loop()
        for message, draft in await loop.run_in_executor(None, lambda: list(self._read())):
            box = self._box(message.box)
            if not draft:
                box.messages[message.message_id] = message
                continue
            _log.warning("message %s was cut when the exchange went down", message.message_id)
            box.drafts.add(message.message_id)
            await self.keep(message)
        for path in await loop.run_in_executor(None, self._greetings):
            self._box(path.parent.name).greeting = path
        self._expire()

    def _greetings(self) -> list[Path]:
        return sorted(self._directory.glob(f"*/{_GREETING}*.wav"))

    def _read(self) -> Iterator[tuple[Message, bool]]:
        if not self._directory.is_dir():
            return
        for path in sorted(self._directory.glob("*/*")):
            if path.suffix not in (".json", ".draft"):
                continue
            try:
                message = msgspec.json.decode(path.read_bytes(), type=Message)
            except (OSError, msgspec.MsgspecError, UnicodeError) as error:
                _log.error("%s cannot be read and is left out: %s", path, error)
                continue
            draft = path.suffix == ".draft"
            if (message.box, message.message_id) != (path.parent.name, path.stem):
                _log.error("%s belongs elsewhere and is left out", path)
            elif draft or path.with_suffix(".wav").is_file():
                yield message, draft

    async def stop(self) -> None:
        """Wait until the last messages are kept."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    def snapshot(self) -> dict[str, int]:
        boxes = self._boxes.values()
        return {
            "boxes": len(boxes),
            "messages": sum(len(box.messages) for box in boxes),
            "being_recorded": sum(len(box.drafts) for box in boxes),
        }

    # -- what is in a box --------------------------------------------------------------------------

    def _box(self, name: str) -> _Box:
        if not _BOX.fullmatch(name):
            raise CallError(f"{name!r} cannot be the name of a mailbox")
        return self._boxes.setdefault(name, _Box({}, set()))

    def messages(self, box: str) -> list[Message]:
        """New ones first, each kind in the order they came."""
        found = self._box(box).messages.values()
        return sorted(found, key=lambda message: (message.heard, message.at_s))

    def counts(self, box: str) -> tuple[int, int]:
        """(new, old) messages."""
        found = self._box(box).messages.values()
        old = sum(message.heard for message in found)
        return len(found) - old, old

    def is_full(self, box: str) -> bool:
        """Whether no further message is taken; those being recorded count."""
        found = self._box(box)
        return len(found.messages) + len(found.drafts) >= self._messages_max

    def path_of(self, message: Message) -> Path:
        """The message's WAV file."""
        return self._directory / message.box / f"{message.message_id}.wav"

    def recording_name(self, message: Message) -> str:
        """What its recording is called as long as it runs."""
        return f"voicemail-{message.box}-{message.message_id}.wav"

    # -- how it changes ----------------------------------------------------------------------------

    def begin(self, message: Message) -> None:
        """A message is about to be recorded. Raises `CallError` where the box is full."""
        if self.is_full(message.box):
            raise CallError(f"mailbox {message.box} is full")
        self._box(message.box).drafts.add(message.message_id)
        self._write(message, ".draft")

    def finish(self, message: Message) -> asyncio.Task[Message | None]:
        """Its recording is complete: keep it, in a task of its own; see `keep`."""
        task = asyncio.get_running_loop().create_task(self.keep(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def discard(self, message: Message) -> None:
        """Its caller has taken it back."""
        self._box(message.box).drafts.discard(message.message_id)
        self.drop_recording(self.recording_name(message))
        self.path_of(message).with_suffix(".draft").unlink(missing_ok=True)

    async def keep(self, message: Message) -> Message | None:
        """Move a finished recording into its box; None where nothing was said."""
        box = self._box(message.box)
        loop = asyncio.get_running_loop()
        try:
            duration_s = await loop.run_in_executor(None, self._move, message)
        except OSError as error:
            _log.error("message %s could not be kept: %s", message.message_id, error)
            duration_s = 0.0
        box.drafts.discard(message.message_id)
        if duration_s == 0.0:
            return None
        kept = msgspec.structs.replace(message, duration_s=duration_s)
        box.messages[message.message_id] = kept
        self._note("voicemail-left", kept, number_from=kept.number_from, duration_s=duration_s)
        self._changed(message.box)
        if self._expiry is None:
            self._expire()
        for tell in self.on_message:
            tell(kept)
        return kept

    def _move(self, message: Message) -> float:
        """Its length in seconds; 0 where it is not worth keeping, and is not kept."""
        source = self._recordings / self.recording_name(message)
        target = self.path_of(message)
        # After a crash the file may be in its place already.
        here = source if source.is_file() else target
        duration_s = repaired(here)
        if duration_s < MESSAGE_S_MIN or voiced_s(here) < VOICED_S_MIN:
            here.unlink(missing_ok=True)
            duration_s = 0.0
        else:
            self._write(msgspec.structs.replace(message, duration_s=duration_s), ".json")
            os.replace(here, target)
        target.with_suffix(".draft").unlink(missing_ok=True)
        return duration_s

    def mark_heard(self, message: Message) -> None:
        """Its owner has heard it and keeps it."""
        box = self._box(message.box)
        known = box.messages.get(message.message_id)
        if known is None or known.heard:
            return
        heard = msgspec.structs.replace(known, heard=True)
        box.messages[message.message_id] = heard
        self._write(heard, ".json")
        self._note("voicemail-heard", heard)
        self._changed(message.box)

    def mark_mailed(self, message: Message) -> None:
        """Its owner has been sent it; nothing changes for him in the box."""
        box = self._box(message.box)
        known = box.messages.get(message.message_id)
        if known is not None:
            mailed = msgspec.structs.replace(known, mailed=True)
            box.messages[message.message_id] = mailed
            self._write(mailed, ".json")

    def delete(self, message: Message, *, why: str = "owner") -> None:
        """Away with it."""
        if self._box(message.box).messages.pop(message.message_id, None) is None:
            return
        path = self.path_of(message)
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        self._note("voicemail-deleted", message, why=why)
        self._changed(message.box)

    def expire(self) -> int:
        """Delete what has been kept for longer than messages are; how many."""
        if not self._believed():
            return 0
        before_s = self._clock.wall_s() - self._retain_s
        old = [
            m for box in self._boxes.values() for m in box.messages.values() if m.at_s < before_s
        ]
        for message in old:
            self.delete(message, why="expired")
        return len(old)

    def _expire(self) -> None:
        """Expire now and once a day, as long as there are messages."""
        self.expire()
        self._expiry = None
        if any(box.messages for box in self._boxes.values()):
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(_DAY_S, self._expire)

    # -- greetings ---------------------------------------------------------------------------------

    def greeting(self, box: str) -> Path | None:
        """The box's own greeting."""
        return self._box(box).greeting

    def take_greeting(self, box: str, recording: str) -> None:
        """Make a finished recording the box's greeting."""
        self.drop_greeting(box)
        path = self._directory / box / f"{_GREETING}{recording}"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(self._recordings / recording, path)
        self._box(box).greeting = path

    def drop_greeting(self, box: str) -> None:
        """Greet with the standard words again."""
        found = self._box(box)
        if found.greeting is not None:
            found.greeting.unlink(missing_ok=True)
            found.greeting = None

    def drop_recording(self, recording: str) -> None:
        """A recording that nobody wants."""
        (self._recordings / recording).unlink(missing_ok=True)

    def recording_path(self, recording: str) -> Path:
        """Where a recording is as long as it has no box."""
        return self._recordings / recording

    # -- inside ------------------------------------------------------------------------------------

    def _write(self, message: Message, suffix: str) -> None:
        path = self.path_of(message).with_suffix(suffix)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(message))
        os.replace(partial, path)

    def _note(self, kind: str, message: Message, **data: object) -> None:
        """What happens to a message later is no part of the call that left it."""
        entry = {"box": message.box, "message": message.message_id, **data}
        call_id = message.call_id if kind == "voicemail-left" else None
        self._journal.append(kind, call_id, entry, self._clock.wall_s())

    def _changed(self, box: str) -> None:
        new, old = self.counts(box)
        for tell in self.on_changed:
            tell(box, new, old)
