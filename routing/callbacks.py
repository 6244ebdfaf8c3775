"""Callbacks: a caller hangs up and keeps his place; he is dialled once at a time, and not at all when
he calls again first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from routing import events
from routing.contact import Callback, Contact, Phase
from routing.decisions import CancelDial, DialCallback
from routing.floor import NUMBERS_SEEN_MAX, HeldPlace
from routing.model import Media, Outcome

if TYPE_CHECKING:
    from routing.floor import Floor
    from routing.offering import Offering
    from routing.staffing import Staffing
    from routing.waiting import Waiting

# The control plane ends an attempt itself; this catches one that was lost.
DIAL_GRACE_S = 10.0
# A caller seen and never reported gone does not hold his callback back for longer.
SEEN_MAX_S = 3600.0


class Callbacks:
    """Handles every event about callbacks."""

    offering: Offering
    staffing: Staffing
    waiting: Waiting

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    # --- asking for one ---

    def request(self, event: events.CallbackRequested, now_s: float) -> None:
        contact = self._floor.contacts.get(event.contact_id)
        if contact is None:
            self._request_new(event, now_s)
            return
        in_line = contact.phase in (Phase.WAITING, Phase.OFFERED)
        if not in_line or contact.media is not Media.CALL:
            self._floor.ignore(event, "not waiting on the line")
            return
        self.waiting.learn(contact, now_s, answered=False, gave_up=False)
        for offer in list(contact.offers.values()):
            self.offering.cancel(offer, "callback", now_s)
        self.waiting.take_out(contact, now_s, "callback")
        self._turn(contact, event, now_s)

    def _request_new(self, event: events.CallbackRequested, now_s: float) -> None:
        floor = self._floor
        queue = floor.queues.get(event.queue_id)
        if queue is None or len(floor.contacts) >= floor.config.contacts_max:
            floor.ignore(event, "unknown contact and queue" if queue is None else "too many")
            return
        contact = Contact(event.contact_id, queue, Media.CALLBACK, floor.next_seq(), now_s)
        contact.caller = event.number
        customer = floor.customers.get(event.customer_id or event.number)
        contact.customer_id = event.customer_id or (customer.id if customer is not None else "")
        contact.priority = customer.priority if customer is not None else 0.0
        contact.region = floor.regions.region_of(event.number)
        served = floor.memory.get(contact.customer_key)
        if served is not None:
            contact.last_agent_id, contact.last_served_s = served
        floor.contacts[contact.id] = contact
        self._turn(contact, event, now_s)

    def _turn(self, contact: Contact, event: events.CallbackRequested, now_s: float) -> None:
        """The contact becomes a callback."""
        rule = contact.queue.config.callback
        customer_first = event.customer_first
        if customer_first is None:
            customer_first = rule.customer_first
        contact.media = Media.CALLBACK
        not_before_s = max(now_s, event.not_before_s or now_s)
        contact.callback = Callback(event.number, customer_first, not_before_s)
        if event.attributes is not None:
            contact.attributes = {**contact.attributes, **event.attributes}
        if event.agent_id in self._floor.agents:
            contact.assigned_to = event.agent_id
            contact.owner_due_s = not_before_s + rule.agent_wait_s
        if self._asked_already(contact, event.number):
            self.waiting.close(contact, Outcome.CALLBACK_CANCELLED, "duplicate", now_s)
            return
        self.enlist(contact)
        if not_before_s > now_s:
            self.sleep(contact, not_before_s, now_s)
        elif self._line_taken(event.number):
            self._suspend(contact, now_s)  # most likely the very call he asks from
        else:
            self.waiting.put_back(contact, now_s)

    def _asked_already(self, contact: Contact, number: str) -> bool:
        """One pending callback a number and queue: the earlier one keeps its place."""
        pending = self._floor.callbacks.get(number, {}).values()
        return any(o.queue is contact.queue and o is not contact for o in pending)

    def move(self, event: events.CallbackMoved, now_s: float) -> None:
        """Another time, another number, or both."""
        contact = self._floor.contacts.get(event.contact_id)
        waits = contact is not None and contact.is_pending_callback
        if contact is None or not waits or contact.phase is Phase.DIALING:
            self._floor.ignore(event, "no callback that waits")
            return
        callback = contact.callback
        assert callback is not None
        if event.number and event.number != callback.number:
            if self._asked_already(contact, event.number):
                self._floor.ignore(event, "duplicate")
                return
            self._unlist(contact)
            callback.number = event.number
            self.enlist(contact)
        if event.not_before_s is not None:
            self._reschedule(contact, callback, max(now_s, event.not_before_s))
        self._stand_as_due(contact, callback, event.not_before_s is not None, now_s)

    @staticmethod
    def _reschedule(contact: Contact, callback: Callback, not_before_s: float) -> None:
        callback.not_before_s = not_before_s
        if contact.assigned_to:
            contact.owner_due_s = not_before_s + contact.queue.config.callback.agent_wait_s

    def _stand_as_due(
        self, contact: Contact, callback: Callback, timed: bool, now_s: float
    ) -> None:
        """In line, asleep until its time, or until the line of its number is free. Who sleeps for another
        reason (until a retry, say) sleeps on, unless a time was named."""
        awake = timed or callback.suspended or contact.phase is not Phase.DORMANT
        if timed and callback.not_before_s > now_s:
            callback.suspended = False
            self.sleep(contact, callback.not_before_s, now_s)
        elif awake and self._line_taken(callback.number):
            self._suspend(contact, now_s)
        elif awake and contact.phase is Phase.DORMANT:
            self._resume(contact, now_s)

    # --- not now ---

    def sleep(self, contact: Contact, until_s: float, now_s: float) -> None:
        """Out of line until then; the place is kept."""
        self.waiting.take_out(contact, now_s, "callback-later")
        contact.phase = Phase.DORMANT
        contact.wake_due_s = until_s
        self.waiting.arm(contact)

    def _suspend(self, contact: Contact, now_s: float) -> None:
        self.sleep(contact, now_s + SEEN_MAX_S, now_s)
        if contact.callback is not None:
            contact.callback.suspended = True

    def may_be_served(self, contact: Contact, now_s: float) -> bool:
        """False sends it to sleep: nobody is called back out of hours or while he is calling in."""
        queue = contact.queue
        callback = contact.callback
        if callback is not None and self._line_taken(callback.number):
            self._suspend(contact, now_s)
            return False
        unix_s = self._floor.unix_s(now_s)
        if queue.is_open(unix_s):
            return True
        opening_s = queue.calendar.next_open(unix_s) if queue.calendar is not None else None
        until_s = now_s + SEEN_MAX_S if opening_s is None else opening_s - self._floor.epoch_s
        self.sleep(contact, until_s, now_s)
        return False

    def wake(self, contact: Contact, now_s: float) -> None:
        """Its time has come, or an attempt was lost."""
        if contact.phase is Phase.DIALING and contact.dial_due_s <= now_s:
            self._say_cancel(contact, "timeout")
            self._failed(contact, "timeout", now_s)
        elif contact.phase is Phase.DORMANT and contact.wake_due_s <= now_s:
            self._resume(contact, now_s)

    def _resume(self, contact: Contact, now_s: float) -> None:
        contact.wake_due_s = math.inf
        if contact.callback is not None:
            contact.callback.suspended = False
        self.waiting.put_back(contact, now_s)

    def seen(self, event: events.CallerSeen, now_s: float) -> None:
        """He is calling in: his line is busy, and he may be served before his callback is."""
        seen = self._floor.numbers_seen
        if event.number not in seen and len(seen) >= NUMBERS_SEEN_MAX:
            self._floor.ignore(event, "too many")
            return
        seen[event.number] = seen.get(event.number, 0) + 1
        for contact in list(self._floor.callbacks.get(event.number, {}).values()):
            if contact.phase is Phase.DIALING:
                self.hang_up(contact, "calling-in", now_s)
            if contact.phase is not Phase.DORMANT:
                self._suspend(contact, now_s)

    def gone(self, event: events.CallerGone, now_s: float) -> None:
        seen = self._floor.numbers_seen
        if event.number not in seen:
            self._floor.ignore(event, "not seen")
            return
        seen[event.number] -= 1
        if not seen[event.number]:
            del seen[event.number]
            self._line_freed(event.number, now_s)

    def _line_taken(self, number: str) -> bool:
        return number in self._floor.numbers_seen or number in self._floor.numbers_dialled

    def _line_freed(self, number: str, now_s: float) -> None:
        """Callbacks that waited for the line stand in theirs again."""
        if self._line_taken(number):
            return
        for contact in list(self._floor.callbacks.get(number, {}).values()):
            callback = contact.callback
            if callback is not None and callback.suspended and callback.number == number:
                self._resume(contact, now_s)

    def _let_line_go(self, contact: Contact, now_s: float) -> None:
        """Neither dialled nor in conversation by this callback any more."""
        callback = contact.callback
        if callback is not None and callback.holds_line:
            callback.holds_line = False
            self._floor.numbers_dialled.discard(callback.number)
            self._line_freed(callback.number, now_s)

    # --- dialling ---

    def dial(self, contact: Contact, agent_id: str, now_s: float) -> None:
        """One attempt; no other begins before this one is over."""
        callback = contact.callback
        assert callback is not None
        callback.attempts += 1
        callback.holds_line = True
        self._floor.numbers_dialled.add(callback.number)
        self._set_aside_others(contact, callback.number, now_s)
        queue = contact.queue
        contact.phase = Phase.DIALING
        if contact.entry is not None and contact.pool is not None:
            contact.pool.waiting.remove(contact.entry)
            contact.entry = None
        dial_s = queue.config.callback.dial_s
        contact.dial_due_s = now_s + dial_s + DIAL_GRACE_S
        self.waiting.arm(contact)
        self._floor.say(
            DialCallback(contact.id, queue.id, callback.number, agent_id, callback.attempts, dial_s)
        )

    def _set_aside_others(self, contact: Contact, number: str, now_s: float) -> None:
        """Other callbacks to the line just taken wait for it; agents rung for them are released."""
        for other in list(self._floor.callbacks.get(number, {}).values()):
            rival = other.callback
            if rival is None or rival.number != number or other is contact:
                continue
            if other.phase in (Phase.WAITING, Phase.OFFERED):
                self._suspend(other, now_s)

    def answered(self, event: events.CallbackAnswered, now_s: float) -> None:
        contact = self._dialling(event, event.contact_id, event.attempt)
        if contact is None or contact.callback is None:
            return
        contact.callback.live = True
        contact.dial_due_s = math.inf
        self._unlist(contact)
        agent = self._floor.agents.get(contact.agent_id)
        work = agent.work_on(contact.id) if agent is not None else None
        if agent is not None and work is not None:
            self.offering.connect(contact, agent, work, 0, now_s)
            return
        contact.agent_id = ""
        self.waiting.take_out(contact, now_s, "answered")
        self.waiting.put_back(contact, now_s)
        rule_s = contact.queue.config.max_wait_s
        if rule_s is not None:
            contact.wait_due_s = now_s + rule_s
        self.waiting.arm(contact)

    def failed(self, event: events.CallbackFailed, now_s: float) -> None:
        contact = self._dialling(event, event.contact_id, event.attempt)
        if contact is not None:
            self._failed(contact, event.reason, now_s)

    def _failed(self, contact: Contact, reason: str, now_s: float) -> None:
        self._release_agent(contact, now_s)
        rule = contact.queue.config.callback
        if contact.callback is None or contact.callback.attempts >= rule.attempts:
            self.waiting.take_out(contact, now_s, "callback-failed")
            self.waiting.close(contact, Outcome.CALLBACK_FAILED, reason, now_s)
        else:
            self.sleep(contact, now_s + rule.retry_after_s, now_s)
        self._let_line_go(contact, now_s)

    def _dialling(self, event: events.Event, contact_id: str, attempt: int) -> Contact | None:
        contact = self._floor.contacts.get(contact_id)
        if contact is None or contact.phase is not Phase.DIALING or contact.callback is None:
            self._floor.ignore(event, "not being dialled")
            return None
        if attempt and attempt != contact.callback.attempts:
            self._floor.ignore(event, "an earlier attempt")
            return None
        return contact

    def _say_cancel(self, contact: Contact, reason: str) -> None:
        if contact.callback is not None:
            number = contact.callback.number
            self._floor.say(CancelDial(contact.id, number, contact.agent_id, reason))

    def _release_agent(self, contact: Contact, now_s: float) -> None:
        agent = self._floor.agents.get(contact.agent_id)
        contact.agent_id = ""
        contact.dial_due_s = math.inf
        work = agent.work_on(contact.id) if agent is not None else None
        if agent is not None and work is not None:
            self.staffing.abort(agent, work, now_s)

    def hang_up(self, contact: Contact, reason: str, now_s: float) -> None:
        """Stop dialling; the agent who waited for it is free again."""
        self._say_cancel(contact, reason)
        self._release_agent(contact, now_s)
        self._let_line_go(contact, now_s)

    # --- ends ---

    def cancel(self, event: events.CallbackCancelled, now_s: float) -> None:
        contact = self._floor.contacts.get(event.contact_id)
        if contact is None or not contact.is_pending_callback:
            self._floor.ignore(event, "no such callback")
            return
        self._cancel(contact, event.by or "cancelled", now_s)

    def _cancel(self, contact: Contact, reason: str, now_s: float) -> None:
        if contact.phase is Phase.DIALING:
            self.hang_up(contact, reason, now_s)
        self.waiting.take_out(contact, now_s, reason)
        self.waiting.close(contact, Outcome.CALLBACK_CANCELLED, reason, now_s)

    def replaced_by(self, contact: Contact, now_s: float) -> HeldPlace | None:
        """The customer calls again: his callbacks are cancelled, and the place of one in the same
        queue is his."""
        keys = {contact.caller, contact.customer_id} - {""}
        place: HeldPlace | None = None
        for key in sorted(keys):
            for pending in list(self._floor.callbacks.get(key, {}).values()):
                if pending.queue is contact.queue and (
                    place is None or pending.place_s < place.place_s
                ):
                    place = HeldPlace(pending.place_s, pending.priority, now_s)
                self._cancel(pending, "called-again", now_s)
        return place

    def forget(self, contact: Contact, now_s: float) -> None:
        """Closed: no longer pending, and the customer's line is his own again."""
        if contact.callback is not None:
            self._unlist(contact)
            self._let_line_go(contact, now_s)

    def enlist(self, contact: Contact) -> None:
        """Pending: found by number and by customer."""
        for key in self._keys(contact):
            self._floor.callbacks.setdefault(key, {})[contact.id] = contact

    def _unlist(self, contact: Contact) -> None:
        for key in self._keys(contact):
            pending = self._floor.callbacks.get(key)
            if pending is not None:
                pending.pop(contact.id, None)
                if not pending:
                    del self._floor.callbacks[key]

    @staticmethod
    def _keys(contact: Contact) -> set[str]:
        number = contact.callback.number if contact.callback is not None else ""
        return {number, contact.customer_id} - {""}
