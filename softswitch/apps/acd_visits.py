"""Who is in which queue since when and from where: turns the engine's decisions into counts as they happen, by
the rules by which `softswitch.store.story` reads the journal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

from routing.decisions import (
    Connect,
    ContactClosed,
    ContactHandled,
    ContactMoved,
    ContactQueued,
    Overflow,
)
from routing.model import Media

WAITING = "waiting"
_PER_OUTCOME = frozenset({"answered", "abandoned", "overflowed", "withdrawn", "requeued"})

Told = ContactQueued | Connect | ContactMoved | Overflow | ContactClosed | ContactHandled
"""The decisions that begin or end a stay in a queue."""


@dataclass(slots=True)
class Visit:
    """One contact's stay in one queue. `outcome` is "waiting", or how it left the line; `serving` counts the
    agents who are not done with it; `gone`: it has left the engine, and is remembered for them; `talk`:
    somebody waits for an answer, which nobody does for that of a ticket."""

    queue_id: str
    region: str
    entered_at_s: float
    outcome: str = WAITING
    agent_id: str = ""
    waited_s: float = 0.0
    serving: int = 0
    gone: bool = False
    talk: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """`sign` 1: a visit has begun, or (with its `outcome` and wait) has left the line; -1: it has not left it
    after all, as nobody was there when the two were joined."""

    visit: Visit
    outcome: str
    sign: int = 1


class Visits:
    """The visits that are not over. As many as the engine has contacts, and agents wrapping up. Changes are
    told of talks only: tickets lie in a queue for days, and have figures of their own."""

    def __init__(self) -> None:
        self._open: dict[str, Visit] = {}
        self.waiting: Counter[str] = Counter()
        """Contacts that wait now, by region; `tickets`: those that nobody waits for on a telephone."""
        self.tickets: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def region_of(self, contact_id: str) -> str:
        """Where a contact is from, as far as it is known."""
        visit = self._open.get(contact_id)
        return "" if visit is None else visit.region

    def note(self, decision: Told, unix_s: float) -> Iterator[Change]:
        """What a decision changes. To be gone through to the end."""
        return (change for change in self._changes(decision, unix_s) if change.visit.talk)

    def _changes(self, decision: Told, unix_s: float) -> Iterator[Change]:
        match decision:
            case ContactQueued():
                known = self._open.get(decision.contact_id)
                if known is not None and known.outcome == WAITING:
                    if known.queue_id == decision.queue_id:
                        return  # put back at its place
                    yield self._leave(known, "requeued", unix_s - known.entered_at_s)
                yield self._enter(decision, decision.queue_id, unix_s, decision.region)
            case Overflow():
                yield from self._unknown(decision, decision.queue_id, unix_s)
            case ContactMoved():
                yield from self._unknown(decision, decision.from_queue_id, unix_s)
                visit = self._open[decision.contact_id]
                if visit.outcome == WAITING and visit.queue_id != decision.to_queue_id:
                    flowed = decision.reason.startswith("overflow")
                    outcome = "overflowed" if flowed else "requeued"
                    yield self._leave(visit, outcome, decision.waited_s)
            case Connect():
                yield from self._unknown(decision, decision.queue_id, unix_s)
                visit = self._open[decision.contact_id]
                visit.serving += 1
                if visit.outcome == WAITING:
                    visit.agent_id = decision.agent_id
                    called_back = decision.media is Media.CALLBACK
                    outcome = "callbacks" if called_back else "answered"
                    yield self._leave(visit, outcome, decision.waited_s)
            case ContactClosed():
                yield from self._unknown(decision, decision.queue_id, unix_s)
                visit = self._open[decision.contact_id]
                outcome = _counted_as(decision.outcome.value)
                if visit.outcome == WAITING:
                    yield self._leave(visit, outcome, decision.waited_s)
                visit.gone = True
                self._forget(decision.contact_id, visit)
            case ContactHandled():
                found = self._open.get(decision.contact_id)
                if found is None:
                    return
                found.serving = max(0, found.serving - 1)
                if decision.outcome == "failed" and found.agent_id == decision.agent_id:
                    outcome, found.agent_id = found.outcome, ""
                    if not found.gone and outcome != WAITING:
                        found.outcome = WAITING
                        self._count(found, 1)
                        yield Change(found, outcome, -1)
                self._forget(decision.contact_id, found)

    def _unknown(
        self, decision: Overflow | ContactMoved | Connect | ContactClosed, queue: str, at_s: float
    ) -> Iterator[Change]:
        """One that never lay in the line (of a full or closed queue), or is from before our time."""
        known = self._open.get(decision.contact_id)
        region = decision.region if isinstance(decision, Overflow) else ""
        if known is None or known.gone:
            waited_s = getattr(decision, "waited_s", 0.0)
            yield self._enter(decision, queue, at_s - waited_s, region)

    def _enter(self, decision: Told, queue_id: str, at_s: float, region: str) -> Change:
        former = self._open.get(decision.contact_id)
        visit = Visit(queue_id, region, at_s)
        if former is not None:
            visit.region = region or former.region
            visit.serving, visit.talk = former.serving, former.talk
        if isinstance(decision, ContactQueued | Connect):
            visit.talk = decision.media is not Media.TICKET
        self._open[decision.contact_id] = visit
        self._count(visit, 1)
        return Change(visit, WAITING)

    def _leave(self, visit: Visit, outcome: str, waited_s: float) -> Change:
        visit.outcome, visit.waited_s = outcome, max(0.0, waited_s)
        self._count(visit, -1)
        return Change(visit, outcome)

    def _count(self, visit: Visit, sign: int) -> None:
        """One more of a region waits, or one less."""
        counts = self.waiting if visit.talk else self.tickets
        counts[visit.region] += sign
        if not counts[visit.region]:
            del counts[visit.region]

    def _forget(self, contact_id: str, visit: Visit) -> None:
        if visit.gone and not visit.serving:
            del self._open[contact_id]

    def snapshot(self) -> list[list[Any]]:
        return [[contact, *astuple(visit)] for contact, visit in self._open.items()]

    def restore(self, rows: Iterable[list[Any]]) -> None:
        """Take over what `snapshot` gave."""
        for contact, *values in rows:
            visit = self._open[str(contact)] = Visit(*values)
            if visit.outcome == WAITING:
                self._count(visit, 1)


def _counted_as(outcome: str) -> str:
    """The name of its count. A callback counts as one whatever came of it."""
    if outcome in _PER_OUTCOME:
        return outcome
    return "callbacks" if outcome.startswith("callback") else "lost"
