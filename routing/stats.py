"""Service level under every published formula, and the time figures of agents, with their parts.

Each figure is a `Ratio`, so that numerator and denominator can be shown: vendors swap names, sums
do not lie. Counts are taken from the engine's decisions, at any later time and under any formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

from routing.decisions import Connect, ContactClosed, ContactHandled, ContactMoved, Decision
from routing.model import Outcome


@dataclass(frozen=True, slots=True)
class Ratio:
    """`value` is None when there is nothing to divide by."""

    numerator: float
    denominator: float

    @property
    def value(self) -> float | None:
        return self.numerator / self.denominator if self.denominator else None


@dataclass(slots=True)
class ServiceCounts:
    """`within_s` was the target T: answered and abandoned within it, and those who flowed out
    (overflow, withdrawal). Calls still in conversation are counted as answered."""

    answered: int = 0
    answered_in_time: int = 0
    abandoned: int = 0
    abandoned_in_time: int = 0
    flowed_out: int = 0

    def add(self, other: ServiceCounts) -> None:
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


@dataclass(slots=True)
class VisitCounts:
    """Contacts of one period and queue (agent, region). `abandoned_in_time` are the short abandons;
    the waits are sums in seconds of those who were answered, of all who left, and the longest."""

    entered: int = 0
    answered: int = 0
    answered_in_time: int = 0
    abandoned: int = 0
    abandoned_in_time: int = 0
    overflowed: int = 0
    withdrawn: int = 0
    callbacks: int = 0
    requeued: int = 0
    lost: int = 0
    waiting: int = 0
    wait_answered_s: float = 0.0
    wait_s: float = 0.0
    wait_s_max: float = 0.0

    def add(self, other: VisitCounts) -> None:
        """Take another's counts in."""
        for part in fields(self):
            mine, its = getattr(self, part.name), getattr(other, part.name)
            setattr(self, part.name, max(mine, its) if part.name == "wait_s_max" else mine + its)

    @property
    def service(self) -> ServiceCounts:
        """What the formulas of `routing.stats` are computed from."""
        return ServiceCounts(
            answered=self.answered,
            answered_in_time=self.answered_in_time,
            abandoned=self.abandoned,
            abandoned_in_time=self.abandoned_in_time,
            flowed_out=self.overflowed + self.withdrawn,
        )

    @property
    def average_answer_s(self) -> Ratio:
        """ASA: the wait of the answered."""
        return Ratio(self.wait_answered_s, self.answered)

    @property
    def average_wait_s(self) -> Ratio:
        """The wait of all who are no longer waiting."""
        return Ratio(self.wait_s, self.entered - self.waiting)


def tally(
    decisions: Iterable[Decision], within_s: float, queue_id: str | None = None
) -> ServiceCounts:
    """Count decisions, of one queue or (None) of all taken together."""
    counts = ServiceCounts()
    for decision in decisions:
        if isinstance(decision, ContactMoved):
            if queue_id in (None, decision.from_queue_id) and decision.reason != "requeued":
                counts.flowed_out += 1
            continue
        if queue_id is not None and getattr(decision, "queue_id", queue_id) != queue_id:
            continue
        if isinstance(decision, Connect):
            counts.answered += 1
            counts.answered_in_time += decision.waited_s <= within_s
        elif isinstance(decision, ContactClosed):
            if decision.outcome is Outcome.ABANDONED:
                counts.abandoned += 1
                counts.abandoned_in_time += decision.waited_s <= within_s
            elif decision.outcome in (Outcome.OVERFLOWED, Outcome.WITHDRAWN):
                counts.flowed_out += 1
    return counts


Formula = Callable[[ServiceCounts], Ratio]

