"""An agent being rung for a contact: his phones, what he is told before the two are joined, and what
comes of it."""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import TYPE_CHECKING

from media.errors import MediaError
from routing import events
from softswitch import saying
from softswitch.call.futures import either
from softswitch.errors import CallEnded, CallError

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre
    from softswitch.call.call import Call
    from softswitch.call.dialling import Attempt
    from softswitch.call.endpoint import Outcome
    from softswitch.call.leg import Leg
    from softswitch.call.shown import Shown
    from softswitch.config import Agent

_log = logging.getLogger("softswitch.acd")

# The engine's own timer ends the ringing; this one is for the case that it does not.
_RING_GRACE_S = 5.0
_ELSEWHERE = frozenset({"answered-elsewhere"})
_BUSY_CAUSES = {"busy": "busy", "unreachable": "unreachable", "failed": "unreachable"}


class State(Enum):
    """How far it has come."""

    RINGING = "ringing"
    ANSWERED = "answered"
    TELLING = "telling"
    JOINED = "joined"
    OVER = "over"


class AgentOffer:
    """One offer of the engine, carried out in `call`: the customer's, or, for a callback whose customer has
    not been called yet, one without a caller.

    The agent is told whom he gets (queue, wait, customer) after he has answered; meanwhile the caller hears
    what he heard. `join` is called when that is over.
    """

    def __init__(
        self, centre: CallCentre, offer_id: int, contact_id: str, agent: Agent, call: Call
    ) -> None:
        self._centre = centre
        self.offer_id = offer_id
        self.contact_id = contact_id
        self.agent = agent
        self.call = call
        self.leg: Leg | None = None
        self.attempt: Attempt | None = None
        self.state = State.RINGING
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ring(self, ring_s: float, shown: Shown) -> None:
        """Ring all phones of the agent."""
        attempt = self._centre.control.office_calls.ring(
            self.call,
            f"extension:{self.agent.extension}",
            ring_s + _RING_GRACE_S,
            connected=self._connected,
            finished=self._finished,
            shown=shown,
        )
        if self.state is not State.OVER:
            self.attempt = attempt

    def cancel(self, reason: str) -> None:
        """Stop ringing, or hang up an agent who has answered too late."""
        if self.state is State.OVER:
            return
        self._end()
        if self.attempt is not None:
            elsewhere = reason in _ELSEWHERE
            q850 = 26 if elsewhere else 19 if reason == "no-answer" else 16
            self._centre.control.office_calls.give_up(
                self.call, self.attempt, q850=q850, elsewhere=elsewhere
            )

    def _end(self) -> None:
        self.state = State.OVER
        if not self._over.done():
            self._over.set_result(None)

    # -- what the phones say -----------------------------------------------------------------------

    def _connected(self, leg: Leg) -> None:
        self.leg = leg
        self.state = State.ANSWERED
        self._centre.host.tell(events.OfferAccepted(self.offer_id))

    def _finished(self, outcome: Outcome) -> None:
        if self.state in (State.OVER, State.JOINED):
            return
        answered = self.leg is not None
        self._end()
        self._centre.offer_over(self)
        reason = "agent hung up" if answered else outcome.result
        self._centre.host.note_offer_ended(self.offer_id, self.contact_id, self.agent.id, reason)
        if answered:
            # He hung up while he was told whom he would get.
            self._centre.host.tell(events.ConnectFailed(self.contact_id, "agent hung up"))
            return
        match outcome.result:
            case "rejected":
                event: events.Event = events.OfferRejected(self.offer_id, "rejected")
            case "no-answer" if outcome.q850 != 20:
                event = events.OfferTimedOut(self.offer_id)
            case result:
                reason = _BUSY_CAUSES.get(result, "unreachable")
                event = events.OfferFailed(self.offer_id, reason)
        self._centre.host.tell(event)

    # -- telling -----------------------------------------------------------------------------------

    async def tell(self, prompts: list[str]) -> bool:
        """Tell the agent; False when he, or the caller, has gone meanwhile."""
        leg, call = self.leg, self.call
        assert leg is not None
        self.state = State.TELLING
        audio = self._centre.control.audio
        for prompt in prompts:
            if call.ended or self.state is not State.TELLING:
                return False
            try:
                playing = audio.play(call, prompt, leg=leg)
                await call.wait_for(either(playing, self._over))
            except CallEnded:
                return False
            except (CallError, MediaError) as error:
                _log.warning("agent %s was not told %s: %s", self.agent.id, prompt, error)
        return not call.ended and self.state is State.TELLING

    def joined(self) -> None:
        """The two have each other: what follows is no longer an offer."""
        self.state = State.JOINED


def told(
    centre: CallCentre, queue: str, waited_s: float, customer: str, language: str
) -> list[str]:
    """What an agent is told, as far as ``tell_agent`` of the queue says: the queue, how long the caller has
    waited, who he is. Names are said where
    the office has recorded them (``queue-<name>``), or where texts have been spoken in time."""
    configured = centre.queues.get(queue)
    tells = configured.tell_agent if configured is not None else ()
    prompts: list[str] = []
    if "queue" in tells:
        prompts += ["agent-call-from", *centre.name_prompts(queue, language)]
    if "wait" in tells and waited_s >= 1.0:
        prompts += saying.phrase("duration", round(waited_s), language)
    if "customer" in tells and customer:
        prompts += centre.text_prompts(customer, language)
    return prompts
