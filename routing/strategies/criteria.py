"""The built-in criteria: priority, last-agent, region, skill, level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from routing.contact import Contact
from routing.desk import Seat
from routing.expressions import ANYBODY, Node, both, level_sum, parse_skill, relaxed
from routing.model import LastAgentRule, LevelRule, QueueConfig, RegionRule, Rng
from routing.strategies.base import Demand

Demanded = tuple[Demand | None, float]
NOTHING: Demanded = (None, math.inf)


class Priority:
    """Sorts contacts, not agents: the engine reads it when it places a contact in line. Without it
    in the route a queue is first come, first served whatever the priorities."""

    name = "priority"

    def demand(self, contact: Contact, waited_s: float) -> Demanded:
        return NOTHING


@dataclass(frozen=True, slots=True)
class OnlyAgent:
    """This one agent."""

    agent_id: str
    yields: bool = True

    @property
    def only(self) -> tuple[str, ...]:
        return (self.agent_id,)

    def judge(self, seat: Seat) -> float | str:
        return 0.0 if seat.agent.id == self.agent_id else f"not the last agent, {self.agent_id}"

    def __str__(self) -> str:
        return f"last agent {self.agent_id}"


class LastAgent:
    """The agent who served this customer last, within a window, for a while."""

    name = "last-agent"

    def __init__(self, rule: LastAgentRule) -> None:
        self._rule = rule

    @classmethod
    def for_queue(cls, queue: QueueConfig, rng: Rng) -> LastAgent:
        return cls(queue.last_agent)

    def demand(self, contact: Contact, waited_s: float) -> Demanded:
        agent_id, rule = contact.last_agent_id, self._rule
        if not agent_id or waited_s >= rule.wait_s:
            return NOTHING
        if contact.entered_s - contact.last_served_s > rule.within_s:
            return NOTHING
        return OnlyAgent(agent_id, not rule.wait_for_absent), rule.wait_s


@dataclass(frozen=True, slots=True)
class InRegion:
    """Agents of one region."""

    region: str
    yields: bool = False
    soft: ClassVar[bool] = True

    def judge(self, seat: Seat) -> float | str:
        return 0.0 if self.region in seat.agent.regions else f"not of region {self.region}"

    def __str__(self) -> str:
        return f"region {self.region}"


@dataclass(frozen=True, slots=True)
class PreferRegion:
    """Agents of one region first."""

    region: str

    def judge(self, seat: Seat) -> float | str:
        return 0.0 if self.region in seat.agent.regions else 1.0

    def __str__(self) -> str:
        return f"region {self.region} first"


class Region:
    """The caller's region, by the longest prefix of his number, then any."""

    name = "region"

    def __init__(self, rule: RegionRule, prefer: bool) -> None:
        self._rule = rule
        self._prefer = prefer

    @classmethod
    def for_queue(cls, queue: QueueConfig, rng: Rng) -> Region:
        return cls(queue.region, cls.name in queue.prefer)

    def demand(self, contact: Contact, waited_s: float) -> Demanded:
        if not contact.region:
            return NOTHING
        if self._prefer:
            return PreferRegion(contact.region), math.inf
        if waited_s >= self._rule.wait_s:
            return NOTHING
        return InRegion(contact.region, self._rule.skip_absent), self._rule.wait_s


@dataclass(frozen=True, slots=True)
class Skilled:
    """Agents whose levels satisfy an expression; `best` also ranks them by their levels."""

    expression: Node
    best: bool = False

    def judge(self, seat: Seat) -> float | str:
        skills = seat.agent.skills
        if not self.expression.admits(skills):
            return f"skill: {self.expression.lacking(skills)}"
        return -float(level_sum(self.expression, skills)) if self.best else 0.0

    def __str__(self) -> str:
        return f"skill {self.expression}"


