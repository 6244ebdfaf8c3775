"""What a strategy is. The built-in ones and third parties' use the same three protocols.

A criterion says what a contact demands of an agent at a time; the demand judges agents. Contacts
of a queue with equal demands share one index, which is what makes routing fast: make demands
small frozen dataclasses, equal whenever they judge alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from routing.contact import Contact
    from routing.desk import Seat


class Demand(Protocol):
    """Hashable; compares equal to demands that judge every agent alike. `str()` is shown to users.

    Optional attributes: ``only``, a tuple of agent ids outside of which nobody can be admitted (it
    is dropped when none of them satisfies the hard demands); ``soft`` True, a preference that gives
    way while ``only`` is in force; ``yields`` True, not to be waited for while no agent it admits is
    at work, and then ``otherwise``, the demand to use instead (None: none).
    """

    def judge(self, seat: Seat) -> float | str:
        """A score (0 is neutral, lower ranks earlier), or the reason why this agent may not."""
        ...


class Criterion(Protocol):
    """One step of a pipeline. `demand` depends on the contact's own facts and on `waited_s` only."""

    name: str

    def demand(self, contact: Contact, waited_s: float) -> tuple[Demand | None, float]:
        """What the contact asks of an agent after `waited_s` seconds in the queue (None: nothing),
        and the `waited_s` at which to ask again (infinity: never)."""
        ...


class Order(Protocol):
    """The last step of a pipeline: who of those left comes first.

    Optional class attributes: ``standing`` True promises that the rank of an agent who is free
    changes neither with time nor with the contact, so that it is computed once and indexed;
    ``circular`` "queue" or "contact": start after the one offered last, by the queue or to this
    contact; ``lottery`` True: `rank` is a weight and the winner is drawn; ``at_once`` "one", "all"
    (ring together) or "progressive" (one more every `progressive_s`).
    """

    name: str

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        """Anything that sorts; lowest first. `contact` is None for standing orders."""
        ...
