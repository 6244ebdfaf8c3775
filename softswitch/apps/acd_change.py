"""From one configuration of the routing engine to another, as the events that lead there. Pure."""

from __future__ import annotations

from routing import events
from routing.model import AcdConfig


def changes_between(old: AcdConfig, new: AcdConfig) -> list[events.Event]:
    """In an order in which nothing names what is not there: what is used comes before its users, and
    agents leave before queues do. Contacts that wait keep their places as far as their queue stays."""
    found: list[events.Event] = [
        events.CalendarSet(name, calendar)
        for name, calendar in new.calendars.items()
        if old.calendars.get(name) != calendar
    ]
    assignment = events.AssignmentSet(new.assignment, new.batch_s, new.joint_max)
    if assignment != events.AssignmentSet(old.assignment, old.batch_s, old.joint_max):
        found.append(assignment)
    if old.regions != new.regions:
        found.append(events.RegionsSet(tuple(new.regions)))
    found += _customers(old, new)
    queues = {queue.id: queue for queue in old.queues}
    found += [events.QueueSet(q) for q in new.queues if queues.get(q.id) != q]
    agents = {agent.id: agent for agent in old.agents}
    found += [events.AgentSet(a) for a in new.agents if agents.get(a.id) != a]
    kept = {agent.id for agent in new.agents}
    found += [events.AgentRemoved(name) for name in agents if name not in kept]
    kept = {queue.id for queue in new.queues}
    found += [events.QueueRemoved(name) for name in queues if name not in kept]
    return found


def _customers(old: AcdConfig, new: AcdConfig) -> list[events.Event]:
    before = {customer.id: customer for customer in old.customers}
    kept = {customer.id for customer in new.customers}
    gone = [events.CustomerRemoved(name) for name in before if name not in kept]
    return [*gone, *(events.CustomerSet(c) for c in new.customers if before.get(c.id) != c)]
