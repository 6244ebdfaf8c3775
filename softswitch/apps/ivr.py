"""Menus: what `MenuMachine` decides, played to a caller."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from softswitch.apps.ivr_machine import (
    Announce,
    Await,
    DigitPressed,
    Effect,
    Entered,
    Event,
    ForgetDigits,
    Leave,
    Menu,
    MenuMachine,
    Play,
    PlayEnded,
    TimedOut,
)
from softswitch.config.derived import FromOffice
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.call import Call
    from softswitch.config import Ivr, Office, Prompt

_log = logging.getLogger("softswitch.apps")


def spoken_as(prompt: Prompt) -> str:
    """A prompt of the office file as `Call.play` takes it."""
    return f"text:{prompt.value}" if prompt.kind == "text" else prompt.value


def menu_of(office: Office, ivr: Ivr) -> Menu:
    """The menu that one ``[[ivr]]`` describes."""
    numbers = frozenset(e.number for e in office.extensions) if ivr.dial_extension else frozenset()
    return Menu(
        name=ivr.name,
        greeting=spoken_as(ivr.greeting),
        options=ivr.options,
        extensions=numbers,
        hours=next((h for h in office.hours if h.name == ivr.hours), None),
        invalid_max=ivr.invalid_max,
        timeout_s=ivr.timeout_s,
        otherwise=ivr.otherwise,
        closed=ivr.closed,
    )


async def play_until_key(call: Call, prompts: tuple[str, ...]) -> DigitPressed | PlayEnded:
    """Play prompts one after the other; the first key stops them. Words that are missing are passed over:
    a menu still works for those who know it."""
    for prompt in prompts:
        try:
            playing = await call.start_play(prompt)
        except CallError as error:
            if call.ended:
                raise
            _log.error("call %s: prompt %s: %s", call.call_id, prompt, error)
            continue
        digit = await call.next_digit(None, until=playing)
        if digit:
            await call.stop_play()
            return DigitPressed(digit)
    return PlayEnded()


async def next_key(call: Call, timeout_s: float) -> DigitPressed | TimedOut:
    """Await a key."""
    digit = await call.next_digit(timeout_s)
    return DigitPressed(digit) if digit else TimedOut()


def _menus_of(office: Office) -> dict[str, Menu]:
    return {ivr.name: menu_of(office, ivr) for ivr in office.ivrs}


class Menus:
    """The application of ``ivr:NAME`` destinations."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._menus = FromOffice(desk, _menus_of)

    async def run(self, call: Call, name: str) -> None:
        """Let the caller choose; leaves by `Call.transfer`."""
        machine = MenuMachine(self._menus()[name])
        local = datetime.fromtimestamp(self._desk.clock.wall_s(), self._desk.office.office.zone)
        event: Event = Entered(local)
        while True:
            event = await self._perform_all(call, name, machine.handle(event))

    async def _perform_all(self, call: Call, name: str, effects: list[Effect]) -> Event:
        event: Event = TimedOut()
        for effect in effects:
            match effect:
                case Play():
                    await call.answer()
                    event = await play_until_key(call, effect.prompts)
                case Await():
                    event = await next_key(call, effect.timeout_s)
                case Announce():
                    await call.answer()
                    await call.play(effect.prompt)
                case ForgetDigits():
                    call.forget_digits()
                case Leave():
                    await self._leave(call, name, effect)
        return event

    async def _leave(self, call: Call, name: str, leave: Leave) -> None:
        self._desk.journal.append(
            "menu-left",
            call.call_id,
            {"menu": name, "pressed": leave.pressed, "why": leave.why, "to": str(leave.to)},
            self._desk.clock.wall_s(),
        )
        await call.transfer(str(leave.to))
