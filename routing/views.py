"""What can be read at any time: views made from counters and indexes, not by looking through all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routing.contact import Phase
from routing.estimate import WaitEstimate, WaitScore
from routing.model import TEXT, AgentState, Media

if TYPE_CHECKING:
    from routing.floor import Floor


@dataclass(frozen=True, slots=True)
class QueueView:
    """`in_line` counts waiting, offered and dialled contacts, without tickets; `since_s` is when the one
    came that has waited longest; `tickets` and `tickets_since_s` say the same of tickets. `present` counts
    agents at work for it. `next_wait` is expected of a call that came now, whatever the calibration;
    `score`, how expectations have done since scores were last taken."""

    queue_id: str
    in_line: int
    since_s: float | None
    tickets: int
    tickets_since_s: float | None
    members: int
    present: int
    calibrated: bool
    coverage: float | None
    handle_s: float
    patience_s: float
    next_wait: WaitEstimate
    score: WaitScore


@dataclass(frozen=True, slots=True)
class AgentView:
    """`calls` he was connected to since he logged in; `tickets` that lie on his desk."""

    agent_id: str
    state: AgentState
    reason: str
    since_s: float
    wanted: AgentState
    contact_ids: tuple[str, ...]
    calls: int
    tickets: int
    talk_s: float
    occupancy: float
    queue_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContactView:
    """`position` among its kind, 0: not in line. `wait` whatever the calibration (look at `calibrated`), of
    texts none. Of a callback: `due_s`,
    before which it is not made, and `attempts` that were made."""

    contact_id: str
    queue_id: str
    media: Media
    phase: str
    position: int
    waited_s: float
    priority: float
    agent_id: str
    rule: tuple[str, ...]
    wait: WaitEstimate | None
    calibrated: bool
    attributes: Mapping[str, Any]
    due_s: float | None = None
    attempts: int = 0


class Views:
    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def queue(self, queue_id: str) -> QueueView | None:
        queue = self._floor.queues.get(queue_id)
        if queue is None:
            return None
        model = queue.model
        handling, patience = model.handling.per_s, model.patience.per_s
        return QueueView(
            queue_id,
            len(queue.line),
            queue.line.since_s,
            len(queue.tickets),
            queue.tickets.since_s,
            len(queue.seats),
            queue.present,
            model.record.calibrated,
            model.record.coverage,
            1 / handling if handling else 0.0,
            1 / patience if patience else 0.0,
            model.estimate(len(queue.line), queue.present),
            model.score,
        )

    def agent_state(self, agent_id: str) -> AgentState | None:
        """That alone: a fiftieth of a whole view."""
        agent = self._floor.agents.get(agent_id)
        return None if agent is None else agent.state

    def agent(self, agent_id: str) -> AgentView | None:
        agent = self._floor.agents.get(agent_id)
        if agent is None:
            return None
        return AgentView(
            agent.id,
            agent.state,
            agent.state_reason,
            agent.state_since_s,
            agent.wanted,
            tuple(work.contact_id for work in agent.works.values()),
            agent.calls,
            agent.tickets,
            agent.talk_s,
            agent.occupancy,
            tuple(agent.seats),
        )

    def contact(self, contact_id: str, now_s: float) -> ContactView | None:
        contact = self._floor.contacts.get(contact_id)
        if contact is None:
            return None
        in_line = contact.line_entry is not None
        until_s = contact.answered_s if contact.phase is Phase.CONNECTED else now_s
        return ContactView(
            contact.id,
            contact.queue.id,
            contact.media,
            contact.phase.name.lower(),
            contact.queue.position(contact),
            until_s - contact.entered_s,
            contact.priority,
            contact.agent_id,
            tuple(contact.pool.words()) if contact.pool is not None else (),
            contact.queue.estimate(contact) if in_line and contact.media not in TEXT else None,
            contact.queue.model.record.calibrated,
            contact.attributes,
            contact.callback.not_before_s if contact.callback is not None else None,
            contact.callback.attempts if contact.callback is not None else 0,
        )
