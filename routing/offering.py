"""Offers and what comes of them: answer, refusal, silence, conversation, transfer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from routing import events
from routing.contact import Contact, Offer, Phase
from routing.decisions import CancelOffer, Connect, OfferTo
from routing.desk import Agent, Work, WorkPhase
from routing.model import SLOT_OF, Media, Outcome

if TYPE_CHECKING:
    from routing.callbacks import Callbacks
    from routing.explain import Why
    from routing.floor import Floor
    from routing.matching import Matching
    from routing.pool import Pool
    from routing.staffing import Staffing
    from routing.waiting import Waiting


class Offering:
    """Handles every event about offers and conversations."""

    staffing: Staffing
    waiting: Waiting
    callbacks: Callbacks
    matching: Matching

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    # --- making and unmaking ---

    def offer(self, contact: Contact, agent: Agent, pool: Pool, why: Why, now_s: float) -> None:
        """Ring the agent for the contact."""
        floor, queue = self._floor, contact.queue
        work = Work(floor.next_seq(), contact.id, queue.id, contact.media, now_s)
        agent.take(work)
        floor.last_offer_id += 1
        ring_s = queue.config.ring_s
        offer = Offer(floor.last_offer_id, contact, agent, work, now_s + ring_s)
        floor.offers[offer.id] = offer
        contact.offers[offer.id] = offer
        contact.phase = Phase.OFFERED
        if pool.circular:
            seat = agent.pools[pool]
            queue.pointer = contact.pointer = (seat.position, seat.seq)
        if pool.at_once == "one" and contact.entry is not None:
            pool.waiting.remove(contact.entry)
            contact.entry = None
        elif pool.at_once == "progressive":
            contact.progress_due_s = now_s + queue.config.progressive_s
            self.waiting.arm(contact)
        floor.timers.set(offer, offer.due_s)
        why.offer_id = offer.id
        self.staffing.refresh(agent, now_s, contact_id=contact.id)
        floor.say(OfferTo(offer.id, contact.id, agent.id, queue.id, ring_s, contact.media, why))

    def _close(self, offer: Offer) -> None:
        del self._floor.offers[offer.id]
        del offer.contact.offers[offer.id]
        self._floor.timers.clear(offer)

    def cancel(self, offer: Offer, reason: str, now_s: float) -> None:
        """Stop ringing this agent; nothing is held against him. The contact is left as it is."""
        self._close(offer)
        contact, agent = offer.contact, offer.agent
        self._floor.say(CancelOffer(offer.id, contact.id, agent.id, reason))
        self._release(offer, now_s)

    def _release(self, offer: Offer, now_s: float) -> None:
        agent = offer.agent
        agent.drop(offer.work)
        self.staffing.refresh(agent, now_s, contact_id=offer.contact.id)

    def return_to_line(self, contact: Contact, now_s: float) -> None:
        """An offer came to nothing: the contact waits on, at its place."""
        if contact.line_entry is None or contact.phase is not Phase.OFFERED:
            return
        pool = contact.pool
        if not contact.offers:
            contact.phase = Phase.WAITING
            contact.progress_due_s = math.inf
            if contact.entry is None and pool is not None:
                contact.entry = contact.line_entry
                pool.waiting.add(contact.entry)
            self.waiting.restep(contact, now_s)
        self._floor.unserved[contact] = None
        self.waiting.arm(contact)

    def withdraw_from(self, agent: Agent, reason: str, now_s: float) -> None:
        """Nothing rings this agent any more."""
        for work in list(agent.works.values()):
            if work.phase is WorkPhase.OFFERED:
                self._withdraw(agent, work, reason, now_s)

    def withdraw_unfit(self, agent: Agent, now_s: float) -> None:
        """His configuration has changed: offers he would not get now are taken back."""
        room = agent.config.capacities
        for work in list(agent.works.values()):
            slot = SLOT_OF[work.media]
            load = agent.voice_load if slot == "voice" else agent.text_load
            fits = work.queue_id in agent.seats and load <= room.get(slot, 0)
            if work.phase is WorkPhase.OFFERED and not fits:
                self._withdraw(agent, work, "reconfigured", now_s)

    def _withdraw(self, agent: Agent, work: Work, reason: str, now_s: float) -> None:
        contact = self._floor.contacts[work.contact_id]
        for offer in list(contact.offers.values()):
            if offer.agent is agent:
                self.cancel(offer, reason, now_s)
        self.return_to_line(contact, now_s)

    def progress(self, contact: Contact, now_s: float) -> None:
        """Ring-progressive: one more agent, the earlier ones ringing on."""
        contact.progress_due_s = math.inf
        if contact.offers and len(contact.offers) < contact.queue.config.ring_max:
            contact.progress_due_s = now_s + contact.queue.config.progressive_s
            self.matching.one_more(contact, now_s)

    # --- the agent's reaction ---

    def accept(self, event: events.OfferAccepted, now_s: float) -> None:
        """The first answer wins; a late one is told so."""
        offer = self._floor.offers.get(event.offer_id)
        if offer is None:
            self._floor.say(CancelOffer(event.offer_id, "", "", "late"))
            return
        contact, agent = offer.contact, offer.agent
        agent.missed = 0
        self._close(offer)
        for other in list(contact.offers.values()):
            self.cancel(other, "answered-elsewhere", now_s)
        if contact.is_pending_callback:
            offer.work.phase = WorkPhase.DIALING
            offer.work.answered_s = now_s
            contact.agent_id = agent.id
            self.callbacks.dial(contact, agent.id, now_s)
            self.staffing.refresh(agent, now_s, contact_id=contact.id)
        else:
            self.connect(contact, agent, offer.work, offer.id, now_s)

    def connect(
        self, contact: Contact, agent: Agent, work: Work, offer_id: int, now_s: float
    ) -> None:
        """The two are joined; counted here, once."""
        queue = contact.queue
        waited_s = max(0.0, now_s - contact.entered_s)
        self.waiting.learn(contact, now_s, answered=True, gave_up=False)
        self.waiting.take_out(contact, now_s, "answered-elsewhere")
        contact.phase = Phase.CONNECTED
        contact.agent_id = agent.id
        contact.assigned_to = ""
        contact.answered_s = now_s
        self._start_talking(contact, agent, work, now_s)
        self._floor.say(
            Connect(
                offer_id,
                contact.id,
                agent.id,
                queue.id,
                contact.media,
                waited_s,
                contact.caller,
                contact.customer_id,
                contact.priority,
                contact.attributes,
            )
        )
        self.staffing.refresh(agent, now_s, contact_id=contact.id)

    def _start_talking(self, contact: Contact, agent: Agent, work: Work, now_s: float) -> None:
        work.phase = WorkPhase.TALKING
        work.answered_s = now_s
        self._count_call(agent, work, 1)
        self._floor.remember(contact.customer_key, agent.id, now_s)
        if contact.customer_id and contact.caller:
            self._floor.remember(contact.caller, agent.id, now_s)

    @staticmethod
    def _count_call(agent: Agent, work: Work, by: int) -> None:
        if work.media is Media.TICKET:
            return
        agent.calls += by
        seat = agent.seats.get(work.queue_id)
        if seat is not None:
            seat.calls += by

    def reject(self, event: events.OfferRejected, now_s: float) -> None:
        offer = self._floor.offers.get(event.offer_id)
        if offer is None:
            self._floor.ignore(event, "no such offer")
            return
        rona = offer.contact.queue.config.rona
        self._refused(offer, rona.reject_rest_s, now_s)

    def fail(self, event: events.OfferFailed, now_s: float) -> None:
        offer = self._floor.offers.get(event.offer_id)
        if offer is None:
            self._floor.ignore(event, "no such offer")
        elif event.reason == "busy":
            self._refused(offer, offer.contact.queue.config.rona.busy_rest_s, now_s)
        else:
            self._missed(offer, event.reason, now_s)

    def time_out(self, event: events.OfferTimedOut, now_s: float) -> None:
        offer = self._floor.offers.get(event.offer_id)
        if offer is None:
            self._floor.ignore(event, "no such offer")
        else:
            self._missed(offer, "", now_s)

    def wake(self, offer: Offer, now_s: float) -> None:
        """`ring_s` is over."""
        self._floor.say(CancelOffer(offer.id, offer.contact.id, offer.agent.id, "no-answer"))
        self._missed(offer, "", now_s)

    def _refused(self, offer: Offer, rest_s: float, now_s: float) -> None:
        contact, agent = offer.contact, offer.agent
        self._close(offer)
        self.staffing.rest(agent, rest_s, now_s)
        self.waiting.exclude(contact, agent, contact.queue.config.rona.again_s, now_s)
        self._release(offer, now_s)
        self.return_to_line(contact, now_s)

    def _missed(self, offer: Offer, reason: str, now_s: float) -> None:
        """RONA: the contact goes on at its place, the agent is taken off."""
        contact, agent = offer.contact, offer.agent
        rona = contact.queue.config.rona
        self._close(offer)
        agent.missed += 1
        self.waiting.exclude(contact, agent, rona.again_s, now_s)
        agent.drop(offer.work)
        if rona.after and agent.missed >= rona.after:
            self.staffing.take_off(agent, reason or rona.reason, now_s)
        else:
            self.staffing.rest(agent, rona.no_answer_rest_s, now_s)
        self.staffing.refresh(agent, now_s, contact_id=contact.id)
        self.return_to_line(contact, now_s)

    # --- conversation ---

    def _agent_of(self, contact: Contact) -> tuple[Agent, Work] | None:
        agent = self._floor.agents.get(contact.agent_id)
        work = agent.work_on(contact.id) if agent is not None else None
        return None if agent is None or work is None else (agent, work)

    def _connected(self, event: events.Event, contact_id: str) -> Contact | None:
        contact = self._floor.contacts.get(contact_id)
        if contact is None or contact.phase is not Phase.CONNECTED:
            self._floor.ignore(event, "not in conversation")
            return None
        return contact

    def connect_failed(self, event: events.ConnectFailed, now_s: float) -> None:
        """As if it had not happened: the call is not counted, the contact stands where it stood."""
        contact = self._connected(event, event.contact_id)
        if contact is None:
            return
        pair = self._agent_of(contact)
        if pair is not None:
            agent, work = pair
            self._count_call(agent, work, -1)
            self.staffing.abort(agent, work, now_s)
            self.waiting.exclude(contact, agent, contact.queue.config.rona.again_s, now_s)
        contact.agent_id = ""
        if contact.queue.removed:
            self.waiting.overflow(contact, "removed", now_s)
        else:
            self.waiting.stand_again(contact, now_s)

    def ended(self, event: events.ContactEnded, now_s: float) -> None:
        contact = self._floor.contacts.get(event.contact_id)
        if contact is None:
            self._floor.ignore(event, "unknown contact")
        elif contact.phase is Phase.CONNECTED:
            self.end(contact, event.by, now_s)
        else:
            self.waiting.abandon(events.ContactAbandoned(contact.id), now_s)

    def end(self, contact: Contact, by: str, now_s: float) -> None:
        """Over: wrap-up for the agent, the contact closed."""
        outcome = Outcome.ANSWERED if contact.callback is None else Outcome.CALLBACK_DONE
        self.let_go(contact, "ended", now_s)
        self.waiting.close(contact, outcome, by, now_s)

    def let_go(self, contact: Contact, outcome: str, now_s: float) -> None:
        """The agent's part is over, whatever becomes of the contact."""
        pair = self._agent_of(contact)
        if pair is not None:
            agent, work = pair
            self.staffing.wrap_up(agent, work, outcome, now_s)

    def transfer(self, event: events.ContactTransferred, now_s: float) -> None:
        """Each agent's share is his own: the first one's conversation ends here."""
        contact = self._connected(event, event.contact_id)
        if contact is None:
            return
        if not event.to_agent_id:
            self.let_go(contact, "transferred", now_s)
            self.waiting.close(contact, Outcome.ANSWERED, "transferred", now_s)
            return
        agent = self._floor.agents.get(event.to_agent_id)
        if agent is None or agent.id == contact.agent_id:
            self._floor.ignore(event, "unknown agent" if agent is None else "has it already")
            return
        self.let_go(contact, "transferred", now_s)
        contact.agent_id = agent.id
        work = Work(self._floor.next_seq(), contact.id, contact.queue.id, contact.media, now_s)
        agent.take(work)
        self._start_talking(contact, agent, work, now_s)
        self.withdraw_from(agent, "busy", now_s)
        self.staffing.refresh(agent, now_s, contact_id=contact.id)

    def hold(self, event: events.HoldStarted, now_s: float) -> None:
        contact = self._connected(event, event.contact_id)
        pair = self._agent_of(contact) if contact is not None else None
        if pair is not None and pair[1].held_since_s is None:
            pair[1].held_since_s = now_s

    def resume(self, event: events.HoldEnded, now_s: float) -> None:
        contact = self._connected(event, event.contact_id)
        pair = self._agent_of(contact) if contact is not None else None
        if pair is not None and pair[1].held_since_s is not None:
            pair[1].hold_s += now_s - pair[1].held_since_s
            pair[1].held_since_s = None