class Skill:
    """The queue's expression and the contact's own, relaxed (or tightened) as it waits. In
    `prefer`: the same, and the best skilled first."""

    name = "skill"

    def __init__(self, queue: QueueConfig) -> None:
        self._best = self.name in queue.prefer
        node = parse_skill(queue.skill)
        self._steps: list[tuple[float, Node]] = [(0.0, node)]
        for step in sorted(queue.relax, key=lambda step: step.after_s):
            node = relaxed(node, step)
            self._steps.append((step.after_s, node))
        self._demands: dict[tuple[Node, Node], Demand | None] = {}

    @classmethod
    def for_queue(cls, queue: QueueConfig, rng: Rng) -> Skill:
        return cls(queue)

    def demand(self, contact: Contact, waited_s: float) -> Demanded:
        node: Node = ANYBODY
        until = math.inf
        for after_s, step_node in self._steps:
            if after_s > waited_s:
                until = after_s
                break
            node = step_node
        pair: tuple[Node, Node] = (node, contact.skill_node)
        if pair not in self._demands:
            if len(self._demands) > 4096:  # contacts may bring any expression
                self._demands.clear()
            asked = both(*pair)
            self._demands[pair] = None if asked == ANYBODY else Skilled(asked, self._best)
        return self._demands[pair], until


@dataclass(frozen=True, slots=True)
class LevelWindow:
    """Membership levels from `minimum` to `maximum`, low first; see `LevelStep`."""

    minimum: int | None
    maximum: int | None
    raise_to: int | None = None
    raise_inside: bool = False
    ranked: bool = True
    ignore_up_to: int = 0
    wider: tuple[int, ...] = ()  # maxima to open next while nobody inside is at work
    soft: ClassVar[bool] = True

    @property
    def yields(self) -> bool:
        return bool(self.wider)

    @property
    def otherwise(self) -> LevelWindow:
        return LevelWindow(
            self.minimum,
            self.wider[0],
            self.raise_to,
            self.raise_inside,
            self.ranked,
            self.ignore_up_to,
            self.wider[1:],
        )

    def judge(self, seat: Seat) -> float | str:
        if len(seat.queue.seats) <= self.ignore_up_to:
            return 0.0
        level = seat.level
        low = self.minimum is not None and level < self.minimum
        if self.raise_to is not None and level < self.raise_to and not (low and self.raise_inside):
            level = self.raise_to
            low = self.minimum is not None and level < self.minimum
        if low or (self.maximum is not None and level > self.maximum):
            return f"level {seat.level} outside {self._window()}"
        return float(level) if self.ranked else 0.0

    def _window(self) -> str:
        low = "" if self.minimum is None else str(self.minimum)
        return f"{low}..{'' if self.maximum is None else self.maximum}"

    def __str__(self) -> str:
        return f"level {self._window()}"


class Level:
    """Membership levels (tiers, penalties): who may be asked at this time, low levels first."""

    name = "level"
    ranked = True

    def __init__(self, rule: LevelRule) -> None:
        self._rule = rule
        self._steps = sorted(rule.steps, key=lambda step: step.after_s)

    @classmethod
    def for_queue(cls, queue: QueueConfig, rng: Rng) -> Level:
        return cls(queue.levels)

    def demand(self, contact: Contact, waited_s: float) -> Demanded:
        now, until = None, math.inf
        for step in self._steps:
            if step.after_s > waited_s:
                until = step.after_s
                break
            now = step
        rule = self._rule
        maximum = now.maximum if now else None
        wider: tuple[int, ...] = ()
        if rule.skip_absent and maximum is not None:
            wider = tuple(level for level in contact.queue.levels if level > maximum)
        window = LevelWindow(
            now.minimum if now else None,
            maximum,
            now.raise_to if now else None,
            now.raise_inside if now else False,
            self.ranked,
            rule.ignore_up_to,
            wider,
        )
        return window, until


class LevelLimits(Level):
    """The same windows, but levels inside do not rank agents."""

    name = "level-limits"
    ranked = False
