"""What a routing strategy of one's own is built from, and how installed ones are found.

A strategy is a class with a `name` and `demand` (a criterion) or `rank` (an order); see
docs/routing.md. Installed packages offer theirs as entry points of the group `softswitch.routing`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from routing.contact import Contact
from routing.desk import Agent, Seat
from routing.errors import RoutingConfigError
from routing.registry import ENTRY_POINT_GROUP, Registry
from routing.strategies.base import Criterion, Demand, Order
from softswitch.errors import ConfigError

__all__ = ["Agent", "Contact", "Criterion", "Demand", "Order", "Registry", "Seat", "load_registry"]


def load_registry() -> Registry:
    """The built-in strategies and all installed ones; ConfigError names the entry point that cannot
    be used."""
    registry = Registry()
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            registry.add(entry.load())
        except (ImportError, AttributeError, RoutingConfigError) as error:
            where = f"entry point {ENTRY_POINT_GROUP}:{entry.name}"
            raise ConfigError(where, str(error)) from error
    return registry
