"""What may become of a ticket, and what that does to its clocks. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from softswitch.store.ledger import Conflict
from softswitch.store.sla import TARGETS, OpenTime, SlaClock, Targets

STATUSES = ("new", "open", "pending", "solved", "closed")
PRIORITIES = ("low", "normal", "high", "urgent")
ONWARD = {
    "new": frozenset({"open", "pending", "solved"}),
    "open": frozenset({"pending", "solved"}),
    "pending": frozenset({"open", "solved"}),
    "solved": frozenset({"open", "closed"}),
    "closed": frozenset[str](),
}
"""From a status to those that may follow. "pending" waits for the customer; "closed" is for good."""
RUNNING = frozenset({"new", "open"})
"""Statuses in which the clock of the solution runs."""


@dataclass(frozen=True, slots=True)
class Life:
    """Where a ticket is in its life, and its clocks."""

    status: str
    priority: str
    created_at_s: float
    solve: SlaClock
    answer_target_s: float
    answered_at_s: float | None = None
    solved_at_s: float | None = None
    closed_at_s: float | None = None


def begin(priority: str, now_s: float, targets: Mapping[str, Targets] = TARGETS) -> Life:
    """A new ticket's; `targets` are what is promised, by priority."""
    promised = targets[priority]
    clock = SlaClock(promised.solve_s).run(now_s)
    return Life("new", priority, now_s, clock, promised.answer_s)


def to_status(life: Life, status: str, now_s: float, office: OpenTime) -> Life:
    """Another status. Raises `Conflict` for one that cannot follow."""
    if status == life.status:
        return life
    if status not in ONWARD[life.status]:
        allowed = ", ".join(sorted(ONWARD[life.status])) or "none"
        raise Conflict(f"a ticket that is {life.status} cannot become {status}; it can: {allowed}")
    clock = life.solve.run(now_s) if status in RUNNING else life.solve.pause(now_s, office)
    solved_at_s = life.solved_at_s
    if status == "solved":
        solved_at_s = now_s
    elif status in RUNNING:
        solved_at_s = None
    return replace(
        life,
        status=status,
        solve=clock,
        solved_at_s=solved_at_s,
        closed_at_s=now_s if status == "closed" else None,
    )


def to_priority(life: Life, priority: str, targets: Mapping[str, Targets] = TARGETS) -> Life:
    """Another priority: other promises, counted from the beginning."""
    promised = targets[priority]
    clock = replace(life.solve, target_s=promised.solve_s)
    return replace(life, priority=priority, solve=clock, answer_target_s=promised.answer_s)


def answer(life: Life, now_s: float) -> Life:
    """The customer was answered; only the first answer counts."""
    return life if life.answered_at_s is not None else replace(life, answered_at_s=now_s)


def merged(life: Life, now_s: float, office: OpenTime) -> Life:
    """Closed, from whatever status, because another ticket is about the same."""
    clock = life.solve.pause(now_s, office)
    return replace(life, status="closed", solve=clock, closed_at_s=now_s)


def answer_due_s(life: Life, office: OpenTime) -> float | None:
    """When the promise of an answer is broken; None if it was answered."""
    if life.answered_at_s is not None or life.status in ("solved", "closed"):
        return None
    return office.after(life.created_at_s, life.answer_target_s)
