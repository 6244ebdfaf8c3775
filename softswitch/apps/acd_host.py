"""Owner of the routing engine: events in, decisions out, one timer, and everything written down."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from routing import decisions as decided
from routing import events
from routing.engine import AcdEngine
from routing.errors import RoutingError
from routing.regions import RegionTable
from softswitch.apps.acd_change import changes_between
from softswitch.apps.acd_config import acd_config_of
from softswitch.apps.acd_counts import DayCounts
from softswitch.apps.acd_figures import teams_of
from softswitch.apps.acd_journal import EVENT, AcdMemory, Snapshot, write_event
from softswitch.store import acd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routing.model import AcdConfig
    from softswitch.apps.catalogue import Desk
    from softswitch.config import Office

_log = logging.getLogger("softswitch.acd")

WAIT_SCORE = "acd-wait-score"
"""Once a day and queue: how many waits were expected, the mean error and bias in seconds, and the share of them
within the 80 % quantile."""

SNAPSHOT_AFTER = 5_000
"""Events between two snapshots; more where the state is large, as writing it takes its time."""

OWN_CALL = "leg-"
"""How the engine's names of calls begin that no queue gave an agent."""

_CLOCK_SET_S = 2.0

Perform = Callable[[decided.Decision], None]


class AcdHost:
    """Feeds an `AcdEngine` and hands its decisions to `perform`.

    `tell` is for whoever is in the middle of something: the event is taken when that is over. `do` is
    for tasks and returns what was decided. `after` runs when decisions have been performed.
    `story_of` gives the call that entries about a contact belong to.
    """

    def __init__(
        self,
        desk: Desk,
        memory: AcdMemory,
        *,
        perform: Perform,
        after: Callable[[], None],
        story_of: Callable[[str], str],
        seed: str,
    ) -> None:
        self._desk = desk
        self._clock = desk.clock
        self._journal = desk.journal
        self._memory = memory
        self._perform = perform
        self._after = after
        self._story_of = story_of
        self._stands_at_s: float | None = None
        self.epoch_s = self._clock.wall_s() - self._clock.monotonic_s()
        config = acd_config_of(desk.office, self.epoch_s)
        self.engine = AcdEngine(config, random.Random(seed), self.now_s())
        self.counts = DayCounts(_within_s(desk.office), desk.office.office.zone)
        self._know(config)
        self._know_staff(desk.office)
        self._waiting: deque[events.Event] = deque()
        self._scheduled = False
        self._pumping = False
        self._connecting: dict[str, decided.Connect] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s: float | None = None
        self._seq = 0
        self._since_snapshot = 0
        self._snapshot_after = SNAPSHOT_AFTER
        self._writing: asyncio.Task[None] | None = None
        self._listeners: list[Perform] = []
        self._day_ends_s = self._midnight_s()
        self.events = 0
        self.broken = 0

    def now_s(self) -> float:
        """The engine's clock; after `recall` it stands where the last run ended, until `go_on`."""
        return self._clock.monotonic_s() if self._stands_at_s is None else self._stands_at_s

    def go_on(self) -> None:
        """What was cut has been settled: let the time pass that nobody was there."""
        self._stands_at_s = None
        self.do(events.TimerFired())

    def _know(self, config: AcdConfig) -> None:
        self._config = config
        self.regions = RegionTable(config.regions)
        self.customers = {phone: c for c in config.customers for phone in c.phones}
        self._calendars = {
            queue.id: config.calendars[queue.hours] for queue in config.queues if queue.hours
        }

    def _know_staff(self, office: Office) -> None:
        """Who belongs to what, and what everybody does, for the figures of the day."""
        views = (self.engine.view_agent(agent_id) for agent_id in self.engine.agent_ids)
        doing = [(v.agent_id, v.state, v.reason, v.since_s + self.epoch_s) for v in views if v]
        self.counts.use_teams(teams_of(office), doing, self.now_s() + self.epoch_s)

    def use_office(self, office: Office) -> None:
        """Lead the engine to another office. Not journaled: whoever replays the journal begins with the
        office of his own time; the snapshot that follows is of the new one."""
        assert not self._pumping, "in the middle of decisions"
        config = acd_config_of(office, self.epoch_s)
        changes = changes_between(self._config, config)
        self._know(config)
        self.counts.promise(_within_s(office))
        self.counts.use_zone(office.office.zone)
        self._day_ends_s = self._midnight_s()
        self._pumping = True
        try:
            self._work_off()
            for event in changes:
                self._feed(event, self.now_s())
            self._work_off()
        finally:
            self._pumping = False
        self._know_staff(office)
        self._finish()
        if changes and self._memory.remembers:
            self._begin_snapshot()

    def is_open(self, queue_id: str) -> bool:
        """Whether a queue takes callers at this hour."""
        calendar = self._calendars.get(queue_id)
        return calendar is None or calendar.is_open(self.now_s() + self.epoch_s)

    def listen(self, listener: Perform) -> None:
        """Tell `listener` of every decision, after it has been written down."""
        self._listeners.append(listener)

    # -- events ------------------------------------------------------------------------------------

    def tell(self, event: events.Event) -> None:
        """Take an event as soon as what happens now is over."""
        self._waiting.append(event)
        if not self._scheduled and not self._pumping:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def do(self, event: events.Event) -> list[decided.Decision]:
        """Take an event now, after those that wait; what it led to. Not to be called by `perform`."""
        assert not self._pumping, "in the middle of decisions: tell the event instead"
        self._pumping = True
        try:
            self._work_off()
            found = self._handle(event)
            self._work_off()
        finally:
            self._pumping = False
        self._finish()
        return found

    def settle(self) -> None:
        """Take the events that wait. Not to be called by `perform`."""
        assert not self._pumping, "in the middle of decisions"
        self._pump()

    def _pump(self) -> None:
        self._scheduled = False
        if self._pumping:
            return
        self._pumping = True
        try:
            self._work_off()
        finally:
            self._pumping = False
        self._finish()

    def _work_off(self) -> None:
        while self._waiting:
            self._handle(self._waiting.popleft())

    def _handle(self, event: events.Event) -> list[decided.Decision]:
        now_s = self.now_s()
        if self._stands_at_s is None:
            self._follow_wall_clock(now_s)
        self._note_event(event, now_s)
        if isinstance(event, events.ConnectFailed):
            self._connecting.pop(event.contact_id, None)  # as if it had not been
        return self._feed(event, now_s)

    def _follow_wall_clock(self, now_s: float) -> None:
        """Opening hours and days go by the wall clock, which somebody may set while we run."""
        epoch_s = self._clock.wall_s() - self._clock.monotonic_s()
        if abs(epoch_s - self.epoch_s) > _CLOCK_SET_S:
            _log.warning("the wall clock was set by %+.0f s", epoch_s - self.epoch_s)
            self.counts.clock_set(epoch_s - self.epoch_s)
            self.epoch_s = epoch_s
            self._day_ends_s = self._midnight_s()
            self._feed(events.ClockSet(epoch_s), now_s)

    def _feed(self, event: events.Event, now_s: float) -> list[decided.Decision]:
        try:
            found = self.engine.handle(event, now_s)
        except Exception:
            self.broken += 1
            _log.exception("the routing engine failed on %r", event)
            return []
        self._perform_all(found, now_s)
        return found

    def _note_event(self, event: events.Event, now_s: float) -> None:
        self.events += 1
        self._since_snapshot += 1
        data = write_event(event, now_s, self.epoch_s)
        seq = self._journal.append(EVENT, None, data, self._written_s())
        if isinstance(seq, int):
            self._seq = seq

    def _perform_all(self, found: Iterable[decided.Decision], now_s: float) -> None:
        found = list(found)
        for decision in found:
            for due in self._due(decision):
                self._note(due, now_s)
        for decision in found:
            try:
                self._perform(decision)
            except Exception:
                self.broken += 1
                _log.exception("could not be carried out: %r", decision)
                self._undo(decision)

    def _undo(self, decision: decided.Decision) -> None:
        """What could not be carried out must not leave anybody waiting for it."""
        match decision:
            case decided.OfferTo():
                self.tell(events.OfferFailed(decision.offer_id, "failed"))
            case decided.Connect():
                self.tell(events.ConnectFailed(decision.contact_id, "failed"))
            case decided.DialCallback():
                self.tell(events.CallbackFailed(decision.contact_id, "failed", decision.attempt))

    def _finish(self) -> None:
        if self.now_s() >= self._day_ends_s:
            self._score_waits()
        self._arm()
        self._after()
        if self._since_snapshot >= self._snapshot_after and self._memory.remembers:
            self._begin_snapshot()

    def _midnight_s(self) -> float:
        """When this day of the office ends, on the engine's clock."""
        zone = self._desk.office.office.zone
        today = datetime.fromtimestamp(self.now_s() + self.epoch_s, zone).date()
        following = datetime.combine(today + timedelta(days=1), time(), zone)
        return following.timestamp() - self.epoch_s

    def _score_waits(self) -> None:
        """Write down how right the expected waits of the day have been, queue by queue."""
        zone = self._desk.office.office.zone
        day = datetime.fromtimestamp(self._day_ends_s + self.epoch_s - 1.0, zone).date()
        self._day_ends_s = self._midnight_s()
        for queue, score in self.engine.take_wait_scores().items():
            if score.count:
                data = {"queue": queue, "day": day.isoformat(), **asdict(score)}
                self._journal.append(WAIT_SCORE, None, data, self._clock.wall_s())

    # -- the timer -----------------------------------------------------------------------------------

    def _arm(self) -> None:
        due_s = self.engine.get_timer()
        if due_s == self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_s = due_s
        if due_s is not None:
            delay_s = max(0.0, due_s - self.now_s())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = self._timer_s = None
        self.tell(events.TimerFired())

    # -- records -----------------------------------------------------------------------------------

    def connected(self, contact_id: str) -> None:
        """Caller and agent have been joined: only now the call counts as answered."""
        decision = self._connecting.pop(contact_id, None)
        if decision is not None:
            self._note(decision, self.now_s())

    def _due(self, decision: decided.Decision) -> list[decided.Decision]:
        """What is to be written down now. A connection waits until the agent has been told and the two
        are joined, or until what follows shows that he had the contact."""
        if isinstance(decision, decided.Connect):
            self._connecting[decision.contact_id] = decision
            return []
        if not isinstance(
            decision, decided.ContactClosed | decided.ContactMoved | decided.ContactHandled
        ):
            return [decision]
        connect = self._connecting.get(decision.contact_id)
        if connect is None:
            return [decision]
        if isinstance(decision, decided.ContactHandled) and decision.agent_id != connect.agent_id:
            return [decision]  # wrap-up of another agent, who had the contact before
        del self._connecting[decision.contact_id]
        return [connect, decision]

    def note_offer_ended(self, offer_id: int, contact_id: str, agent_id: str, reason: str) -> None:
        """Write down an offer that the agent's telephone has ended; the engine's own it tells itself."""
        self.counts.offer_ended(offer_id, reason, self.now_s() + self.epoch_s)
        data = {"contact": contact_id, "agent": agent_id, "offer": offer_id, "reason": reason}
        story = self._story_of(contact_id)
        self._journal.append(acd.OFFER_ENDED, story, data, self._clock.wall_s())

    def _note(self, decision: decided.Decision, now_s: float) -> None:
        unix_s = now_s + self.epoch_s
        self.counts.note(decision, unix_s)
        for listener in self._listeners:
            listener(decision)
        entry = acd.entry_of(decision)
        if entry is None:
            if isinstance(decision, decided.Ignored):
                _log.info("the routing engine left %s alone: %s", decision.event, decision.reason)
            return
        kind, data = entry
        contact_id = data.get("contact", "")
        if contact_id.startswith(OWN_CALL):
            contact_id = data["contact"] = ""
        if isinstance(decision, decided.OfferTo):
            data["why"] = decision.why.record()
        elif isinstance(decision, decided.ContactQueued):
            data |= self._facts_of(contact_id, now_s)
        story = self._story_of(contact_id) if contact_id else None
        self._journal.append(kind, story, data, self._written_s())

    def _written_s(self) -> float:
        """The time of what is written down: of what a crash has cut that of the crash, not of the start after
        it, or agents would have talked and wrapped up while nobody was there."""
        if self._stands_at_s is None:
            return self._clock.wall_s()
        return self._stands_at_s + self.epoch_s

    def _facts_of(self, contact_id: str, now_s: float) -> dict[str, Any]:
        view = self.engine.view_contact(contact_id, now_s)
        if view is None:
            return {}
        return {"media": view.media.value, "priority": view.priority}

    # -- life --------------------------------------------------------------------------------------

    async def recall(self) -> bool:
        """Bring the engine to where it was when the last run ended; False: there was none. Nothing is
        performed: what is to be done follows from the events that the caller tells before `go_on`."""
        snapshot, past = await self._memory.recall(self.epoch_s)
        at_s = min(snapshot.unix_s - self.epoch_s, self.now_s()) if snapshot is not None else None
        if snapshot is not None and at_s is not None:
            self._seq = snapshot.seq
            self.counts.restore(snapshot.counts)
            try:
                self.engine.restore(snapshot.engine, at_s)
            except RoutingError as error:
                _log.error("queues begin anew: %s", error)
                return False
        for event, event_s in past:
            at_s = min(max(event_s, at_s if at_s is not None else event_s), self.now_s())
            if isinstance(event, events.ConnectFailed):
                self._connecting.pop(event.contact_id, None)
            if reason := _end_of_offer(event):
                self.counts.offer_ended(*reason, at_s + self.epoch_s)
            try:
                for decision in self.engine.handle(event, at_s):
                    for due in self._due(decision):
                        self.counts.note(due, at_s + self.epoch_s)
            except Exception:
                _log.exception("an event of the journal could not be repeated: %r", event)
        if at_s is not None:
            until_s = await self._memory.alive_until(at_s + self.epoch_s)
            at_s = min(until_s - self.epoch_s, self.now_s())
        self._stands_at_s = at_s
        self._know_staff(self._desk.office)
        return at_s is not None

    def take_snapshot(self) -> Snapshot:
        """The state now, as it is kept."""
        self._since_snapshot = 0
        size = len(self.engine.contact_ids) + len(self.engine.agent_ids)
        self._snapshot_after = max(SNAPSHOT_AFTER, 20 * size)
        unix_s = self.now_s() + self.epoch_s
        return Snapshot(self._seq, unix_s, self.engine.snapshot(), self.counts.snapshot())

    def _begin_snapshot(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self.keep())

    async def keep(self) -> None:
        """Write a snapshot."""
        if self._memory.remembers:
            await self._memory.keep(self.take_snapshot())

    async def stop(self) -> None:
        """Take what still waits, write the last snapshot."""
        self._pump()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._timer_s = None
        if self._writing is not None:
            await self._writing
        await self.keep()

    def snapshot(self) -> dict[str, int]:
        """For `status`; `offers` and `live_contacts` are 0 at rest."""
        return {"events": self.events, "broken": self.broken, "timer": self._timer is not None}


def _end_of_offer(event: events.Event) -> tuple[int, str] | None:
    """Which offer a telephone has ended, and how."""
    match event:
        case events.OfferRejected():
            return event.offer_id, "rejected"
        case events.OfferTimedOut():
            return event.offer_id, "no-answer"
        case events.OfferFailed():
            return event.offer_id, event.reason
    return None


def _within_s(office: Office) -> dict[str, float]:
    return {queue.name: queue.service_level.within_s for queue in office.queues}
