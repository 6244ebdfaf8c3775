"""What happened, told to the engine. Past tense, frozen; ids are the control plane's own strings.

An event about something the engine does not know (any more) is absorbed and answered with
`decisions.Ignored`, so that a late or repeated report never does harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routing.calendar import Calendar
from routing.model import (
    AgentConfig,
    AgentState,
    CustomerConfig,
    Media,
    QueueConfig,
    RegionConfig,
)


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time `get_timer()` named has come."""


# --- configuration, live ---


@dataclass(frozen=True, slots=True)
class QueueSet:
    """A queue was added or changed; contacts waiting in it keep their places."""

    queue: QueueConfig


@dataclass(frozen=True, slots=True)
class QueueRemoved:
    """Waiting contacts overflow with reason "removed"."""

    queue_id: str


@dataclass(frozen=True, slots=True)
class AgentSet:
    agent: AgentConfig


@dataclass(frozen=True, slots=True)
class AgentRemoved:
    """The agent is gone for good; a contact in conversation goes on."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class CustomerSet:
    customer: CustomerConfig


@dataclass(frozen=True, slots=True)
class CustomerRemoved:
    customer_id: str


@dataclass(frozen=True, slots=True)
class RegionsSet:
    """All regions anew; contacts that wait keep theirs."""

    regions: tuple[RegionConfig, ...]


@dataclass(frozen=True, slots=True)
class AssignmentSet:
    """How contacts and agents are matched from now on: see `AcdConfig`."""

    assignment: str
    batch_s: float
    joint_max: int


@dataclass(frozen=True, slots=True)
class CalendarSet:
    """Opening hours of that name, for the queues that use them."""

    name: str
    calendar: Calendar


@dataclass(frozen=True, slots=True)
class ClockSet:
    """The wall clock has been set: `epoch_s` is Unix time where the engine's clock shows 0. Opening hours are
    judged anew; waits, offers and wrap-ups are not concerned."""

    epoch_s: float


# --- agents ---


@dataclass(frozen=True, slots=True)
class AgentLoggedIn:
    """`available` False: logs in on a break, with `reason`."""

    agent_id: str
    available: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AgentLoggedOut:
    """Takes effect when the contacts at hand are done."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class AgentStateSet:
    """`state` is AVAILABLE, UNAVAILABLE or LOGGED_OUT. A ringing offer is withdrawn unless the state
    is AVAILABLE; a conversation is left alone and the visible state changes when it is done.
    AVAILABLE said by one who is in wrap-up ends it; `forced_by` a supervisor any state does."""

    agent_id: str
    state: AgentState
    reason: str = ""
    forced_by: str = ""


@dataclass(frozen=True, slots=True)
class WrapUpEnded:
    """Early end by the agent, or forced end by a supervisor; `contact_id` "" ends all of his."""

    agent_id: str
    contact_id: str = ""


@dataclass(frozen=True, slots=True)
class WrapUpExtended:
    agent_id: str
    extra_s: float
    contact_id: str = ""


@dataclass(frozen=True, slots=True)
class ExternalCallStarted:
    """The agent has a call that no queue gave him; it takes one voice place."""

    agent_id: str
    call_id: str


@dataclass(frozen=True, slots=True)
class ExternalCallEnded:
    agent_id: str
    call_id: str


# --- contacts ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactArrived:
    """`caller` in E.164 picks the region, the customer and a kept place. `priority` None: the
    customer's. `skill` is demanded on top of the queue's. `started_s`: start of the call."""

    contact_id: str
    queue_id: str
    media: Media = Media.CALL
    caller: str = ""
    customer_id: str = ""
    priority: float | None = None
    skill: str = ""
    region: str = ""
    last_agent_id: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    started_s: float | None = None


@dataclass(frozen=True, slots=True)
class ContactAbandoned:
    """The customer hung up before an agent had him. Harmless for a contact turned callback."""

    contact_id: str


