"""Supervisors by telephone: the code ``listen`` and an agent's extension, then a key for what they want."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from softswitch.call.identity import PhoneIdentity
from softswitch.call.shown import Shown
from softswitch.errors import CallError

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
        self._hearing: dict[str, int] = {}  # the supervisor's call -> the agent's leg

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

    def begin(self, extension: str, target: Call, mode: str, *, by: str) -> Call:
        """Ring a supervisor at `extension` and let him hear `target` when he answers, at first in
        `mode`; the keys 4 to 7 work as for the code. `by` is whom the journal names. Raises `CallError`.
        """
        control = self._centre.control
        leg = self._agent_leg(target)
        if leg is None:
            raise CallError(f"call {target.call_id} is no conversation")
        _key_of(mode)

        async def hear(call: Call, _: str = "") -> None:
            if target.ended or leg.leg_id not in target.legs:
                return
            call.move_beside(target)
            await self._supervise(call, by, target, leg, mode)

        return control.office_calls.call_extension(
            extension, number_to=target.call_id, shown=Shown("Supervision", leg.label), then=hear
        )

    def change(self, target: Call, extension: str, mode: str) -> bool:
        """Another mode for the supervisor at `extension` who hears `target`; False: he does not."""
        leg = self._agent_leg(target)
        label, key = f"extension:{extension}", _key_of(mode)
        for call in self._centre.control.calls:
            if leg is None or self._hearing.get(call.call_id) != leg.leg_id:
                continue
            if call.caller.label == label:
                call.digit_pressed(key)
                return True
        return False

    def _agent_leg(self, target: Call) -> Leg | None:
        """Whom a supervisor stands beside: the agent, or whoever is one of our extensions."""
        if target.partner is None:
            return None
        legs = (target.partner, target.caller)
        own = (leg for leg in legs if leg.label.startswith("extension:"))
        return next((leg for leg in own if leg.answered and leg.stream is not None), None)

    async def _supervise(
        self, call: Call, supervisor: str, target: Call, leg: Leg, mode: str = "listen"
    ) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard.setdefault(leg.leg_id, []).append(over)
        self._hearing[call.call_id] = leg.leg_id
        try:
            key = _key_of(mode)
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
            self._hearing.pop(call.call_id, None)
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


def _key_of(mode: str) -> str:
    for key, name in MODES.items():
        if name == mode:
            return key
    raise CallError(f"{mode} is none of {', '.join(MODES.values())}")
