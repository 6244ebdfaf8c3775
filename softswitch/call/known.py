"""Who is calling, as far as the office knows: what is remembered of a call's customer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softswitch.config import Customer

TICKETS_TOLD = 5


@dataclass(frozen=True, slots=True)
class KnownCustomer:
    """A customer as calls see him. `id` is his number in the database, 0 where only the office file
    knows him; `tickets_open` counts his open tickets, `tickets` are the newest of them, `TICKETS_TOLD` at
    most; `last_agent` served him last, "" for nobody."""

    name: str = ""
    phone: tuple[str, ...] = ()
    priority: int = 0
    tags: tuple[str, ...] = ()
    region: str = ""
    id: int = 0
    tickets_open: int = 0
    tickets: tuple[int, ...] = ()
    last_agent: str = ""

    def told(self) -> dict[str, Any]:
        """As the journal, events and the API show him."""
        return {
            "id": self.id or None,
            "name": self.name,
            "priority": self.priority,
            "region": self.region,
            "tags": list(self.tags),
            "last_agent": self.last_agent,
            "tickets_open": self.tickets_open,
            "tickets": list(self.tickets),
        }

    def and_file(self, customer: Customer | None) -> KnownCustomer:
        """With what the office file says of the same number: the higher priority, the tags of both, and its
        name where the database has none."""
        if customer is None:
            return self
        return replace(
            self,
            name=self.name or customer.name,
            priority=max(self.priority, customer.priority),
            tags=tuple(dict.fromkeys((*self.tags, *customer.tags))),
        )


def of_file(customer: Customer | None) -> KnownCustomer | None:
    """A customer of the office file."""
    if customer is None:
        return None
    return KnownCustomer(
        customer.name, tuple(customer.phone), customer.priority, tuple(customer.tags)
    )
