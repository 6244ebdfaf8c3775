"""Topics of events: which entry of the journal belongs to which, and who may hear it."""

from __future__ import annotations

from functools import lru_cache

from softswitch.api.access import Access, Identity

TOPICS: dict[str, Access] = {
    "calls": Access("supervisor", "calls:read"),
    "queues": Access("agent", "agents:read"),
    "agents": Access("agent", "agents:read"),
    "callbacks": Access("supervisor", "agents:read"),
    "voicemails": Access("supervisor", "calls:read"),
    "surveys": Access("supervisor", "reports:read"),
    "customers": Access("agent", "customers:read"),
    "tickets": Access("agent", "tickets:read"),
    "quality": Access("supervisor", "quality:read"),
    "office": Access("supervisor", "office:read"),
    "alarms": Access("supervisor", "office:read"),
    "users": Access("admin", "users:read"),
    "security": Access("admin", "users:read"),
}
"""Topic -> what it takes to hear it."""

OWN_CALLS = Access("agent", "calls:read")
"""Agents hear of the calls that they have themselves."""

_OF_OBJECT = {
    "customer": "customers",
    "ticket": "tickets",
    "user": "users",
    "session": "security",
    "ban": "security",
    "token": "users",
    "webhook": "users",
    "call": "calls",
    "callback": "callbacks",
    "voicemail": "voicemails",
    "agent": "agents",
    "scorecard": "quality",
    "evaluation": "quality",
    "calibration": "quality",
    "coaching": "quality",
    "sample": "quality",
    "sampling-rule": "quality",
    "shift": "quality",
    "ticket-trigger": "tickets",
    "ticket-template": "tickets",
    "ticket-macro": "tickets",
}
_BY_BEGINNING = (
    ("queue-", "queues"),
    ("region-", "queues"),
    ("skill-", "queues"),
    ("agent-", "agents"),
    ("acd-agent-", "agents"),
    ("acd-callback", "callbacks"),
    ("acd-", "queues"),
    ("voicemail-", "voicemails"),
    ("survey", "surveys"),
    ("security-", "security"),
    ("alarm-", "alarms"),
    ("mail-", "office"),
    ("stories-", ""),
)
_INTERNAL = frozenset({"acd-event"})
"""What the routing engine is fed with: its decisions, which follow, say what people want to know."""


def topic_of(kind: str, call_id: str | None, thing: str) -> str:
    """The topic of a journal entry; `thing` is what a change was made to ("ticket:7"). "" is told to
    nobody."""
    if kind in _INTERNAL:
        return ""
    if thing:
        return _OF_OBJECT.get(thing.partition(":")[0], "office")
    topic = _topic_of_kind(kind)
    if topic is None:
        return "calls" if call_id is not None else "office"
    return topic


@lru_cache(maxsize=512)
def _topic_of_kind(kind: str) -> str | None:
    """The topic that the kind alone says, "" for none that anybody may hear; None where it says nothing."""
    return next((topic for start, topic in _BY_BEGINNING if kind.startswith(start)), None)


def may_hear(identity: Identity, topic: str, agent: str) -> bool:
    """Whether somebody may subscribe to a topic; `agent` is the one whose events are asked for."""
    if identity.may(TOPICS[topic]):
        return True
    own = bool(agent) and agent == identity.agent_id
    return topic == "calls" and own and identity.may(OWN_CALLS)
