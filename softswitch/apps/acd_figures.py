"""Today's figures of regions and of skills, as queues have theirs: for wall boards and metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from routing.stats import Ratio, service_level
from softswitch.apps.acd_counts import OTHERS, Figures, add_times

NOTHING = Ratio(0.0, 0.0)

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre
    from softswitch.apps.acd_staff import Team
    from softswitch.config import Office


@dataclass(slots=True)
class Group:
    """The contacts of one region, or of the queues that ask for one skill; `waiting` now, tickets apart.
    `occupancy` is that of its agents: those of the region, or those of the queues, today and lately."""

    name: str
    waiting: int = 0
    tickets: int = 0
    figures: Figures = field(default_factory=Figures)
    occupancy: tuple[Ratio, Ratio] = (NOTHING, NOTHING)

    def add(self, waiting: int, tickets: int, figures: Figures) -> None:
        """Take in those of another queue or region."""
        self.waiting += waiting
        self.tickets += tickets
        self.figures.visits.add(figures.visits)
        add_times(self.figures.times, figures.times)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group in figures: `per` is "region" or "skill". Averages, shares and the service level are None
    while there is nothing to divide. `occupancy` is of today, `occupancy_lately` since the half-hour before
    this one began."""

    per: str
    name: str
    waiting: int
    tickets_waiting: int
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
    occupancy: float | None
    occupancy_lately: float | None


def teams_of(office: Office) -> dict[str, list[Team]]:
    """By whose occupancy each agent counts: of his queues, of his regions, of what his queues ask for."""
    asks = {queue.name: queue.skill for queue in office.queues}
    return {
        agent.id: [
            *(("queue", name) for name in agent.queues),
            *(("region", name) for name in dict.fromkeys(agent.regions)),
            *(("asked", skill) for skill in {asks[q]: "" for q in agent.queues if q in asks}),
        ]
        for agent in office.agents
    }


def region_groups(centre: CallCentre, names: Iterable[str] | None = None) -> list[Group]:
    """Regions that somebody called from today, or those of `names`."""
    host = centre.host
    now_s = host.now_s() + host.epoch_s
    asked = host.counts.regions(now_s) if names is None else sorted(names)
    counts = host.counts
    return [
        Group(
            name,
            counts.waiting_from(name),
            counts.tickets_from(name),
            counts.of_region(name, now_s),
            counts.occupancy(("region", name), now_s),
        )
        for name in asked
    ]


def skill_groups(centre: CallCentre) -> list[Group]:
    """Queues that ask the same of agents, taken together; "" for those that ask nothing."""
    host = centre.host
    now_s = host.now_s() + host.epoch_s
    found: dict[str, Group] = {}
    for name, queue in centre.queues.items():
        group = found.setdefault(queue.skill, Group(queue.skill))
        group.occupancy = host.counts.occupancy(("asked", queue.skill), now_s)
        view = host.engine.view_queue(name)
        if view is not None:
            group.add(view.in_line, view.tickets, host.counts.of(name, now_s))
    return [found[name] for name in sorted(found)]


def largest(groups: list[Group], limit: int) -> list[Group]:
    """The `limit` with most contacts; the others as one."""
    if len(groups) <= limit:
        return groups
    ranked = sorted(groups, key=lambda group: (group.name == OTHERS, -group.figures.visits.entered))
    others = Group(OTHERS)
    for group in ranked[limit:]:
        others.add(group.waiting, group.tickets, group.figures)
    return [*ranked[:limit], others]


def status_of(per: str, group: Group) -> GroupStatus:
    """A group as it is shown."""
    visits, times, service = group.figures.visits, group.figures.times, group.figures.service
    return GroupStatus(
        per=per,
        name=group.name,
        waiting=group.waiting,
        tickets_waiting=group.tickets,
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
        occupancy=group.occupancy[0].value,
        occupancy_lately=group.occupancy[1].value,
    )
