"""The customers' side at run time: a contact and the offers made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from routing.desk import Agent, Work
from routing.expressions import ANYBODY, Node
from routing.model import Media

if TYPE_CHECKING:
    from routing.estimate import WaitEstimate
    from routing.line import Queue
    from routing.pool import Pool

NO_ATTRIBUTES: Mapping[str, Any] = {}


class Phase(IntEnum):
    WAITING = 0
    OFFERED = 1
    DORMANT = 2  # a callback that is not due, or whose customer is calling in
    DIALING = 3  # a callback being dialled
    CONNECTED = 4


class Offer:
    """One agent being rung for one contact."""

    __slots__ = ("agent", "contact", "due_s", "id", "queued_s", "timer_s", "work")

    def __init__(self, offer_id: int, contact: Contact, agent: Agent, work: Work, due_s: float):
        self.id = offer_id
        self.contact = contact
        self.agent = agent
        self.work = work
        self.due_s = due_s
        self.timer_s: float | None = None
        self.queued_s: float | None = None


class Callback:
    """What makes a contact a callback. `live`: the customer has been reached and is on the line;
    `suspended`: his line is taken, so he is not dialled now; `holds_line`: by this very callback."""

    __slots__ = (
        "attempts",
        "customer_first",
        "holds_line",
        "live",
        "not_before_s",
        "number",
        "suspended",
    )

    def __init__(self, number: str, customer_first: bool, not_before_s: float) -> None:
        self.number = number
        self.customer_first = customer_first
        self.not_before_s = not_before_s
        self.attempts = 0
        self.live = False
        self.suspended = False
        self.holds_line = False


class Contact:
    """One customer's wish in one queue. `place_s` is his place in line (a time), `entered_s` when
    he came into this queue, `base` the points of priority of contact and queue together."""

    __slots__ = (
        "agent_id",
        "announce_due_s",
        "answered_s",
        "arrived_s",
        "assigned_to",
        "attributes",
        "base",
        "callback",
        "callback_due_s",
        "caller",
        "customer_id",
        "dial_due_s",
        "entered_s",
        "entry",
        "estimate",
        "excluded",
        "id",
        "last_agent_id",
        "last_served_s",
        "line_entry",
        "media",
        "offers",
        "owner_due_s",
        "phase",
        "place_s",
        "pointer",
        "pool",
        "priority",
        "progress_due_s",
        "queue",
        "queued_s",
        "recheck_due_s",
        "region",
        "released",
        "seq",
        "skill",
        "skill_node",
        "slope",
        "step_due_s",
        "timer_s",
        "visited",
        "wait_due_s",
        "wake_due_s",
    )

    def __init__(self, contact_id: str, queue: Queue, media: Media, seq: int, now_s: float) -> None:
        self.id = contact_id
        self.queue = queue
        self.media = media
        self.seq = seq
        self.phase = Phase.WAITING
        self.caller = ""
        self.customer_id = ""
        self.priority = 0.0
        self.region = ""
        self.skill = ""
        self.skill_node: Node = ANYBODY
        self.attributes = NO_ATTRIBUTES
        self.last_agent_id = ""
        self.last_served_s = -math.inf
        self.arrived_s = now_s
        self.place_s = now_s
        self.entered_s = now_s
        self.base = 0.0
        self.slope = 0.0
        self.callback: Callback | None = None
        self.assigned_to = ""
        self.agent_id = ""  # who serves it
        self.answered_s = now_s
        self.pool: Pool | None = None
        self.entry: tuple[Any, ...] | None = None  # in pool.waiting
        self.line_entry: tuple[Any, ...] | None = None  # in queue.line
        self.offers: dict[int, Offer] = {}
        self.excluded: dict[str, float] | None = None
        self.released = 0  # bit i: criterion i asks nothing more
        self.pointer: Any = None
        self.visited: tuple[str, ...] = ()
        self.estimate: WaitEstimate | None = None
        self.timer_s: float | None = None
        self.queued_s: float | None = None
        self.forget_dues()

    def forget_dues(self) -> None:
        """No reason to wake this contact is left."""
        self.step_due_s = math.inf
        self.wait_due_s = math.inf
        self.announce_due_s = math.inf
        self.callback_due_s = math.inf
        self.recheck_due_s = math.inf
        self.progress_due_s = math.inf
        self.dial_due_s = math.inf
        self.wake_due_s = math.inf
        self.owner_due_s = math.inf

    def next_due_s(self) -> float:
        return min(
            self.step_due_s,
            self.wait_due_s,
            self.announce_due_s,
            self.callback_due_s,
            self.recheck_due_s,
            self.progress_due_s,
            self.dial_due_s,
            self.wake_due_s,
            self.owner_due_s,
        )

    @property
    def customer_key(self) -> str:
        """Who the customer is, as far as known."""
        return self.customer_id or self.caller

    @property
    def is_pending_callback(self) -> bool:
        """Nobody is on the line yet."""
        return self.callback is not None and not self.callback.live

    @property
    def is_patient(self) -> bool:
        """Nobody waits on a line: it is neither refused, nor sent on, nor told anything."""
        return self.media is Media.TICKET or self.is_pending_callback

    def standing(self, now_s: float) -> tuple[float, float, int]:
        """Sorts contacts in line, of any queues, at this moment, first served first. Made from the
        entry in line, so that rounding cannot make the two orders differ."""
        lead: float = self.line_entry[0] if self.line_entry is not None else self.lead()
        return ((lead - now_s) * self.slope if self.slope else lead, self.place_s, self.seq)

    def lead(self) -> float:
        """The later, the less urgent: points are worth seconds while ageing, and come before any
        waiting when not. To the microsecond, lest rounding decide between equals."""
        return round(self.place_s - self.base / self.slope, 6) if self.slope else -self.base

    def place_entry(self) -> tuple[Any, ...]:
        """Sorts contacts within one queue at any moment."""
        return (self.lead(), self.place_s, self.seq, self)

    def excludes(self, agent_id: str, now_s: float) -> bool:
        if self.excluded is None:
            return False
        return self.excluded.get(agent_id, -math.inf) > now_s