@dataclass(frozen=True, slots=True)
class ContactWithdrawn:
    """Taken out of the queue: exit key, supervisor, or the call goes elsewhere."""

    contact_id: str
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactUpdated:
    """New facts; None leaves a field as it was."""

    contact_id: str
    priority: float | None = None
    skill: str | None = None
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRequeued:
    """Into a queue again (`queue_id` "": the same), from waiting or from an agent's hands: transfer
    to a queue, lost agent phone, supervisor. `keep_place` keeps the first place in line."""

    contact_id: str
    queue_id: str = ""
    keep_place: bool = True
    priority: float | None = None
    skill: str | None = None
    attributes: Mapping[str, Any] | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class ContactAssigned:
    """By hand to one agent, past every criterion; rings as soon as he has room."""

    contact_id: str
    agent_id: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class ContactTransferred:
    """In conversation handed from one agent to another (also: a supervisor took over). `to_agent_id`
    "": to somebody outside; the contact is closed."""

    contact_id: str
    to_agent_id: str = ""


@dataclass(frozen=True, slots=True)
class HoldStarted:
    contact_id: str


@dataclass(frozen=True, slots=True)
class HoldEnded:
    contact_id: str


@dataclass(frozen=True, slots=True)
class ContactEnded:
    """The conversation is over; the agent's wrap-up starts."""

    contact_id: str
    by: str = ""


# --- offers ---


@dataclass(frozen=True, slots=True)
class OfferAccepted:
    """The agent answered. A late or second one is answered with CancelOffer."""

    offer_id: int


@dataclass(frozen=True, slots=True)
class OfferRejected:
    """The agent declined; not a missed offer."""

    offer_id: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OfferTimedOut:
    """The phone gave up ringing before `ring_s`; the engine's own timer makes this one needless."""

    offer_id: int


@dataclass(frozen=True, slots=True)
class OfferFailed:
    """Busy, unreachable, no device: `reason` "busy" rests the agent, others count as missed."""

    offer_id: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """After Connect the two could not be joined; the contact is back at its place."""

    contact_id: str
    reason: str = ""


# --- callbacks ---


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRequested:
    """A waiting call becomes a callback at the same place; or, with `queue_id` and an unknown
    `contact_id`, a new one. `not_before_s` schedules it (on the engine's clock). `agent_id`: for
    that agent only, up to the rule's `agent_wait_s`. `customer_first` None: the queue's rule."""

    contact_id: str
    number: str
    queue_id: str = ""
    customer_first: bool | None = None
    agent_id: str = ""
    not_before_s: float | None = None
    customer_id: str = ""
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CallbackAnswered:
    """The customer (a live voice) is on the line. `attempt` as in DialCallback; 0: the current."""

    contact_id: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class CallbackFailed:
    """Busy, no answer, a machine: tried again by the queue's rule."""

    contact_id: str
    reason: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class CallbackCancelled:
    contact_id: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackMoved:
    """A pending callback is to be made at another time (`not_before_s`, on the engine's clock; now or
    earlier: at once), or to another number (a non-empty `number`). Its place in line stays; ignored once
    the customer is being dialled."""

    contact_id: str
    number: str = ""
    not_before_s: float | None = None


@dataclass(frozen=True, slots=True)
class CallerSeen:
    """This number is calling in now (in the IVR, say): no callback is dialled to it meanwhile."""

    number: str


@dataclass(frozen=True, slots=True)
class CallerGone:
    number: str


Event = (
    TimerFired
    | QueueSet
    | QueueRemoved
    | AgentSet
    | AgentRemoved
    | AssignmentSet
    | CustomerSet
    | CustomerRemoved
    | RegionsSet
    | CalendarSet
    | ClockSet
    | AgentLoggedIn
    | AgentLoggedOut
    | AgentStateSet
    | WrapUpEnded
    | WrapUpExtended
    | ExternalCallStarted
    | ExternalCallEnded
    | ContactArrived
    | ContactAbandoned
    | ContactWithdrawn
    | ContactUpdated
    | ContactRequeued
    | ContactAssigned
    | ContactTransferred
    | HoldStarted
    | HoldEnded
    | ContactEnded
    | OfferAccepted
    | OfferRejected
    | OfferTimedOut
    | OfferFailed
    | ConnectFailed
    | CallbackRequested
    | CallbackAnswered
    | CallbackFailed
    | CallbackCancelled
    | CallbackMoved
    | CallerSeen
    | CallerGone
)
