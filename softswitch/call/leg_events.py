"""What the legs of a call report: ringing, answers, refusals, holds and hang-ups of either side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from softswitch.call.events import CallerEnded, LegAnswered, LegEnded, LegFailed, LegRang
from softswitch.call.forwarding import redirection_of
from softswitch.call.info import HIDDEN_DIGIT, digit_of_info
from softswitch.sip import events as sip_events
from softswitch.sip.authorise import realm_of
from softswitch.sip.causes import q850_of_status
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.seconds import seconds_in

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.dialling import Dialling
    from softswitch.call.in_call import InCalls
    from softswitch.call.leg import Leg
    from softswitch.call.table import CallTable
    from softswitch.call.wiring import Wiring


class LegEvents:
    """Turns what one leg's session says into what happens to its call: `by_type` has who takes an event of the
    stack with its call and leg."""

    def __init__(
        self,
        wiring: Wiring,
        control: CallControl,
        table: CallTable,
        dialling: Dialling,
        in_calls: InCalls,
    ) -> None:
        self._wiring = wiring
        self._control = control
        self._table = table
        self._dialling = dialling
        self._in_calls = in_calls
        self.by_type: dict[type, Callable[[Call, Leg, Any], None]] = {
            sip_events.Progressed: self._progressed,
            sip_events.Answered: self._answered,
            sip_events.Failed: self._failed,
            sip_events.Cancelled: self._cancelled,
            sip_events.Ended: self._ended,
            sip_events.Confirmed: self._confirmed,
            sip_events.ReofferReceived: self._reoffered,
            sip_events.ReofferAnswered: self._reoffer_answered,
            sip_events.ReofferFailed: self._reoffer_failed,
            sip_events.InfoReceived: self._informed,
        }

    def _failed(self, call: Call, leg: Leg, event: sip_events.Failed) -> None:
        if event.response is not None:
            leg.hear_agent(event.response)
        call.redirected_to = redirection_of(event.response) or call.redirected_to
        told = ReasonHeader.of(event.response, "Q.850") if event.response else None
        q850 = told.q850 if told is not None else 0
        later_s = seconds_in(event.response, "Retry-After") if event.response else None
        realm = realm_of(event.response) if event.response else ""
        failed = LegFailed(leg.leg_id, event.status, event.reason, q850, later_s or 0, realm)
        self._table.drop(call, leg, "remote", event.status, q850 or q850_of_status(event.status))
        self._dialling.feed(call, failed)

    def _cancelled(self, call: Call, leg: Leg, event: sip_events.Cancelled) -> None:
        elsewhere = event.cause is not None and event.cause.elsewhere
        q850 = _cause(event.cause)
        self._caller_left(call, "caller", q850, status=487, elsewhere=elsewhere)

    def _confirmed(self, call: Call, leg: Leg, event: sip_events.Confirmed) -> None:
        if event.sdp is not None:
            self._answer_of_caller(call, leg, event.sdp)

    def _reoffer_answered(self, call: Call, leg: Leg, event: sip_events.ReofferAnswered) -> None:
        if event.sdp is None:
            return
        if not leg.answered:  # in a PRACK, while it rings
            self._answer_of_caller(call, leg, event.sdp)
        else:
            leg.take_answer(event.sdp)

    def _reoffer_failed(self, call: Call, leg: Leg, event: sip_events.ReofferFailed) -> None:
        """The session goes on as it was."""

    def _informed(self, call: Call, leg: Leg, event: sip_events.InfoReceived) -> None:
        digit = digit_of_info(event.content_type, event.body)
        # No packet tells the other side of it, as it does with an event in the sound.
        if digit and not self.digit(call, leg, digit):
            self._in_calls.pass_on(call, leg, digit)

    def _answer_of_caller(self, call: Call, leg: Leg, sdp: bytes) -> None:
        """His answer to the offer that we made him, where he made none."""
        if not leg.take_answer(sdp):
            self._control.end_call(call, by="switch", q850=65, status=488, outcome="failed")

    def digit(self, call: Call, leg: Leg, digit: str) -> bool:
        """A key was pressed, told by whatever means; True when nobody else is to know."""
        shown = HIDDEN_DIGIT if call.hides_digits and leg is call.caller else digit
        self._wiring.records.digit(call, leg, self._wiring.wall_s(), shown)
        ours = self._in_calls.digit(call, leg, digit)
        if not ours and leg is call.caller:
            call.digit_pressed(digit)
        return ours

    def _progressed(self, call: Call, leg: Leg, event: sip_events.Progressed) -> None:
        early = leg.take_early_media(event.sdp) if event.sdp else False
        if not leg.rang:
            leg.rang = True
            leg.hear_agent(event.response)
            self._wiring.records.leg_ringing(call, leg, self._wiring.wall_s())
        self._dialling.feed(call, LegRang(leg.leg_id, early))

    def _answered(self, call: Call, leg: Leg, event: sip_events.Answered) -> None:
        if event.sdp is None or not leg.take_answer(event.sdp):
            leg.hang_up(ReasonHeader("Q.850", 65, "No common codec"))
            self._table.drop(call, leg, "switch", 488, 65)
            self._dialling.feed(call, LegFailed(leg.leg_id, 488))
            return
        leg.answered = True
        leg.hear_agent(event.response)
        self._wiring.records.leg_answered(call, leg, self._wiring.wall_s())
        self._dialling.feed(call, LegAnswered(leg.leg_id))

    def _ended(self, call: Call, leg: Leg, event: sip_events.Ended) -> None:
        q850 = _cause(event.cause)
        by = "timer" if event.by == "timer" else "remote"
        if self._in_calls.left(call, leg, by, 200, q850):
            return
        if leg is call.caller:
            self._caller_left(call, "caller" if by == "remote" else by, q850)
            return
        was_partner = leg is call.partner
        self._table.drop(call, leg, by, 200, q850)
        if call.dial_machine is not None or leg.leg_id in call.attempts:
            self._dialling.feed(call, LegEnded(leg.leg_id, by, q850))
        elif was_partner:
            self._control.end_call(call, by="callee", q850=q850)

    def _caller_left(
        self, call: Call, by: str, q850: int, *, status: int = 200, elsewhere: bool = False
    ) -> None:
        self._table.drop(call, call.caller, by, status, q850)
        if call.dial_machine is not None:
            self._dialling.feed(call, CallerEnded(by, q850, elsewhere))
        if not call.ended:
            answered = call.answered_at_s is not None
            outcome = "answered" if answered else "cancelled"
            self._control.end_call(call, by=by, q850=q850, status=status, outcome=outcome)

    def _reoffered(self, call: Call, leg: Leg, event: sip_events.ReofferReceived) -> None:
        was_held = leg.held
        if not leg.answer_reoffer(event.sdp):
            return
        if leg.held != was_held:
            self._wiring.records.held(call, leg, self._wiring.wall_s(), on=leg.held)
            self._control.audio.entertain(call, leg)


def _cause(reason: ReasonHeader | None) -> int:
    """The Q.850 cause that a Reason header names, 16 (normal) where it names none."""
    return (reason.q850 if reason is not None else 0) or 16
