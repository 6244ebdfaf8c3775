"""Contacts in line: arrival, steps of their rules over time, announcements, and every way out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from routing import events
from routing.contact import Contact, Phase
from routing.decisions import (
    AnnouncePosition,
    ContactClosed,
    ContactMoved,
    ContactQueued,
    OfferCallback,
    Overflow,
)
from routing.desk import KIND_OF
from routing.errors import ExpressionError
from routing.estimate import WaitEstimate
from routing.expressions import parse_skill
from routing.floor import HeldPlace
from routing.model import TEXT, Media, Outcome
from routing.strategies.base import Demand

if TYPE_CHECKING:
    from routing.callbacks import Callbacks
    from routing.desk import Agent
    from routing.floor import Floor
    from routing.line import Queue
    from routing.offering import Offering
    from routing.pool import Pool

OVERFLOW_RETRY_S = 1.0
# While an agent is being rung nothing is announced.
OFFERED_PAUSE_S = 5.0


class Waiting:
    """Handles every event about contacts that no agent has yet."""

    offering: Offering
    callbacks: Callbacks

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    # --- arrival ---

    def arrive(self, event: events.ContactArrived, now_s: float) -> None:
        floor = self._floor
        if event.contact_id in floor.contacts:
            floor.ignore(event, "already known")
            return
        queue = floor.queues.get(event.queue_id)
        reason = ""
        if queue is None:
            reason = "no-queue"
        elif len(floor.contacts) >= floor.config.contacts_max:
            reason = "too-many"
        if queue is None or reason:
            target = queue.config.overflow if queue is not None else ""
            floor.say(Overflow(event.contact_id, event.queue_id, target, reason))
            floor.say(
                ContactClosed(event.contact_id, event.queue_id, Outcome.OVERFLOWED, reason, "", 0.0)
            )
            return
        contact = self._made(event, queue, now_s)
        resumed = ""
        place = self.callbacks.replaced_by(contact, now_s)
        if place is not None:
            resumed = "callback-replaced"
        elif contact.customer_key:
            place = floor.take_place(queue.id, contact.customer_key, now_s)
            resumed = "resumed" if place is not None else ""
        if place is not None:
            contact.place_s = min(contact.place_s, place.place_s)
            contact.priority = max(contact.priority, place.priority)
        floor.contacts[contact.id] = contact
        self.enter(contact, queue, now_s, resumed, kept=place is not None)

    def _made(self, event: events.ContactArrived, queue: Queue, now_s: float) -> Contact:
        floor = self._floor
        contact = Contact(event.contact_id, queue, event.media, floor.next_seq(), now_s)
        customer = floor.customers.get(event.customer_id or event.caller)
        if customer is None and event.customer_id:
            customer = floor.customers.get(event.caller)
        contact.caller = event.caller
        contact.customer_id = event.customer_id or (customer.id if customer is not None else "")
        contact.priority = event.priority or 0.0
        if event.priority is None and customer is not None:
            contact.priority = customer.priority
        contact.region = event.region or floor.regions.region_of(event.caller)
        contact.attributes = event.attributes
        if event.skill:
            self.demand_skill(contact, event.skill)
        if event.last_agent_id:
            contact.last_agent_id, contact.last_served_s = event.last_agent_id, now_s
        else:
            served = floor.memory.get(contact.customer_key) or floor.memory.get(event.caller)
            if served is not None:
                contact.last_agent_id, contact.last_served_s = served
        if queue.config.place_from_call and event.started_s is not None:
            contact.place_s = min(now_s, event.started_s)
        return contact

    def demand_skill(self, contact: Contact, skill: str) -> None:
        """A broken expression must not lose the contact: it is served without it, and says so."""
        try:
            contact.skill_node = parse_skill(skill)
            contact.skill = skill
        except ExpressionError as error:
            contact.attributes = {**contact.attributes, "skill_error": str(error)}

    def enter(
        self, contact: Contact, queue: Queue, now_s: float, reason: str = "", *, kept: bool
    ) -> None:
        """Into a queue's line, or past it when it takes nobody. `kept`: the place is an old one, so
        that a full queue does not refuse it."""
        contact.queue = queue
        contact.entered_s = now_s
        contact.phase = Phase.WAITING
        contact.released = 0
        contact.excluded = None
        contact.pointer = None
        self._weigh(contact)
        pool, due_s = self._pool_of(contact, now_s)
        refusal = self._refusal(contact, pool, kept, now_s)
        if refusal:
            self.overflow(contact, refusal, now_s)
            return
        contact.pool, contact.step_due_s = pool, due_s
        contact.entry = queue.line_of(contact).add(contact)
        pool.waiting.add(contact.entry)
        self._set_dues(contact, now_s)
        self._floor.unserved[contact] = None
        contact.estimate = None
        if not pool.free and not self._floor.hungry and contact.media not in TEXT:
            contact.estimate = queue.estimate(contact)
        wait = self._said(contact, contact.estimate)
        self._floor.say(
            ContactQueued(
                contact.id,
                queue.id,
                queue.position(contact),
                wait,
                kept,
                reason,
                contact.caller,
                contact.customer_id,
                contact.region,
                contact.media,
            )
        )
        self.arm(contact)

    def _weigh(self, contact: Contact) -> None:
        queue = contact.queue
        contact.slope = queue.aging
        contact.base = queue.config.weight + (contact.priority if queue.use_priority else 0.0)
        if contact.assigned_to and contact.owner_due_s == math.inf:
            contact.base = math.inf  # by hand: before everybody, for this one agent

    def _refusal(self, contact: Contact, pool: Pool, kept: bool, now_s: float) -> str:
        queue, config = contact.queue, contact.queue.config
        if contact.is_patient:
            return ""
        if not queue.is_open(self._floor.unix_s(now_s)):
            return "closed"
        full = config.max_waiting is not None and len(queue.line) >= config.max_waiting
        if full and not kept and not pool.free:
            return "full"
        if config.empty.join == "present" and not queue.present:
            return "empty"
        if config.empty.join == "free" and not pool.free:
            return "empty"
        return ""

    def _set_dues(self, contact: Contact, now_s: float) -> None:
        config = contact.queue.config
        contact.wait_due_s = contact.announce_due_s = contact.callback_due_s = math.inf
        if contact.is_patient:
            return
        if config.max_wait_s is not None:
            contact.wait_due_s = now_s + config.max_wait_s
        if config.announce is not None and contact.media is Media.CALL:
            contact.announce_due_s = now_s + config.announce.first_s
        after_s = config.callback.offer_after_s
        if after_s is not None and contact.media is Media.CALL:
            contact.callback_due_s = now_s + after_s
        if config.empty.leave == "present" and not contact.queue.present:
            self._watch_empty(contact.queue, now_s)

    # --- rules over time ---

    def _pool_of(self, contact: Contact, now_s: float) -> tuple[Pool, float]:
        """What the contact demands now, and when it has to be asked again."""
        queue = contact.queue
        kind = KIND_OF[contact.media]
        if contact.assigned_to:
            agent = self._floor.agents[contact.assigned_to]
            return queue.pool_of_one(kind, agent, now_s), math.inf
        demands, until_s = self._demands_of(contact, now_s)
        for number, demand in enumerate(demands):
            if demand is not None and getattr(demand, "only", None) is not None:
                if self._held_in_vain(queue, demand, demands):
                    contact.released |= 1 << number
                    demands, until_s = self._demands_of(contact, now_s)
                else:
                    # He is asked for by name: preferences that time would release anyway give way.
                    demands = [d if not getattr(d, "soft", False) else None for d in demands]
                break
        return queue.pool(kind, tuple(demands), now_s), contact.entered_s + until_s

    def _demands_of(self, contact: Contact, now_s: float) -> tuple[list[Demand | None], float]:
        """Each criterion's demand now, and the waited time to ask them again."""
        waited_s = round(now_s - contact.entered_s, 6)
        until_s = math.inf
        demands: list[Demand | None] = []
        for number, criterion in enumerate(contact.queue.criteria):
            demand = None
            if not contact.released >> number & 1:
                try:
                    demand, ask_s = criterion.demand(contact, waited_s)
                except Exception:  # a third party's mistake: the criterion asks nothing of this one
                    demand, ask_s = None, math.inf
                    contact.released |= 1 << number
                demand = self._not_in_vain(contact.queue, demand, contact, number)
                if ask_s > waited_s:
                    until_s = min(until_s, ask_s)
            demands.append(demand)
        return demands, until_s

    @staticmethod
    def _held_in_vain(queue: Queue, only: Demand, demands: list[Demand | None]) -> bool:
        """None of those asked for by name could serve it by the other, hard demands."""
        hard = [d for d in demands if d is not None and not getattr(d, "soft", False)]
        seats = (queue.seats.get(agent_id) for agent_id in getattr(only, "only", ()))
        return not any(
            seat is not None and not any(isinstance(d.judge(seat), str) for d in hard)
            for seat in seats
        )

    @staticmethod
    def _not_in_vain(
        queue: Queue, demand: Demand | None, contact: Contact, number: int
    ) -> Demand | None:
        """A yielding demand that nobody at work satisfies is replaced by its next, or released."""
        while demand is not None and getattr(demand, "yields", False):
            if queue.someone_for(demand):
                break
            demand = getattr(demand, "otherwise", None)
            if demand is None:
                contact.released |= 1 << number
        return demand

    def restep(self, contact: Contact, now_s: float) -> None:
        """Ask the criteria again and move the contact to the pool they say."""
        if self._assigned_in_vain(contact):
            self.unassign(contact, now_s)
            return
        pool, contact.step_due_s = self._pool_of(contact, now_s)
        former = contact.pool
        if pool is former:
            return
        contact.pool = pool
        if contact.entry is not None and former is not None:
            former.waiting.remove(contact.entry)
            pool.waiting.add(contact.entry)
            self._floor.unserved[contact] = None
            former.queue.released(former)

    def recheck(self, pools: Iterable[Pool], now_s: float) -> None:
        """The agent these pools are about has gone: do not wait for him in vain."""
        for pool in list(pools):
            for entry in list(pool.waiting):
                self.restep(entry[-1], now_s)
                self.arm(entry[-1])

    def deserted(self, queue: Queue, demands: list[Demand], now_s: float) -> None:
        """Nobody is left at work for these demands, or for the queue as a whole."""
        for demand in demands:
            self.recheck([p for p in queue.pools.values() if demand in p.demands], now_s)
        if not queue.present and queue.config.empty.leave == "present" and len(queue.line):
            self._watch_empty(queue, now_s)

    def _watch_empty(self, queue: Queue, now_s: float) -> None:
        if queue.timer_s is None:
            self._floor.timers.set(queue, now_s + queue.config.empty.leave_after_s)

    def staffed_again(self, queue: Queue) -> None:
        self._floor.timers.clear(queue)

    def wake_queue(self, queue: Queue, now_s: float) -> None:
        """Nobody has been at work for a while: those on the line leave."""
        if queue.present or queue.config.empty.leave != "present":
            return
        for contact in queue.line.contacts:
            if not contact.is_patient and contact.phase is Phase.WAITING:
                self.overflow(contact, "empty", now_s)

    # --- waking ---

    def arm(self, contact: Contact) -> None:
        self._floor.timers.set(contact, contact.next_due_s())

    def wake(self, contact: Contact, now_s: float) -> None:
        """Some time this contact waited for has come."""
        if contact.wake_due_s <= now_s or contact.dial_due_s <= now_s:
            self.callbacks.wake(contact, now_s)
        if contact.owner_due_s <= now_s:
            contact.owner_due_s = math.inf
            self.unassign(contact, now_s)
        if contact.step_due_s <= now_s:
            self.restep(contact, now_s)
        if contact.recheck_due_s <= now_s:
            self._forget_exclusions(contact, now_s)
        if contact.progress_due_s <= now_s:
            self.offering.progress(contact, now_s)
        if contact.wait_due_s <= now_s:
            if contact.phase is Phase.WAITING:
                self.overflow(contact, "max-wait", now_s)
                return
            contact.wait_due_s = now_s + OVERFLOW_RETRY_S  # an agent is being rung: let him answer
        if contact.callback_due_s <= now_s:
            contact.callback_due_s = math.inf
            queue = contact.queue
            self._floor.say(OfferCallback(contact.id, queue.id, queue.config.callback.key))
        if contact.announce_due_s <= now_s:
            self._announce(contact, now_s)
        if contact.id in self._floor.contacts:
            self.arm(contact)

    def exclude(self, contact: Contact, agent: Agent, seconds: float, now_s: float) -> None:
        """Not the same agent again for a while."""
        if seconds <= 0:
            return
        if contact.excluded is None:
            contact.excluded = {}
        contact.excluded[agent.id] = now_s + seconds
        contact.recheck_due_s = min(contact.recheck_due_s, now_s + seconds)

    def _forget_exclusions(self, contact: Contact, now_s: float) -> None:
        left = {a: until for a, until in (contact.excluded or {}).items() if until > now_s}
        contact.excluded = left or None
        contact.recheck_due_s = min(left.values(), default=math.inf)
        self._floor.unserved[contact] = None

    def _announce(self, contact: Contact, now_s: float) -> None:
        rule = contact.queue.config.announce
        if rule is None or contact.line_entry is None:
            contact.announce_due_s = math.inf
            return
        if contact.phase is not Phase.WAITING:
            contact.announce_due_s = now_s + OFFERED_PAUSE_S
            return
        contact.announce_due_s = now_s + rule.every_s if rule.every_s > 0 else math.inf
        position = contact.queue.position(contact) if rule.position else None
        wait = self._said(contact, contact.queue.estimate(contact)) if rule.wait else None
        wait_s = wait.median_s if wait is not None else None
        if position is not None or wait_s is not None:
            self._floor.say(AnnouncePosition(contact.id, contact.queue.id, position, wait_s))

    @staticmethod
    def _said(contact: Contact, estimate: WaitEstimate | None) -> WaitEstimate | None:
        """An estimate is only told while the queue's earlier ones have proved right."""
        if estimate is None or estimate.drain_per_s <= 0:
            return None
        return estimate if contact.queue.model.record.calibrated else None

    # --- ways out ---

    def take_out(self, contact: Contact, now_s: float, reason: str) -> None:
        """Out of line and pool, offers withdrawn, nothing due any more."""
        for offer in list(contact.offers.values()):
            self.offering.cancel(offer, reason, now_s)
        queue, pool = contact.queue, contact.pool
        if contact.line_entry is not None:
            queue.line_of(contact).remove(contact)
        if contact.entry is not None and pool is not None:
            pool.waiting.remove(contact.entry)
            contact.entry = None
        if pool is not None:
            contact.pool = None
            queue.released(pool)
        if contact.callback is not None:
            contact.callback.suspended = False
        self._floor.unserved.pop(contact, None)
        owner_due_s = contact.owner_due_s
        contact.forget_dues()
        contact.owner_due_s = owner_due_s
        self._floor.timers.clear(contact)

    def put_back(self, contact: Contact, now_s: float) -> None:
        """Into line and pool at the same place; the counterpart of `take_out`."""
        contact.phase = Phase.WAITING
        if self._assigned_in_vain(contact):
            contact.assigned_to = ""
        self._weigh(contact)
        contact.pool, contact.step_due_s = self._pool_of(contact, now_s)
        contact.entry = contact.queue.line_of(contact).add(contact)
        contact.pool.waiting.add(contact.entry)
        contact.recheck_due_s = min((contact.excluded or {}).values(), default=math.inf)
        self._floor.unserved[contact] = None
        self.arm(contact)

    def stand_again(self, contact: Contact, now_s: float) -> None:
        """Back from an agent's hands to the same place, the time waited counting on."""
        rule_s = contact.queue.config.max_wait_s
        self.put_back(contact, now_s)
        if rule_s is not None and not contact.is_patient:
            contact.wait_due_s = max(now_s, contact.entered_s + rule_s)
        if contact.queue.config.announce is not None and contact.media not in TEXT:
            contact.announce_due_s = now_s
        self.arm(contact)

    def learn(self, contact: Contact, now_s: float, *, answered: bool, gave_up: bool) -> None:
        """What this wait teaches; a callback's customer does not wait on the line, and texts keep other
        times than calls."""
        if not contact.is_pending_callback and contact.media not in TEXT:
            waited_s = max(0.0, now_s - contact.entered_s)
            model = contact.queue.model
            model.finished(contact.estimate, waited_s, answered=answered, gave_up=gave_up)
            contact.estimate = None

    def overflow(self, contact: Contact, reason: str, now_s: float) -> None:
        """To another queue, keeping the place; or out, to the target for the control plane."""
        queue = contact.queue
        if contact.line_entry is not None:
            self.learn(contact, now_s, answered=False, gave_up=False)
        self.take_out(contact, now_s, "overflow")
        contact.assigned_to = ""
        target = queue.config.overflow
        if target.startswith("queue:"):
            other = self._floor.queues.get(target.removeprefix("queue:"))
            if other is not None and other is not queue and other.id not in contact.visited:
                contact.visited = (*contact.visited, queue.id)
                waited_s = now_s - contact.entered_s
                why = f"overflow:{reason}"
                self._floor.say(ContactMoved(contact.id, queue.id, other.id, why, waited_s))
                self.enter(contact, other, now_s, "overflow", kept=False)
                return
            target = ""
        self._floor.say(Overflow(contact.id, queue.id, target, reason, contact.region))
        self.close(contact, Outcome.OVERFLOWED, reason, now_s)

    def close(self, contact: Contact, outcome: Outcome, reason: str, now_s: float) -> None:
        """The contact's story here is over."""
        self._floor.contacts.pop(contact.id, None)
        self._floor.timers.clear(contact)
        self.callbacks.forget(contact, now_s)
        until_s = contact.answered_s if contact.phase is Phase.CONNECTED else now_s
        waited_s = max(0.0, until_s - contact.entered_s)
        queue_id = contact.queue.id
        agent_id = contact.agent_id
        self._floor.say(ContactClosed(contact.id, queue_id, outcome, reason, agent_id, waited_s))

    def abandon(self, event: events.ContactAbandoned, now_s: float) -> None:
        contact = self.known(event, event.contact_id)
        if contact is None:
            return
        if contact.is_pending_callback:
            self._floor.ignore(event, "is a callback")
            return
        if contact.phase is Phase.CONNECTED:
            self.offering.end(contact, "customer", now_s)
            return
        queue = contact.queue
        self.learn(contact, now_s, answered=False, gave_up=True)
        self.take_out(contact, now_s, "abandoned")
        held_s = queue.config.place_held_s
        if held_s > 0 and contact.customer_key:
            place = HeldPlace(contact.place_s, contact.priority, now_s + held_s)
            self._floor.hold_place(queue.id, contact.customer_key, place)
        self.close(contact, Outcome.ABANDONED, "", now_s)

    def withdraw(self, event: events.ContactWithdrawn, now_s: float) -> None:
        contact = self.known(event, event.contact_id)
        if contact is None:
            return
        if contact.phase is Phase.CONNECTED:
            self._floor.ignore(event, "in conversation")
            return
        if contact.phase is Phase.DIALING:
            self.callbacks.hang_up(contact, event.reason or "withdrawn", now_s)
        if contact.line_entry is not None:
            self.learn(contact, now_s, answered=False, gave_up=False)
        self.take_out(contact, now_s, "withdrawn")
        self.close(contact, Outcome.WITHDRAWN, event.reason, now_s)

    # --- places anew ---

    def replace(self, contact: Contact, now_s: float) -> None:
        """Its place or its demands have changed while it is in line."""
        if contact.line_entry is None:
            return
        in_pool = contact.entry is not None
        if in_pool and contact.pool is not None:
            contact.pool.waiting.remove(contact.entry or ())
            contact.entry = None
        entry = self._stand_anew(contact)
        self.restep(contact, now_s)
        if in_pool and contact.pool is not None:
            contact.entry = entry
            contact.pool.waiting.add(entry)
            self._floor.unserved[contact] = None
        self.arm(contact)

    def place_again(self, contact: Contact, now_s: float) -> None:
        """The queue's rules have changed under a contact in line."""
        entry = self._stand_anew(contact)
        contact.pool, contact.step_due_s = self._pool_of(contact, now_s)
        joins = contact.phase is Phase.OFFERED and contact.pool.at_once != "one"
        if contact.phase is Phase.WAITING or joins:
            contact.entry = entry
            contact.pool.waiting.add(entry)
            self._floor.unserved[contact] = None
        rule_s = contact.queue.config.max_wait_s
        if not contact.is_patient:
            due_s = math.inf if rule_s is None else max(now_s, contact.entered_s + rule_s)
            contact.wait_due_s = due_s
        self.arm(contact)

    def _stand_anew(self, contact: Contact) -> tuple[Any, ...]:
        line = contact.queue.line_of(contact)
        line.remove(contact)
        self._weigh(contact)
        return line.add(contact)

    def _assigned_in_vain(self, contact: Contact) -> bool:
        """The agent it was given to by hand has left or gone on a break."""
        if not contact.assigned_to or contact.owner_due_s != math.inf:
            return False
        return not self._floor.agents[contact.assigned_to].present

    def unassign(self, contact: Contact, now_s: float) -> None:
        contact.assigned_to = ""
        self.replace(contact, now_s)

    def known(self, event: events.Event, contact_id: str) -> Contact | None:
        contact = self._floor.contacts.get(contact_id)
        if contact is None:
            self._floor.ignore(event, "unknown contact")
        return contact
