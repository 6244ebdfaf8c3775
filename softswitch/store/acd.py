"""The kinds of entry that tell the story of queues and agents: the only truth of the statistics.

One kind a decision of the ACD that changes something people count. Every entry of a contact carries the
call's id as `call_id` of the journal (the contact's own id where there is no call: a ticket, a callback
that nobody has dialled yet), so that a contact's whole story is one look-up.

| kind | particulars |
|---|---|
| ``acd-queued`` | contact, queue, media, caller, customer, priority, region, position, wait_s, reason |
| ``acd-offered`` | contact, agent, queue, offer, ring_s |
| ``acd-offer-ended`` | contact, agent, offer, reason (no-answer, rejected, abandoned, failed, ...) |
| ``acd-connected`` | contact, agent, queue, offer, media, waited_s, caller, customer, priority |
| ``acd-moved`` | contact, from_queue, to_queue, reason, waited_s |
| ``acd-overflowed`` | contact, queue, target, reason, region |
| ``acd-handled`` | contact, agent, queue, media, ring_s, talk_s, hold_s, wrap_up_s, outcome |
| ``acd-closed`` | contact, queue, outcome, reason, agent, waited_s |
| ``acd-agent-state`` | agent, old, new, reason, contact, lasted_s |
| ``acd-callback-dialled`` | contact, queue, agent, number, attempt; of the call that calls him |
"""

from __future__ import annotations

from typing import Any

from routing.decisions import (
    AgentStateChanged,
    CancelOffer,
    Connect,
    ContactClosed,
    ContactHandled,
    ContactMoved,
    ContactQueued,
    Decision,
    OfferTo,
    Overflow,
)

QUEUED = "acd-queued"
OFFERED = "acd-offered"
OFFER_ENDED = "acd-offer-ended"
CONNECTED = "acd-connected"
MOVED = "acd-moved"
OVERFLOWED = "acd-overflowed"
HANDLED = "acd-handled"
CLOSED = "acd-closed"
AGENT_STATE = "acd-agent-state"
CALLBACK_DIALLED = "acd-callback-dialled"

CONTACT_KINDS = frozenset(
    {QUEUED, OFFERED, OFFER_ENDED, CONNECTED, MOVED, OVERFLOWED, HANDLED, CLOSED}
)


def story_of(contact_id: str) -> str:
    """The call id under which a contact's entries stand: a call's later contacts are numbered after a slash."""
    return contact_id.partition("/")[0]


def entry_of(decision: Decision) -> tuple[str, dict[str, Any]] | None:
    """Kind and particulars of the entry that a decision becomes; None for those nobody counts
    (announcements, dialling, what was ignored). Whoever writes may add particulars he knows."""
    match decision:
        case ContactQueued():
            wait_s = None if decision.wait is None else decision.wait.mean_s
            return QUEUED, {
                "contact": decision.contact_id,
                "queue": decision.queue_id,
                "position": decision.position,
                "wait_s": wait_s,
                "reason": decision.reason,
                "caller": decision.caller,
                "customer": decision.customer_id,
                "region": decision.region,
            }
        case OfferTo():
            return OFFERED, {
                "contact": decision.contact_id,
                "agent": decision.agent_id,
                "queue": decision.queue_id,
                "offer": decision.offer_id,
                "ring_s": decision.ring_s,
            }
        case CancelOffer():
            return OFFER_ENDED, {
                "contact": decision.contact_id,
                "agent": decision.agent_id,
                "offer": decision.offer_id,
                "reason": decision.reason,
            }
        case Connect():
            return CONNECTED, {
                "contact": decision.contact_id,
                "agent": decision.agent_id,
                "queue": decision.queue_id,
                "offer": decision.offer_id,
                "media": decision.media.value,
                "waited_s": decision.waited_s,
                "caller": decision.caller,
                "customer": decision.customer_id,
                "priority": decision.priority,
            }
        case ContactMoved():
            return MOVED, {
                "contact": decision.contact_id,
                "from_queue": decision.from_queue_id,
                "to_queue": decision.to_queue_id,
                "reason": decision.reason,
                "waited_s": decision.waited_s,
            }
        case Overflow():
            return OVERFLOWED, {
                "contact": decision.contact_id,
                "queue": decision.queue_id,
                "target": decision.target,
                "reason": decision.reason,
                "region": decision.region,
            }
        case ContactHandled():
            return HANDLED, {
                "contact": decision.contact_id,
                "agent": decision.agent_id,
                "queue": decision.queue_id,
                "media": decision.media.value,
                "ring_s": decision.ring_s,
                "talk_s": decision.talk_s,
                "hold_s": decision.hold_s,
                "wrap_up_s": decision.wrap_up_s,
                "outcome": decision.outcome,
            }
        case ContactClosed():
            return CLOSED, {
                "contact": decision.contact_id,
                "queue": decision.queue_id,
                "outcome": decision.outcome.value,
                "reason": decision.reason,
                "agent": decision.agent_id,
                "waited_s": decision.waited_s,
            }
        case AgentStateChanged():
            return AGENT_STATE, {
                "agent": decision.agent_id,
                "old": decision.old.value,
                "new": decision.new.value,
                "reason": decision.reason,
                "contact": decision.contact_id,
                "lasted_s": decision.lasted_s,
            }
        case _:
            return None
