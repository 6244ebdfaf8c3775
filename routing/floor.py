"""The state all parts of the engine share: who is there, who waits, what has been decided."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from routing.decisions import Decision, Ignored
from routing.model import AcdConfig, CustomerConfig, Rng
from routing.regions import RegionTable
from routing.timers import Timers

if TYPE_CHECKING:
    from routing.contact import Contact, Offer
    from routing.desk import Agent
    from routing.line import Queue
    from routing.registry import Registry

HELD_PLACES_MAX = 20_000
NUMBERS_SEEN_MAX = 20_000


class HeldPlace:
    """The place of a caller who dropped, kept until `until_s`."""

    __slots__ = ("place_s", "priority", "until_s")

    def __init__(self, place_s: float, priority: float, until_s: float) -> None:
        self.place_s = place_s
        self.priority = priority
        self.until_s = until_s


class Floor:
    """`hungry` are agents who have just become free for something, `unserved` contacts that have
    just come to wait for somebody; both are empty between events."""

    def __init__(self, config: AcdConfig, registry: Registry, rng: Rng) -> None:
        self.config = config
        self.registry = registry
        self.rng = rng
        self.epoch_s = config.epoch_s
        self.queues: dict[str, Queue] = {}
        self.agents: dict[str, Agent] = {}
        self.contacts: dict[str, Contact] = {}
        self.offers: dict[int, Offer] = {}
        self.regions = RegionTable(config.regions)
        self.calendars = dict(config.calendars)
        self.customers: dict[str, CustomerConfig] = {}
        # Who served whom: customer -> (agent, time), oldest first.
        self.memory: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.held_places: OrderedDict[tuple[str, str], HeldPlace] = OrderedDict()
        self.callbacks: dict[str, dict[str, Contact]] = {}  # number -> pending callbacks by id
        self.numbers_seen: dict[str, int] = {}  # customers who are calling in
        self.numbers_dialled: set[str] = set()  # and those a callback has on the line
        self.timers = Timers()
        self.hungry: dict[Agent, None] = {}
        self.unserved: dict[Contact, None] = {}
        self.decisions: list[Decision] = []
        self.last_seq = 0
        self.last_offer_id = 0

    def next_seq(self) -> int:
        self.last_seq += 1
        return self.last_seq

    def say(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def ignore(self, event: Any, reason: str) -> None:
        """The event is late, repeated or about strangers."""
        self.decisions.append(Ignored(type(event).__name__, reason))

    def learn_customer(self, customer: CustomerConfig) -> None:
        self.forget_customer(customer.id)
        self.customers[customer.id] = customer
        for number in customer.phones:
            self.customers[number] = customer

    def forget_customer(self, customer_id: str) -> bool:
        former = self.customers.pop(customer_id, None)
        for number in former.phones if former is not None else ():
            self.customers.pop(number, None)
        return former is not None

    def remember(self, customer_key: str, agent_id: str, now_s: float) -> None:
        """`agent_id` has served this customer."""
        if not customer_key:
            return
        self.memory[customer_key] = (agent_id, now_s)
        self.memory.move_to_end(customer_key)
        if len(self.memory) > self.config.remembered_customers_max:
            self.memory.popitem(last=False)

    def hold_place(self, queue_id: str, customer_key: str, place: HeldPlace) -> None:
        """Keep a dropped caller's place."""
        key = (queue_id, customer_key)
        self.held_places[key] = place
        self.held_places.move_to_end(key)
        if len(self.held_places) > HELD_PLACES_MAX:
            self.held_places.popitem(last=False)

    def take_place(self, queue_id: str, customer_key: str, now_s: float) -> HeldPlace | None:
        """The place kept for this caller, if it still is."""
        place = self.held_places.pop((queue_id, customer_key), None)
        return place if place is not None and place.until_s >= now_s else None

    def unix_s(self, now_s: float) -> float:
        return now_s + self.epoch_s
