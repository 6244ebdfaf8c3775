"""Which conversations somebody should listen to. Pure: the same week gives the same choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

Kind = Literal["per-agent", "low-survey", "long-hold", "ticket-keyword"]
KINDS: tuple[Kind, ...] = ("per-agent", "low-survey", "long-hold", "ticket-keyword")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A conversation of an agent. `survey` is the customer's score, None where he gave none; `matches` says
    that a ticket of the call has the rule's keyword."""

    call_id: str
    agent_id: str
    queue_id: str
    at_s: float
    talk_s: float = 0.0
    hold_s: float = 0.0
    survey: int | None = None
    matches: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """`per_week`: at most so many an agent and week. `threshold`: the highest survey score, or the shortest
    hold in seconds. `queues` empty: all."""

    rule_id: int
    kind: Kind
    per_week: int = 2
    threshold: float = 0.0
    queues: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pick:
    """A conversation that was chosen, and why."""

    candidate: Candidate
    reason: str


def pick(
    rule: Rule,
    candidates: Iterable[Candidate],
    chosen: Mapping[str, int],
    known: frozenset[tuple[str, str]] = frozenset(),
) -> list[Pick]:
    """What a rule chooses of a week's conversations. `chosen`: how many of each agent it has chosen this
    week before; `known`: (call, agent) of those. Agents in order, for each the most telling first."""
    by_agent: dict[str, list[tuple[float, str, Pick]]] = {}
    for candidate in candidates:
        if rule.queues and candidate.queue_id not in rule.queues:
            continue
        if not candidate.agent_id or (candidate.call_id, candidate.agent_id) in known:
            continue
        found = _reason(rule, candidate)
        if found is not None:
            rank, reason = found
            pairs = by_agent.setdefault(candidate.agent_id, [])
            pairs.append((rank, _draw(rule, candidate), Pick(candidate, reason)))
    picks = []
    for agent, ranked in sorted(by_agent.items()):
        left = max(0, rule.per_week - chosen.get(agent, 0))
        ranked.sort(key=lambda one: one[:2])
        picks += [one for _, _, one in ranked[:left]]
    return picks


def _reason(rule: Rule, candidate: Candidate) -> tuple[float, str] | None:
    """How telling (least first) a conversation is and why; None if the rule is not about it."""
    match rule.kind:
        case "per-agent":
            return 0.0, "drawn"
        case "low-survey":
            if candidate.survey is None or candidate.survey > rule.threshold:
                return None
            return float(candidate.survey), f"the customer gave {candidate.survey}"
        case "long-hold":
            if candidate.hold_s < rule.threshold:
                return None
            return -candidate.hold_s, f"on hold for {candidate.hold_s:.0f} s"
        case "ticket-keyword":
            return (-candidate.at_s, "the ticket's words") if candidate.matches else None


def _draw(rule: Rule, candidate: Candidate) -> str:
    """A lot that nobody can foresee while he talks, and everybody can check."""
    text = f"{rule.rule_id}:{candidate.call_id}:{candidate.agent_id}"
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
