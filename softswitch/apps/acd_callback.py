"""Callbacks: the customer hangs up and keeps his place; the office calls him when it is his turn.

The engine decides when; here is how. Agent first: an agent is rung in a call without a caller, is told what
it is about, and the customer is called while he listens. Customer first: he is called, waits at his
place, and the agent comes to him. Which numbers may be called is the dialplan's (`OfficeIdentity`).
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING

from media.errors import MediaError
from routing import decisions as decided
from routing import events
from routing.model import Media
from softswitch.apps.agent_offer import told
from softswitch.apps.queue_call import QueueCall
from softswitch.config import Destination
from softswitch.errors import CallEnded, CallError, QueueUnavailable
from softswitch.store.acd import CALLBACK_DIALLED

if TYPE_CHECKING:
    from routing.views import ContactView
    from softswitch.apps.acd import CallCentre
    from softswitch.apps.agent_offer import AgentOffer
    from softswitch.call.call import Call
    from softswitch.call.dialling import Attempt
    from softswitch.call.endpoint import Outcome
    from softswitch.call.known import KnownCustomer
    from softswitch.call.leg import Leg

_log = logging.getLogger("softswitch.acd")
_RINGBACK = "tone:ringback"
_WELCOME = "callback-calling"


class State(Enum):
    """How far one attempt has come."""

    DIALLING = "dialling"
    ANSWERED = "answered"
    OVER = "over"


class Dialled:
    """One attempt to reach one customer. `offer` is the agent's who waits for him, None when the
    customer is called first."""

    __slots__ = (
        "attempt",
        "call",
        "contact_id",
        "failure",
        "leg",
        "number",
        "offer",
        "state",
        "turn",
    )

    def __init__(
        self, decision: decided.DialCallback, call: Call, offer: AgentOffer | None
    ) -> None:
        self.contact_id = decision.contact_id
        self.number = decision.number
        self.turn = decision.attempt
        self.call = call
        self.offer = offer
        self.attempt: Attempt | None = None
        self.leg: Leg | None = None
        self.state = State.DIALLING
        self.failure = "the agent hung up"


class Callbacks:
    """The callbacks of one `CallCentre`."""

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre
        self._dialled: dict[str, Dialled] = {}  # by contact

    def snapshot(self) -> dict[str, int]:
        return {"callbacks_dialled": len(self._dialled)}

    # -- asking for one ----------------------------------------------------------------------------

    def number_for(self, call: Call) -> str:
        """The number at which this caller can be called back, "" if the office may not call it."""
        number = self._centre.number_of(call)
        return "" if self._centre.control.office_calls.why_not(number) else number

    def request_for(self, queue_call: QueueCall) -> bool:
        """A waiting caller becomes a callback at his place; False: an agent has him already."""
        host, contact_id = self._centre.host, queue_call.contact_id
        host.settle()
        number = self.number_for(queue_call.call)
        view = host.engine.view_contact(contact_id, host.now_s())
        if not number or view is None or view.phase not in ("waiting", "offered"):
            return False
        queue_call.open = False
        self._centre.release(contact_id)
        host.do(events.CallbackRequested(contact_id=contact_id, number=number))
        return True

    def request(
        self,
        number: str,
        queue: str,
        *,
        not_before_s: float | None = None,
        agent_id: str = "",
        name: str = "",
        note: str = "",
        known: KnownCustomer | None = None,
    ) -> str:
        """A callback that nobody waits for yet (from a web page, or by an agent); its contact id.

        `not_before_s` is Unix time; `agent_id`: this agent's own, for a while; `note`: what it is about;
        `known`: whose number that is. Raises
        `QueueUnavailable` for an unknown queue, `CallError` for a number that is not called back, or is to be
        already.
        """
        centre = self._centre
        if queue not in centre.queues:
            raise QueueUnavailable(f"there is no queue {queue}")
        self._check(number)
        wall_s = centre.desk.clock.wall_s()
        contact_id = f"b{int(wall_s * 1000):x}-{centre.desk.token()[:6]}"
        facts = {"number": number, "name": name}
        if note:
            facts["note"] = note
        if known is not None:
            facts["customer_name"] = known.name
        if agent_id:
            facts["agent"] = agent_id
        due_s = None if not_before_s is None else not_before_s - centre.host.epoch_s
        decisions = centre.host.do(
            events.CallbackRequested(
                contact_id=contact_id,
                number=centre.written(number),
                queue_id=queue,
                agent_id=agent_id,
                not_before_s=due_s,
                customer_id=centre.key_of(known) if known is not None and known.id else "",
                attributes=facts,
            )
        )
        for decision in decisions:
            if isinstance(decision, decided.Ignored):
                raise CallError(f"{number} is not called back: {decision.reason}")
            if isinstance(decision, decided.ContactClosed) and decision.contact_id == contact_id:
                raise CallError(f"{number} is to be called back by {queue} already")
        return contact_id

    def _check(self, number: str) -> None:
        """Raise `CallError` for a number that the office may not call."""
        if why := self._centre.control.office_calls.why_not(number):
            raise CallError(f"{number} is not called back: {why}")

    def pending(self) -> list[ContactView]:
        """The callbacks that are still to be made, in no particular order."""
        host = self._centre.host
        views = (host.engine.view_contact(c, host.now_s()) for c in host.engine.contact_ids)
        return [v for v in views if v is not None and v.media is Media.CALLBACK]

    def change(
        self,
        contact_id: str,
        *,
        priority: float | None = None,
        name: str | None = None,
        note: str | None = None,
        number: str = "",
        not_before_s: float | None = None,
    ) -> None:
        """Another priority, another name of whom it is for, another note, another number, or another time
        (Unix).

        Raises `CallError` for a number that is not called back, or is to be already, and where the customer is
        being called.
        """
        if number or not_before_s is not None:
            self._move(contact_id, number, not_before_s)
        given = {"name": name, "note": note}
        facts = {key: value for key, value in given.items() if value is not None}
        if number:
            facts["number"] = number
        if priority is None and not facts:
            return
        self._centre.host.do(
            events.ContactUpdated(
                contact_id=contact_id, priority=priority, attributes=facts or None
            )
        )

    def _move(self, contact_id: str, number: str, not_before_s: float | None) -> None:
        centre = self._centre
        if number:
            self._check(number)
        decisions = centre.host.do(
            events.CallbackMoved(
                contact_id=contact_id,
                number=centre.written(number) if number else "",
                not_before_s=None if not_before_s is None else not_before_s - centre.host.epoch_s,
            )
        )
        for decision in decisions:
            if isinstance(decision, decided.Ignored):
                why = decision.reason
                raise CallError(
                    f"{number} is to be called back by that queue already"
                    if why == "duplicate"
                    else f"callback {contact_id} is being made"
                )

    def cancel(self, contact_id: str, by: str = "") -> None:
        """Nobody is to be called back."""
        self._centre.host.do(events.CallbackCancelled(contact_id, by))

    # -- an agent is rung for one ------------------------------------------------------------------

    def call_for(self, decision: decided.OfferTo) -> Call:
        """A call without a caller, in which an agent is rung for a callback."""
        host = self._centre.host
        view = host.engine.view_contact(decision.contact_id, host.now_s())
        number = str(view.attributes.get("number", "")) if view is not None else ""
        return self._originate(decision.queue_id, number)

    def _originate(self, queue: str, number: str) -> Call:
        own = self._centre.queues[queue].number or queue
        return self._centre.control.office_calls.originate(
            queue=queue, number_from=own, number_to=number
        )

    def offer_over(self, offer: AgentOffer) -> None:
        """An agent did not take it: the call that was made to ring him ends. The customer was not called."""
        if offer.call.caller.session is None:
            self._end(offer.call, 16, 487, "cancelled")

    def _end(
        self, call: Call, q850: int = 19, status: int = 480, outcome: str = "no-answer"
    ) -> None:
        self._centre.control.end_call(call, by="switch", q850=q850, status=status, outcome=outcome)

    # -- the customer is called --------------------------------------------------------------------

    def dial(self, decision: decided.DialCallback) -> None:
        """Call the customer, once."""
        if decision.agent_id:
            offer = self._accepted(decision)
            if offer is None:
                self._centre.host.tell(
                    events.CallbackFailed(decision.contact_id, "no agent", decision.attempt)
                )
                return
            self._dial_for(offer, decision)
            return
        call = self._originate(decision.queue_id, decision.number)
        dialled = self._begin(decision, call, None)
        self._ring(dialled, decision.dial_s)

    def _begin(
        self, decision: decided.DialCallback, call: Call, offer: AgentOffer | None
    ) -> Dialled:
        dialled = Dialled(decision, call, offer)
        self._dialled[decision.contact_id] = dialled
        desk = self._centre.desk
        desk.journal.append(
            CALLBACK_DIALLED,
            call.call_id,
            {
                "contact": decision.contact_id,
                "queue": decision.queue_id,
                "agent": decision.agent_id,
                "number": decision.number,
                "attempt": decision.attempt,
            },
            desk.clock.wall_s(),
        )
        return dialled

    def _accepted(self, decision: decided.DialCallback) -> AgentOffer | None:
        """The offer that the agent has taken and in whose call he waits."""
        for offer_id, offer in self._centre.offers.items():
            same = offer.contact_id == decision.contact_id
            if same and offer.agent.id == decision.agent_id and offer.leg is not None:
                return self._centre.offers.pop(offer_id)
        return None

    def _dial_for(self, offer: AgentOffer, decision: decided.DialCallback) -> None:
        """For an agent who has answered: from now on he is the caller."""
        assert offer.attempt is not None
        assert offer.leg is not None
        dialled = self._begin(decision, offer.call, offer)
        offer.joined()
        self._centre.control.office_calls.take_caller(offer.call, offer.attempt, offer.leg)
        self._centre.spawn(self._tell_and_ring(dialled, decision))

    async def _tell_and_ring(self, dialled: Dialled, decision: decided.DialCallback) -> None:
        centre, call = self._centre, dialled.call
        name = centre.customer_name(dialled.contact_id)
        try:
            for prompt in told(centre, decision.queue_id, 0.0, name, call.language):
                await call.play(prompt)
            if dialled.state is State.DIALLING:
                await call.play(_RINGBACK, repeat=True)
                self._ring(dialled, decision.dial_s)
                centre.control.pump()
        except CallEnded:
            return
        except (CallError, MediaError) as error:
            _log.error("callback %s: %s", dialled.contact_id, error)
            self._fail(dialled, "failed")

    def _ring(self, dialled: Dialled, dial_s: float) -> None:
        def answered(leg: Leg) -> None:
            self._answered(dialled, leg)

        def finished(outcome: Outcome) -> None:
            if dialled.state is State.DIALLING:
                dialled.failure = outcome.result
                self._end(dialled.call, outcome.q850, outcome.status, outcome.result)

        attempt = self._centre.control.office_calls.ring(
            dialled.call, dialled.number, dial_s, connected=answered, finished=finished
        )
        dialled.attempt = attempt

    def _answered(self, dialled: Dialled, leg: Leg) -> None:
        centre = self._centre
        dialled.state, dialled.leg = State.ANSWERED, leg
        if dialled.offer is None:
            self._receive(dialled, leg)
        centre.host.tell(events.CallbackAnswered(dialled.contact_id, dialled.turn))

    def _receive(self, dialled: Dialled, leg: Leg) -> None:
        """The customer was called first: he waits like anybody, and hears why he is called."""
        centre, call = self._centre, dialled.call
        self._dialled.pop(dialled.contact_id, None)
        attempt = call.attempts[leg.leg_id]
        centre.control.office_calls.take_caller(call, attempt, leg)
        queue_call = self._queue_call(dialled)
        queue_call.begin_waiting(_WELCOME)
        centre.control.running.start(call, Destination("queued-callback", queue_call.queue.name))

    def _queue_call(self, dialled: Dialled) -> QueueCall:
        centre = self._centre
        view = centre.host.engine.view_contact(dialled.contact_id, centre.host.now_s())
        assert view is not None
        queue = centre.queues[view.queue_id]
        queue_call = QueueCall(centre, dialled.call, dialled.contact_id, queue)
        centre.adopt(queue_call)
        return queue_call

    def _fail(self, dialled: Dialled, reason: str) -> None:
        """Nobody was reached; the agent, if one waits, is hung up. `call_ended` tells the engine."""
        dialled.failure = reason
        self._end(dialled.call)

    def cancel_dial(self, decision: decided.CancelDial) -> None:
        """The customer is calling himself, it takes too long, or nobody wants it any more."""
        dialled = self._dialled.pop(decision.contact_id, None)
        if dialled is not None:
            dialled.state = State.OVER
            self._end(dialled.call)

    # -- together ----------------------------------------------------------------------------------

    def join(self, decision: decided.Connect) -> None:
        """The agent was first, and now the customer is there."""
        dialled = self._dialled.pop(decision.contact_id, None)
        if dialled is None or dialled.call.ended or dialled.leg is None:
            self._centre.host.tell(events.ContactEnded(decision.contact_id, "agent"))
            return
        centre, offer, call = self._centre, dialled.offer, dialled.call
        assert offer is not None
        assert offer.leg is not None
        assert offer.attempt is not None
        assert dialled.attempt is not None
        dialled.state = State.OVER
        queue_call = self._queue_call(dialled)
        centre.host.connected(queue_call.contact_id)
        queue_call.joining(offer.agent.id, offer.leg)
        queue_call.customer_leg = dialled.leg
        call.outlives_partner = True
        centre.control.office_calls.join(call, offer.attempt, dialled.attempt, dialled.leg)
        centre.control.running.start(call, Destination("queued-callback", queue_call.queue.name))

    def call_ended(self, call: Call) -> None:
        """A call has ended: perhaps one in which a customer was being reached."""
        for contact_id, dialled in list(self._dialled.items()):
            if dialled.call is call:
                del self._dialled[contact_id]
                if dialled.state is State.DIALLING:
                    dialled.state = State.OVER
                    self._centre.host.tell(
                        events.CallbackFailed(contact_id, dialled.failure, dialled.turn)
                    )
