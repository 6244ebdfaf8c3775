"""What the engine wants done (imperative) and what it reports (past tense). Frozen slots dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routing.model import AgentState, Media, Outcome

if TYPE_CHECKING:
    from routing.estimate import WaitEstimate
    from routing.explain import Why


@dataclass(frozen=True, slots=True)
class OfferTo:
    """Ring the agent for at most `ring_s`. For a callback the customer is dialled only after the
    agent has accepted (`DialCallback`)."""

    offer_id: int
    contact_id: str
    agent_id: str
    queue_id: str
    ring_s: float
    media: Media
    why: Why


@dataclass(frozen=True, slots=True)
class CancelOffer:
    """Stop ringing, or hang the agent's leg up if he has just answered too late. `reason`:
    no-answer, answered-elsewhere, abandoned, withdrawn, requeued, overflow, forced, late..."""

    offer_id: int
    contact_id: str
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Connect:
    """Join the two, now, whatever announcement is playing. Carries all the agent must be told."""

    offer_id: int
    contact_id: str
    agent_id: str
    queue_id: str
    media: Media
    waited_s: float
    caller: str
    customer_id: str
    priority: float
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Overflow:
    """Send the contact to `target` (as in the configuration; "" = refuse or hang up). `reason`:
    full, max-wait, closed, empty, removed, no-queue, too-many. A ContactClosed follows."""

    contact_id: str
    queue_id: str
    target: str
    reason: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class ContactQueued:
    """It waits: `position` 1 is next. `wait` is None while the estimate is not calibrated."""

    contact_id: str
    queue_id: str
    position: int
    wait: WaitEstimate | None
    place_kept: bool
    reason: str = ""  # "", resumed, requeued, overflow, callback-replaced
    caller: str = ""
    customer_id: str = ""
    region: str = ""
    media: Media = Media.CALL


@dataclass(frozen=True, slots=True)
class ContactMoved:
    """Out of one queue into another (or the same again) without leaving the engine. `reason`:
    overflow (with its cause after a colon), requeued."""

    contact_id: str
    from_queue_id: str
    to_queue_id: str
    reason: str
    waited_s: float


@dataclass(frozen=True, slots=True)
class AnnouncePosition:
    """Tell the caller. None: not wanted, or not known well enough to be said."""

    contact_id: str
    queue_id: str
    position: int | None
    wait_s: float | None


@dataclass(frozen=True, slots=True)
class OfferCallback:
    """Tell the caller that `key` has him called back at his place."""

    contact_id: str
    queue_id: str
    key: str


@dataclass(frozen=True, slots=True)
class DialCallback:
    """Dial the customer once. `agent_id` is the agent who is already on the line, or "" when the
    customer is dialled first."""

    contact_id: str
    queue_id: str
    number: str
    agent_id: str
    attempt: int
    dial_s: float


@dataclass(frozen=True, slots=True)
class CancelDial:
    """Give up dialling the customer; `agent_id` is released from it."""

    contact_id: str
    number: str
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class AgentStateChanged:
    """`lasted_s`: how long the state left had lasted."""

    agent_id: str
    old: AgentState
    new: AgentState
    reason: str
    contact_id: str
    lasted_s: float


@dataclass(frozen=True, slots=True)
class ContactHandled:
    """One agent is done with one contact, wrap-up included: a row of every handle-time statistic.
    `outcome`: ended, transferred, requeued, failed."""

    contact_id: str
    agent_id: str
    queue_id: str
    media: Media
    ring_s: float
    talk_s: float
    hold_s: float
    wrap_up_s: float
    outcome: str


@dataclass(frozen=True, slots=True)
class ContactClosed:
    """The contact has left the engine. `waited_s`: until answered, or until it left."""

    contact_id: str
    queue_id: str
    outcome: Outcome
    reason: str
    agent_id: str
    waited_s: float


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event did not fit; nothing was changed by it."""

    event: str
    reason: str


Decision = (
    OfferTo
    | CancelOffer
    | Connect
    | Overflow
    | ContactQueued
    | ContactMoved
    | AnnouncePosition
    | OfferCallback
    | DialCallback
    | CancelDial
    | AgentStateChanged
    | ContactHandled
    | ContactClosed
    | Ignored
)
