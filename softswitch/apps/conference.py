"""Conference rooms: a number to call, a PIN, a limit, and a tone when somebody comes or goes."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from softswitch.apps.pin_guard import PinGuard
from softswitch.config.derived import FromOffice
from softswitch.errors import CallEnded, CallError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.call import Call
    from softswitch.config import Conference, Office

TRIES = 3
TONES_MAX = 30
"""In a larger room nobody hears who comes and goes: it would be nothing but tones."""

# Rooms of handlers (`Call.conference`) have small numbers of their own choice.
_ROOMS_FROM = 1 << 32
_PIN_S = 10.0
_PIN_MAX = 12


@dataclass(slots=True)
class Participant:
    """Somebody in a room; `removed` is done when a moderator wants him out."""

    call: Call
    removed: asyncio.Future[None]
    muted: bool = False


@dataclass(slots=True)
class Room:
    """One room that somebody is in; one worker of the media plane mixes all its streams."""

    room_id: int
    since_s: float
    participants: dict[str, Participant] = field(default_factory=dict)

    def draw_in(self, call: Call) -> None:
        """Have the caller's stream, open or yet to be, where the others are."""
        for participant in self.participants.values():
            if not participant.call.ended:
                call.move_beside(participant.call)
                return


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
        if configured.pin and not await self._knows_pin(call, configured):
            await call.play("goodbye")
            return
        room = self._rooms.get(number)
        if room is not None and len(room.participants) >= configured.max_participants:
            self._note(call, "conference-refused", number, why="full")
            await call.play("conference-full")
            return
        await self._take_part(call, number)

    async def _knows_pin(self, call: Call, configured: Conference) -> bool:
        call.hides_digits = True
        try:
            return await self._ask_pin(call, configured)
        finally:
            call.hides_digits = False

    async def _ask_pin(self, call: Call, configured: Conference) -> bool:
        thing, source = configured.number, call.caller.label
        for _ in range(TRIES):
            now_s = self._desk.clock.monotonic_s()
            if self._guard.is_locked(thing, source, now_s):
                self._note(call, "conference-refused", thing, why="too many wrong PINs")
                return False
            pin = await call.collect("conference-pin", max_digits=_PIN_MAX, timeout_s=_PIN_S)
            if hmac.compare_digest(pin.encode(), configured.pin.encode()):
                self._guard.right(thing, source)
                return True
            if pin:
                self._guard.wrong(thing, source, self._desk.clock.monotonic_s())
            await call.play("conference-wrong-pin")
        return False

    async def _take_part(self, call: Call, number: str) -> None:
        room = self._enter(call, number)
        first = len(room.participants) == 1
        participant = room.participants[call.call_id]
        try:
            if first:
                await call.play("conference-only-one")
            await call.conference(room.room_id)
            if not first:
                await self._tone(room, "conference-enter")
            await call.wait_for(participant.removed)
        finally:
            await self._leave(call, number, room)

    def _enter(self, call: Call, number: str) -> Room:
        room = self._rooms.get(number)
        if room is None:
            room = Room(self._id_of(number), self._desk.clock.wall_s())
            self._rooms[number] = room
        room.draw_in(call)
        removed = asyncio.get_running_loop().create_future()
        room.participants[call.call_id] = Participant(call, removed)
        self._note(call, "conference-entered", number, participants=len(room.participants))
        return room

    def _id_of(self, number: str) -> int:
        """The room's number for the media plane; the same for as long as we run."""
        return self._ids.setdefault(number, _ROOMS_FROM + len(self._ids))

    async def _leave(self, call: Call, number: str, room: Room) -> None:
        del room.participants[call.call_id]
        self._note(call, "conference-left", number, participants=len(room.participants))
        if not room.participants:
            del self._rooms[number]
        if not call.ended:
            await call.leave_conference()
        await self._tone(room, "conference-leave")

    async def _tone(self, room: Room, sound: str) -> None:
        if len(room.participants) > TONES_MAX:
            return
        for participant in list(room.participants.values()):
            try:
                await participant.call.start_play(sound)
            except CallEnded:
                continue  # he has just left himself

    def _note(self, call: Call, kind: str, number: str, **data: object) -> None:
        entry = {"conference": number, **data}
        self._desk.journal.append(kind, call.call_id, entry, self._desk.clock.wall_s())

    # -- for moderators ----------------------------------------------------------------------------

    async def mute(self, number: str, call_id: str, on: bool = True) -> None:
        """Let a participant be heard no more, or again. Raises `CallError` if he is not there."""
        room, participant = self._find(number, call_id)
        participant.muted = on
        await participant.call.conference(room.room_id, mute=on)

    def remove(self, number: str, call_id: str) -> None:
        """Send a participant out; his call ends. Raises `CallError` if he is not there."""
        _, participant = self._find(number, call_id)
        if not participant.removed.done():
            participant.removed.set_result(None)

    def _find(self, number: str, call_id: str) -> tuple[Room, Participant]:
        room = self._rooms.get(number)
        participant = room.participants.get(call_id) if room is not None else None
        if room is None or participant is None:
            raise CallError(f"call {call_id} is not in conference {number}")
        return room, participant

    def snapshot(self) -> dict[str, Any]:
        """The rooms that somebody is in."""
        return {
            "rooms": [
                {
                    "number": number,
                    "since_s": room.since_s,
                    "participants": [
                        {"call_id": call_id, "from": each.call.number_from, "muted": each.muted}
                        for call_id, each in room.participants.items()
                    ],
                }
                for number, room in self._rooms.items()
            ]
        }


def _rooms_of(office: Office) -> dict[str, Conference]:
    return {room.number: room for room in office.conferences}
