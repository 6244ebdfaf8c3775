"""Why a contact went to an agent: what was known at the decision, its words, its recomputation.

A decision costs one small object: references, a few sorted entries and the states of the queue's
members as bytes. Names, reasons and sentences are made from it only when somebody asks
(`Why.record()`), and `chosen(record)` decides again from the record alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from routing.assignment import assign
from routing.line import NO_SEAT, RESTING
from routing.model import AgentState

if TYPE_CHECKING:
    from routing.contact import Contact
    from routing.desk import Seat
    from routing.pool import Pool

CANDIDATES_NOTED = 16
EXCLUSIONS_TOLD = 200

_STATES = list(AgentState)


class Mode(StrEnum):
    """Which side the decision started from."""

    CONTACT = "contact"  # a contact came to wait: the first of the free agents
    AGENT = "agent"  # an agent became free: the first of the waiting contacts
    JOINT = "joint"  # several of both: all at once
    ASSIGNED = "assigned"  # by hand


@dataclass(frozen=True, slots=True)
class JointProblem:
    """What a joint assignment was computed from; shared by all its decisions."""

    contact_ids: tuple[str, ...]
    agent_ids: tuple[str, ...]
    costs: tuple[tuple[float, ...], ...]


class Why:
    """One decision, unexpanded."""

    __slots__ = (
        "at_s",
        "candidates",
        "codes",
        "contact",
        "entry",
        "excluded",
        "joint",
        "mode",
        "offer_id",
        "place_s",
        "pointer",
        "pool",
        "priority",
        "ringing",
        "rivals",
        "roster",
        "seat",
        "waited_s",
    )

    def __init__(
        self,
        contact: Contact,
        seat: Seat,
        pool: Pool,
        mode: Mode,
        at_s: float,
        entry: tuple[Any, ...] | None,
        rivals: list[Contact] | None,
        joint: JointProblem | None = None,
    ) -> None:
        queue = contact.queue
        self.offer_id = 0
        self.contact = contact
        self.seat = seat
        self.pool = pool
        self.mode = Mode.ASSIGNED if pool.by_hand else mode
        self.joint = joint
        self.at_s = at_s
        self.entry = entry
        self.waited_s = at_s - contact.entered_s
        self.place_s = contact.place_s
        self.priority = contact.priority
        self.candidates = pool.noted(CANDIDATES_NOTED) if entry is not None else None
        self.rivals = rivals
        self.codes = bytes(queue.codes)
        self.roster = queue.roster
        self.pointer = pool.pointer(contact)
        self.ringing = tuple(offer.agent.id for offer in contact.offers.values())
        self.excluded = None if contact.excluded is None else dict(contact.excluded)

    def record(self) -> dict[str, Any]:
        """Everything, as JSON-ready values for the journal. To be called before the next change of
        the configuration, best right after the decision."""
        contact, pool = self.contact, self.pool
        candidates = self._candidates()
        joint = self.joint
        return {
            "offer_id": self.offer_id,
            "contact_id": contact.id,
            "agent_id": self.seat.agent.id,
            "queue_id": contact.queue.id,
            "at_s": self.at_s,
            "mode": str(self.mode),
            "rule": pool.words(),
            "order": pool.order.name,
            "circular_after": _plain(self.pointer),
            "waited_s": round(self.waited_s, 3),
            "priority": self.priority,
            "candidates": candidates,
            "excluded": self._exclusions({c["agent_id"] for c in candidates}),
            "contacts": self._contacts(),
            "joint": None
            if joint is None
            else {
                "contacts": list(joint.contact_ids),
                "agents": list(joint.agent_ids),
                "costs": [[None if c == math.inf else c for c in row] for row in joint.costs],
            },
        }

    def _candidates(self) -> list[dict[str, Any]]:
        """Free agents who might have had it, the first of them in their order."""
        entries = [e for e in self.candidates or () if not self._was_excluded(e[-1].agent.id)]
        if self.entry is None:
            agent = self.seat.agent
            return [{"agent_id": agent.id, "scores": [], "at_hand": 0, "rank": 0, "seat": 0}]
        if all(entry[-1] is not self.seat for entry in entries):
            entries.append(self.entry)
        return [
            {
                "agent_id": entry[-1].agent.id,
                "scores": list(entry[0]),
                "at_hand": entry[1],
                "rank": _plain(entry[2]),
                "seat": entry[3],
            }
            for entry in entries
        ]

    def _was_excluded(self, agent_id: str) -> bool:
        if agent_id in self.ringing:
            return True
        return self.excluded is not None and self.excluded.get(agent_id, -math.inf) > self.at_s

    def _exclusions(self, candidates: set[str]) -> list[dict[str, str]]:
        told: list[dict[str, str]] = []
        for seat, code in zip(self.roster, self.codes, strict=False):
            if seat is None or code == NO_SEAT or seat.agent.id in candidates:
                continue
            if len(told) >= EXCLUSIONS_TOLD:
                break
            told.append({"agent_id": seat.agent.id, "reason": self._reason(seat, code)})
        return told

    def _reason(self, seat: Seat, code: int) -> str:
        verdict = self.pool.judge(seat)
        if isinstance(verdict, str):
            return verdict
        if code == RESTING:
            return "resting after a missed offer"
        state = _STATES[code]
        if state is not AgentState.AVAILABLE:
            return str(state)
        if seat.agent.id in self.ringing:
            return "is rung for it already"
        if self._was_excluded(seat.agent.id):
            return "was offered this contact a moment ago"
        return "no place left for this medium" if self.entry is None else "further down the order"

    def _contacts(self) -> list[dict[str, Any]]:
        """The contacts that stood first in each pool the agent serves."""
        rivals = self.rivals or []
        listed = [
            {
                "contact_id": rival.id,
                "queue_id": rival.queue.id,
                "priority": rival.priority,
                "standing": [_plain(part) for part in rival.standing(self.at_s)],
            }
            for rival in rivals
        ]
        if self.contact not in rivals:
            standing = [_plain(part) for part in self.contact.standing(self.at_s)]
            listed.append(
                {
                    "contact_id": self.contact.id,
                    "queue_id": self.contact.queue.id,
                    "priority": self.priority,
                    "standing": standing,
                }
            )
        return listed


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value


def _sortable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_sortable(part) for part in value)
    return float(value) if isinstance(value, str) else value


# --- again, from the record alone ---


def chosen(record: dict[str, Any]) -> tuple[str, str]:
    """Decide again: (contact, agent). Equal to what the record says was decided, or it lies."""
    joint = record["joint"]
    if joint is not None:
        costs = [[math.inf if c is None else c for c in row] for row in joint["costs"]]
        for row, column in assign(costs):
            if joint["contacts"][row] == record["contact_id"]:
                return record["contact_id"], joint["agents"][column]
    if record["mode"] == Mode.ASSIGNED:
        return record["contact_id"], record["agent_id"]
    if record["mode"] == Mode.AGENT:
        first = min(record["contacts"], key=lambda contact: _sortable(contact["standing"]))
        return first["contact_id"], record["agent_id"]
    ordered = sorted(record["candidates"], key=_candidate_key)
    best = ordered[0]
    after = record["circular_after"]
    if after is not None:
        group = [c for c in ordered if _candidate_key(c)[:2] == _candidate_key(best)[:2]]
        later = [c for c in group if _sortable(c["rank"]) > _sortable(after)]
        best = later[0] if later else group[0]
    return record["contact_id"], best["agent_id"]


def _candidate_key(candidate: dict[str, Any]) -> tuple[Any, ...]:
    return (
        _sortable(candidate["scores"]),
        candidate["at_hand"],
        _sortable(candidate["rank"]),
        candidate["seat"],
    )


# --- in words ---

_STARTS = {
    Mode.CONTACT: "The contact came to wait while agents were free.",
    Mode.AGENT: "The agent became free while contacts were waiting.",
    Mode.JOINT: "Several contacts and agents were matched together.",
    Mode.ASSIGNED: "It was given to this agent by hand.",
}


def words(record: dict[str, Any]) -> list[str]:
    """The record as lines for people (`softswitch why`)."""
    agent, contact = record["agent_id"], record["contact_id"]
    lines = [
        f"{contact} was offered to {agent} by queue {record['queue_id']} after waiting "
        f"{record['waited_s']:.1f} s with priority {record['priority']:g}.",
        _STARTS[Mode(record["mode"])],
        "Demanded then: " + ("; ".join(record["rule"]) or "nothing of an agent") + ".",
    ]
    candidates = [c["agent_id"] for c in record["candidates"]]
    if record["mode"] == Mode.AGENT:
        others = [c for c in record["contacts"] if c["contact_id"] != contact]
        if others:
            listed = ", ".join(f"{c['contact_id']} ({c['queue_id']})" for c in others)
            lines.append(f"It stood before the first others he could have had: {listed}.")
        else:
            lines.append("It stood first among those he may serve.")
    elif len(candidates) > 1:
        lines.append(f"Free were {', '.join(candidates)}; {record['order']} put {agent} first.")
    else:
        lines.append(f"{agent} was the only one free for it.")
    for excluded in record["excluded"]:
        lines.append(f"Not {excluded['agent_id']}: {excluded['reason']}.")
    return lines
