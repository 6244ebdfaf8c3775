"""Conference rooms: a number to call, PINs, and the performance of what `RoomMachine` decides."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from softswitch.apps.conference_room import (
    Admit,
    Came,
    Effect,
    EndAsked,
    Event,
    Expel,
    Hold,
    LockAsked,
    Mute,
    Pressed,
    RemovalAsked,
    RoomMachine,
    Rules,
    SoundAsked,
    Tell,
    Went,
)
from softswitch.apps.pin_guard import PinGuard
from softswitch.call.futures import either
from softswitch.config.derived import FromOffice
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.audio import Recorded
    from softswitch.call.call import Call
    from softswitch.config import Conference, Office

_log = logging.getLogger("softswitch.apps")

TRIES = 3
NAME_S_MAX = 4.0
_NAME_S_MIN = 0.3

# Rooms of handlers (`Call.conference`) have small numbers of their own choice.
_ROOMS_FROM = 1 << 32
_PIN_S = 10.0
_PIN_MAX = 12
_REFUSED = {"full": "conference-full", "locked": "conference-locked"}


@dataclass(slots=True)
class Participant:
    """Somebody in a room, and what is still to be done for him."""

    call: Call
    todo: deque[Effect] = field(default_factory=deque)
    wake: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def add(self, effect: Effect) -> None:
        self.todo.append(effect)
        if not self.wake.done():
            self.wake.set_result(None)

    def rest(self) -> None:
        """All is done: the next thing wakes him."""
        if not self.todo and self.wake.done():
            self.wake = asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class Room:
    """One room that somebody is in; one worker of the media plane mixes all its streams."""

    room_id: int
    since_s: float
    machine: RoomMachine
    music: str
    participants: dict[str, Participant] = field(default_factory=dict)

    def draw_in(self, call: Call) -> None:
        """Have the caller's stream, open or yet to be, where the others are."""
        for participant in self.participants.values():
            if not participant.call.ended:
                call.move_beside(participant.call)
                return

    def hand_out(self, effects: Iterable[Effect]) -> None:
        """Each effect to whom it is for."""
        for effect in effects:
            participant = self.participants.get(effect.who)
            if participant is not None:
                participant.add(effect)


