"""What a handler is told of the lines of its call: faxes, people, machines and the tones of a country."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.leg import Leg

Line = Literal["caller", "partner"]


class Listening:
    """Who listens to the caller's line or the partner's, of one call. It does not know its call, which knows
    it: what knows each other is freed by the collector alone."""

    __slots__ = ("_control", "_notes", "_partner_awaited")

    def __init__(self, control: CallControl) -> None:
        self._control = control
        self._notes: dict[str, Callable[[str], None]] = {}
        self._partner_awaited: Callable[[], None] | None = None

    async def hear(
        self,
        call: Call,
        wanted: tuple[str, ...],
        timeout_s: float,
        country: str | None,
        line: Line,
    ) -> str:
        """As `Call.hear_line`."""
        if line not in ("caller", "partner"):
            raise CallError(f"line {line!r}; allowed: caller, partner")
        audio = self._control.audio
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def note(what: str) -> None:
            if not heard.done() and (not wanted or not what or what in wanted):
                heard.set_result(what)

        listened: list[Leg] = []

        def listen() -> None:
            leg = call.caller if line == "caller" else call.partner
            if leg is not None:
                audio.hear_line(call, leg, country)
                listened.append(leg)

        timer = asyncio.get_running_loop().call_later(timeout_s, note, "")
        self._notes[line] = note
        if line == "caller" or call.partner is not None:
            listen()
        else:
            self._partner_awaited = listen
        try:
            return await call.wait_for(heard)
        finally:
            timer.cancel()
            self._notes.pop(line, None)
            self._partner_awaited = None if line == "partner" else self._partner_awaited
            for leg in listened:
                if leg.leg_id in call.legs and not call.ended:
                    audio.hear_line_no_more(leg)

    def says(self, line: Line, what: str) -> None:
        """A line was heard to say something."""
        note = self._notes.get(line)
        if note is not None:
            note(what)

    def partner_came(self) -> None:
        """The caller talks with somebody now."""
        listen, self._partner_awaited = self._partner_awaited, None
        if listen is not None:
            listen()

    def partner_went(self) -> None:
        """The caller talks with nobody any more: there is nothing to be heard of him."""
        note = self._notes.get("partner")
        if note is not None:
            note("")
