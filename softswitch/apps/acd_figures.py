"""Today's figures of regions and of skills, as queues have theirs: for wall boards and metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from routing.stats import service_level
from softswitch.apps.acd_counts import OTHERS, Figures, add_times

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre


@dataclass(slots=True)
class Group:
    """The contacts of one region, or of the queues that ask for one skill; `waiting` now."""

    name: str
    waiting: int = 0
    figures: Figures = field(default_factory=Figures)

    def add(self, waiting: int, figures: Figures) -> None:
        """Take in those of another queue or region."""
        self.waiting += waiting
        self.figures.visits.add(figures.visits)
        add_times(self.figures.times, figures.times)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group in figures: `per` is "region" or "skill". Averages and the service level are None while there is
    nothing to divide."""

    per: str
    name: str
    waiting: int
    entered: int
    answered: int
    abandoned: int
    abandoned_in_time: int
    flowed_out: int
    callbacks: int
    handled: int
    service_level: float | None
    average_answer_s: float | None
    average_wait_s: float | None
    average_handle_s: float | None


def region_groups(centre: CallCentre, names: Iterable[str] | None = None) -> list[Group]:
    """Regions that somebody called from today, or those of `names`."""
    host = centre.host
    now_s = host.now_s() + host.epoch_s
    asked = host.counts.regions(now_s) if names is None else sorted(names)
    counts = host.counts
    return [Group(name, counts.waiting_from(name), counts.of_region(name, now_s)) for name in asked]


def skill_groups(centre: CallCentre) -> list[Group]:
    """Queues that ask the same of agents, taken together; "" for those that ask nothing."""
    host = centre.host
    now_s = host.now_s() + host.epoch_s
    found: dict[str, Group] = {}
    for name, queue in centre.queues.items():
        group = found.setdefault(queue.skill, Group(queue.skill))
        view = host.engine.view_queue(name)
        group.add(0 if view is None else view.in_line, host.counts.of(name, now_s))
    return [found[name] for name in sorted(found)]


def largest(groups: list[Group], limit: int) -> list[Group]:
    """The `limit` with most contacts; the others as one."""
    if len(groups) <= limit:
        return groups
    ranked = sorted(groups, key=lambda group: (group.name == OTHERS, -group.figures.visits.entered))
    others = Group(OTHERS)
    for group in ranked[limit:]:
        others.add(group.waiting, group.figures)
    return [*ranked[:limit], others]


def status_of(per: str, group: Group) -> GroupStatus:
    """A group as it is shown."""
    visits, times, service = group.figures.visits, group.figures.times, group.figures.service
    return GroupStatus(
        per=per,
        name=group.name,
        waiting=group.waiting,
        entered=visits.entered,
        answered=visits.answered,
        abandoned=visits.abandoned,
        abandoned_in_time=visits.abandoned_in_time,
        flowed_out=service.flowed_out,
        callbacks=visits.callbacks,
        handled=times.handled,
        service_level=service_level(service).value,
        average_answer_s=visits.average_answer_s.value,
        average_wait_s=visits.average_wait_s.value,
        average_handle_s=group.figures.average_handle_s.value,
    )
