"""Calls that the office itself makes: agents rung for a caller who waits, customers called back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from softswitch.call.dialplan import Dialplan, Refused, ToTrunks
from softswitch.call.endpoint import Outcome, Step
from softswitch.call.identity import OfficeIdentity, PhoneIdentity
from softswitch.call.leg import Leg
from softswitch.call.steps import Registered, steps_to_extension, steps_to_trunks
from softswitch.config import Destination
from softswitch.errors import CallError
from softswitch.sip.reason import ReasonHeader

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.dialling import Attempt, Dialling
    from softswitch.call.running import App
    from softswitch.call.shown import Shown
    from softswitch.call.wiring import Wiring

_EXTENSION = "extension:"


class OfficeCalls:
    """Verbs of a `CallControl` for applications that ring somebody by their own decision.

    Whoever is rung by `ring` answers to an `Attempt`: he is joined to nobody until `connect`, `take_caller`
    or `join` says so. Every verb leaves sending to `CallControl.pump`.
    """

    def __init__(
        self,
        wiring: Wiring,
        control: CallControl,
        dialling: Dialling,
        dialplan: Dialplan,
        registered: Registered,
    ) -> None:
        self._wiring = wiring
        self._control = control
        self._dialling = dialling
        self._dialplan = dialplan
        self._registered = registered

    def originate(
        self, *, queue: str, number_from: str, number_to: str, caller_name: str = ""
    ) -> Call:
        """A call that the office begins on behalf of a queue. It has no caller until `take_caller`."""
        control = self._control
        call = control.new_call(OfficeIdentity(queue), number_from, number_to, caller_name)
        call.caller = Leg.nobody(self._wiring, call)
        control.enter(call)
        control.running.goes_out(call, number_to)
        return call

    def call_extension(
        self,
        extension: str,
        *,
        number_to: str,
        shown: Shown,
        then: App,
        ring_s: float = 30.0,
        caller_name: str = "",
    ) -> Call:
        """Ring an extension, and let `then` have the call when somebody has answered: with the rights of
        that extension. Raises `CallError` where no phone of it is registered."""
        if not self.can_ring(extension):
            raise CallError(f"no phone of extension {extension} can be rung now")
        control = self._control
        call = control.new_call(PhoneIdentity(extension), extension, number_to, caller_name)
        call.caller = Leg.nobody(self._wiring, call)
        control.enter(call)

        def answered(leg: Leg) -> None:
            self.take_caller(call, attempt, leg)
            control.running.start_app(call, then, number_to)

        def finished(outcome: Outcome) -> None:
            control.end_call(
                call, by="callee", q850=outcome.q850, status=outcome.status, outcome=outcome.result
            )

        attempt = self.ring(
            call,
            f"{_EXTENSION}{extension}",
            ring_s,
            connected=answered,
            finished=finished,
            shown=shown,
        )
        control.pump()
        return call

    def can_ring(self, extension: str) -> bool:
        """Whether a phone of this extension is registered."""
        return bool(self._registered(extension))

    def why_not(self, number: str) -> str:
        """Why the office's rights do not lead to this number; "": they do."""
        found = self._dialplan.route(number, OfficeIdentity(""))
        return found.why if isinstance(found, Refused) else ""

    def ring(
        self,
        call: Call,
        target: str,
        ring_s: float,
        *,
        connected: Callable[[Leg], None],
        finished: Callable[[Outcome], None],
        shown: Shown | None = None,
    ) -> Attempt:
        """Ring ``extension:NUMBER``, or a number with the rights of the office, beside whatever the
        caller of `call` hears; see `Attempt`. Nobody to ring is an outcome like any other."""
        return self._dialling.begin_beside(
            call,
            self._steps(target, ring_s),
            connected=connected,
            finished=finished,
            shown=shown,
        )

    def _steps(self, target: str, ring_s: float) -> tuple[Step, ...]:
        if target.startswith(_EXTENSION):
            return steps_to_extension(self._registered, target.removeprefix(_EXTENSION), ring_s)
        match self._dialplan.route(target, OfficeIdentity("")):
            case ToTrunks() as route:
                return tuple(
                    structs.replace(step, ring_s=ring_s) for step in steps_to_trunks(route)
                )
            case Destination("extension", name):
                return steps_to_extension(self._registered, name, ring_s)
        return ()

    def give_up(
        self, call: Call, attempt: Attempt, *, q850: int = 16, elsewhere: bool = False
    ) -> None:
        """Stop ringing, or hang up who has answered. `elsewhere`: somebody else took the call."""
        if not call.ended:
            self._dialling.give_up(call, attempt, q850=q850, elsewhere=elsewhere)

    def connect(self, call: Call, attempt: Attempt, leg: Leg) -> None:
        """Join the caller and `leg`, which has answered `attempt`; what is played to the caller ends."""
        self._dialling.promote(call, attempt)
        if call.caller.stream is not None:
            self._control.audio.stop_play(call)
        self._control.connect_partner(call, leg)

    def take_caller(self, call: Call, attempt: Attempt, leg: Leg) -> None:
        """`leg`, which has answered `attempt`, is the caller of a call that had none."""
        self._dialling.release(call, attempt)
        call.caller = leg
        if call.answered_at_s is None:
            call.answered_at_s = self._wiring.wall_s()
            call.answered_monotonic_s = self._wiring.now_s()
            self._wiring.records.answered(call, call.answered_at_s)

    def join(self, call: Call, attempt: Attempt, customer: Attempt, leg: Leg) -> None:
        """Join the caller of a call, who answered `attempt` first (an agent), with `leg`, which has
        answered `customer`: from now on that is the caller, and the first one his partner."""
        self._control.audio.stop_play(call)
        self._dialling.release(call, customer)
        self._dialling.promote(call, attempt)
        call.partner, call.caller = call.caller, leg
        self._control.join(call)

    def take_over(self, call: Call, source: Call) -> None:
        """The caller of `source` takes the place of the partner in `call`, who is hung up; `source` is
        over."""
        control, leg, former = self._control, source.caller, call.partner
        assert former is not None
        control.audio.stop_recording(call)
        if call.caller.stream is not None and former.stream is not None:
            self._wiring.plane.disconnect(call.caller.stream.stream_id, former.stream.stream_id)
        control.move_leg(leg, source, call)
        call.partner, call.dial_machine = leg, None
        call.leave_conversation()
        control.end_call(source, by="switch", q850=16)
        control.join(call)
        former.hang_up(ReasonHeader("Q.850", 16))
        control.drop_leg(call, former, "switch", 200, 16)

    def part(self, call: Call) -> None:
        """Take the caller back from his partner, who is hung up."""
        partner, call.dial_machine = call.partner, None
        if partner is None:
            return
        self._control.audio.stop_recording(call)
        if call.caller.stream is not None and partner.stream is not None:
            self._wiring.plane.disconnect(call.caller.stream.stream_id, partner.stream.stream_id)
        partner.hang_up(ReasonHeader("Q.850", 16))
        self._control.drop_leg(call, partner, "switch", 200, 16)
