"""What an extension sets for itself by telephone: do not disturb, call waiting, call forwarding. Each code
says in words what holds now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from softswitch.call.dialplan import FORWARDS
from softswitch.call.identity import PhoneIdentity
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.call import Call
    from softswitch.call.line import Line, Lines
    from softswitch.call.running import App

_NUMBER_MAX = 32
_NUMBER_S = 10.0
_SAID = {
    "forward_always": "forward-always",
    "forward_busy": "forward-busy",
    "forward_no_answer": "forward-no-answer",
}


class LineCodes:
    """The applications of these feature codes, by their keys in ``[codes]``."""

    def __init__(self, desk: Desk, lines: Lines) -> None:
        self._desk = desk
        self._lines = lines

    def apps(self) -> dict[str, App]:
        """One application a code."""

        def switch(setting: str, on: bool, said: str) -> App:
            async def run(call: Call, _: str = "") -> None:
                await self._switch(call, setting, on, said)

            return run

        def forward(setting: str) -> App:
            async def run(call: Call, _: str = "") -> None:
                await self._forward(call, setting)

            return run

        return {
            "do_not_disturb": switch("do_not_disturb", True, "do-not-disturb-on"),
            "do_not_disturb_off": switch("do_not_disturb", False, "do-not-disturb-off"),
            "call_waiting": switch("call_waiting", True, "call-waiting-on"),
            "call_waiting_off": switch("call_waiting", False, "call-waiting-off"),
            **{setting: forward(setting) for setting in _SAID},
            "forward_off": self._forward_off,
        }

    async def _switch(self, call: Call, setting: str, on: bool, said: str) -> None:
        extension = await self._extension(call)
        if extension:
            self._lines.set(extension, setting, on, by=extension)
            await call.play(said)

    async def _forward(self, call: Call, setting: str) -> None:
        """Forward to the number dialled behind the code; without one it is asked for, and an empty
        answer ends this forwarding."""
        extension = await self._extension(call)
        if not extension:
            return
        codes = self._desk.office.codes
        number = call.number_to.removeprefix(getattr(codes, setting)).rstrip("#")
        if not number:
            key = await call.collect("forward-number", timeout_s=_NUMBER_S, terminator="")
            if not key:
                return  # who says nothing changes nothing
            if key != "#":
                number = key + await call.collect(max_digits=_NUMBER_MAX)
        to = "voicemail" if number == codes.voicemail else number
        try:
            line = self._lines.set(extension, setting, to, by=extension)
        except CallError:
            await call.play("unknown-number")
            return
        await self._say(call, line, setting)

    async def _say(self, call: Call, line: Line, setting: str) -> None:
        to = getattr(line, setting)
        if to is None:
            await call.play("forward-off")
            return
        await call.play(_SAID[setting])
        if to.kind == "voicemail":
            await call.play("forward-mailbox")
        else:
            await call.say("digits", to.name)

    async def _forward_off(self, call: Call, _: str = "") -> None:
        """End every forwarding, that of the office file included."""
        extension = await self._extension(call)
        if not extension:
            return
        for setting in _set(self._lines.of(extension)):
            self._lines.set(extension, setting, "", by=extension)
        await call.play("forward-off")

    async def _extension(self, call: Call) -> str:
        """Whose telephone calls; only phones of the office come here."""
        await call.answer()
        return call.identity.extension if isinstance(call.identity, PhoneIdentity) else ""


def _set(line: Line) -> Iterable[str]:
    return [setting for setting in FORWARDS if getattr(line, setting) is not None]
