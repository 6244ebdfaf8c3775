"""A pool: the contacts of one queue that demand the same, and the agents who satisfy it.

All of its contacts are alike to every agent, all of its agents are alike to every contact, so the
head of its line and the head of its free agents are all a decision has to look at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from routing.contact import Contact
from routing.desk import Agent, Seat
from routing.ordered import SortedLine

if TYPE_CHECKING:
    from routing.line import Queue
    from routing.model import Rng
    from routing.strategies.base import Demand


class Pool:
    """Entries of `free` are (scores, contacts at hand, rank, seat number, seat), lowest first."""

    __slots__ = (
        "at_once",
        "by_hand",
        "circular",
        "demands",
        "draw",
        "free",
        "key",
        "kind",
        "last_ranking",
        "lottery",
        "order",
        "queue",
        "rng",
        "seats",
        "standing",
        "used_s",
        "waiting",
    )

    def __init__(
        self, key: Any, queue: Queue, kind: str, demands: tuple[Demand | None, ...], rng: Rng
    ) -> None:
        self.key = key
        self.queue = queue
        self.kind = kind
        self.demands = demands
        self.rng = rng
        self.seats: dict[Seat, tuple[float, ...]] = {}
        self.free = SortedLine()
        self.waiting = SortedLine()
        self.by_hand = False  # of one agent, member or not, for contacts assigned to him
        self.last_ranking: list[tuple[Any, ...]] = []  # of an order that ranks anew each time
        self.draw = 0.0  # the lottery's clock
        self.used_s = 0.0
        order = queue.order
        self.order = order
        self.circular: str = getattr(order, "circular", "")
        self.lottery: bool = getattr(order, "lottery", False)
        self.standing: bool = getattr(order, "standing", False)
        self.at_once: str = getattr(order, "at_once", "one")

    @property
    def only(self) -> tuple[str, ...] | None:
        """Ids of all agents that can be in it, where a demand names them."""
        for demand in self.demands:
            if demand is not None:
                only: tuple[str, ...] | None = getattr(demand, "only", None)
                if only is not None:
                    return only
        return None

    def judge(self, seat: Seat) -> tuple[float, ...] | str:
        """Scores of one agent, or why he is excluded."""
        scores: list[float] = []
        for demand in self.demands:
            if demand is None:
                continue
            try:
                verdict = demand.judge(seat)
            except Exception as error:  # a third party's mistake must not stop the others' calls
                return f"{demand}: {type(error).__name__}: {error}"
            if isinstance(verdict, str):
                return verdict
            scores.append(verdict)
        return tuple(scores)

    # --- agents ---

    def admit(self, seat: Seat) -> bool:
        """Judge an agent and take him in if he may."""
        verdict = self.judge(seat)
        if isinstance(verdict, str):
            return False
        self.seats[seat] = verdict
        seat.agent.pools[self] = seat
        return True

    def expel(self, seat: Seat) -> None:
        """Forget an agent."""
        if self.seats.pop(seat, None) is not None:
            agent = seat.agent
            agent.pools.pop(self, None)
            entry = agent.entries.pop(self, None)
            if entry is not None:
                self.free.remove(entry)

    def enter(self, seat: Seat, now_s: float) -> None:
        """The agent is free."""
        agent = seat.agent
        entry = self._entry(seat, now_s)
        agent.entries[self] = entry
        self.free.add(entry)

    def _entry(self, seat: Seat, now_s: float) -> tuple[Any, ...]:
        load = seat.agent.load_beside(self.kind)
        rank: Any = 0
        if self.lottery:
            rank = self.draw + self._ticket(seat, now_s)
        elif self.standing:
            rank = self.order.rank(seat, None, now_s)
        return (self.seats[seat], load, rank, seat.seq, seat)

    def _ticket(self, seat: Seat, now_s: float) -> float:
        """Exponential with the weight as rate: the lowest of such tickets wins in proportion to its
        weight, and, having no memory, those left over need not be drawn again."""
        weight = float(self.order.rank(seat, None, now_s))
        return -math.log1p(-self.rng.random()) / weight if weight > 0 else math.inf

    # --- choosing ---

    def pick(self, contact: Contact, now_s: float) -> Seat | None:
        """Who is to be offered the contact first, or None."""
        if not self.free:
            return None
        if not self.standing:
            self.last_ranking = list(self.ranked(contact, now_s))
            return self.last_ranking[0][-1] if self.last_ranking else None
        if self.circular:
            seat = self._next_around(contact)
            if not contact.excludes(seat.agent.id, now_s):
                return seat
            return next((entry[-1] for entry in self.ranked(contact, now_s)), None)
        passed: list[tuple[Any, ...]] = []
        chosen: Seat | None = None
        for entry in self.free:
            seat = entry[-1]
            if contact.excluded is None or not contact.excludes(seat.agent.id, now_s):
                chosen = seat
                if self.lottery:
                    self.draw = max(self.draw, entry[2])
                break
            passed.append(entry)
        if self.lottery and chosen is not None:
            for entry in passed:  # their tickets have been seen; they get new ones
                self.free.remove(entry)
                self.enter(entry[-1], now_s)
        return chosen

    def pointer(self, contact: Contact) -> Any:
        """The rank offered last, after which a circular order goes on; None: from the top."""
        if not self.circular:
            return None
        return self.queue.pointer if self.circular == "queue" else contact.pointer

    def _next_around(self, contact: Contact) -> Seat:
        first: Seat = self.free.first()[-1]
        pointer = self.pointer(contact)
        if pointer is not None:
            head = self.free.first()[:2]
            after = self.free.after((*head, pointer, math.inf))
            if after is not None and after[:2] == head:
                first = after[-1]
        return first

    def ranked(self, contact: Contact, now_s: float) -> Iterator[tuple[Any, ...]]:
        """Free agents in the order they would be offered this contact, as (scores, load, rank, seat
        number, seat); the excluded are left out."""
        entries: Any = self.free
        if not self.standing:
            entries = sorted(
                (
                    (scores, load, self._rank(seat, contact, now_s), number, seat)
                    for scores, load, _, number, seat in self.free
                ),
            )
        elif self.circular:
            pointer = self.pointer(contact)
            if pointer is not None:
                entries = sorted(self.free, key=lambda e: (e[:2], e[2] <= pointer, e[2:4]))
        for entry in entries:
            if not contact.excludes(entry[-1].agent.id, now_s):
                yield entry

    def _rank(self, seat: Seat, contact: Contact, now_s: float) -> Any:
        try:
            return self.order.rank(seat, contact, now_s)
        except Exception:  # a third party's mistake: last, but not lost
            return math.inf

    def head_for(self, agent: Agent, now_s: float) -> Contact | None:
        """The first contact that may be offered to this agent now."""
        for entry in self.waiting:
            contact: Contact = entry[-1]
            if contact.excluded is not None and contact.excludes(agent.id, now_s):
                continue
            if contact.offers and not self._joins(contact, agent):
                continue
            return contact
        return None

    def _joins(self, contact: Contact, agent: Agent) -> bool:
        """A contact that is ringing elsewhere takes one more in only under ring-all, and only one
        who ranks no lower than those who ring."""
        if self.at_once != "all" or len(contact.offers) >= self.queue.config.ring_max:
            return False
        if any(offer.agent is agent for offer in contact.offers.values()):
            return False
        scores = self.ringing_scores(contact)
        return scores is None or self.seats[agent.pools[self]] <= scores

    def ringing_scores(self, contact: Contact) -> tuple[float, ...] | None:
        """The highest scores among those who ring for it now."""
        seats = [offer.agent.pools.get(self) for offer in contact.offers.values()]
        return max((self.seats[seat] for seat in seats if seat is not None), default=None)

    def noted(self, count: int) -> list[tuple[Any, ...]]:
        """The first free agents, as the decision just made saw them."""
        return self.free.head(count) if self.standing else self.last_ranking[:count]

    def words(self) -> list[str]:
        """The demands in force, for people."""
        return [str(demand) for demand in self.demands if demand is not None]
