"""What programs do with calls: begin them, hold, send on, park, speak into them. Used by the API, the console
and embedding programs (``switch.call_desk``)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, TypeAlias

from softswitch.apps.queue_call import State
from softswitch.call.audio import HOLD_MUSIC, MUSIC_PREFIX, SILENCE
from softswitch.call.dialplan import Refused
from softswitch.call.identity import PhoneIdentity
from softswitch.call.shown import Shown
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.dialplan import Dialplan, Route
    from softswitch.call.leg import Leg
    from softswitch.call.plane import MediaPlane

Party: TypeAlias = Literal["caller", "callee"]
"""One end of a call: who began it, or whom he talks to."""

_EXTENSION = "extension:"
_NORMAL = 16


class CallDesk:
    """The calls of one exchange. All methods raise `CallError` for what cannot be done now."""

    def __init__(
        self, control: CallControl, centre: CallCentre, dialplan: Dialplan, plane: MediaPlane
    ) -> None:
        self._control = control
        self._centre = centre
        self._dialplan = dialplan
        self._plane = plane

    def find(self, call_id: str) -> Call:
        """A call that goes on."""
        for call in self._control.calls:
            if call.call_id == call_id:
                return call
        raise CallError(f"no call {call_id} goes on now")

    # -- beginning and end -------------------------------------------------------------------------

    def originate(self, extension: str, number: str, *, caller_name: str = "") -> Call:
        """Ring the phones of `extension`; who answers is connected to `number`, which is dialled with that
        extension's rights. Returns at once."""
        identity = PhoneIdentity(extension)
        route = self._dialplan.route(number, identity)
        if isinstance(route, Refused):
            raise CallError(f"{extension} may not call {number}: {route.why}")

        async def dial(call: Call, _: str) -> None:
            await call.transfer(number)

        return self._control.office_calls.call_extension(
            extension,
            number_to=number,
            shown=Shown(caller_name or number, number),
            then=dial,
            caller_name=caller_name,
        )

    def hang_up(self, call: Call, *, by: str = "switch") -> None:
        """End a call."""
        self._control.end_call(call, by=by, q850=_NORMAL)

    # -- hold --------------------------------------------------------------------------------------

    def hold(self, call: Call, *, by: Party | None = None) -> None:
        """Let the other party hear music. `by` holds, by default whoever is one of our extensions; he hears
        silence."""
        if call.held_by is not None:
            raise CallError(f"call {call.call_id} is on hold already")
        holder = self._party(call, by) if by is not None else self._own_leg(call)
        other = call.partner if holder is call.caller else call.caller
        caller, partner = call.caller.stream, call.partner.stream if call.partner else None
        if other is None or caller is None or partner is None:
            raise CallError(f"call {call.call_id} is no conversation")
        self._plane.disconnect(caller.stream_id, partner.stream_id)
        call.held_by = holder
        self._control.note_held(call, holder, on=True)
        self._control.audio.play(call, f"{MUSIC_PREFIX}{HOLD_MUSIC}", repeat=True, leg=other)
        # His telephone does not know that it holds: without packets it would give the call up.
        self._control.audio.play(call, SILENCE, repeat=True, leg=holder)
        self._control.pump()

    def resume(self, call: Call) -> None:
        """Let the two hear each other again."""
        holder, call.held_by = call.held_by, None
        if holder is None:
            raise CallError(f"call {call.call_id} is not on hold")
        if call.partner is None:
            return
        other = call.partner if holder is call.caller else call.caller
        for leg in (other, holder):
            self._control.audio.stop_play(call, leg)
        self._control.join(call)
        self._control.note_held(call, holder, on=False)
        self._control.pump()

    # -- sending on --------------------------------------------------------------------------------

    def transfer(self, call: Call, to: str, *, party: Party = "caller", by: str = "") -> None:
        """Send `party` of a call somewhere else; the other is let go when that is reached, and has the call
        back when it is not. `to` is a destination (``queue:support``, ``voicemail:1001``) or a number
        that the one who is let go may call. A caller who waits, or is in a menu, is taken from there."""
        if call.partner is None:
            self._take_away(call, to, by)
            return
        self._end_hold(call)
        leaves = call.partner if party == "caller" else call.caller
        self._control.transfers.send_on(call, leaves, to, self._route(call, to, leaves))
        self._control.pump()

    def _take_away(self, call: Call, to: str, by: str) -> None:
        queue_call = self._centre.calls.get(call.call_id)
        if queue_call is not None and queue_call.state is State.WAITING:
            self._control.destination(call, to)  # or an error
            self._centre.queue_desk.withdraw(call.call_id, to, by=by)
            return
        if call.dial_machine is not None:
            raise CallError(f"call {call.call_id} rings: it can be hung up, or picked up")
        call.redirect(self._control.destination(call, to))

    def _route(self, call: Call, to: str, leaves: Leg) -> Route:
        rights = call.identity
        if leaves.label.startswith(_EXTENSION):
            rights = PhoneIdentity(leaves.label.removeprefix(_EXTENSION))
        found = self._dialplan.onward(to, rights)
        if isinstance(found, Refused):
            raise CallError(f"{to} is nowhere to go: {found.why}")
        return found

    def park(self, call: Call, code: str, *, party: Party = "caller") -> None:
        """Park `party`, for the other to fetch; `code` is the office's for it."""
        if call.partner is None:
            raise CallError(f"call {call.call_id} is no conversation")
        leaves = call.partner if party == "caller" else call.caller
        if not leaves.label.startswith(_EXTENSION):
            raise CallError("only an extension can park whom it talks to")
        self.transfer(call, code, party=party)

    def _end_hold(self, call: Call) -> None:
        if call.held_by is not None:
            self.resume(call)

    # -- sound -------------------------------------------------------------------------------------

    async def play(
        self, call: Call, prompt: str, *, to: Literal["caller", "callee", "both"] = "both"
    ) -> None:
        """Play a prompt's id, ``tone:NAME``, or ``text:...`` (spoken) into a call; a conversation goes on
        softer meanwhile. Returns when it has begun."""
        audio = self._control.audio
        if audio.needs_making(call, prompt):
            await audio.make(call, prompt)
        if call.ended:
            raise CallError(f"call {call.call_id} is over")
        talking = call.partner is not None
        wanted: list[Leg] = []
        if to in ("caller", "both"):
            wanted.append(call.caller)
        if to in ("callee", "both") and call.partner is not None:
            wanted.append(call.partner)
        if not wanted or any(leg.stream is None for leg in wanted):
            raise CallError(f"call {call.call_id} has nobody there to hear it")
        for leg in wanted:
            # Nobody waits for its end.
            audio.play(call, prompt, leg=leg, mix=talking).add_done_callback(_forget)

    def send_digits(self, call: Call, digits: str, *, to: Party = "callee") -> None:
        """Press keys in the name of the other party."""
        self._control.audio.send_digits(call, digits, self._party(call, to))
        self._control.pump()

    def record(self, call: Call) -> None:
        """Record a conversation from now on, whatever the office records."""
        if call.partner is None:
            raise CallError(f"call {call.call_id} is no conversation")
        self._control.audio.start_recording(call)
        self._control.pump()

    # -- inside ------------------------------------------------------------------------------------

    def _party(self, call: Call, party: Party) -> Leg:
        leg = call.caller if party == "caller" else call.partner
        if leg is None:
            raise CallError(f"call {call.call_id} has nobody at its other end")
        return leg

    def _own_leg(self, call: Call) -> Leg:
        """Whoever is an extension of ours, the one called first: an agent rather than his caller."""
        legs = [leg for leg in (call.partner, call.caller) if leg is not None]
        own = (leg for leg in legs if leg.label.startswith(_EXTENSION))
        return next(own, call.caller)


def _forget(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()
