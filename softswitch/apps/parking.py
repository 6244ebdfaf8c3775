"""Park and retrieve: ``*68`` parks (by transfer, blind or attended), ``*68`` and the slot takes the call back.

Who dials the code himself is told the slot that his transfer will use, and may hang up or transfer then;
a call that nobody fetches goes back to whoever parked it. ``[parking]`` says after how long, and where it goes
when he does not take it either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softswitch.call.identity import PhoneIdentity
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.call import Call

_log = logging.getLogger("softswitch.apps")

_RESERVED_S = 60.0
_BACK_RING_S = 30.0
_EXTENSION = "extension:"
_MUSIC = "music:default"


@dataclass(slots=True)
class _Slot:
    """One place: for whom it is kept, and the call that stands there."""

    owner: str
    call: Call | None = None


class Parking:
    """The application of ``[codes] park``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._slots: dict[int, _Slot] = {}

    def snapshot(self) -> dict[str, int]:
        return {"parked": sum(slot.call is not None for slot in self._slots.values())}

    def slot_of(self, call: Call) -> int | None:
        """Where a call stands; None: it is not parked."""
        return next((number for number, slot in self._slots.items() if slot.call is call), None)

    async def run(self, call: Call, _: str = "") -> None:
        """Park the caller, tell him a slot, or give him the call of the slot that he dialled."""
        wanted = call.number_to.removeprefix(self._desk.office.codes.park)
        if call.transferred_by is not None:
            by, call.transferred_by = call.transferred_by, None
            await self._park(call, by.removeprefix(_EXTENSION))
        elif wanted and call.number_to.startswith(self._desk.office.codes.park):
            slot = self._slots.get(int(wanted))
            if slot is not None and slot.call is not None:
                await call.retrieve(slot.call)
        elif isinstance(call.identity, PhoneIdentity):
            await self._announce(call, call.identity.extension)

    async def _announce(self, call: Call, owner: str) -> None:
        number = self._free(owner)
        if number is None:
            return
        await call.answer()
        try:
            await call.play("park-slot")
            await call.say("digits", str(number))
            await call.sleep(_RESERVED_S)
        finally:
            slot = self._slots.get(number)
            if slot is not None and slot.call is None:
                del self._slots[number]

    def _free(self, owner: str) -> int | None:
        """The slot that is kept for him, else the first free one, kept for him now."""
        for number, slot in self._slots.items():
            if slot.owner == owner and slot.call is None:
                return number
        for number in range(1, self._desk.office.parking.slots + 1):
            if number not in self._slots:
                self._slots[number] = _Slot(owner)
                return number
        return None

    async def _park(self, call: Call, by: str) -> None:
        number = self._free(by)
        if number is None:
            _log.warning("call %s: every slot is taken", call.call_id)
            await self._back(call, by)
            return
        self._slots[number].call = call
        try:
            await self._wait(call)
        finally:
            del self._slots[number]
        if call.has_partner:
            await call.until_ended()
        else:
            await self._back(call, by)

    async def _wait(self, call: Call) -> None:
        """Music, until somebody takes the call or patience ends."""
        with contextlib.suppress(CallError):  # an office may take the music away; then it is silent
            await call.play(_MUSIC, repeat=True)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._desk.office.parking.patience_s
        while loop.time() < until_s and not call.has_partner:
            await call.sleep(min(1.0, until_s - loop.time()))

    async def _back(self, call: Call, by: str) -> None:
        back = f"{_EXTENSION}{by}"
        beyond = self._desk.office.parking.back_to
        if beyond is None:
            await call.transfer(back)  # as every call to him: forwarded, or to his mailbox
        elif not (await call.dial(back, ring_s=_BACK_RING_S)).answered:
            await call.transfer(str(beyond))
