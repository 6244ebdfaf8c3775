"""Queues and customers come, change and go while calls run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from routing import events
from routing.contact import Phase
from routing.errors import ExpressionError, RoutingConfigError
from routing.line import Queue
from routing.model import Outcome, QueueConfig
from routing.regions import RegionTable

if TYPE_CHECKING:
    from routing.callbacks import Callbacks
    from routing.floor import Floor
    from routing.offering import Offering
    from routing.staffing import Staffing
    from routing.waiting import Waiting


def require_assignment(name: str) -> None:
    """Raises `RoutingConfigError` for a way of matching that there is not."""
    if name not in ("greedy", "joint"):
        raise RoutingConfigError("assignment", repr(name), "greedy, joint")


class Configuring:
    """Handles configuration events. A configuration that cannot be used raises before anything has
    been changed."""

    staffing: Staffing
    waiting: Waiting
    offering: Offering
    callbacks: Callbacks

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def set_customer(self, event: events.CustomerSet, now_s: float) -> None:
        self._floor.learn_customer(event.customer)

    def remove_customer(self, event: events.CustomerRemoved, now_s: float) -> None:
        if not self._floor.forget_customer(event.customer_id):
            self._floor.ignore(event, "unknown customer")

    def set_regions(self, event: events.RegionsSet, now_s: float) -> None:
        self._floor.regions = RegionTable(event.regions)

    def set_assignment(self, event: events.AssignmentSet, now_s: float) -> None:
        require_assignment(event.assignment)
        self._floor.config = replace(
            self._floor.config,
            assignment=event.assignment,
            batch_s=event.batch_s,
            joint_max=event.joint_max,
        )

    def set_calendar(self, event: events.CalendarSet, now_s: float) -> None:
        self._floor.calendars[event.name] = event.calendar
        for queue in self._floor.queues.values():
            if queue.config.hours == event.name:
                queue.calendar = event.calendar
                queue.hours_until_s = -math.inf

    def set_clock(self, event: events.ClockSet, now_s: float) -> None:
        self._floor.epoch_s = event.epoch_s
        for queue in self._floor.queues.values():
            queue.hours_until_s = -math.inf

    def set_queue(self, event: events.QueueSet, now_s: float) -> None:
        self.configure(event.queue, now_s)

    def configure(self, config: QueueConfig, now_s: float) -> None:
        """A new queue, or new rules for one; those who wait keep their places."""
        floor = self._floor
        _check(config)
        calendar = None
        if config.hours:
            calendar = floor.calendars.get(config.hours)
            if calendar is None:
                known = ", ".join(sorted(floor.calendars))
                raise RoutingConfigError(f"queue {config.id}: hours", config.hours, known)
        try:
            config, criteria, order = floor.registry.pipeline(config, floor.rng)
        except ExpressionError as error:
            raise RoutingConfigError(f"queue {config.id}: skill", str(error)) from None
        queue = floor.queues.get(config.id)
        if queue is None:
            queue = Queue(config.id, floor.rng)
            queue.configure(config, criteria, order, calendar)
            floor.queues[config.id] = queue
            self.staffing.seat_members(config.id, now_s)
            return
        queue.configure(config, criteria, order, calendar)
        self._rebuild(queue, now_s)

    def _rebuild(self, queue: Queue, now_s: float) -> None:
        """New pools by the new rules; everybody in line is asked again."""
        contacts = queue.contacts
        for contact in contacts:
            if contact.entry is not None and contact.pool is not None:
                contact.pool.waiting.remove(contact.entry)
                contact.entry = None
            contact.pool = None
            contact.released = 0
        for pool in list(queue.pools.values()):
            queue.discard(pool)
        queue.watched.clear()
        for contact in contacts:
            self.waiting.place_again(contact, now_s)

    def remove_queue(self, event: events.QueueRemoved, now_s: float) -> None:
        floor = self._floor
        queue = floor.queues.get(event.queue_id)
        if queue is None:
            floor.ignore(event, "unknown queue")
            return
        queue.removed = True
        for contact in list(floor.contacts.values()):
            if contact.queue is not queue or contact.phase is Phase.CONNECTED:
                continue
            if contact.is_pending_callback:
                if contact.phase is Phase.DIALING:
                    self.callbacks.hang_up(contact, "removed", now_s)
                self.waiting.take_out(contact, now_s, "removed")
                self.waiting.close(contact, Outcome.CALLBACK_CANCELLED, "removed", now_s)
            else:
                self.waiting.overflow(contact, "removed", now_s)
        for seat in list(queue.seats.values()):
            self.staffing.unseat(seat.agent, queue.id, now_s)
        for pool in list(queue.pools.values()):
            queue.discard(pool)
        floor.timers.clear(queue)
        del floor.queues[queue.id]


def _check(config: QueueConfig) -> None:
    where = f"queue {config.id}"
    if config.empty.join not in ("always", "present", "free"):
        raise RoutingConfigError(f"{where}: empty.join", config.empty.join, "always, present, free")
    if config.empty.leave not in ("always", "present"):
        raise RoutingConfigError(f"{where}: empty.leave", config.empty.leave, "always, present")
    if config.ring_s <= 0 or config.ring_max < 1 or config.progressive_s <= 0:
        raise RoutingConfigError(f"{where}: ring", "ring_s, ring_max, progressive_s", "above 0")
    aging_s = config.priority.aging_s
    if aging_s is not None and aging_s <= 0:
        raise RoutingConfigError(f"{where}: priority.aging_s", str(aging_s), "above 0, or None")
