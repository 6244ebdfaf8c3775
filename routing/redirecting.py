"""What people change about contacts by hand: new facts, another queue, one certain agent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from routing import events
from routing.contact import Contact, Phase
from routing.decisions import ContactMoved

if TYPE_CHECKING:
    from routing.callbacks import Callbacks
    from routing.floor import Floor
    from routing.offering import Offering
    from routing.waiting import Waiting


class Redirecting:
    """Handles updates, requeueing and assignment."""

    waiting: Waiting
    offering: Offering
    callbacks: Callbacks

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def update(self, event: events.ContactUpdated, now_s: float) -> None:
        contact = self.waiting.known(event, event.contact_id)
        if contact is None:
            return
        self._change(contact, event.priority, event.skill, event.attributes)
        self.waiting.replace(contact, now_s)

    def _change(
        self, contact: Contact, priority: float | None, skill: str | None, attributes: Any
    ) -> None:
        if priority is not None:
            contact.priority = priority
        if skill is not None:
            self.waiting.demand_skill(contact, skill)
        if attributes is not None:
            contact.attributes = {**contact.attributes, **attributes}

    def requeue(self, event: events.ContactRequeued, now_s: float) -> None:
        contact = self.waiting.known(event, event.contact_id)
        if contact is None:
            return
        queue = self._floor.queues.get(event.queue_id) if event.queue_id else contact.queue
        if queue is None or queue.removed:
            self._floor.ignore(event, "unknown queue")
            return
        former, waited_s = contact.queue, now_s - contact.entered_s
        if contact.phase is Phase.CONNECTED:
            waited_s = contact.answered_s - contact.entered_s
            self.offering.let_go(contact, "requeued", now_s)
        elif contact.phase is Phase.DIALING:
            self.callbacks.hang_up(contact, "requeued", now_s)
        self.waiting.take_out(contact, now_s, "requeued")
        contact.agent_id = contact.assigned_to = ""
        contact.owner_due_s = math.inf
        contact.visited = ()
        if not event.keep_place:
            contact.place_s = now_s
            contact.seq = self._floor.next_seq()
        self._change(contact, event.priority, event.skill, event.attributes)
        self._floor.say(ContactMoved(contact.id, former.id, queue.id, "requeued", waited_s))
        self.waiting.enter(contact, queue, now_s, "requeued", kept=event.keep_place)

    def assign(self, event: events.ContactAssigned, now_s: float) -> None:
        contact = self.waiting.known(event, event.contact_id)
        if contact is None:
            return
        agent = self._floor.agents.get(event.agent_id)
        if agent is None or not agent.present:
            self._floor.ignore(event, "unknown agent" if agent is None else "agent not at work")
            return
        if contact.phase in (Phase.CONNECTED, Phase.DIALING, Phase.DORMANT):
            self._floor.ignore(event, "not waiting")
            return
        for offer in list(contact.offers.values()):
            self.offering.cancel(offer, "assigned", now_s)
        contact.assigned_to = agent.id
        contact.owner_due_s = math.inf
        if contact.excluded is not None:
            contact.excluded.pop(agent.id, None)
        if contact.line_entry is not None:
            self.offering.return_to_line(contact, now_s)
        self.waiting.replace(contact, now_s)
