"""Follows all calls of the exchange for what the call centre must know: agents who telephone, conversations
that end or are transferred, callers who are in the line of their callback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from routing import events
from routing.model import AgentState
from softswitch.apps.acd_host import OWN_CALL
from softswitch.apps.queue_call import QueueCall, State
from softswitch.call.identity import OfficeIdentity
from softswitch.config.derived import FromOffice

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg
    from softswitch.config import Agent

UNREACHABLE = "unreachable"
_PHONE = "extension:"
_LOST = frozenset({"timer", "media"})


class CallWatch:
    """A `CallWatcher` that tells the engine. A telephone that an offer rings is no call of the agent's own."""

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre
        self._own: dict[int, tuple[str, str]] = {}  # leg -> agent, its name for the engine
        self._seen: dict[str, str] = {}  # call -> number that is calling in
        self._sees_callers = FromOffice(
            centre.desk, lambda office: any(queue.callback is not None for queue in office.queues)
        )

    def snapshot(self) -> dict[str, int]:
        return {"agents_telephoning": len(self._own), "callers_seen": len(self._seen)}

    # -- CallWatcher -------------------------------------------------------------------------------

    def call_started(self, call: Call) -> None:
        if self._sees_callers() and not isinstance(call.identity, OfficeIdentity):
            number = self._centre.number_of(call)
            if number:
                self._seen[call.call_id] = number
                self._centre.host.tell(events.CallerSeen(number))

    def call_routed(self, call: Call, kind: str, name: str) -> None:
        queue_call = self._centre.calls.get(call.call_id)
        if queue_call is not None:
            queue_call.bound_for_queue = kind == "queue"

    def leg_started(self, call: Call, leg: Leg) -> None:
        agent = self._agent_of(leg)
        if agent is not None and leg.leg_id not in call.attempts and leg.leg_id not in self._own:
            self._begin_own(leg, agent)

    def leg_ended(self, call: Call, leg: Leg, by: str) -> None:
        if by != "transfer":
            self._end_own(leg)
        self._centre.supervision.leg_ended(leg)
        queue_call = self._centre.calls.get(call.call_id)
        if queue_call is None or queue_call.state is not State.TALKING or call.ended:
            return
        if leg is queue_call.agent_leg:
            self._agent_left(queue_call, leg, by)
        elif leg is queue_call.customer_leg:
            # Most often the call ends with this, in a moment; else he has transferred his agent.
            asyncio.get_running_loop().call_soon(self._customer_left, queue_call)

    def held(self, call: Call, leg: Leg, on: bool) -> None:
        queue_call = self._centre.calls.get(call.call_id)
        if queue_call is not None and leg is queue_call.agent_leg and queue_call.open:
            contact_id = queue_call.contact_id
            event = events.HoldStarted(contact_id) if on else events.HoldEnded(contact_id)
            self._centre.host.tell(event)

    def call_ended(self, call: Call, by: str) -> None:
        centre = self._centre
        queue_call = centre.forget(call.call_id)
        if queue_call is not None:
            queue_call.state = State.GONE
            centre.end_contact(queue_call, by)
        centre.callbacks.call_ended(call)
        number = self._seen.pop(call.call_id, None)
        if number is not None:
            centre.host.tell(events.CallerGone(number))

    # -- agents' own calls -------------------------------------------------------------------------

    def _agent_of(self, leg: Leg) -> Agent | None:
        if not leg.is_phone:
            return None
        return self._centre.agents_by_extension.get(leg.label.removeprefix(_PHONE))

    def _begin_own(self, leg: Leg, agent: Agent) -> None:
        name = f"{OWN_CALL}{leg.leg_id}"
        self._own[leg.leg_id] = (agent.id, name)
        self._centre.host.tell(events.ExternalCallStarted(agent.id, name))

    def _end_own(self, leg: Leg) -> None:
        own = self._own.pop(leg.leg_id, None)
        if own is not None:
            self._centre.host.tell(events.ExternalCallEnded(*own))

    # -- conversations -----------------------------------------------------------------------------

    def _agent_left(self, queue_call: QueueCall, leg: Leg, by: str) -> None:
        """The agent's leg is gone, the call is not."""
        host, partner = self._centre.host, queue_call.call.partner
        if queue_call.bound_for_queue:
            return  # he has transferred the caller into a queue, which takes him over
        if queue_call.customer_leg.leg_id not in queue_call.call.legs:
            return  # the customer has left, and this is what follows
        if by in _LOST:
            lost = AgentState.UNAVAILABLE
            host.tell(events.AgentStateSet(queue_call.agent_id, lost, UNREACHABLE))
            host.tell(events.ContactRequeued(contact_id=queue_call.contact_id, by="lost phone"))
        elif partner is not None and partner is not leg and queue_call.open:
            self._transferred(queue_call, partner)
        else:
            self._centre.end_contact(queue_call, "agent")

    def _transferred(self, queue_call: QueueCall, partner: Leg) -> None:
        """The caller talks to somebody else now: to another agent, whose conversation it is from now
        on, or to somebody outside the call centre."""
        host, agent = self._centre.host, self._agent_of(partner)
        if agent is not None and self._centre.agents.is_logged_in(agent.id):
            queue_call.agent_id = queue_call.served_by = agent.id
            queue_call.agent_leg = partner
            host.tell(events.ContactTransferred(queue_call.contact_id, agent.id))
            self._end_own(partner)
            return
        queue_call.open = False
        host.tell(events.ContactTransferred(queue_call.contact_id))

    def _customer_left(self, queue_call: QueueCall) -> None:
        """The customer has transferred his agent to somebody else: no longer a call of the queue."""
        if queue_call.call.ended or queue_call.state is not State.TALKING:
            return
        leg = queue_call.agent_leg
        agent = self._agent_of(leg) if leg is not None else None
        if leg is not None and agent is not None and leg.leg_id in queue_call.call.legs:
            self._begin_own(leg, agent)  # before the contact ends: he is not free meanwhile
        queue_call.state = State.GONE
        self._centre.end_contact(queue_call, "customer")
