"""Supervisors by telephone: the code ``listen`` and an agent's extension, then a key for what they want."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from softswitch.call.identity import PhoneIdentity

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg

SUPERVISED = "acd-supervised"
MODES = {"4": "listen", "5": "whisper", "6": "barge"}
TAKE_OVER = "7"
_MAY = frozenset({"supervisor", "admin"})
_EXTENSION_MAX = 32


class Supervision:
    """The application of the code ``listen``.

    Who calls must be a supervisor or an administrator; what he does is written into the journal of the
    call that he hears. He begins by listening: 4 listen, 5 whisper to the agent, 6 speak to both, 7 take
    the call over. It is over when the agent's conversation is.
    """

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre
        self._heard: dict[int, list[asyncio.Future[None]]] = {}  # by the agent's leg

    def snapshot(self) -> dict[str, int]:
        return {"supervised": len(self._heard)}

    def leg_ended(self, leg: Leg) -> None:
        """Somebody's leg is gone: whoever listened to it is done."""
        for over in self._heard.pop(leg.leg_id, ()):
            if not over.done():
                over.set_result(None)

    async def run(self, call: Call, _: str = "") -> None:
        """Listen to the agent whose extension follows the code."""
        supervisor = self._supervisor(call)
        code = self._centre.desk.office.codes.listen
        extension = call.number_to.removeprefix(code)
        found = self._conversation(extension) if supervisor and extension else None
        if found is not None:
            call.move_beside(found[0])  # before the answer it costs nothing
        await call.answer()
        if supervisor and not extension:
            extension = await call.collect(max_digits=_EXTENSION_MAX)
        found = self._conversation(extension) if supervisor else None
        if found is None:
            await call.play("unavailable")
            return
        call.move_beside(found[0])
        await self._supervise(call, supervisor, *found)

    def _supervisor(self, call: Call) -> str:
        """Who calls, "" if he may not."""
        if not isinstance(call.identity, PhoneIdentity):
            return ""
        agent = self._centre.agents.of_extension(call.identity.extension)
        return agent.id if agent is not None and agent.role in _MAY else ""

    def _conversation(self, extension: str) -> tuple[Call, Leg] | None:
        """The conversation that this extension has now."""
        label = f"extension:{extension}"
        for call in self._centre.control.calls:
            if call.partner is None:
                continue
            for leg in (call.partner, call.caller):
                if leg.label == label and leg.answered and leg.stream is not None:
                    return call, leg
        return None

    async def _supervise(self, call: Call, supervisor: str, target: Call, leg: Leg) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard.setdefault(leg.leg_id, []).append(over)
        try:
            key = "4"
            while not over.done():
                if key == TAKE_OVER and leg is target.partner:
                    self._note(supervisor, "take over", target, leg)
                    self._centre.control.office_calls.take_over(target, call)
                    self._centre.control.pump()
                    return
                if key in MODES:
                    self._note(supervisor, MODES[key], target, leg)
                    self._hear(call, leg, MODES[key])
                key = await call.next_digit(None, until=over)
        finally:
            waiting = self._heard.get(leg.leg_id, [])
            if over in waiting:
                waiting.remove(over)
                if not waiting:
                    del self._heard[leg.leg_id]

    def _hear(self, call: Call, leg: Leg, mode: str) -> None:
        if leg.stream is not None:
            self._centre.control.audio.monitor(call, leg.stream.stream_id, mode)
            self._centre.control.pump()

    def _note(self, supervisor: str, mode: str, target: Call, leg: Leg) -> None:
        desk = self._centre.desk
        agent = self._centre.agents.of_extension(leg.label.removeprefix("extension:"))
        data = {"by": supervisor, "mode": mode, "agent": agent.id if agent is not None else ""}
        desk.journal.append(SUPERVISED, target.call_id, data, desk.clock.wall_s())
