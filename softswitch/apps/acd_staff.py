"""What agents have done since midnight, and how busy those of a queue, a region or a skill have been together:
for screens, in memory, exact at any moment however long somebody has been doing something. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.model import AgentState
from routing.stats import AgentTimes, Ratio

HALF_S = 1_800.0
REASONS_MAX = 32
"""Reasons for being unavailable that are told apart of an agent a day; further ones are `OTHERS`."""
OTHERS = "(others)"
_RUNG_MAX = 100_000
"""Offers that have no end yet: each takes an agent's place, so that there are never so many."""

Key = tuple[str, str]
"""A state and its reason, or what is counted (`_OFFERS`, `_TIMES`) and its name."""
Team = tuple[str, str]
"""What agents are taken together by: "queue", "region" or "asked", and its name."""

_OFFERS, _TIMES = "offers", "times"
_ENDS = {"answered": "accepted", "no-answer": "missed", "rejected": "rejected"}
_SUMS = ("talk_s", "hold_s", "wrap_up_s", "handled")
_BUSY, _IDLE = ("busy", ""), ("idle", "")
_AS: dict[str, Key] = {
    AgentState.ON_CONTACT: _BUSY,
    AgentState.WRAP_UP: _BUSY,
    AgentState.AVAILABLE: _IDLE,
    AgentState.OFFERED: _IDLE,
}


class Tally:
    """Numbers of a day, and what they were at the beginning of this half-hour and of the one before. Times are
    seconds since midnight; what lasts adds up by itself."""

    __slots__ = ("half_s", "last", "sums", "this")

    def __init__(self) -> None:
        self.sums: dict[Key, list[float]] = {}
        """By key: an amount, to which time is added as often as the second number says."""
        self.half_s = 0.0
        self.this: dict[Key, float] = {}
        self.last: dict[Key, float] = {}

    def add(self, key: Key, amount: float) -> None:
        """So much more."""
        self.sums.setdefault(key, [0.0, 0])[0] += amount

    def begin(self, key: Key, at_s: float) -> None:
        """From now on it lasts."""
        found = self.sums.setdefault(key, [0.0, 0])
        found[0] -= at_s
        found[1] += 1

    def end(self, key: Key, began_s: float, lasted_s: float) -> None:
        """What has begun at `began_s` is over, and has lasted so long."""
        found = self.sums.setdefault(key, [0.0, 0])
        found[0] += began_s + lasted_s
        found[1] -= 1

    def turn(self, now_s: float) -> None:
        """To be called before anything is changed or asked: the half-hour may have ended."""
        half_s = now_s // HALF_S * HALF_S
        if half_s <= self.half_s:
            return  # or the clock was set back: then it goes on from here by and by
        before_s = half_s - HALF_S
        self.last = self.this if before_s == self.half_s else self.day(max(0.0, before_s))
        self.this = self.day(half_s)
        self.half_s = half_s

    def day(self, now_s: float) -> dict[Key, float]:
        """Since midnight."""
        return {key: amount + count * now_s for key, (amount, count) in self.sums.items()}

    def halves(self, now_s: float) -> list[tuple[float, dict[Key, float]]]:
        """The half-hour before this one, and this one up to now, each with its beginning."""
        found = [(self.half_s, _less(self.day(now_s), self.this))]
        if self.half_s >= HALF_S:
            found.insert(0, (self.half_s - HALF_S, _less(self.this, self.last)))
        return found

    def lately(self, now_s: float) -> dict[Key, float]:
        """Since the beginning of the half-hour before this one."""
        return _less(self.day(now_s), self.last)

    def record(self) -> list[Any]:
        """As it is kept."""
        sums = [[*key, *values] for key, values in self.sums.items()]
        marks = ([[*key, value] for key, value in mark.items()] for mark in (self.this, self.last))
        return [self.half_s, sums, *marks]

    @classmethod
    def read(cls, record: Sequence[Any]) -> Tally:
        """What `record` gave."""
        found = cls()
        half_s, sums, this, last = record
        found.half_s = float(half_s)
        found.sums = {(str(a), str(b)): [float(x), int(n)] for a, b, x, n in sums}
        found.this, found.last = (
            {(str(a), str(b)): float(x) for a, b, x in mark} for mark in (this, last)
        )
        return found


def _less(one: Mapping[Key, float], other: Mapping[Key, float]) -> dict[Key, float]:
    return {key: value - other.get(key, 0.0) for key, value in one.items()}


