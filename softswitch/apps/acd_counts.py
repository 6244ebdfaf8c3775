"""What queues, regions and agents have done since midnight of the office, by half-hours too: for screens, in
memory, up to the last second. The figures are those of a report of today, which reads the journal: of talks,
not of tickets, which have a report of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal, TypeVar

from routing.decisions import (
    AgentStateChanged,
    CancelOffer,
    Connect,
    ContactClosed,
    ContactHandled,
    ContactMoved,
    ContactQueued,
    Decision,
    OfferTo,
    Overflow,
)
from routing.model import AgentState, Media
from routing.stats import (
    AgentTimes,
    Ratio,
    ServiceCounts,
    VisitCounts,
    average_handle,
    handle_times,
    service_level,
)
from softswitch.apps.acd_staff import AgentDay, Staff, Team
from softswitch.apps.acd_visits import WAITING, Change, Visits

HALF_S = 1_800
REGIONS_MAX = 500
"""Regions of a day that are told apart as it goes on; contacts from further ones are counted as `OTHERS`.
Reports tell them all."""

OTHERS = "(others)"
WITHIN_S = 20.0
"""The promise of a queue that none is known of."""

_MINUTE_S = 60.0
_TOLD = Connect | ContactClosed | ContactHandled | ContactMoved | ContactQueued | Overflow
Record = TypeVar("Record", VisitCounts, AgentTimes)
What = Literal["queue", "region"]
Half = tuple[float, str]
"""When a half-hour began, and the queue or region."""

_log = logging.getLogger("softswitch.acd")


@dataclass(slots=True)
class Figures:
    """Of one queue or region, of a day or a half-hour of it. Contacts belong to the half-hour in which they
    entered the queue, handling to the one in which it ended."""

    visits: VisitCounts = field(default_factory=VisitCounts)
    times: AgentTimes = field(default_factory=AgentTimes)

    @property
    def service(self) -> ServiceCounts:
        """What service levels are made of."""
        return self.visits.service

    @property
    def average_handle_s(self) -> Ratio:
        """AHT: talk, hold and wrap-up of what was handled."""
        return average_handle(self.times)

    def count(self, change: Change, within_s: float) -> None:
        """A visit has begun or left the line."""
        counts, visit, sign = self.visits, change.visit, change.sign
        if change.outcome == WAITING:
            counts.entered += 1
            counts.waiting += 1
            return
        counts.waiting -= sign
        setattr(counts, change.outcome, getattr(counts, change.outcome) + sign)
        counts.wait_s += sign * visit.waited_s
        if change.outcome == "answered":
            counts.wait_answered_s += sign * visit.waited_s
        if sign > 0:
            counts.wait_s_max = max(counts.wait_s_max, visit.waited_s)
        if visit.waited_s <= within_s:
            if change.outcome == "answered":
                counts.answered_in_time += sign
            elif change.outcome == "abandoned":
                counts.abandoned_in_time += sign


class _Table:
    """Figures by name, of the day and of each of its half-hours."""

    def __init__(self) -> None:
        self.day: dict[str, Figures] = {}
        self.halves: dict[Half, Figures] = {}

    def at(self, name: str, half_s: float) -> tuple[Figures, Figures]:
        """Those of the day and of the half-hour, to be added to."""
        day = self.day.get(name)
        if day is None:
            day = self.day[name] = Figures()
        half = self.halves.get((half_s, name))
        if half is None:
            half = self.halves[half_s, name] = Figures()
        return day, half

    def clear(self) -> None:
        self.day.clear()
        self.halves.clear()


class DayCounts:
    """Counts by queue, by region and by agent. `within_s`, by queue, is what its service level promises; `zone`
    says when a day begins."""

    def __init__(self, within_s: Mapping[str, float], zone: tzinfo = UTC) -> None:
        self._within_s = within_s
        self._zone = zone
        self._day = ""
        self._until_s = self._midnight_s = 0.0
        self._offset_s = 0.0
        self.visits = Visits()
        self._tables: dict[What, _Table] = {"queue": _Table(), "region": _Table()}
        self._staff = Staff()
        self._touched: set[str] = set()

    def promise(self, within_s: Mapping[str, float]) -> None:
        """Other promises from now on; what is counted stays counted."""
        self._within_s = within_s

    def use_zone(self, zone: tzinfo) -> None:
        """Days of another zone."""
        self._zone, self._until_s = zone, 0.0

    # -- what happens --------------------------------------------------------------------------------

    def note(self, decision: Decision, unix_s: float) -> None:
        """Count one decision."""
        if isinstance(decision, AgentStateChanged):
            self._turn(unix_s)
            self._staff.change(
                decision.agent_id,
                decision.new,
                decision.reason,
                unix_s - self._midnight_s,
                decision.lasted_s,
                decision.old,
            )
        elif isinstance(decision, OfferTo):
            if decision.media is not Media.TICKET:
                self._turn(unix_s)
                offer_id = decision.offer_id
                self._staff.offer(decision.agent_id, offer_id, unix_s - self._midnight_s)
        elif isinstance(decision, CancelOffer):
            self.offer_ended(decision.offer_id, decision.reason, unix_s)
        elif isinstance(decision, _TOLD):
            self._turn(unix_s)
            if isinstance(decision, ContactHandled):
                self._handled(decision, unix_s)
            elif isinstance(decision, Connect):
                self.offer_ended(decision.offer_id, "answered", unix_s)
            for change in self.visits.note(decision, unix_s):
                self._count(change)

    def offer_ended(self, offer_id: int, reason: str, unix_s: float) -> None:
        """An agent is rung no longer, as the engine or his telephone says; only the first of them counts."""
        self._turn(unix_s)
        self._staff.offer_ended(offer_id, reason, unix_s - self._midnight_s)

    def _count(self, change: Change) -> None:
        visit = change.visit
        region = self._region(visit.region)
        self._touched.add(region)
        if visit.entered_at_s < self._midnight_s:
            return  # it belongs to yesterday
        within_s = self._within_s.get(visit.queue_id, WITHIN_S)
        for figures in self._at(visit.queue_id, region, visit.entered_at_s):
            figures.count(change, within_s)

    def _handled(self, decision: ContactHandled, unix_s: float) -> None:
        times = handle_times([decision])
        if not times.handled or decision.media is Media.TICKET:
            return
        self._staff.handled(decision.agent_id, times, unix_s - self._midnight_s)
        region = self._region(self.visits.region_of(decision.contact_id))
        self._touched.add(region)
        for figures in self._at(decision.queue_id, region, unix_s):
            add_times(figures.times, times)

    def _at(self, queue_id: str, region: str, unix_s: float) -> Iterator[Figures]:
        """What an instant counts for."""
        half_s = self._half(unix_s)
        yield from self._tables["queue"].at(queue_id, half_s)
        yield from self._tables["region"].at(region, half_s)

    def _region(self, name: str) -> str:
        known = self._tables["region"].day
        return name if name in known or len(known) < REGIONS_MAX else OTHERS

    def _half(self, unix_s: float) -> float:
        """When the half-hour of an instant began, by the clock on the wall."""
        return (unix_s + self._offset_s) // HALF_S * HALF_S - self._offset_s

    # -- what is asked -------------------------------------------------------------------------------

    def of(self, queue_id: str, unix_s: float) -> Figures:
        """Today's of a queue."""
        self._turn(unix_s)
        return self._tables["queue"].day.get(queue_id) or Figures()

    def of_region(self, region: str, unix_s: float) -> Figures:
        """Today's of those who call from a region; "" for those of none."""
        self._turn(unix_s)
        return self._tables["region"].day.get(region) or Figures()

    def regions(self, unix_s: float) -> list[str]:
        """Those that somebody called from today."""
        self._turn(unix_s)
        return sorted(self._tables["region"].day)

    def waiting_from(self, region: str) -> int:
        """How many of a region wait now."""
        waiting = self.visits.waiting
        if region != OTHERS:
            return waiting[region]
        return sum(n for name, n in waiting.items() if name not in self._tables["region"].day)

    def tickets_from(self, region: str) -> int:
        """How many tickets of customers of a region lie in queues now."""
        tickets = self.visits.tickets
        if region != OTHERS:
            return tickets[region]
        return sum(n for name, n in tickets.items() if name not in self._tables["region"].day)

    def halves(self, what: What, unix_s: float) -> Iterator[tuple[Half, Figures]]:
        """Today's half-hours in which something was counted, by queue or region."""
        self._turn(unix_s)
        return iter(list(self._tables[what].halves.items()))

    def since_midnight(self, unix_s: float) -> float:
        """When today began."""
        self._turn(unix_s)
        return self._midnight_s

    def of_agent(self, agent_id: str, unix_s: float) -> AgentDay:
        """An agent's day up to now."""
        self._turn(unix_s)
        return self._staff.of(agent_id, unix_s - self._midnight_s)

    def halves_of_agent(self, agent_id: str, unix_s: float) -> list[tuple[float, AgentDay]]:
        """His last two half-hours, this one up to now, each with the time it began."""
        self._turn(unix_s)
        found = self._staff.halves_of(agent_id, unix_s - self._midnight_s)
        return [(self._midnight_s + half_s, day) for half_s, day in found]

    def agents(self) -> list[str]:
        """Of whom something is counted."""
        return self._staff.names()

    def occupancy(self, team: Team, unix_s: float) -> tuple[Ratio, Ratio]:
        """Of those who belong to a team now: today, and since the half-hour before this one began."""
        self._turn(unix_s)
        return self._staff.occupancy(team, unix_s - self._midnight_s)

    def use_teams(
        self,
        teams_of: Mapping[str, Sequence[Team]],
        doing: Iterable[tuple[str, AgentState, str, float]],
        unix_s: float,
    ) -> None:
        """Who belongs to what, and what everybody does since when (agent, state, reason, time)."""
        self._turn(unix_s)
        now_s = unix_s - self._midnight_s
        for agent, state, reason, since_s in doing:
            self._staff.set(agent, state, reason, since_s - self._midnight_s, now_s)
        self._staff.use_teams(teams_of, now_s)

    def clock_set(self, by_s: float) -> None:
        """The wall clock, by which everything is told here, was set."""
        self._staff.shift(by_s)

    def level(self, queue_id: str, unix_s: float) -> Ratio:
        """Answered in time, of all that were answered or gave up, today."""
        return service_level(self.of(queue_id, unix_s).service)

    def take_touched(self) -> set[str]:
        """The regions that something was counted of since this was last asked."""
        touched, self._touched = self._touched, set()
        return touched

    def _turn(self, unix_s: float) -> None:
        """Begin anew at midnight. Asked for each agent of a list: the day is looked up once a minute."""
        if self._until_s - _MINUTE_S <= unix_s < self._until_s:
            return
        self._until_s = (unix_s // _MINUTE_S + 1) * _MINUTE_S
        now = datetime.fromtimestamp(unix_s, self._zone)
        self._midnight_s = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        offset = now.utcoffset()
        self._offset_s = 0.0 if offset is None else offset.total_seconds()
        day = now.date().isoformat()
        if day != self._day:
            self._day = day
            self._clear()

    def _clear(self) -> None:
        for table in self._tables.values():
            table.clear()
        self._staff.begin_day()
        self._touched.clear()

    # -- restarts ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Rows of numbers, whose names are said once."""
        return {
            "day": self._day,
            "columns": [part.name for kind in (VisitCounts, AgentTimes) for part in fields(kind)],
            "days": {what: _days(table) for what, table in self._tables.items()},
            "halves": {what: _halves(table) for what, table in self._tables.items()},
            "visits": self.visits.snapshot(),
            "staff": self._staff.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over what `snapshot` gave, or nothing of one that is damaged, which is logged."""
        try:
            self._restore(snapshot)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            _log.error("the counts of the day begin anew: %s", error or type(error).__name__)
            self._day, self.visits, self._staff = "", Visits(), Staff()
            self._clear()

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        self._day, self._until_s = str(snapshot.get("day", "")), 0.0
        if "staff" in snapshot:
            self._staff.restore(snapshot["staff"])
        else:
            told = dict(snapshot.get("agents") or {})
            times = {str(name): _read(AgentTimes(), values) for name, values in told.items()}
            self._staff.restore_old(times, dict(snapshot.get("states") or {}))
        columns = snapshot.get("columns")
        if columns is None:
            self._restore_old(snapshot)
            return
        for what, table in self._tables.items():
            for name, *values in snapshot["days"][what]:
                table.day[name] = _figures(columns, values)
            for half_s, name, *values in snapshot["halves"][what]:
                table.halves[half_s, name] = _figures(columns, values)
        self.visits.restore(snapshot["visits"])

    def _restore_old(self, snapshot: Mapping[str, Any]) -> None:
        """Of a version that counted queues by the day only."""
        queues = self._tables["queue"].day
        for name, values in dict(snapshot.get("queues") or {}).items():
            visits = _read(queues.setdefault(str(name), Figures()).visits, values)
            visits.overflowed = int(values.get("flowed_out", 0))
            visits.entered = visits.answered + visits.abandoned + visits.overflowed
        for name, (answered_s, wait_s, callbacks) in dict(snapshot.get("waits") or {}).items():
            visits = queues.setdefault(str(name), Figures()).visits
            visits.wait_answered_s, visits.wait_s = float(answered_s), float(wait_s)
            visits.callbacks = int(callbacks)
        for name, values in dict(snapshot.get("times") or {}).items():
            _read(queues.setdefault(str(name), Figures()).times, values)


def _days(table: _Table) -> list[list[Any]]:
    return [[name, *_values(figures)] for name, figures in table.day.items()]


def _halves(table: _Table) -> list[list[Any]]:
    return [[half_s, name, *_values(figures)] for (half_s, name), figures in table.halves.items()]


def _values(figures: Figures) -> tuple[Any, ...]:
    return (*astuple(figures.visits), *astuple(figures.times))


def _figures(columns: Sequence[str], values: Sequence[Any]) -> Figures:
    told = dict(zip(columns, values, strict=True))
    return Figures(_read(VisitCounts(), told), _read(AgentTimes(), told))


def add_times(total: AgentTimes, more: AgentTimes) -> None:
    """Take another's handling in."""
    total.talk_s += more.talk_s
    total.hold_s += more.hold_s
    total.wrap_up_s += more.wrap_up_s
    total.handled += more.handled


def _read(record: Record, values: Mapping[str, Any]) -> Record:
    for part in fields(record):
        if part.name in values:
            setattr(record, part.name, type(getattr(record, part.name))(values[part.name]))
    return record
