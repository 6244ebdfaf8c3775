"""The start after a crash: what the engine remembers, and what of it has been cut."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from routing import events
from routing.model import AgentState, Media
from softswitch.apps.acd_watch import UNREACHABLE

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre

_log = logging.getLogger("softswitch.acd")
LOST = "lost"


async def recover(centre: CallCentre) -> None:
    """Bring the engine to where it was; places in line and callbacks stay, live calls are lost.

    Agents whose telephones have not registered again are unavailable until they do.
    """
    host, engine = centre.host, centre.host.engine
    if not await host.recall():
        return
    centre.contacts.recall()
    for agent_id in engine.agent_ids:
        _end_calls_of(centre, agent_id)
    lost = sum(_settle_contact(centre, contact_id) for contact_id in engine.contact_ids)
    for agent_id in engine.agent_ids:
        _end_wrap_up_of(centre, agent_id)
    for number, count in engine.snapshot()["numbers_seen"].items():
        for _ in range(count):
            host.do(events.CallerGone(number))
    host.go_on()
    _log.info("queues go on: %d callbacks wait, %d calls were lost", len(engine.contact_ids), lost)


def _end_calls_of(centre: CallCentre, agent_id: str) -> None:
    """His own calls are over, and nobody can ring him yet."""
    host, engine = centre.host, centre.host.engine
    view = engine.view_agent(agent_id)
    agent = centre.agents_by_id.get(agent_id)
    if view is None or agent is None:
        return
    if view.wanted is AgentState.AVAILABLE and not centre.control.office_calls.can_ring(
        agent.extension
    ):
        host.do(events.AgentStateSet(agent_id, AgentState.UNAVAILABLE, UNREACHABLE))
    for contact_id in view.contact_ids:
        if engine.view_contact(contact_id, host.now_s()) is None:
            host.do(events.ExternalCallEnded(agent_id, contact_id))


def _end_wrap_up_of(centre: CallCentre, agent_id: str) -> None:
    """Nobody is in wrap-up after a start: it would have lasted as long as nobody was there."""
    view = centre.host.engine.view_agent(agent_id)
    if view is not None and view.state is AgentState.WRAP_UP:
        centre.host.do(events.WrapUpEnded(agent_id))


def _settle_contact(centre: CallCentre, contact_id: str) -> bool:
    """End a contact whose call was cut, put a callback back into the line, leave a ticket where it is;
    whether it was a call."""
    host = centre.host
    view = host.engine.view_contact(contact_id, host.now_s())
    if view is None:
        return False
    if view.media is Media.TICKET:
        if view.phase == "offered":
            host.do(events.ContactRequeued(contact_id=contact_id, by=LOST))
        return False
    if view.phase == "connected":
        host.do(events.ContactEnded(contact_id, LOST))
        return True
    if view.media is not Media.CALLBACK:
        host.do(events.ContactWithdrawn(contact_id, LOST))
        return True
    # Whose customer was on the line already waits no longer; others do not mind.
    host.do(events.ContactAbandoned(contact_id))
    if view.phase == "dialing":
        host.do(events.CallbackFailed(contact_id, LOST))
    elif view.phase == "offered":
        host.do(events.ContactRequeued(contact_id=contact_id, by=LOST))
    return False
