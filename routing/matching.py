"""Who gets whom. Between events no free agent stands beside a waiting contact he may be offered;
each event leaves a few agents newly free or contacts newly waiting, and only those are looked at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from routing.assignment import assign
from routing.contact import Contact
from routing.desk import Agent, Seat
from routing.explain import JointProblem, Mode, Why

if TYPE_CHECKING:
    from routing.callbacks import Callbacks
    from routing.floor import Floor
    from routing.offering import Offering
    from routing.pool import Pool

# So many newly free agents at once are compared with each other for each contact; more are taken
# in the order in which they have been free for longest.
COMPARED_AGENTS_MAX = 32
RIVALS_NOTED = 4


class Batch:
    """The joint assignment's collecting time, an owner of a timer."""

    __slots__ = ("queued_s", "timer_s")

    def __init__(self) -> None:
        self.timer_s: float | None = None
        self.queued_s: float | None = None


class Matching:
    """`settle` is run after every event."""

    offering: Offering
    callbacks: Callbacks

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self.batch = Batch()

    def settle(self, now_s: float, *, batch_over: bool = False) -> None:
        """Match until nothing newly free or newly waiting is left."""
        floor = self._floor
        if not floor.hungry and not floor.unserved:
            return
        joint = floor.config.assignment == "joint"
        if joint and floor.config.batch_s > 0 and not batch_over:
            if self.batch.timer_s is None:
                floor.timers.set(self.batch, now_s + floor.config.batch_s)
            return
        while floor.hungry or floor.unserved:
            if len(floor.hungry) + len(floor.unserved) == 1:
                if floor.hungry:
                    self._feed(floor.hungry.popitem()[0], now_s)
                else:
                    self._serve(floor.unserved.popitem()[0], Mode.CONTACT, now_s)
            elif joint:
                self._settle_jointly(now_s)
            else:
                self._settle_many(now_s)

    # --- one agent, one contact ---

    def _feed(self, agent: Agent, now_s: float) -> bool:
        """The agent has become free: the contact that stands first among all he may serve. Nobody
        else free may serve it, or it would have been offered before."""
        rivals: list[Contact] = []
        while True:
            best = self._first_for(agent, now_s, rivals)
            if best is None:
                self._stand_free(agent, now_s)
                return False
            pool = best.pool
            if pool is None or not self._ready(best, agent, now_s):
                continue
            seat = agent.pools[pool]
            why = Why(best, seat, pool, Mode.AGENT, now_s, None, rivals)
            self.offering.offer(best, agent, pool, why, now_s)
            return True

    def _first_for(self, agent: Agent, now_s: float, rivals: list[Contact]) -> Contact | None:
        best: Contact | None = None
        best_standing: tuple[float, float, int] | None = None
        kinds = agent.free_kinds
        rivals.clear()
        for pool in agent.pools:
            if not pool.waiting or pool.kind not in kinds or not agent.may_take(pool):
                continue
            contact = pool.head_for(agent, now_s)
            if contact is None:
                continue
            standing = contact.standing(now_s)
            if best_standing is None or standing < best_standing:
                best, best_standing = contact, standing
            if len(rivals) < RIVALS_NOTED:
                rivals.append(contact)
        return best

    def _stand_free(self, agent: Agent, now_s: float) -> None:
        """Nobody for him now: he is found by those who come."""
        for pool, seat in agent.pools.items():
            if pool not in agent.entries and agent.may_take(pool):
                pool.enter(seat, now_s)

    def _ready(self, contact: Contact, agent: Agent | None, now_s: float) -> bool:
        """Is this contact to be offered to an agent now? A callback may have to sleep, and one that
        dials the customer first starts by that."""
        if contact.callback is None or contact.callback.live:
            return True
        if not self.callbacks.may_be_served(contact, now_s):
            return False
        if contact.callback.customer_first:
            self.callbacks.dial(contact, "", now_s)
            return False
        return True

    def _serve(self, contact: Contact, mode: Mode, now_s: float) -> bool:
        """The contact has come to wait: the first of the free agents it may be offered to."""
        pool = contact.pool
        if pool is None or contact.entry is None or not pool.free:
            return False
        if pool.at_once == "all":
            return self._ring_all(contact, pool, mode, now_s)
        if contact.offers:
            return False
        seat = pool.pick(contact, now_s)
        if seat is None or not self._ready(contact, seat.agent, now_s):
            return False
        self._offer(contact, seat, pool, mode, now_s)
        return True

    def _offer(
        self,
        contact: Contact,
        seat: Seat,
        pool: Pool,
        mode: Mode,
        now_s: float,
        joint: JointProblem | None = None,
    ) -> None:
        agent = seat.agent
        self._floor.hungry.pop(agent, None)
        why = Why(contact, seat, pool, mode, now_s, agent.entries.get(pool), None, joint)
        self.offering.offer(contact, agent, pool, why, now_s)

    def _ring_all(self, contact: Contact, pool: Pool, mode: Mode, now_s: float) -> bool:
        if not self._ready(contact, None, now_s):
            return False
        room = pool.queue.config.ring_max - len(contact.offers)
        chosen: list[Seat] = []
        scores = pool.ringing_scores(contact)
        ringing = {offer.agent for offer in contact.offers.values()}
        for entry in pool.ranked(contact, now_s):
            if len(chosen) >= room:
                break
            if scores is None:
                scores = entry[0]
            if entry[-1].agent not in ringing and entry[0] <= scores:
                chosen.append(entry[-1])
        for seat in chosen:
            self._offer(contact, seat, pool, mode, now_s)
        return bool(chosen)

    def one_more(self, contact: Contact, now_s: float) -> None:
        """Ring-progressive: the next one joins those who ring."""
        pool = contact.pool
        if pool is None:
            return
        ringing = {offer.agent for offer in contact.offers.values()}
        for entry in pool.ranked(contact, now_s):
            if entry[-1].agent not in ringing:
                self._offer(contact, entry[-1], pool, Mode.CONTACT, now_s)
                return

    # --- several at once ---

    def _settle_many(self, now_s: float) -> None:
        """Greedy: the contact that stands first among those concerned chooses first, again and
        again."""
        floor = self._floor
        agents = sorted(floor.hungry, key=lambda agent: agent.idle_since_s)
        floor.hungry.clear()
        late = agents[COMPARED_AGENTS_MAX:]
        agents = agents[:COMPARED_AGENTS_MAX]
        for agent in agents:
            self._stand_free(agent, now_s)
        contacts = sorted(
            (contact for contact in floor.unserved if contact.entry is not None),
            key=lambda contact: contact.standing(now_s),
            reverse=True,
        )
        floor.unserved.clear()
        while True:
            best = contacts[-1] if contacts else None
            for agent in agents:
                if agent.entries:
                    other = self._first_for(agent, now_s, [])
                    if other is not None and (
                        best is None or other.standing(now_s) < best.standing(now_s)
                    ):
                        best = other
            if best is None:
                break
            mine = bool(contacts) and best is contacts[-1]
            if mine:
                contacts.pop()
            if not self._serve(best, Mode.CONTACT, now_s) and not mine and best.entry is not None:
                # Cannot be; but a strategy of a third party must not hang the exchange.
                agents = [agent for agent in agents if best.pool not in agent.entries]
        for agent in late:
            if agent.free_kinds and not agent.entries:
                floor.hungry.pop(agent, None)
                self._feed(agent, now_s)

    # --- jointly ---

    def _settle_jointly(self, now_s: float) -> None:
        """All concerned at once: contacts in their order, agents at the lowest total rank."""
        floor = self._floor
        for agent in floor.hungry:
            self._stand_free(agent, now_s)
        contacts = self._concerned(now_s)
        together = [c for c in contacts if c.pool is not None and c.pool.at_once == "one"]
        problem, chosen = self._pairs(together, now_s)
        if not chosen:
            self._settle_many(now_s)
            return
        for contact, seat in chosen:
            pool = contact.pool
            floor.unserved.pop(contact, None)
            if pool is None or pool not in seat.agent.entries:
                floor.unserved[contact] = None
            elif self._ready(contact, seat.agent, now_s):
                self._offer(contact, seat, pool, Mode.JOINT, now_s, problem)

    def _concerned(self, now_s: float) -> list[Contact]:
        limit = self._floor.config.joint_max
        found: dict[Contact, None] = {
            contact: None for contact in self._floor.unserved if contact.entry is not None
        }
        for agent in list(self._floor.hungry)[:limit]:
            for pool in agent.pools:
                if pool.kind in agent.free_kinds:
                    for entry in pool.waiting.head(limit):
                        found[entry[-1]] = None
        return sorted(found, key=lambda contact: contact.standing(now_s))[:limit]

    def _pairs(
        self, contacts: list[Contact], now_s: float
    ) -> tuple[JointProblem | None, list[tuple[Contact, Seat]]]:
        """Costs are places in each contact's own order of agents."""
        limit = self._floor.config.joint_max
        columns: dict[Agent, int] = {}
        ranks: list[dict[int, tuple[int, Seat]]] = []
        for contact in contacts:
            row: dict[int, tuple[int, Seat]] = {}
            if contact.pool is not None and not contact.offers:
                for place, entry in enumerate(contact.pool.ranked(contact, now_s)):
                    if place >= limit:
                        break
                    row[columns.setdefault(entry[-1].agent, len(columns))] = (place, entry[-1])
            ranks.append(row)
        if not columns:
            return None, []
        costs = tuple(
            tuple(float(row[c][0]) if c in row else math.inf for c in range(len(columns)))
            for row in ranks
        )
        problem = JointProblem(
            tuple(contact.id for contact in contacts),
            tuple(agent.id for agent in columns),
            costs,
        )
        pairs = [(contacts[row], ranks[row][column][1]) for row, column in assign(costs)]
        return problem, pairs
