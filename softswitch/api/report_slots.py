"""How many reports and exports are made at once: of one person, and of all.

They share the loop's spare time one piece a turn, so that each one more makes all of them slower; nobody shall
take it all, and what is half made holds memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from softswitch.api.problem import Refused

PER_PERSON_MAX = 4
ALL_MAX = 16
PATIENCE_S = 2.0
"""For so long one waits for its turn: small ones, of a page that asks for many, all get it."""

_LATER = {"Retry-After": "5"}


@dataclass(slots=True)
class Slot:
    """The right to make one report; to be given back once."""

    slots: ReportSlots
    person: str

    def give_back(self) -> None:
        """It is made, or nobody waits for it any more. The second time does nothing."""
        if self.person:
            person, self.person = self.person, ""
            self.slots.give_back(person)


@dataclass(slots=True)
class ReportSlots:
    """Who makes how many now."""

    by_person: Counter[str] = field(default_factory=Counter)
    _waiting: list[tuple[str, asyncio.Future[None]]] = field(default_factory=list)

    async def take(self, person: str) -> Slot:
        """A slot, as soon as there is one. Raises `Refused` with `Retry-After` where there is none in time: 429
        where the person has his share, 503 where all together have theirs."""
        if self._has_room(person):
            self.by_person[person] += 1
            return Slot(self, person)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (person, turn)
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await turn
        except TimeoutError:
            self._withdraw(waiting)
            if self.by_person.get(person, 0) >= PER_PERSON_MAX:
                words = f"you have {PER_PERSON_MAX} reports being made: wait for one to end"
                raise Refused(429, words, _LATER) from None
            words = f"{ALL_MAX} reports are being made: ask again in a moment"
            raise Refused(503, words, _LATER) from None
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise
        return Slot(self, person)

    def give_back(self, person: str) -> None:
        """One less; the first who waits and may gets it."""
        self.by_person[person] -= 1
        if not self.by_person[person]:
            del self.by_person[person]
        for waiting in self._waiting:
            next_person, turn = waiting
            if not turn.done() and self._has_room(next_person):
                self._waiting.remove(waiting)
                self.by_person[next_person] += 1
                turn.set_result(None)
                return

    def _has_room(self, person: str) -> bool:
        return self.by_person.get(person, 0) < PER_PERSON_MAX and self.by_person.total() < ALL_MAX

    def _withdraw(self, waiting: tuple[str, asyncio.Future[None]]) -> None:
        """Patience has ended, perhaps in the moment its turn came."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif waiting[1].done() and not waiting[1].cancelled():
            self.give_back(waiting[0])


class SlotStream(StreamingResponse):
    """An answer that is made while it is sent; its slot is given back whatever becomes of it, read or not."""

    slot: Slot | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.slot is not None:
                self.slot.give_back()
