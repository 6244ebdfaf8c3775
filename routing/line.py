"""A queue at run time: its line, its seats, its pools, who is at work for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from routing.contact import Contact
from routing.desk import Agent, Seat
from routing.estimate import WaitEstimate, WaitModel
from routing.model import Media, Membership
from routing.ordered import SortedLine
from routing.pool import Pool
from routing.strategies.criteria import OnlyAgent

if TYPE_CHECKING:
    from routing.calendar import Calendar
    from routing.model import QueueConfig, Rng
    from routing.strategies.base import Demand

POOLS_KEPT = 256
WATCHED_MAX = 1024

NO_SEAT = 255
RESTING = 254


class Line:
    """Contacts in the order of their places, and of when they came."""

    __slots__ = ("_by_time", "by_place")

    def __init__(self) -> None:
        self.by_place = SortedLine()
        self._by_time = SortedLine()

    def __len__(self) -> int:
        return len(self.by_place)

    @property
    def contacts(self) -> list[Contact]:
        """All of them, the next one first."""
        return [entry[-1] for entry in self.by_place]

    @property
    def since_s(self) -> float | None:
        """When the one that has waited longest came, who need not be the next."""
        return self._by_time.first()[0] if self._by_time else None

    def add(self, contact: Contact) -> tuple[Any, ...]:
        """At its place; its entry."""
        entry = contact.line_entry = contact.place_entry()
        self.by_place.add(entry)
        self._by_time.add((contact.entered_s, contact.seq, contact))
        return entry

    def remove(self, contact: Contact) -> None:
        """Out of it; raises KeyError when it is not there."""
        self.by_place.remove(contact.line_entry or ())
        self._by_time.remove((contact.entered_s, contact.seq, contact))
        contact.line_entry = None

    def __contains__(self, contact: Contact) -> bool:
        """By looking through all: for audits."""
        timed = (contact.entered_s, contact.seq, contact)
        return contact.line_entry in self.by_place and timed in self._by_time


class Queue:
    """Run-time state of one queue. In `line` stand those who wait for somebody; in `tickets` lies what nobody
    waits for on a telephone, so that it is neither before nor behind a caller."""

    __slots__ = (
        "aging",
        "calendar",
        "codes",
        "config",
        "criteria",
        "free_indices",
        "hours_until_s",
        "hours_were_open",
        "id",
        "levels",
        "line",
        "model",
        "order",
        "pointer",
        "pools",
        "present",
        "queued_s",
        "removed",
        "rng",
        "roster",
        "seats",
        "tickets",
        "timer_s",
        "use_priority",
        "watched",
    )

    def __init__(self, queue_id: str, rng: Rng) -> None:
        self.id = queue_id
        self.rng = rng
        self.line = Line()
        self.tickets = Line()
        self.seats: dict[str, Seat] = {}
        self.pools: dict[Any, Pool] = {}
        self.roster: list[Seat | None] = []
        self.codes = bytearray()  # state of each seat of the roster, for explanations
        self.free_indices: list[int] = []
        self.levels: tuple[int, ...] = ()
        self.present = 0
        self.watched: dict[Demand, int] = {}  # yielding demand -> agents at work it admits
        self.pointer: Any = None
        self.removed = False
        self.timer_s: float | None = None
        self.queued_s: float | None = None
        self.config: QueueConfig
        self.criteria: list[Any] = []
        self.order: Any = None
        self.use_priority = True
        self.calendar: Calendar | None = None
        self.hours_until_s = -math.inf
        self.hours_were_open = True
        self.model: WaitModel

    def configure(
        self, config: QueueConfig, criteria: list[Any], order: Any, calendar: Calendar | None
    ) -> None:
        """A new configuration; the caller rebuilds pools and steps."""
        if not self.criteria:
            self.model = WaitModel(config.handle_guess_s, config.patience_guess_s)
        if self.order is None or self.order.name != order.name:
            self.pointer = None
        self.config = config
        self.criteria = criteria
        self.order = order
        self.use_priority = "priority" in config.route
        aging_s = config.priority.aging_s
        self.aging = 1 / aging_s if aging_s and self.use_priority else 0.0
        self.calendar = calendar
        self.hours_until_s = -math.inf

    # --- hours ---

    def is_open(self, unix_s: float) -> bool:
        """By the calendar, remembered until its next change."""
        if self.calendar is None:
            return True
        if unix_s >= self.hours_until_s:
            self.hours_were_open = self.calendar.is_open(unix_s)
            change = self.calendar.next_change(unix_s)
            self.hours_until_s = math.inf if change is None else change
        return self.hours_were_open

    # --- seats ---

    def seat_down(self, seat: Seat, code: int) -> None:
        """A new member, in state `code`."""
        if self.free_indices:
            seat.index = self.free_indices.pop()
            self.roster[seat.index] = seat
            self.codes[seat.index] = code
        else:
            seat.index = len(self.roster)
            self.roster.append(seat)
            self.codes.append(code)
        self.seats[seat.agent.id] = seat
        for pool in self.pools.values():
            self._consider(pool, seat)

    def stand_up(self, seat: Seat) -> None:
        """A member leaves the queue."""
        for pool in [pool for pool in seat.agent.pools if pool.queue is self]:
            if not pool.by_hand:
                pool.expel(seat)
        del self.seats[seat.agent.id]
        self.roster[seat.index] = None
        self.codes[seat.index] = NO_SEAT
        self.free_indices.append(seat.index)

    def note_levels(self) -> bool:
        """True when the set of levels has changed."""
        former = self.levels
        self.levels = tuple(sorted({seat.level for seat in self.seats.values()}))
        return self.levels != former

    def rejudge(self, seat: Seat) -> None:
        """His skills, regions or level have changed."""
        for pool in self.pools.values():
            if not pool.by_hand:
                pool.expel(seat)
                self._consider(pool, seat)

    @staticmethod
    def _consider(pool: Pool, seat: Seat) -> None:
        if pool.by_hand:
            return
        only = pool.only
        if only is None or seat.agent.id in only:
            pool.admit(seat)

    # --- presence ---

    def note_present(self, seat: Seat, by: int) -> list[Demand]:
        """An agent came to work (`by` 1) or left (-1); returns yielding demands that have nobody
        now."""
        self.present += by
        deserted = []
        for demand in self.watched:
            if not isinstance(demand.judge(seat), str):
                self.watched[demand] += by
                if not self.watched[demand]:
                    deserted.append(demand)
        return deserted

    def someone_for(self, demand: Demand) -> bool:
        """Is any agent at work whom this demand admits?"""
        only: tuple[str, ...] | None = getattr(demand, "only", None)
        if only is not None:
            seats = (self.seats.get(agent_id) for agent_id in only)
            return any(seat is not None and seat.agent.present for seat in seats)
        count = self.watched.get(demand)
        if count is None:
            if len(self.watched) >= WATCHED_MAX:
                self._forget_unused()
            count = self._count_for(demand)
            self.watched[demand] = count
        return count > 0

    def _count_for(self, demand: Demand) -> int:
        return sum(
            seat.agent.present and not isinstance(demand.judge(seat), str)
            for seat in self.seats.values()
        )

    def _forget_unused(self) -> None:
        used = {demand for pool in self.pools.values() for demand in pool.demands}
        self.watched = {d: count for d, count in self.watched.items() if d in used}

    def recount(self) -> list[Demand]:
        """Members judge differently now; returns yielding demands that have lost their last."""
        deserted = []
        for demand, before in self.watched.items():
            count = self.watched[demand] = self._count_for(demand)
            if before and not count:
                deserted.append(demand)
        return deserted

    # --- pools ---

    def pool(self, kind: str, demands: tuple[Demand | None, ...], now_s: float) -> Pool:
        """The pool of these demands, made when it is new."""
        key = (kind, demands)
        pool = self.pools.get(key)
        if pool is None:
            pool = Pool(key, self, kind, demands, self.rng)
            if len(self.pools) >= POOLS_KEPT:
                self._discard_one()
            self.pools[key] = pool
            only = pool.only
            members = (
                self.seats.values()
                if only is None
                else [self.seats[agent_id] for agent_id in only if agent_id in self.seats]
            )
            for seat in members:
                if pool.admit(seat) and seat.agent.may_take(pool):
                    pool.enter(seat, now_s)
        pool.used_s = now_s
        return pool

    def _discard_one(self) -> None:
        idle = [pool for pool in self.pools.values() if not pool.waiting]
        if idle:
            self.discard(min(idle, key=lambda pool: pool.used_s))

    def discard(self, pool: Pool) -> None:
        """Forget a pool without contacts."""
        if self.pools.get(pool.key) is pool:
            del self.pools[pool.key]
        for seat in list(pool.seats):
            pool.expel(seat)

    def released(self, pool: Pool) -> None:
        """A contact has left the pool: forget pools made for one customer's agent alone."""
        if not pool.waiting and pool.only is not None:
            self.discard(pool)

    # --- waiting ---

    def line_of(self, contact: Contact) -> Line:
        """Where a contact of its kind waits."""
        return self.tickets if contact.media is Media.TICKET else self.line

    @property
    def contacts(self) -> list[Contact]:
        """All that wait, callers before tickets."""
        return [*self.line.contacts, *self.tickets.contacts]

    def position(self, contact: Contact) -> int:
        """1 is next of its kind; 0 when it is not in line."""
        if contact.line_entry is None:
            return 0
        return self.line_of(contact).by_place.rank(contact.line_entry) + 1

    def estimate(self, contact: Contact) -> WaitEstimate:
        """What the queue's model expects of the wait of a contact in line."""
        return self.model.estimate(max(0, self.position(contact) - 1), self.present)

    def pool_of_one(self, kind: str, agent: Agent, now_s: float) -> Pool:
        """The pool of contacts assigned to one agent by hand; he need not be a member."""
        key = (kind, "assigned", agent.id)
        pool = self.pools.get(key)
        if pool is None:
            pool = Pool(key, self, kind, (OnlyAgent(agent.id, yields=False),), self.rng)
            pool.by_hand = True
            self.pools[key] = pool
            seat = Seat(agent, self, Membership(queue_id=self.id), 0)
            if pool.admit(seat) and kind in agent.free_kinds:
                pool.enter(seat, now_s)
        return pool
