"""Whether agents did what they were planned to do, when they were. Pure.

Adherence is time in the right state at the right time over time planned; conformance is time worked over time
planned, whenever it was. Both with their numerators: five minutes late on an hour are 91.7 % and, made up
for afterwards, 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from routing.stats import Ratio

WORK = "work"
AT_WORK = frozenset({"available", "offered", "on-contact", "wrap-up"})
"""States."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A stretch of an agent's plan. `activity` is "work", or the reason of a break ("lunch", "training")."""

    start_s: float
    end_s: float
    activity: str = WORK


@dataclass(frozen=True, slots=True)
class Done:
    """What an agent really did; `reason` of "unavailable"."""

    start_s: float
    end_s: float
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Adherence:
    """In seconds: planned, planned as work, right at the time, worked at all."""

    planned_s: float = 0.0
    planned_work_s: float = 0.0
    adherent_s: float = 0.0
    worked_s: float = 0.0

    @property
    def adherence(self) -> Ratio:
        return Ratio(self.adherent_s, self.planned_s)

    @property
    def conformance(self) -> Ratio:
        return Ratio(self.worked_s, self.planned_work_s)


def adherence(planned: Iterable[Planned], done: Iterable[Done]) -> Adherence:
    """Compare a plan with what was done; stretches of either do not overlap among themselves."""
    plan, states = list(planned), list(done)
    right_s = sum(
        max(0.0, min(p.end_s, d.end_s) - max(p.start_s, d.start_s))
        for p in plan
        for d in states
        if fits(p, d)
    )
    return Adherence(
        planned_s=sum(p.end_s - p.start_s for p in plan),
        planned_work_s=sum(p.end_s - p.start_s for p in plan if p.activity == WORK),
        adherent_s=right_s,
        worked_s=sum(d.end_s - d.start_s for d in states if d.state in AT_WORK),
    )


def fits(planned: Planned, done: Done) -> bool:
    """Whether somebody does what he was to do. A break is right with its own reason or with none."""
    if planned.activity == WORK:
        return done.state in AT_WORK
    if done.state == "unavailable":
        return done.reason in ("", planned.activity)
    return done.state == "logged-out"