@dataclass(slots=True)
class AgentDay:
    """What one agent has done in a time: `states` in seconds by state and reason. Offers and times are of
    calls and chats: a ticket rings nobody."""

    offered: int = 0
    accepted: int = 0
    missed: int = 0
    rejected: int = 0
    times: AgentTimes = field(default_factory=AgentTimes)
    states: dict[Key, float] = field(default_factory=dict)

    @property
    def occupancy(self) -> Ratio:
        """The share of his time with contacts, or free for them and rung, that was spent on them."""
        return _occupancy(self.states)


def _occupancy(states: Mapping[Key, float]) -> Ratio:
    of = {_BUSY: 0.0, _IDLE: 0.0}
    for (state, _), seconds in states.items():
        kind = _AS.get(state)
        if kind is not None:
            of[kind] += seconds
    return Ratio(of[_BUSY], of[_BUSY] + of[_IDLE])


def agent_day(told: Mapping[Key, float]) -> AgentDay:
    """What a tally of an agent tells."""
    found = AgentDay()
    for (what, name), value in told.items():
        if what == _OFFERS:
            setattr(found, name, round(value))
        elif what == _TIMES:
            setattr(found.times, name, round(value) if name == "handled" else value)
        else:
            found.states[what, name] = max(0.0, value)
    return found


