"""Contacts without a call: tickets and chats that the routing engine gives to agents by the same rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from routing import decisions as decided
from routing import events
from routing.model import TEXT, Media
from softswitch.errors import CallError, QueueUnavailable

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre

QUEUED, OFFERED, OFFER_ENDED = "queued", "offered", "offer-ended"
ASSIGNED, OVERFLOWED, CLOSED = "assigned", "overflowed", "closed"


@dataclass(frozen=True, slots=True)
class ContactNews:
    """What has become of a ticket or a chat.

    `kind`: "queued", "offered" (`ring_s` long), "offer-ended", "assigned", "overflowed" (to `target`) or
    "closed" (`reason`: the outcome, as in ``answered``). `agent` is the id of an ``[[agent]]``, "" where it
    is nobody's.
    """

    kind: str
    contact: str
    media: Media
    queue: str
    agent: str = ""
    reason: str = ""
    target: str = ""
    ring_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ContactState:
    """Where a ticket or a chat stands. `phase`: waiting, offered or connected (an agent has it)."""

    contact: str
    media: Media
    queue: str
    phase: str
    agent: str
    position: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class TextContact:
    """A ticket or a chat that comes into a queue. `contact` is an id of its maker's choice, such as
    ``ticket-17``; `customer` what the engine remembers him by, as for calls ("customer:12"); `priority` None:
    the customer's; `region` "": that of the caller's number; `last_agent`: who has served it before."""

    contact: str
    queue: str
    media: Media = Media.TICKET
    caller: str = ""
    customer: str = ""
    priority: float | None = None
    skill: str = ""
    last_agent: str = ""
    region: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


Listener: TypeAlias = Callable[[ContactNews], None]


class Contacts:
    """Tickets and chats of one exchange (``switch.contacts``).

    A ticket is assigned as soon as an agent has room for it, without his being asked; a chat is offered
    first, and `accept` or `reject` answers for him. Both take a place of the agent's capacity ``text``
    until `done`. Tickets survive a restart, in line or in hand; `all` says where they are.
    """

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre
        self._known: dict[str, Media] = {}
        self._offers: dict[str, decided.OfferTo] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Tell `listener` what becomes of tickets and chats; it must not raise, nor call back."""
        self._listeners.append(listener)

    # -- what their makers do ----------------------------------------------------------------------

    def add(self, new: TextContact) -> None:
        """Into a queue. Raises `QueueUnavailable` for an unknown queue, `CallError` for an id that is
        there already or a medium that is a call's."""
        if new.queue not in self._centre.queues:
            raise QueueUnavailable(f"there is no queue {new.queue}")
        if new.media not in TEXT:
            raise CallError(f"a {new.media.value} is no text")
        if self._view(new.contact) is not None:
            raise CallError(f"{new.contact} is in a queue already")
        self._known[new.contact] = new.media
        self._centre.host.do(
            events.ContactArrived(
                contact_id=new.contact,
                queue_id=new.queue,
                media=new.media,
                caller=new.caller,
                customer_id=new.customer,
                priority=new.priority,
                skill=new.skill,
                last_agent_id=new.last_agent,
                region=new.region,
                attributes=dict(new.attributes),
            )
        )

    def accept(self, contact: str) -> None:
        """The agent to whom a chat is offered takes it."""
        self._do(events.OfferAccepted(self._offer(contact).offer_id))

    def reject(self, contact: str) -> None:
        """He does not: the next one is asked."""
        offer = self._offer(contact)
        host = self._centre.host
        host.note_offer_ended(offer.offer_id, contact, offer.agent_id, "rejected")
        self._do(events.OfferRejected(offer.offer_id, "rejected"))

    def done(self, contact: str, by: str = "agent") -> None:
        """The agent is done with it: his place is free for the next."""
        self._do(events.ContactEnded(contact, by))

    def withdraw(self, contact: str, reason: str = "withdrawn", by: str = "") -> None:
        """Out of the line: solved, merged, or given to somebody outside the queues."""
        self._do(events.ContactWithdrawn(contact, reason, by))

    def give(self, contact: str, agent: str, by: str = "") -> None:
        """To one agent, past every rule: from the line as soon as he has room, from another's hands at
        once."""
        view = self._view(contact)
        if view is not None and view.phase == "connected":
            self._do(events.ContactTransferred(contact, agent))
            if agent:
                self._tell(_assigned(contact, view.media, view.queue_id, agent))
        else:
            self._do(events.ContactAssigned(contact, agent, by))

    def requeue(
        self, contact: str, queue: str = "", *, keep_place: bool = True, by: str = ""
    ) -> None:
        """Into a queue again, from the line or from an agent's hands; "": the same queue."""
        if queue and queue not in self._centre.queues:
            raise QueueUnavailable(f"there is no queue {queue}")
        self._do(
            events.ContactRequeued(contact_id=contact, queue_id=queue, keep_place=keep_place, by=by)
        )

    def update(
        self, contact: str, *, priority: float | None = None, skill: str | None = None
    ) -> None:
        """New facts; None leaves one as it was."""
        self._do(events.ContactUpdated(contact_id=contact, priority=priority, skill=skill))

    # -- reading -----------------------------------------------------------------------------------

    def is_text(self, contact: str) -> bool:
        """Whether this is the id of a ticket or a chat that is there."""
        return contact in self._known

    def state(self, contact: str) -> ContactState | None:
        """Where one stands; None: in no queue and with no agent."""
        view = self._view(contact)
        if view is None:
            return None
        return ContactState(
            contact,
            view.media,
            view.queue_id,
            view.phase,
            view.agent_id,
            view.position,
            view.waited_s,
        )

    def all(self) -> list[ContactState]:
        """All of them."""
        states = (self.state(contact) for contact in self._known)
        return [state for state in states if state is not None]

    # -- the engine's side -------------------------------------------------------------------------

    def recall(self) -> None:
        """After a restart: those that the engine remembers."""
        engine, now_s = self._centre.host.engine, self._centre.host.now_s()
        for contact in engine.contact_ids:
            view = engine.view_contact(contact, now_s)
            if view is not None and view.media in TEXT:
                self._known[contact] = view.media

    def take(self, decision: decided.Decision) -> bool:
        """Carry out a decision about a ticket or a chat; False: it is about something else."""
        contact = getattr(decision, "contact_id", "")
        media = self._known.get(contact)
        if media is None or isinstance(decision, decided.AgentStateChanged):
            return False
        match decision:
            case decided.OfferTo():
                self._offers[contact] = decision
                self._tell(
                    ContactNews(
                        OFFERED,
                        contact,
                        media,
                        decision.queue_id,
                        decision.agent_id,
                        ring_s=decision.ring_s,
                    )
                )
                if media is Media.TICKET:
                    self._centre.host.tell(events.OfferAccepted(decision.offer_id))
            case decided.CancelOffer():
                self._offers.pop(contact, None)
                agent, reason = decision.agent_id, decision.reason
                self._tell(ContactNews(OFFER_ENDED, contact, media, "", agent, reason))
            case decided.Connect():
                self._offers.pop(contact, None)
                self._centre.host.connected(contact)
                self._tell(_assigned(contact, media, decision.queue_id, decision.agent_id))
            case decided.ContactQueued():
                reason = decision.reason
                self._tell(ContactNews(QUEUED, contact, media, decision.queue_id, reason=reason))
            case decided.Overflow():
                queue, reason, target = decision.queue_id, decision.reason, decision.target
                self._tell(
                    ContactNews(OVERFLOWED, contact, media, queue, reason=reason, target=target)
                )
            case decided.ContactClosed():
                self._known.pop(contact, None)
                self._offers.pop(contact, None)
                queue, agent = decision.queue_id, decision.agent_id
                self._tell(
                    ContactNews(CLOSED, contact, media, queue, agent, decision.outcome.value)
                )
            case _:
                pass
        return True

    def snapshot(self) -> dict[str, int]:
        return {"texts": len(self._known), "texts_offered": len(self._offers)}

    # -- inside ------------------------------------------------------------------------------------

    def _view(self, contact: str) -> Any:
        host = self._centre.host
        return host.engine.view_contact(contact, host.now_s())

    def _offer(self, contact: str) -> decided.OfferTo:
        offer = self._offers.get(contact)
        if offer is None:
            raise CallError(f"{contact} is offered to nobody")
        return offer

    def _do(self, event: events.Event) -> None:
        for decision in self._centre.host.do(event):
            if isinstance(decision, decided.Ignored):
                raise CallError(f"not possible: {decision.reason}")

    def _tell(self, news: ContactNews) -> None:
        for listener in self._listeners:
            listener(news)


def _assigned(contact: str, media: Media, queue: str, agent: str) -> ContactNews:
    """An agent has it."""
    return ContactNews(ASSIGNED, contact, media, queue, agent)
