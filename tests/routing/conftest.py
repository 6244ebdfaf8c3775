"""A small office around an engine, for tests that tell a story."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from routing.audit import audit
from routing.decisions import Decision
from routing.engine import AcdEngine
from routing.events import AgentLoggedIn, ContactArrived, ContactEnded, OfferAccepted, TimerFired
from routing.model import AcdConfig, AgentConfig, Membership, QueueConfig


class Desk:
    """One engine, its clock and everything it has decided."""

    def __init__(self, config: AcdConfig, seed: int = 1) -> None:
        self.engine = AcdEngine(config, random.Random(seed))
        self.now_s = 0.0
        self.said: list[Decision] = []

    def tell(self, event, at_s: float | None = None) -> list[Decision]:
        """One event, now or after all that is due until `at_s`; returns what it decided."""
        if at_s is not None:
            self.wait_until(at_s)
        decisions = self.engine.handle(event, self.now_s)
        self.said += decisions
        assert audit(self.engine, self.now_s) == []
        return decisions

    def wait_until(self, at_s: float) -> list[Decision]:
        """Time passes; returns what was decided meanwhile."""
        decided: list[Decision] = []
        while (due_s := self.engine.get_timer()) is not None and due_s <= at_s:
            self.now_s = max(self.now_s, due_s)
            decided += self.tell(TimerFired())
        self.now_s = max(self.now_s, at_s)
        return decided

    def wait(self, seconds: float) -> list[Decision]:
        return self.wait_until(self.now_s + seconds)

    def log_in(self, *agent_ids: str) -> list[Decision]:
        return [d for agent_id in agent_ids for d in self.tell(AgentLoggedIn(agent_id))]

    def arrive(self, contact_id: str, queue_id: str = "q", **facts) -> list[Decision]:
        return self.tell(ContactArrived(contact_id=contact_id, queue_id=queue_id, **facts))

    def accept(self, contact_id: str) -> list[Decision]:
        return self.tell(OfferAccepted(self.offer_of(contact_id).offer_id))

    def end(self, contact_id: str) -> list[Decision]:
        return self.tell(ContactEnded(contact_id))

    def serve(self, contact_id: str, queue_id: str = "q", **facts) -> str:
        """Arrive, be answered, hang up; returns the agent."""
        self.arrive(contact_id, queue_id, **facts)
        agent_id = self.offer_of(contact_id).agent_id
        self.accept(contact_id)
        self.end(contact_id)
        return agent_id

    def offer_of(self, contact_id: str):
        """The last offer made of a contact."""
        return self.all("OfferTo", contact_id=contact_id)[-1]

    def offered(self, contact_id: str) -> list[str]:
        """To whom a contact has been offered, in order."""
        return [d.agent_id for d in self.all("OfferTo", contact_id=contact_id)]

    def all(self, kind: str, **fields) -> list:
        return [
            d
            for d in self.said
            if type(d).__name__ == kind and all(getattr(d, k) == v for k, v in fields.items())
        ]


def _agent(agent_id: str, *queues: str | Membership, **facts) -> AgentConfig:
    return AgentConfig(id=agent_id, queues=queues or ("q",), **facts)


@pytest.fixture
def agent() -> Callable[..., AgentConfig]:
    """agent("a", "q1", "q2", skills={...}): one agent's configuration."""
    return _agent


@pytest.fixture
def desk() -> Callable[..., Desk]:
    """desk(queue(s), agents, logged_in=True, **config): an office with everybody at work."""

    def make(
        queues=None, agents=("a", "b"), logged_in: bool = True, seed: int = 1, **config
    ) -> Desk:
        if queues is None:
            queues = QueueConfig(id="q")
        if isinstance(queues, QueueConfig):
            queues = (queues,)
        configs = tuple(_agent(a) if isinstance(a, str) else a for a in agents)
        made = Desk(AcdConfig(queues=tuple(queues), agents=configs, **config), seed)
        if logged_in:
            for config_ in configs:
                made.log_in(config_.id)
                made.now_s += 1.0
        return made

    return make


def names(decisions: list[Decision]) -> list[str]:
    return [type(decision).__name__ for decision in decisions]


@pytest.fixture
def kinds() -> Callable[[list[Decision]], list[str]]:
    """Names of decisions, in order."""
    return names
