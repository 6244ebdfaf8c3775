"""A call centre on virtual time around a real `AcdEngine`: callers come, wait, give up, are served.

For tests against theory, for the expected-wait bench, for soak runs (a seed is a run) and for what-if
studies. Chance comes in as one seeded generator.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from routing.decisions import (
    AgentStateChanged,
    CancelOffer,
    Connect,
    ContactClosed,
    ContactQueued,
    Decision,
    OfferTo,
)
from routing.engine import AcdEngine
from routing.estimate import WaitEstimate
from routing.events import (
    AgentLoggedIn,
    AgentStateSet,
    ContactAbandoned,
    ContactArrived,
    ContactEnded,
    Event,
    OfferAccepted,
    OfferRejected,
    TimerFired,
)
from routing.model import AgentState, Outcome


class Chance(Protocol):
    """`random.Random` is one."""

    def random(self) -> float: ...
    def expovariate(self, lambd: float, /) -> float: ...
    def gauss(self, mu: float, sigma: float, /) -> float: ...


def exponential(chance: Chance, mean_s: float) -> Callable[[], float]:
    """Times without memory."""
    return lambda: chance.expovariate(1 / mean_s)


def lognormal(chance: Chance, mean_s: float, variation: float) -> Callable[[], float]:
    """Times with the coefficient of variation given, as handle times are."""
    sigma2 = math.log(1 + variation * variation)
    mu, sigma = math.log(mean_s) - sigma2 / 2, math.sqrt(sigma2)
    return lambda: math.exp(chance.gauss(mu, sigma))


@dataclass(slots=True)
class Caller:
    """One simulated caller and what became of him."""

    contact_id: str
    queue_id: str
    arrived_s: float
    order: int
    estimate: WaitEstimate | None = None
    ahead: int = 0
    answered_s: float | None = None
    left_s: float | None = None
    outcome: Outcome | None = None
    would_wait_s: float | None = None  # of one who gave up: had he stayed (single queue, FIFO)

    @property
    def delayed(self) -> bool:
        return self.outcome is Outcome.ABANDONED or (
            self.answered_s is not None and self.answered_s > self.arrived_s
        )

    @property
    def offered_wait_s(self) -> float | None:
        """What he had to wait, patience apart."""
        if self.answered_s is not None:
            return self.answered_s - self.arrived_s
        return self.would_wait_s


@dataclass(slots=True)
class Behaviour:
    """How people act. `answer_s`: ringing until the agent answers; `misses`, `rejects`: shares of
    offers; `break_every_s`: mean time between breaks of `break_s`; `patience_s` None: endless."""

    handle_s: Callable[[], float]
    patience_s: Callable[[], float] | None = None
    answer_s: Callable[[], float] = lambda: 0.0
    misses: float = 0.0
    rejects: float = 0.0
    break_every_s: float | None = None
    break_s: float = 600.0


@dataclass(slots=True)
class Simulation:
    """Runs arrivals through the engine. `arrivals_per_s(now_s)` must not exceed `peak_per_s`
    (thinning); `describe(number)` may add facts to an arrival (queue_id, caller, skill, ...)."""

    engine: AcdEngine
    chance: Chance
    behaviour: Behaviour
    arrivals_per_s: Callable[[float], float]
    peak_per_s: float
    queue_id: str = ""
    describe: Callable[[int], dict[str, Any]] | None = None
    watch: Callable[[Event, list[Decision], float], None] | None = None
    keep: bool = True  # remember callers after they are gone
    now_s: float = 0.0
    count: int = 0
    events: int = 0
    callers: dict[str, Caller] = field(default_factory=dict)
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _entries: int = 0
    _open: bool = False
    _ghosts: list[Caller] = field(default_factory=list)
    _offers: set[int] = field(default_factory=set)
    _waiting: set[str] = field(default_factory=set)
    _talking: dict[str, str] = field(default_factory=dict)

    # --- running ---

    def staff(self) -> None:
        """Everybody logs in."""
        for agent_id in self.engine.agent_ids:
            self._tell(AgentLoggedIn(agent_id))
            if self.behaviour.break_every_s is not None:
                self._plan_break(agent_id)

    def run(self, *, until_s: float = math.inf, calls: int | None = None) -> None:
        """Until a time, or so many callers have come and all have gone."""
        if not self._open:
            self._open = True
            self._plan_arrival()
        while self._agenda or self.engine.get_timer() is not None:
            if (
                calls is not None
                and self.count >= calls
                and not self._talking
                and not self._waiting
            ):
                return
            due_s = self.engine.get_timer()
            next_s = self._agenda[0][0] if self._agenda else math.inf
            if due_s is not None and due_s < next_s:
                if due_s > until_s:
                    break
                self.now_s = max(self.now_s, due_s)
                self._tell(TimerFired())
                continue
            if next_s > until_s:
                break
            self.now_s, _, act = heapq.heappop(self._agenda)
            act()
            if calls is not None and self.count >= calls:
                self.arrivals_per_s = _never
        if until_s < math.inf:
            self.now_s = until_s

    def _at(self, due_s: float, act: Callable[[], None]) -> None:
        self._entries += 1
        heapq.heappush(self._agenda, (due_s, self._entries, act))

    # --- the world's own events ---

    def _plan_arrival(self) -> None:
        due_s = self.now_s + self.chance.expovariate(self.peak_per_s)
        self._at(due_s, self._maybe_arrive)

    def _maybe_arrive(self) -> None:
        if self.arrivals_per_s is _never:
            return
        if self.chance.random() * self.peak_per_s < self.arrivals_per_s(self.now_s):
            self._arrive()
        self._plan_arrival()

    def _arrive(self) -> None:
        self.count += 1
        facts: dict[str, Any] = {"queue_id": self.queue_id}
        if self.describe is not None:
            facts |= self.describe(self.count)
        contact_id = f"c{self.count}"
        caller = Caller(contact_id, facts["queue_id"], self.now_s, self.count)
        self.callers[contact_id] = caller
        self._waiting.add(contact_id)
        self._tell(ContactArrived(contact_id=contact_id, **facts))
        if contact_id in self._waiting and self.behaviour.patience_s is not None:
            due_s = self.now_s + self.behaviour.patience_s()
            self._at(due_s, lambda: self._give_up(contact_id))

    def _give_up(self, contact_id: str) -> None:
        if contact_id in self._waiting:
            self._tell(ContactAbandoned(contact_id))

    def _plan_break(self, agent_id: str) -> None:
        every_s = self.behaviour.break_every_s or math.inf
        due_s = self.now_s + self.chance.expovariate(1 / every_s)
        self._at(due_s, lambda: self._break(agent_id))

    def _break(self, agent_id: str) -> None:
        self._tell(AgentStateSet(agent_id, AgentState.UNAVAILABLE, "break"))
        self._at(self.now_s + self.behaviour.break_s, lambda: self._back(agent_id))

    def _back(self, agent_id: str) -> None:
        self._tell(AgentStateSet(agent_id, AgentState.AVAILABLE))
        self._plan_break(agent_id)

    # --- the engine's decisions ---

    def _tell(self, event: Event) -> None:
        decisions = self.engine.handle(event, self.now_s)
        self.events += 1
        if self.watch is not None:
            self.watch(event, decisions, self.now_s)
        for decision in decisions:
            match decision:
                case OfferTo():
                    self._ring(decision)
                case CancelOffer():
                    self._offers.discard(decision.offer_id)
                case Connect():
                    self._connect(decision)
                case ContactClosed():
                    self._close(decision)
                case ContactQueued():
                    caller = self.callers[decision.contact_id]
                    caller.ahead = decision.position - 1
                    caller.estimate = self.engine.estimate_of(decision.contact_id)
                case AgentStateChanged():
                    self._on_state(decision)
                case _:
                    pass

    def _ring(self, offer: OfferTo) -> None:
        self._offers.add(offer.offer_id)
        dice = self.chance.random() if self.behaviour.misses or self.behaviour.rejects else 1.0
        if dice < self.behaviour.misses:
            return
        rejects = dice < self.behaviour.misses + self.behaviour.rejects
        due_s = self.now_s + self.behaviour.answer_s()
        self._at(due_s, lambda: self._react(offer.offer_id, rejects))

    def _react(self, offer_id: int, rejects: bool) -> None:
        if offer_id in self._offers:
            self._offers.discard(offer_id)
            self._tell(OfferRejected(offer_id) if rejects else OfferAccepted(offer_id))

    def _connect(self, connect: Connect) -> None:
        caller = self.callers[connect.contact_id]
        caller.answered_s = self.now_s
        self._offers.discard(connect.offer_id)
        self._waiting.discard(caller.contact_id)
        self._talking[caller.contact_id] = connect.agent_id
        self._lay_ghosts(caller.order)
        due_s = self.now_s + self.behaviour.handle_s()
        self._at(due_s, lambda: self._tell(ContactEnded(connect.contact_id)))

    def _lay_ghosts(self, order: int) -> None:
        """Somebody behind those who gave up is served: they would have been served now."""
        for ghost in self._ghosts:
            if ghost.order < order:
                ghost.would_wait_s = self.now_s - ghost.arrived_s
        self._ghosts = [ghost for ghost in self._ghosts if ghost.order > order]

    def _on_state(self, change: AgentStateChanged) -> None:
        """An agent without work is back after a missed offer, and has nobody to serve."""
        if change.reason == "no-answer":
            self._at(self.now_s + 5.0, lambda: self._back_from_missing(change.agent_id))
        if change.new is AgentState.AVAILABLE and not self._waiting and self._ghosts:
            self._lay_ghosts(self.count + 1)

    def _back_from_missing(self, agent_id: str) -> None:
        self._tell(AgentStateSet(agent_id, AgentState.AVAILABLE))

    def _close(self, closed: ContactClosed) -> None:
        caller = self.callers[closed.contact_id]
        caller.left_s = self.now_s
        caller.outcome = closed.outcome
        self._waiting.discard(caller.contact_id)
        self._talking.pop(caller.contact_id, None)
        if closed.outcome is Outcome.ABANDONED and self.keep:
            self._ghosts.append(caller)
        if not self.keep:
            del self.callers[closed.contact_id]


def _never(now_s: float) -> float:
    return 0.0