class Conferences:
    """The application of ``conference:NUMBER`` destinations."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._configured = FromOffice(desk, _rooms_of)
        self._ids: dict[str, int] = {}
        self._rooms: dict[str, Room] = {}
        self._guard = PinGuard()

    async def run(self, call: Call, number: str) -> None:
        """Let the caller into the room, until he or a moderator ends it."""
        configured = self._configured()[number]
        room = self._rooms.get(number)
        if room is not None:
            room.draw_in(call)  # before the answer it costs nothing
        await call.answer()
        moderator = False
        if configured.pin or configured.moderator_pin:
            found = await self._ask_secretly(call, configured)
            if found is None:
                await call.play("goodbye")
                return
            moderator = found
        if await self._refuses(call, number, moderator):
            return
        name = await self._name(call) if configured.announce_names else ""
        try:
            # Meanwhile others may have come, or the room have been locked.
            if not await self._refuses(call, number, moderator):
                await self._take_part(call, number, moderator, name)
        finally:
            self._drop(name)

    async def _refuses(self, call: Call, number: str, moderator: bool) -> bool:
        room = self._rooms.get(number)
        why = room.machine.refusal(moderator) if room is not None else ""
        if not why:
            return False
        self._note(call, "conference-refused", number, why=why)
        await call.play(_REFUSED[why])
        return True

    # -- the door ----------------------------------------------------------------------------------

    async def _ask_secretly(self, call: Call, configured: Conference) -> bool | None:
        """Whether he is a moderator; None: he does not know the PIN."""
        call.hides_digits = True
        try:
            return await self._ask_pin(call, configured)
        finally:
            call.hides_digits = False

    async def _ask_pin(self, call: Call, configured: Conference) -> bool | None:
        thing, source = configured.number, call.caller.label
        for _ in range(TRIES):
            now_s = self._desk.clock.monotonic_s()
            if self._guard.is_locked(thing, source, now_s):
                self._note(call, "conference-refused", thing, why="too many wrong PINs")
                return None
            pin = await call.collect("conference-pin", max_digits=_PIN_MAX, timeout_s=_PIN_S)
            moderator = _same(pin, configured.moderator_pin) and bool(configured.moderator_pin)
            # Without a PIN for members the key # alone, or silence, is theirs.
            if _same(pin, configured.pin) or moderator:
                self._guard.right(thing, source)
                return moderator
            if pin:
                self._guard.wrong(thing, source, self._desk.clock.monotonic_s())
            await call.play("conference-wrong-pin")
        return None

    async def _name(self, call: Call) -> str:
        """What he says his name is, as a recording; "" where he says nothing."""
        recording = f"{call.call_id}-name.wav"

        def finished(_: Recorded) -> None:
            if call.ended:
                self._drop(recording)

        await call.play_all(("conference-name", "beep"))
        recorded = await call.record(
            recording, max_s=NAME_S_MAX, silence_s=2.0, noted=False, done=finished
        )
        if recorded.duration_s < _NAME_S_MIN:
            self._drop(recording)
            return ""
        return recording

    def _path(self, recording: str) -> str:
        return str(self._desk.directory / "recordings" / recording) if recording else ""

    def _drop(self, recording: str) -> None:
        if recording:
            (self._desk.directory / "recordings" / recording).unlink(missing_ok=True)

    # -- inside ------------------------------------------------------------------------------------

    async def _take_part(self, call: Call, number: str, moderator: bool, name: str) -> None:
        room = self._enter(call, number)
        participant = room.participants[call.call_id]
        self._tell(room, Came(call.call_id, moderator, self._path(name)))
        try:
            while True:
                while participant.todo:
                    effect = participant.todo.popleft()
                    if isinstance(effect, Expel):
                        await self._expel(call, effect)
                        return
                    await self._perform(room, participant, effect)
                participant.rest()
                key = await call.next_digit(None, until=participant.wake)
                if key:
                    self._tell(room, Pressed(call.call_id, key, call.language))
        finally:
            await self._leave(call, number, room)

    def _tell(self, room: Room, event: Event) -> None:
        room.hand_out(room.machine.handle(event, self._desk.clock.monotonic_s()))

    async def _perform(self, room: Room, participant: Participant, effect: Effect) -> None:
        call = participant.call
        match effect:
            case Hold():
                await self._hold(room, participant)
            case Admit():
                await call.stop_play()
                if effect.alone:
                    await call.play("conference-only-one")
                await call.conference(room.room_id, mute=effect.muted)
            case Mute():
                gain = 10.0 ** (effect.gain_db / 20.0)
                await call.conference(room.room_id, mute=effect.on, deaf=effect.deaf, gain=gain)
            case Tell():
                await self._say(call, effect.prompts)
            case Expel():
                pass

    async def _hold(self, room: Room, participant: Participant) -> None:
        """Music until the moderator comes; he need not wait for the end of what is said."""
        call = participant.call
        playing = await call.start_play("conference-wait")
        participant.rest()
        await call.wait_for(either(playing, participant.wake))
        if not participant.todo:
            await call.start_play(f"music:{room.music}", repeat=True)

    async def _say(self, call: Call, prompts: tuple[str, ...]) -> None:
        try:
            await call.start_play_all(prompts)
        except CallError as error:
            if call.ended:
                raise
            _log.warning("call %s: %s", call.call_id, error)

    async def _expel(self, call: Call, effect: Expel) -> None:
        await call.leave_conference()
        await call.stop_play()
        await call.play(effect.prompt)

    def _enter(self, call: Call, number: str) -> Room:
        room = self._rooms.get(number)
        if room is None:
            configured = self._configured()[number]
            machine = RoomMachine(rules_of(configured))
            since_s, music = self._desk.clock.wall_s(), configured.music
            room = Room(self._id_of(number), since_s, machine, music)
            self._rooms[number] = room
        room.draw_in(call)
        room.participants[call.call_id] = Participant(call)
        self._note(call, "conference-entered", number, participants=len(room.participants))
        return room

    def _id_of(self, number: str) -> int:
        """The room's number for the media plane; the same for as long as we run."""
        return self._ids.setdefault(number, _ROOMS_FROM + len(self._ids))

    async def _leave(self, call: Call, number: str, room: Room) -> None:
        del room.participants[call.call_id]
        self._note(call, "conference-left", number, participants=len(room.participants))
        if not room.participants:
            self._rooms.pop(number, None)
        self._tell(room, Went(call.call_id))
        if not call.ended:
            await call.leave_conference()

    def _note(self, call: Call, kind: str, number: str, **data: object) -> None:
        entry = {"conference": number, **data}
        self._desk.journal.append(kind, call.call_id, entry, self._desk.clock.wall_s())

    # -- for programs ------------------------------------------------------------------------------

    async def mute(self, number: str, call_id: str, on: bool = True) -> None:
        """Let a participant be heard no more, or again. Raises `CallError` if he is not there."""
        self._tell(self._room_of(number, call_id), SoundAsked(call_id, muted=on))

    def set_sound(
        self,
        number: str,
        call_id: str,
        *,
        muted: bool | None = None,
        deaf: bool | None = None,
        gain_db: float | None = None,
    ) -> None:
        """How a participant hears and is heard, None: as before. `deaf`: he hears nothing; `gain_db`: how much
        louder the others hear him, -40 to 12. Raises `CallError` if he is not there."""
        self._tell(self._room_of(number, call_id), SoundAsked(call_id, muted, deaf, gain_db))

    def remove(self, number: str, call_id: str) -> None:
        """Send a participant out; his call ends. Raises `CallError` if he is not there."""
        self._tell(self._room_of(number, call_id), RemovalAsked(call_id))

    def lock(self, number: str, on: bool = True) -> None:
        """Let nobody in but moderators, or everybody again. Raises `CallError` for an empty room."""
        self._tell(self._room_of(number), LockAsked(on))

    def end(self, number: str) -> None:
        """End it for all. Raises `CallError` for an empty room."""
        self._tell(self._room_of(number), EndAsked())

    def _room_of(self, number: str, call_id: str = "") -> Room:
        room = self._rooms.get(number)
        if room is None or (call_id and call_id not in room.participants):
            what = f"call {call_id} is not in" if call_id else "nobody is in"
            raise CallError(f"{what} conference {number}")
        return room

    def snapshot(self) -> dict[str, Any]:
        """The rooms that somebody is in."""
        return {
            "rooms": [
                {
                    "number": number,
                    "since_s": room.since_s,
                    **room.machine.snapshot(),
                    "participants": [
                        {
                            "call_id": call_id,
                            "from": participant.call.number_from,
                            "muted": person.muted,
                            "deaf": person.deaf,
                            "gain_db": person.gain_db,
                            "moderator": person.moderator,
                            "waiting": person.waiting,
                        }
                        for call_id, participant in room.participants.items()
                        if (person := room.machine.people.get(call_id)) is not None
                    ],
                }
                for number, room in self._rooms.items()
            ]
        }


def _rooms_of(office: Office) -> dict[str, Conference]:
    return {room.number: room for room in office.conferences}


def rules_of(configured: Conference) -> Rules:
    """What the office file says, as the machine takes it."""
    return Rules(
        max_participants=configured.max_participants,
        wait_for_moderator=configured.wait_for_moderator,
        end_with_moderator=configured.end_with_moderator,
        tones=configured.tones,
        names=configured.announce_names,
    )


def _same(pin: str, wanted: str) -> bool:
    return hmac.compare_digest(pin.encode(), wanted.encode())
