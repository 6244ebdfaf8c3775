"""State to JSON-ready values and back. Times move with the clock: a snapshot says which Unix time its
clock started at, and is shifted to the clock of the engine that takes it over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from routing.contact import Callback, Contact, Offer, Phase
from routing.decisions import ContactClosed, Overflow
from routing.desk import Agent, Seat, Work, WorkPhase
from routing.errors import ExpressionError, SnapshotError
from routing.estimate import WaitEstimate
from routing.expressions import parse_skill
from routing.floor import Floor, HeldPlace
from routing.line import Queue
from routing.model import AgentState, Media, Outcome, QueueConfig

if TYPE_CHECKING:
    from routing.callbacks import Callbacks
    from routing.waiting import Waiting

VERSION = 1
_DAMAGED = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, ExpressionError,
)  # fmt: skip

_AGENT_TIMES = (
    "state_since_s",
    "rest_until_s",
    "last_end_s",
    "last_logout_s",
    "idle_since_s",
    "occupancy_at_s",
)
_AGENT_PLAIN = (
    "wanted_reason",
    "state_reason",
    "missed",
    "calls",
    "talk_s",
    "busy",
    "occupancy",
)
_WORK_TIMES = ("offered_s", "answered_s", "ended_s", "wrap_until_s")
_CONTACT_TIMES = (
    "last_served_s",
    "arrived_s",
    "place_s",
    "entered_s",
    "answered_s",
    "wait_due_s",
    "announce_due_s",
    "callback_due_s",
    "recheck_due_s",
    "progress_due_s",
    "dial_due_s",
    "wake_due_s",
    "owner_due_s",
)
_CONTACT_PLAIN = (
    "id",
    "seq",
    "caller",
    "customer_id",
    "priority",
    "region",
    "skill",
    "last_agent_id",
    "assigned_to",
    "agent_id",
    "released",
)


def _time(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


# --- writing ---


def snapshot_floor(floor: Floor) -> dict[str, Any]:
    """Everything that must survive, without the configuration."""
    return {
        "version": VERSION,
        "epoch_s": floor.epoch_s,
        "last_seq": floor.last_seq,
        "last_offer_id": floor.last_offer_id,
        "rng": _listed(floor.rng.getstate()),
        "queues": {queue.id: _queue_out(queue) for queue in floor.queues.values()},
        "agents": {agent.id: _agent_out(agent) for agent in floor.agents.values()},
        "contacts": [_contact_out(contact) for contact in floor.contacts.values()],
        "offers": [
            [offer.id, offer.contact.id, offer.agent.id, offer.work.id, offer.due_s]
            for offer in floor.offers.values()
        ],
        "memory": [[key, agent_id, at_s] for key, (agent_id, at_s) in floor.memory.items()],
        "held_places": [
            [queue_id, key, place.place_s, place.priority, place.until_s]
            for (queue_id, key), place in floor.held_places.items()
        ],
        "numbers_seen": dict(floor.numbers_seen),
    }


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple | list) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list) else value


def _queue_out(queue: Queue) -> dict[str, Any]:
    return {
        "route": list(queue.config.route),
        "pointer": _listed(queue.pointer),
        "model": queue.model.state(),
    }


def _agent_out(agent: Agent) -> dict[str, Any]:
    return {
        "wanted": str(agent.wanted),
        "state": str(agent.state),
        **{name: getattr(agent, name) for name in _AGENT_PLAIN},
        **{name: _time(getattr(agent, name)) for name in _AGENT_TIMES},
        "works": [_work_out(work) for work in agent.works.values()],
        "seats": {
            seat.queue.id: [seat.seq, seat.calls, seat.talk_s, _time(seat.last_end_s)]
            for seat in agent.seats.values()
        },
    }


def _work_out(work: Work) -> dict[str, Any]:
    return {
        "id": work.id,
        "contact_id": work.contact_id,
        "queue_id": work.queue_id,
        "media": str(work.media),
        "phase": int(work.phase),
        "outcome": work.outcome,
        "hold_s": work.hold_s,
        "held_since_s": work.held_since_s,
        **{name: _time(getattr(work, name)) for name in _WORK_TIMES},
    }


def _contact_out(contact: Contact) -> dict[str, Any]:
    callback, estimate = contact.callback, contact.estimate
    return {
        **{name: getattr(contact, name) for name in _CONTACT_PLAIN},
        **{name: _time(getattr(contact, name)) for name in _CONTACT_TIMES},
        "queue_id": contact.queue.id,
        "media": str(contact.media),
        "phase": int(contact.phase),
        "attributes": dict(contact.attributes),
        "excluded": dict(contact.excluded or {}),
        "pointer": _listed(contact.pointer),
        "visited": list(contact.visited),
        "estimate": None
        if estimate is None
        else [estimate.ahead, estimate.drain_per_s, estimate.theta, list(estimate.corrections)],
        "callback": None
        if callback is None
        else {
            "number": callback.number,
            "customer_first": callback.customer_first,
            "not_before_s": callback.not_before_s,
            "attempts": callback.attempts,
            "live": callback.live,
            "suspended": callback.suspended,
            "holds_line": callback.holds_line,
        },
    }


# --- reading ---


def restore_chance(floor: Floor, snapshot: dict[str, Any]) -> None:
    """Last of all, because standing agents draw their tickets anew."""
    try:
        floor.rng.setstate(_tupled(snapshot["rng"]))
    except _DAMAGED as error:
        raise SnapshotError(f"damaged: {type(error).__name__}: {error}") from error


def restore_floor(
    floor: Floor, snapshot: dict[str, Any], now_s: float, waiting: Waiting, callbacks: Callbacks
) -> None:
    """Into a floor that holds nothing but its configuration."""
    if snapshot.get("version") != VERSION:
        raise SnapshotError(f"version {snapshot.get('version')!r}, not {VERSION}")
    if floor.contacts:
        raise SnapshotError("the engine is in use already")
    try:
        _Reader(floor, snapshot, now_s, waiting, callbacks).read()
    except _DAMAGED as error:
        raise SnapshotError(f"damaged: {type(error).__name__}: {error}") from error


class _Reader:
    """One restoring."""

    def __init__(
        self,
        floor: Floor,
        snapshot: dict[str, Any],
        now_s: float,
        waiting: Waiting,
        callbacks: Callbacks,
    ) -> None:
        self._floor = floor
        self._snapshot = snapshot
        self._now_s = now_s
        self._waiting = waiting
        self._callbacks = callbacks
        self._shift_s: float = snapshot["epoch_s"] - floor.epoch_s

    def _time(self, value: float | str) -> float:
        return float(value) + self._shift_s

    def read(self) -> None:
        floor, snapshot = self._floor, self._snapshot
        floor.last_seq = max(floor.last_seq, snapshot["last_seq"])
        floor.last_offer_id = snapshot["last_offer_id"]
        for key, agent_id, at_s in snapshot["memory"]:
            floor.memory[key] = (agent_id, self._time(at_s))
        for queue_id, key, place_s, priority, until_s in snapshot["held_places"]:
            place = HeldPlace(self._time(place_s), priority, self._time(until_s))
            floor.held_places[queue_id, key] = place
        floor.numbers_seen.update(snapshot["numbers_seen"])
        for queue_id, state in snapshot["queues"].items():
            if queue_id in floor.queues:
                self._queue(floor.queues[queue_id], state)
        for agent in floor.agents.values():
            self._agent(agent, snapshot["agents"].get(agent.id))
        offers = {offer[1] for offer in snapshot["offers"]}
        for state in snapshot["contacts"]:
            self._contact(state, state["id"] in offers)
        for offer_id, contact_id, agent_id, work_id, due_s in snapshot["offers"]:
            self._offer(offer_id, contact_id, agent_id, work_id, self._time(due_s))
        self._settle_states()

    def _queue(self, queue: Queue, state: dict[str, Any]) -> None:
        queue.model.load(state["model"])
        if state["route"] == list(queue.config.route):
            queue.pointer = _tupled(state["pointer"])

    def _agent(self, agent: Agent, state: dict[str, Any] | None) -> None:
        for seat in agent.seats.values():
            self._seat(seat, None if state is None else state["seats"].get(seat.queue.id))
        if state is None:
            return
        agent.wanted = AgentState(state["wanted"])
        agent.state = AgentState(state["state"])
        for name in _AGENT_PLAIN:
            setattr(agent, name, state[name])
        for name in _AGENT_TIMES:
            setattr(agent, name, self._time(state[name]))
        for work_state in state["works"]:
            agent.take(self._work(work_state))
        if agent.present:
            for seat in agent.seats.values():
                seat.queue.note_present(seat, 1)

    def _seat(self, seat: Seat, state: list[Any] | None) -> None:
        if state is None:
            seat.seq = self._floor.next_seq()
        else:
            seat.seq, seat.calls, seat.talk_s = state[:3]
            seat.last_end_s = self._time(state[3])

    def _work(self, state: dict[str, Any]) -> Work:
        media = Media(state["media"])
        work = Work(state["id"], state["contact_id"], state["queue_id"], media, 0.0)
        work.phase = WorkPhase(state["phase"])
        work.outcome = state["outcome"]
        work.hold_s = state["hold_s"]
        held_since_s = state["held_since_s"]
        work.held_since_s = None if held_since_s is None else self._time(held_since_s)
        for name in _WORK_TIMES:
            setattr(work, name, self._time(state[name]))
        return work

    def _contact(self, state: dict[str, Any], offered: bool) -> None:
        floor, now_s = self._floor, self._now_s
        queue = floor.queues.get(state["queue_id"])
        phase = Phase(state["phase"])
        if queue is None and phase is Phase.CONNECTED:
            queue = self._former_queue(state["queue_id"])
        if queue is None:
            self._homeless(state)
            return
        contact = Contact(state["id"], queue, Media(state["media"]), state["seq"], now_s)
        floor.contacts[contact.id] = contact
        self._facts(contact, state)
        dues = {name: getattr(contact, name) for name in _CONTACT_TIMES if "due" in name}
        released, assigned_to = contact.released, contact.assigned_to
        if phase in (Phase.WAITING, Phase.OFFERED, Phase.DIALING):
            self._waiting.put_back(contact, now_s)
            if (phase is Phase.OFFERED and offered) or phase is Phase.DIALING:
                self._out_of_pool(contact)
                contact.phase = phase
                contact.released, contact.assigned_to = released, assigned_to
        else:
            contact.phase = phase
        for name, due_s in dues.items():
            setattr(contact, name, due_s)
        self._waiting.arm(contact)

    def _facts(self, contact: Contact, state: dict[str, Any]) -> None:
        for name in _CONTACT_PLAIN:
            setattr(contact, name, state[name])
        for name in _CONTACT_TIMES:
            setattr(contact, name, self._time(state[name]))
        if contact.assigned_to not in self._floor.agents:
            contact.assigned_to = ""
        former = self._snapshot["queues"].get(contact.queue.id)
        if former is not None and former["route"] != list(contact.queue.config.route):
            contact.released = 0
        contact.skill_node = parse_skill(contact.skill)
        contact.attributes = state["attributes"]
        contact.pointer = _tupled(state["pointer"])
        contact.visited = tuple(state["visited"])
        excluded = {a: self._time(until_s) for a, until_s in state["excluded"].items()}
        contact.excluded = excluded or None
        if state["estimate"] is not None:
            ahead, drain_per_s, theta, corrections = state["estimate"]
            contact.estimate = WaitEstimate(ahead, drain_per_s, theta, tuple(corrections))
        callback = state["callback"]
        if callback is not None:
            not_before_s = self._time(callback["not_before_s"])
            contact.callback = Callback(
                callback["number"], callback["customer_first"], not_before_s
            )
            contact.callback.attempts = callback["attempts"]
            contact.callback.live = callback["live"]
            contact.callback.suspended = callback["suspended"]
            contact.callback.holds_line = callback["holds_line"]
            if contact.is_pending_callback:
                self._callbacks.enlist(contact)
            if contact.callback.holds_line:
                self._floor.numbers_dialled.add(contact.callback.number)

    def _former_queue(self, queue_id: str) -> Queue:
        """What a conversation still has to do with a queue that is gone."""
        queue = Queue(queue_id, self._floor.rng)
        config, criteria, order = self._floor.registry.pipeline(
            QueueConfig(id=queue_id), self._floor.rng
        )
        queue.configure(config, criteria, order, None)
        queue.removed = True
        return queue

    def _homeless(self, state: dict[str, Any]) -> None:
        """Its queue is no longer configured."""
        contact_id, queue_id = state["id"], state["queue_id"]
        self._floor.say(Overflow(contact_id, queue_id, "", "removed"))
        self._floor.say(ContactClosed(contact_id, queue_id, Outcome.OVERFLOWED, "removed", "", 0.0))

    def _out_of_pool(self, contact: Contact) -> None:
        if contact.entry is not None and contact.pool is not None:
            contact.pool.waiting.remove(contact.entry)
            contact.entry = None
            self._floor.unserved.pop(contact, None)

    def _offer(
        self, offer_id: int, contact_id: str, agent_id: str, work_id: int, due_s: float
    ) -> None:
        floor = self._floor
        contact, agent = floor.contacts.get(contact_id), floor.agents.get(agent_id)
        work = agent.works.get(work_id) if agent is not None else None
        if contact is None or agent is None or work is None:
            return
        offer = Offer(offer_id, contact, agent, work, due_s)
        floor.offers[offer_id] = contact.offers[offer_id] = offer
        pool = contact.pool
        if pool is not None and pool.at_once != "one" and contact.entry is None:
            contact.entry = contact.line_entry
            pool.waiting.add(contact.entry or ())
        floor.timers.set(offer, due_s)

    def _settle_states(self) -> None:
        """Work whose contact or offer is gone is dropped, then everybody stands where he is."""
        offering = self._waiting.offering
        floor, now_s = self._floor, self._now_s
        for contact in list(floor.contacts.values()):
            if contact.phase is Phase.OFFERED and not contact.offers:
                offering.return_to_line(contact, now_s)
            if contact.phase is Phase.CONNECTED and contact.agent_id not in floor.agents:
                self._waiting.close(contact, Outcome.ANSWERED, "agent-removed", now_s)
        ringing = {offer.work for offer in floor.offers.values()}
        for agent in floor.agents.values():
            for work in list(agent.works.values()):
                known = not work.queue_id or work.contact_id in floor.contacts
                if work.phase is WorkPhase.OFFERED:
                    known = work in ringing
                if work.phase is not WorkPhase.WRAP_UP and not known:
                    agent.drop(work)
            offering.staffing.refresh(agent, now_s)
