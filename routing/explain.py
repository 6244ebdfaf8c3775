"""Why a contact went to an agent: what was known at the decision, its words, its recomputation.

A decision costs one small object: references, a few sorted entries and the states of the queue's
members as bytes. Names, reasons and sentences are made from it only when somebody asks
(`Why.record()`), and `chosen(record)` decides again from the record alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

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


class Why:
    """One decision, unexpanded."""

    __slots__ = (
        "at_s",
        "candidates",
        "codes",
        "contact",
        "entry",
        "excluded",
        "mode",
        "offer_id",
        "place_s",
        "pointer",
        "pool",
        "priority",
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
    ) -> None:
        queue = contact.queue
        self.offer_id = 0
        self.contact = contact
        self.seat = seat
        self.pool = pool
        self.mode = mode
        self.at_s = at_s
        self.entry = entry
        self.waited_s = at_s - contact.entered_s
        self.place_s = contact.place_s
        self.priority = contact.priority
        self.candidates = pool.free.head(CANDIDATES_NOTED) if entry is not None else None
        self.rivals = rivals
        self.codes = bytes(queue.codes)
        self.roster = queue.roster
        self.pointer = queue.pointer if pool.circular == "queue" else contact.pointer
        self.excluded = None if contact.excluded is None else dict(contact.excluded)

    def record(self) -> dict[str, Any]:
        """Everything, as JSON-ready values for the journal. To be called before the next change of
        the configuration, best right after the decision."""
        contact, pool = self.contact, self.pool
        candidates = self._candidates()
        return {
            "offer_id": self.offer_id,
            "contact_id": contact.id,
            "agent_id": self.seat.agent.id,
            "queue_id": contact.queue.id,
            "at_s": self.at_s,
            "mode": str(self.mode),
            "rule": pool.words(),
            "order": pool.order.name,
            "circular_after": list(self.pointer) if self.pointer is not None else None,
            "waited_s": round(self.waited_s, 3),
            "priority": self.priority,
            "candidates": candidates,
            "excluded": self._exclusions({c["agent_id"] for c in candidates}),
            "contacts": self._contacts(),
        }

    def _candidates(self) -> list[dict[str, Any]]:
        entries = list(self.candidates or ())
        if self.entry is None:
            agent = self.seat.agent
            return [{"agent_id": agent.id, "at_hand": 0, "scores": [], "rank": "the only one free"}]
        if self.entry not in entries:
            entries.append(self.entry)
        return [
            {
                "agent_id": entry[-1].agent.id,
                "at_hand": entry[0],
                "scores": list(entry[1]),
                "rank": _plain(entry[2]),
                "seat": entry[3],
            }
            for entry in entries
        ]

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
        if self.excluded and self.excluded.get(seat.agent.id, self.at_s) > self.at_s:
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
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value
