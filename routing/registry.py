"""Names of criteria and orders -> classes; built-in ones and those of third parties.

The entry points of the group ``softswitch.routing`` are loaded by the caller (this package reads no
metadata) and handed to `Registry.add`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from routing.errors import RoutingConfigError
from routing.model import QueueConfig, Rng
from routing.strategies import criteria, orders
from routing.strategies.presets import PRESETS, expanded

ENTRY_POINT_GROUP = "softswitch.routing"

_BUILT_IN = (
    criteria.Priority,
    criteria.LastAgent,
    criteria.Region,
    criteria.Skill,
    criteria.Level,
    criteria.LevelLimits,
    orders.LongestIdle,
    orders.LeastOccupied,
    orders.FewestCalls,
    orders.LeastTalkTime,
    orders.Sequential,
    orders.RoundRobin,
    orders.TopDown,
    orders.Random,
    orders.WeightedRandom,
    orders.RingAll,
    orders.RingProgressive,
    orders.LeastRecent,
    orders.FewestCallsHere,
    orders.LongestSinceCall,
    orders.LeastTalkTimeThenPosition,
    orders.FewestCallsThenPosition,
    orders.InOrderOfOffer,
    orders.PenaltyWeighted,
)


class Registry:
    """`add` classes by their `name`; a class with `demand` is a criterion, one with `rank` an order."""

    def __init__(self, extra: Iterable[Any] = ()) -> None:
        self._criteria: dict[str, Any] = {}
        self._orders: dict[str, Any] = {}
        for strategy in (*_BUILT_IN, *extra):
            self.add(strategy)

    def add(self, strategy: Any) -> None:
        """A class (or factory) with `name` and `demand` or `rank`; RoutingConfigError otherwise, or
        when the name is taken."""
        name = getattr(strategy, "name", "")
        if not isinstance(name, str) or not name:
            raise RoutingConfigError(f"strategy {strategy!r}", "has no name")
        if name in self._criteria or name in self._orders or name in PRESETS:
            raise RoutingConfigError(f"strategy {name}", "the name is taken")
        if hasattr(strategy, "demand"):
            self._criteria[name] = strategy
        elif hasattr(strategy, "rank"):
            self._orders[name] = strategy
        else:
            raise RoutingConfigError(f"strategy {name}", "has neither demand() nor rank()")

    @property
    def criteria_names(self) -> list[str]:
        return sorted(self._criteria)

    @property
    def order_names(self) -> list[str]:
        return sorted(self._orders)

    @property
    def preset_names(self) -> list[str]:
        return sorted(PRESETS)

    def pipeline(self, queue: QueueConfig, rng: Rng) -> tuple[QueueConfig, list[Any], Any]:
        """(`queue` with presets expanded, its criteria in order, its final order)."""
        queue = expanded(queue)
        where = f"queue {queue.id}: route"
        *names, last = queue.route or ("",)
        if last not in self._orders:
            allowed = ", ".join([*self.order_names, *self.preset_names])
            raise RoutingConfigError(where, f"must end with an order, not {last!r}", allowed)
        for name in names:
            if name not in self._criteria:
                raise RoutingConfigError(
                    where, f"unknown criterion {name!r}", ", ".join(self.criteria_names)
                )
        if len(set(names)) != len(names):
            raise RoutingConfigError(where, "names a criterion twice")
        self._check_used(queue, names)
        steps = [_made(self._criteria[name], queue, rng) for name in names]
        if "skill" not in names:
            # A contact may bring a demand of its own, which must never be passed over.
            steps.append(_made(self._criteria["skill"], queue, rng))
        return queue, steps, _made(self._orders[last], queue, rng)

    @staticmethod
    def _check_used(queue: QueueConfig, names: list[str]) -> None:
        """A rule that no criterion of the route would ever read is a mistake, not a wish."""
        for key, written, needs in (
            ("skill", bool(queue.skill), ("skill",)),
            ("relax", bool(queue.relax), ("skill",)),
            ("levels", bool(queue.levels.steps), ("level", "level-limits")),
            *((f"prefer {name}", True, (name,)) for name in queue.prefer),
        ):
            if written and not set(needs) & set(names):
                problem = f"is set, but the route has no {' or '.join(needs)}"
                raise RoutingConfigError(f"queue {queue.id}: {key}", problem)


def _made(strategy: Any, queue: QueueConfig, rng: Rng) -> Any:
    for_queue = getattr(strategy, "for_queue", None)
    return for_queue(queue, rng) if for_queue is not None else strategy()
