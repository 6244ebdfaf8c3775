"""What queues and agents have done since midnight of the office: for screens; reports read the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

from routing.decisions import (
    AgentStateChanged,
    Connect,
    ContactClosed,
    ContactHandled,
    ContactMoved,
    Decision,
)
from routing.model import AgentState, Outcome
from routing.stats import (
    AgentTimes,
    Ratio,
    ServiceCounts,
    average_handle,
    handle_times,
    service_level,
    tally,
)

_MINUTE_S = 60.0
_BUSY = frozenset({AgentState.ON_CONTACT, AgentState.WRAP_UP})
_CALLED_BACK = frozenset({Outcome.CALLBACK_DONE, Outcome.CALLBACK_FAILED})
Record = TypeVar("Record", ServiceCounts, AgentTimes)


@dataclass(slots=True)
class QueueDay:
    """One queue's day: sums of the waits in seconds of those who were answered, and of all who left or
    were; `callbacks` were made, whatever came of them."""

    service: ServiceCounts = field(default_factory=ServiceCounts)
    times: AgentTimes = field(default_factory=AgentTimes)
    callbacks: int = 0
    wait_answered_s: float = 0.0
    wait_s: float = 0.0

    @property
    def average_answer_s(self) -> Ratio:
        """ASA: the wait of the answered."""
        return Ratio(self.wait_answered_s, self.service.answered)

    @property
    def average_wait_s(self) -> Ratio:
        """The wait of all who wait no longer."""
        counts = self.service
        return Ratio(self.wait_s, counts.answered + counts.abandoned + counts.flowed_out)

    @property
    def average_handle_s(self) -> Ratio:
        """AHT: talk, hold and wrap-up of what was handled."""
        return average_handle(self.times)


@dataclass(slots=True)
class AgentDay:
    """One agent's day: what he has handled, and seconds in states that are over, with contacts (wrap-up
    included) and free."""

    times: AgentTimes = field(default_factory=AgentTimes)
    busy_s: float = 0.0
    idle_s: float = 0.0

    def add(self, state: AgentState, lasted_s: float) -> None:
        """So long he was in a state."""
        if state in _BUSY:
            self.busy_s += lasted_s
        elif state is AgentState.AVAILABLE:
            self.idle_s += lasted_s

    @property
    def occupancy(self) -> Ratio:
        """The share of his time with contacts or free for them that was spent on them."""
        return Ratio(self.busy_s, self.busy_s + self.idle_s)


class DayCounts:
    """Counts by queue and by agent. `within_s`, by queue, is what its service level promises; `zone` says
    when a day begins."""

    def __init__(self, within_s: Mapping[str, float], zone: tzinfo = UTC) -> None:
        self._within_s = within_s
        self._zone = zone
        self._day = ""
        self._until_s = self._midnight_s = 0.0
        self._queues: dict[str, QueueDay] = {}
        self._agents: dict[str, AgentDay] = {}
        self._connected: dict[str, Connect] = {}  # by contact, until it has been handled

    def promise(self, within_s: Mapping[str, float]) -> None:
        """Other promises from now on; what is counted stays counted."""
        self._within_s = within_s

    def use_zone(self, zone: tzinfo) -> None:
        """Days of another zone."""
        self._zone, self._until_s = zone, 0.0

    def note(self, decision: Decision, unix_s: float) -> None:
        """Count one decision."""
        if isinstance(decision, ContactHandled):
            self._turn(unix_s)
            connect = self._connected.pop(decision.contact_id, None)
            if decision.outcome == "failed" and connect is not None:
                self._take_back(connect)
            times = handle_times([decision])
            _add(self._queue(decision.queue_id).times, times)
            _add(self._agent(decision.agent_id).times, times)
        elif isinstance(decision, AgentStateChanged):
            self._turn(unix_s)
            day = self._agent(decision.agent_id)
            day.add(decision.old, min(decision.lasted_s, unix_s - self._midnight_s))
        elif isinstance(decision, Connect | ContactClosed | ContactMoved):
            self._turn(unix_s)
            if isinstance(decision, ContactMoved):
                queue_id = decision.from_queue_id
            else:
                queue_id = decision.queue_id
            queue = self._queue(queue_id)
            counted = tally([decision], self._within_s.get(queue_id, 20.0), queue_id)
            queue.service.add(counted)
            if isinstance(decision, Connect):
                self._connected[decision.contact_id] = decision
                queue.wait_answered_s += decision.waited_s
            if counted.answered or counted.abandoned or counted.flowed_out:
                queue.wait_s += decision.waited_s
            if isinstance(decision, ContactClosed):
                queue.callbacks += decision.outcome in _CALLED_BACK

    def _take_back(self, connect: Connect) -> None:
        """Nobody was there when the two were joined: no answer, as in the reports."""
        day = self._queue(connect.queue_id)
        counted = tally([connect], self._within_s.get(connect.queue_id, 20.0), connect.queue_id)
        day.service.answered -= counted.answered
        day.service.answered_in_time -= counted.answered_in_time
        day.wait_answered_s -= connect.waited_s
        day.wait_s -= connect.waited_s

    def of(self, queue_id: str, unix_s: float) -> QueueDay:
        """Today's counts of a queue."""
        self._turn(unix_s)
        return self._queues.get(queue_id) or QueueDay()

    def of_agent(self, agent_id: str, unix_s: float, state: AgentState, for_s: float) -> AgentDay:
        """An agent's day up to now, when he has been in `state` `for_s`."""
        self._turn(unix_s)
        day = self._agents.get(agent_id)
        found = AgentDay() if day is None else replace(day)
        found.add(state, min(for_s, unix_s - self._midnight_s))
        return found

    def level(self, queue_id: str, unix_s: float) -> Ratio:
        """Answered in time, of all that were answered or gave up, today."""
        return service_level(self.of(queue_id, unix_s).service)

    def _queue(self, queue_id: str) -> QueueDay:
        return self._queues.setdefault(queue_id, QueueDay())

    def _agent(self, agent_id: str) -> AgentDay:
        return self._agents.setdefault(agent_id, AgentDay())

    def _turn(self, unix_s: float) -> None:
        """Begin anew at midnight. Asked for each agent of a list: the day is looked up once a minute."""
        if self._until_s - _MINUTE_S <= unix_s < self._until_s:
            return
        self._until_s = (unix_s // _MINUTE_S + 1) * _MINUTE_S
        now = datetime.fromtimestamp(unix_s, self._zone)
        self._midnight_s = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        day = now.date().isoformat()
        if day != self._day:
            self._day = day
            self._queues.clear()
            self._agents.clear()
            self._connected.clear()

    def snapshot(self) -> dict[str, Any]:
        return {
            "day": self._day,
            "queues": {name: asdict(day.service) for name, day in self._queues.items()},
            "times": {name: asdict(day.times) for name, day in self._queues.items()},
            "waits": {
                name: [day.wait_answered_s, day.wait_s, day.callbacks]
                for name, day in self._queues.items()
            },
            "agents": {name: asdict(day.times) for name, day in self._agents.items()},
            "states": {name: [day.busy_s, day.idle_s] for name, day in self._agents.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over what `snapshot` gave; what is not understood is left out."""
        self._day, self._until_s = str(snapshot.get("day", "")), 0.0
        for name, values in dict(snapshot.get("queues") or {}).items():
            self._queue(str(name)).service = _read(ServiceCounts(), values)
        for name, values in dict(snapshot.get("times") or {}).items():
            self._queue(str(name)).times = _read(AgentTimes(), values)
        for name, (answered_s, wait_s, callbacks) in dict(snapshot.get("waits") or {}).items():
            day = self._queue(str(name))
            day.wait_answered_s, day.wait_s = float(answered_s), float(wait_s)
            day.callbacks = int(callbacks)
        for name, values in dict(snapshot.get("agents") or {}).items():
            self._agent(str(name)).times = _read(AgentTimes(), values)
        for name, (busy_s, idle_s) in dict(snapshot.get("states") or {}).items():
            agent = self._agent(str(name))
            agent.busy_s, agent.idle_s = float(busy_s), float(idle_s)


def _add(total: AgentTimes, more: AgentTimes) -> None:
    for part in fields(total):
        setattr(total, part.name, getattr(total, part.name) + getattr(more, part.name))


def _read(record: Record, values: Mapping[str, Any]) -> Record:
    for part in fields(record):
        if part.name in values:
            setattr(record, part.name, type(getattr(record, part.name))(values[part.name]))
    return record
