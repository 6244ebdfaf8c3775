"""The ACD as one pure machine: `handle(event, now_s)` -> decisions. No clock, no I/O; chance comes in
by the constructor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routing import events
from routing.callbacks import Callbacks
from routing.configuring import Configuring, require_assignment
from routing.contact import Contact, Offer
from routing.decisions import Decision
from routing.desk import Agent
from routing.estimate import WaitEstimate, WaitScore
from routing.floor import Floor
from routing.line import Queue
from routing.matching import Batch, Matching
from routing.model import AcdConfig, AgentState, Rng
from routing.offering import Offering
from routing.redirecting import Redirecting
from routing.registry import Registry
from routing.snapshot import restore_chance, restore_floor, snapshot_floor
from routing.staffing import Staffing
from routing.views import AgentView, ContactView, QueueView, Views
from routing.waiting import Waiting


class AcdEngine:
    """Contacts in, offers out.

    Parameters: `config`, and `rng`, a seeded generator (`random.Random`-like) for orders by chance.
    Times are seconds on one clock of the caller's choice that never runs backwards. Raises
    RoutingConfigError for a configuration that cannot be used. Not thread-safe; never blocks.
    """

    def __init__(self, config: AcdConfig, rng: Rng, now_s: float = 0.0) -> None:
        require_assignment(config.assignment)
        floor = Floor(config, config.registry or Registry(), rng)
        self._floor = floor
        self._staffing = Staffing(floor)
        self._waiting = Waiting(floor)
        self._offering = Offering(floor)
        self._callbacks = Callbacks(floor)
        self._matching = Matching(floor)
        self._configuring = Configuring(floor)
        self._redirecting = Redirecting(floor)
        self._views = Views(floor)
        self._introduce()
        self._by_event = self._handlers()
        for customer in config.customers:
            floor.learn_customer(customer)
        for queue in config.queues:
            self._configuring.configure(queue, now_s)
        for agent in config.agents:
            self._staffing.configure(agent, now_s)
        floor.hungry.clear()
        floor.decisions.clear()

    def _introduce(self) -> None:
        """The parts need each other: a lost offer moves contacts, a log-out withdraws offers."""
        parts = {
            "staffing": self._staffing,
            "waiting": self._waiting,
            "offering": self._offering,
            "callbacks": self._callbacks,
            "matching": self._matching,
        }
        for owner in (*parts.values(), self._configuring, self._redirecting):
            for name, part in parts.items():
                if part is not owner:
                    setattr(owner, name, part)

    def _handlers(self) -> dict[type, Callable[[Any, float], None]]:
        staffing, waiting = self._staffing, self._waiting
        offering, callbacks = self._offering, self._callbacks
        return {
            events.TimerFired: lambda event, now_s: None,
            events.QueueSet: self._configuring.set_queue,
            events.QueueRemoved: self._configuring.remove_queue,
            events.AgentSet: staffing.set_agent,
            events.AgentRemoved: staffing.remove_agent,
            events.CustomerSet: self._configuring.set_customer,
            events.CustomerRemoved: self._configuring.remove_customer,
            events.RegionsSet: self._configuring.set_regions,
            events.AssignmentSet: self._configuring.set_assignment,
            events.CalendarSet: self._configuring.set_calendar,
            events.ClockSet: self._configuring.set_clock,
            events.AgentLoggedIn: staffing.log_in,
            events.AgentLoggedOut: staffing.log_out,
            events.AgentStateSet: staffing.set_state,
            events.WrapUpEnded: staffing.end_wrap_up,
            events.WrapUpExtended: staffing.extend_wrap_up,
            events.ExternalCallStarted: staffing.start_external,
            events.ExternalCallEnded: staffing.end_external,
            events.ContactArrived: waiting.arrive,
            events.ContactAbandoned: waiting.abandon,
            events.ContactWithdrawn: waiting.withdraw,
            events.ContactUpdated: self._redirecting.update,
            events.ContactRequeued: self._redirecting.requeue,
            events.ContactAssigned: self._redirecting.assign,
            events.ContactTransferred: offering.transfer,
            events.HoldStarted: offering.hold,
            events.HoldEnded: offering.resume,
            events.ContactEnded: offering.ended,
            events.OfferAccepted: offering.accept,
            events.OfferRejected: offering.reject,
            events.OfferTimedOut: offering.time_out,
            events.OfferFailed: offering.fail,
            events.ConnectFailed: offering.connect_failed,
            events.CallbackRequested: callbacks.request,
            events.CallbackAnswered: callbacks.answered,
            events.CallbackFailed: callbacks.failed,
            events.CallbackCancelled: callbacks.cancel,
            events.CallbackMoved: callbacks.move,
            events.CallerSeen: callbacks.seen,
            events.CallerGone: callbacks.gone,
        }

    # --- the machine ---

    def handle(self, event: events.Event, now_s: float) -> list[Decision]:
        """Take one event; return what to do, in order. What the event itself settles (an answer, a
        hang-up) comes before timers due at the same moment; then free agents and waiting contacts
        are matched."""
        floor = self._floor
        floor.decisions = []
        self._by_event[type(event)](event, now_s)
        while True:
            batch_over = self._wake_due(now_s)
            self._matching.settle(now_s, batch_over=batch_over)
            due_s = floor.timers.next_s()
            if due_s is None or due_s > now_s:
                return floor.decisions

    def _wake_due(self, now_s: float) -> bool:
        """All that is due, before anybody is matched: none of it may count for less for being told
        later. True when the joint assignment's collecting time is over."""
        batch_over = False
        owner = self._floor.timers.pop_due(now_s)
        while owner is not None:
            match owner:
                case Contact():
                    self._waiting.wake(owner, now_s)
                case Agent():
                    self._staffing.wake(owner, now_s)
                case Offer():
                    self._offering.wake(owner, now_s)
                case Queue():
                    self._waiting.wake_queue(owner, now_s)
                case Batch():
                    batch_over = True
            owner = self._floor.timers.pop_due(now_s)
        return batch_over

    def get_timer(self) -> float | None:
        """When to send TimerFired next, or None."""
        return self._floor.timers.next_s()

    # --- state ---

    def snapshot(self) -> dict[str, Any]:
        """All state as JSON-ready values; the configuration is not part of it."""
        return snapshot_floor(self._floor)

    def restore(self, snapshot: dict[str, Any], now_s: float) -> list[Decision]:
        """Take over the snapshot of an earlier run into this fresh engine, whose `epoch_s` may
        differ. Agents and queues that the configuration no longer has are left out; contacts of
        such queues overflow. Raises SnapshotError."""
        self._floor.decisions = []
        restore_floor(self._floor, snapshot, now_s, self._waiting, self._callbacks)
        self._matching.settle(now_s)
        restore_chance(self._floor, snapshot)
        return self._floor.decisions

    # --- reading: O(1) or O(log n), never in the way of events ---

    def view_queue(self, queue_id: str) -> QueueView | None:
        return self._views.queue(queue_id)

    def view_agent(self, agent_id: str) -> AgentView | None:
        return self._views.agent(agent_id)

    def agent_state(self, agent_id: str) -> AgentState | None:
        """What an agent does; None for one who is not known."""
        return self._views.agent_state(agent_id)

    def view_contact(self, contact_id: str, now_s: float) -> ContactView | None:
        return self._views.contact(contact_id, now_s)

    def last_agent_of(self, *keys: str) -> str:
        """Who served a customer last, by his id or his number, whichever is remembered; "" for nobody."""
        found = (self._floor.memory[key] for key in keys if key in self._floor.memory)
        return max(found, key=lambda one: one[1], default=("", 0.0))[0]

    def estimate_of(self, contact_id: str) -> WaitEstimate | None:
        """What was expected of a contact's wait when it joined the line, told to it or not."""
        contact = self._floor.contacts.get(contact_id)
        return contact.estimate if contact is not None else None

    def take_wait_scores(self) -> dict[str, WaitScore]:
        """How the estimates of each queue have done since this was last asked (daily, say)."""
        return {q.id: q.model.take_score() for q in self._floor.queues.values()}

    @property
    def queue_ids(self) -> list[str]:
        return list(self._floor.queues)

    @property
    def agent_ids(self) -> list[str]:
        return list(self._floor.agents)

    @property
    def contact_ids(self) -> list[str]:
        return list(self._floor.contacts)
