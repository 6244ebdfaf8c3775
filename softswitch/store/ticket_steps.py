"""What happens to a ticket because time passes: reminders and escalation. Pure: time is an argument.

A step is due when a share of what was promised is used up, counted in the office's open time; a clock that
stands brings no step. Each is taken once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from softswitch.store.sla import OpenTime
from softswitch.store.ticket_rules import Life

Clock = Literal["answer", "solve"]


@dataclass(frozen=True, slots=True)
class Step:
    """At `percent` of the promise of an answer or a solution: `tell` somebody ("assignee", "watchers",
    "supervisors", or a name), raise the `priority`, put it into another `queue`. "" changes nothing."""

    clock: Clock
    percent: int
    tell: tuple[str, ...] = ("assignee",)
    priority: str = ""
    queue: str = ""

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return f"{self.clock}:{self.percent}"


DEFAULT_STEPS = (
    Step("answer", 80),
    Step("answer", 100, ("assignee", "watchers", "supervisors")),
    Step("solve", 80),
    Step("solve", 100, ("assignee", "watchers", "supervisors")),
)


def step_at_s(life: Life, step: Step, office: OpenTime) -> float | None:
    """When a step is due if nothing changes; None while its clock stands, or never."""
    share = step.percent / 100.0
    if step.clock == "answer":
        if life.answered_at_s is not None or life.status in ("solved", "closed"):
            return None
        return office.after(life.created_at_s, life.answer_target_s * share)
    clock = life.solve
    if clock.since_s is None:
        return None
    return office.after(clock.since_s, clock.target_s * share - clock.spent_s)


def next_step(
    life: Life, steps: Iterable[Step], taken: Collection[str], office: OpenTime
) -> tuple[float, Step] | None:
    """The step that is due first of those not taken, and when; None if there is none."""
    found = [
        (at_s, step.percent, step)
        for step in steps
        if step.key not in taken and (at_s := step_at_s(life, step, office)) is not None
    ]
    if not found:
        return None
    at_s, _, step = min(found, key=lambda one: one[:2])
    return at_s, step