class Staff:
    """All agents. `now_s` is always seconds since midnight."""

    def __init__(self) -> None:
        self._agents: dict[str, Tally] = {}
        self._doing: dict[str, tuple[Key, float]] = {}  # a state, and since when
        self._rung: dict[int, str] = {}
        self._teams: dict[Team, Tally] = {}
        self._teams_of: Mapping[str, Sequence[Team]] = {}

    # -- what happens --------------------------------------------------------------------------------

    def change(
        self,
        agent: str,
        state: AgentState,
        reason: str,
        now_s: float,
        lasted_s: float,
        old: AgentState,
    ) -> None:
        """He has done `old` for so long and does something else now."""
        tally = self._tally(agent, now_s)
        teams = [self._team(team, now_s) for team in self._teams_of.get(agent, ())]
        lasted_s = max(0.0, min(lasted_s, now_s))
        former = self._doing.pop(agent, None)
        if former is None and old is not AgentState.LOGGED_OUT:
            former = (_key(tally, old, ""), now_s - lasted_s)
            _begin(tally, teams, *former)
        if former is not None:
            key, began_s = former
            tally.end(key, began_s, lasted_s)
            for team in teams:
                if key[0] in _AS:
                    team.end(_AS[key[0]], began_s, lasted_s)
        self._do(agent, tally, teams, state, reason, now_s)

    def set(self, agent: str, state: AgentState, reason: str, since_s: float, now_s: float) -> None:
        """He does this, and has since then: after a restart what is counted may know otherwise."""
        known = self._doing.get(agent)
        if known is not None and known[0][0] == state:
            return
        tally = self._tally(agent, now_s)
        teams = [self._team(team, now_s) for team in self._teams_of.get(agent, ())]
        since_s = max(0.0, min(since_s, now_s))
        if known is not None:
            self.change(agent, state, reason, since_s, max(0.0, since_s - known[1]), state)
        else:
            self._do(agent, tally, teams, state, reason, since_s)

    def _do(
        self,
        agent: str,
        tally: Tally,
        teams: Sequence[Tally],
        state: AgentState,
        reason: str,
        since_s: float,
    ) -> None:
        if state is AgentState.LOGGED_OUT:
            return
        key = _key(tally, state, reason if state is AgentState.UNAVAILABLE else "")
        self._doing[agent] = (key, since_s)
        _begin(tally, teams, key, since_s)

    def offer(self, agent: str, offer_id: int, now_s: float) -> None:
        """He is rung."""
        self._tally(agent, now_s).add((_OFFERS, "offered"), 1)
        if len(self._rung) < _RUNG_MAX:
            self._rung[offer_id] = agent

    def offer_ended(self, offer_id: int, reason: str, now_s: float) -> None:
        """He is no longer; what else was not counted as an offer is left alone."""
        agent = self._rung.pop(offer_id, None)
        end = _ENDS.get(reason)
        if agent is not None and end is not None:
            self._tally(agent, now_s).add((_OFFERS, end), 1)

    def handled(self, agent: str, times: AgentTimes, now_s: float) -> None:
        """He is done with something."""
        tally = self._tally(agent, now_s)
        for name in _SUMS:
            tally.add((_TIMES, name), getattr(times, name))

    def begin_day(self) -> None:
        """Midnight: what lasts goes on, from nothing."""
        self._agents.clear()
        self._rung.clear()
        for agent, (key, _) in self._doing.items():
            self._doing[agent] = (key, 0.0)
            self._agents.setdefault(agent, Tally()).begin(key, 0.0)
        self._form_teams(0.0)

    def shift(self, by_s: float) -> None:
        """The clock on the wall was set: what lasts has not lasted longer for it."""
        for tally in (*self._agents.values(), *self._teams.values()):
            for values in tally.sums.values():
                values[0] -= by_s * values[1]
        self._doing = {agent: (key, at_s + by_s) for agent, (key, at_s) in self._doing.items()}

    # -- teams ---------------------------------------------------------------------------------------

    def use_teams(self, teams_of: Mapping[str, Sequence[Team]], now_s: float) -> None:
        """Who belongs to what from now on, and has always belonged: figures are of those who have it now."""
        self._teams_of = teams_of
        self._form_teams(now_s)

    def _form_teams(self, now_s: float) -> None:
        self._teams.clear()
        for agent, tally in self._agents.items():
            tally.turn(now_s)
            for name in self._teams_of.get(agent, ()):
                team = self._team(name, now_s)
                for (state, _), (amount, count) in tally.sums.items():
                    if state in _AS:
                        sums = team.sums.setdefault(_AS[state], [0.0, 0])
                        sums[0] += amount
                        sums[1] += count
                for mark, of_team in ((tally.this, team.this), (tally.last, team.last)):
                    for (state, _), value in mark.items():
                        if state in _AS:
                            of_team[_AS[state]] = of_team.get(_AS[state], 0.0) + value

    def _team(self, name: Team, now_s: float) -> Tally:
        found = self._teams.setdefault(name, Tally())
        found.turn(now_s)
        return found

    def _tally(self, agent: str, now_s: float) -> Tally:
        found = self._agents.setdefault(agent, Tally())
        found.turn(now_s)
        return found

    # -- what is asked -------------------------------------------------------------------------------

    def of(self, agent: str, now_s: float) -> AgentDay:
        """An agent's day up to now."""
        tally = self._agents.get(agent)
        return AgentDay() if tally is None else agent_day(tally.day(now_s))

    def halves_of(self, agent: str, now_s: float) -> Iterable[tuple[float, AgentDay]]:
        """His last two half-hours, this one last, each with its beginning in seconds since midnight."""
        tally = self._tally(agent, now_s)
        return [(half_s, agent_day(told)) for half_s, told in tally.halves(now_s)]

    def names(self) -> list[str]:
        """Agents of whom something is counted."""
        return list(self._agents)

    def occupancy(self, team: Team, now_s: float) -> tuple[Ratio, Ratio]:
        """Of a team: today, and since the beginning of the half-hour before this one."""
        tally = self._teams.get(team)
        if tally is None:
            return Ratio(0.0, 0.0), Ratio(0.0, 0.0)
        tally.turn(now_s)
        both = (tally.day(now_s), tally.lately(now_s))
        day, late = (Ratio(f.get(_BUSY, 0.0), f.get(_BUSY, 0.0) + f.get(_IDLE, 0.0)) for f in both)
        return day, late

    # -- restarts ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "agents": {name: tally.record() for name, tally in self._agents.items()},
            "doing": {name: [*key, at_s] for name, (key, at_s) in self._doing.items()},
            "rung": [[offer_id, agent] for offer_id, agent in self._rung.items()],
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over what `snapshot` gave; teams are formed when their agents are named."""
        self._agents = {str(name): Tally.read(one) for name, one in snapshot["agents"].items()}
        self._doing = {
            str(name): ((str(state), str(reason)), float(at_s))
            for name, (state, reason, at_s) in snapshot["doing"].items()
        }
        self._rung = {int(offer_id): str(agent) for offer_id, agent in snapshot["rung"]}

    def restore_old(
        self, times: Mapping[str, AgentTimes], states: Mapping[str, Sequence[float]]
    ) -> None:
        """Of a version that knew seconds with contacts and free only, of states that were over."""
        for agent, told in times.items():
            self.handled(agent, told, 0.0)
        for agent, (busy_s, idle_s) in states.items():
            tally = self._tally(agent, 0.0)
            tally.add((AgentState.ON_CONTACT.value, ""), float(busy_s))
            tally.add((AgentState.AVAILABLE.value, ""), float(idle_s))


def _begin(tally: Tally, teams: Iterable[Tally], key: Key, since_s: float) -> None:
    tally.begin(key, since_s)
    for team in teams:
        if key[0] in _AS:
            team.begin(_AS[key[0]], since_s)


def _key(tally: Tally, state: AgentState, reason: str) -> Key:
    key = (state.value, reason)
    if reason and key not in tally.sums:
        known = sum(1 for what, why in tally.sums if what == state.value and why)
        if known >= REASONS_MAX:
            return (state.value, OTHERS)
    return key
