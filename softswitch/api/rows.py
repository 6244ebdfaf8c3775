"""Rows of what goes on: the same whether a list is asked for or an event brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softswitch.apps.acd_agents import AgentStatus, QueueStatus, row_of

if TYPE_CHECKING:
    from softswitch.api.service import Service
    from softswitch.call.call import Call


def agent_row(service: Service, status: AgentStatus) -> dict[str, Any]:
    """One agent, by `id` (and, among events, by `agent`)."""
    agent = service.switch.centre.agents_by_id[status.agent]
    return {
        **row_of(status),
        "id": status.agent,
        "skills": dict(agent.skills),
        "regions": list(agent.regions),
    }


def queue_row(status: QueueStatus) -> dict[str, Any]:
    """One queue, by `name` (and, among events, by `queue`)."""
    return {**row_of(status), "name": status.queue}


def live_row(service: Service, call: Call) -> dict[str, Any]:
    """One call that goes on."""
    queues, agents = service.events.hub.met(call.call_id)
    return {
        "call_id": call.call_id,
        "number_from": call.number_from,
        "number_to": call.number_to,
        "caller_name": call.caller_name,
        "state": live_state(call),
        "started_at_s": call.started_at_s,
        "answered_at_s": call.answered_at_s,
        "recording": call.recording_name if call.recording is not None else None,
        "recording_paused": service.switch.control.audio.is_paused(call),
        "parked": service.switch.catalogue.parking.slot_of(call),
        "customer": call.known.told() if call.known is not None else None,
        "queues": sorted(queues),
        "agents": sorted(agents),
        "legs": [leg.snapshot() for leg in call.legs.values()],
    }


def live_state(call: Call) -> str:
    """ "ringing", "answered", "talking" or "held"."""
    if call.answered_at_s is None:
        return "ringing"
    if call.held_by is not None or any(leg.held for leg in call.legs.values()):
        return "held"
    return "talking" if call.partner is not None else "answered"