SERVICE_LEVELS: Mapping[str, Formula] = {
    # answered in T / answered: Asterisk SL, Wazo QoS, Genesys with abandons off
    "answered": lambda c: Ratio(c.answered_in_time, c.answered),
    # short abandons count as success: Asterisk SL2
    "short-abandons-good": lambda c: Ratio(
        c.answered_in_time + c.abandoned_in_time, c.answered + c.abandoned
    ),
    # short abandons left out: Genesys option, RingCentral, Bright Pattern
    "short-abandons-out": lambda c: Ratio(
        c.answered_in_time, c.answered + c.abandoned - c.abandoned_in_time
    ),
    # every abandon counts against: Genesys with both on
    "offered": lambda c: Ratio(c.answered_in_time, c.answered + c.abandoned),
    # flow-outs count against as well
    "offered-and-flowed-out": lambda c: Ratio(
        c.answered_in_time, c.answered + c.abandoned + c.flowed_out
    ),
}


def service_level(counts: ServiceCounts, formula: str = "offered") -> Ratio:
    """Under one of SERVICE_LEVELS; KeyError for another name."""
    return SERVICE_LEVELS[formula](counts)


def abandonment(counts: ServiceCounts, of: str = "queued") -> Ratio:
    """`of` "queued": of all that entered (Amazon); "handled": of answered + abandoned (Google)."""
    base = counts.answered + counts.abandoned
    return Ratio(counts.abandoned, base + (counts.flowed_out if of == "queued" else 0))


@dataclass(slots=True)
class AgentTimes:
    """Seconds of one agent (or many): working on contacts, free, in unavailable states."""

    talk_s: float = 0.0
    hold_s: float = 0.0
    wrap_up_s: float = 0.0
    idle_s: float = 0.0
    paid_aux_s: float = 0.0  # unavailable but paid: training, meetings
    handled: int = 0

    @property
    def busy_s(self) -> float:
        return self.talk_s + self.hold_s + self.wrap_up_s


def handle_times(decisions: Iterable[Decision]) -> AgentTimes:
    """Talk, hold and wrap-up summed over ContactHandled; a failed hand-over is not handled."""
    times = AgentTimes()
    for decision in decisions:
        if isinstance(decision, ContactHandled) and decision.outcome != "failed":
            times.talk_s += decision.talk_s
            times.hold_s += decision.hold_s
            times.wrap_up_s += decision.wrap_up_s
            times.handled += 1
    return times


def average_handle(times: AgentTimes) -> Ratio:
    """AHT: talk + hold + wrap-up per handled contact."""
    return Ratio(times.busy_s, times.handled)


def average_answer(decisions: Iterable[Decision]) -> Ratio:
    """ASA: mean wait of the answered."""
    waits = [d.waited_s for d in decisions if isinstance(d, Connect)]
    return Ratio(sum(waits), len(waits))


def occupancy(times: AgentTimes) -> Ratio:
    """(talk + hold + wrap-up) / (the same + idle)."""
    return Ratio(times.busy_s, times.busy_s + times.idle_s)


def utilisation(times: AgentTimes) -> Ratio:
    """(handling + available) / (the same + paid auxiliary time)."""
    at_work = times.busy_s + times.idle_s
    return Ratio(at_work, at_work + times.paid_aux_s)


def shrinkage(unavailable_s: float, scheduled_s: float) -> Ratio:
    return Ratio(unavailable_s, scheduled_s)


def conformance(worked_s: float, planned_s: float) -> Ratio:
    """How much was worked, whenever: may exceed 1."""
    return Ratio(worked_s, planned_s)


Spell = tuple[float, float, str]  # from, to, state


def adherence(scheduled: Iterable[Spell], actual: Iterable[Spell]) -> Ratio:
    """Time in the scheduled state at the scheduled time / time scheduled. Spells of one side must
    not overlap each other."""
    plan, fact = sorted(scheduled), sorted(actual)
    right = sum(
        max(0.0, min(end, did_end) - max(start, did_start))
        for start, end, state in plan
        for did_start, did_end, did in fact
        if did == state
    )
    return Ratio(right, sum(end - start for start, end, _ in plan))
