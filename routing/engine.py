"""The ACD as one pure machine: `handle(event, now_s)` -> decisions; no clock, no I/O, own rng none."""

from __future__ import annotations

from typing import Any

from routing.decisions import Decision
from routing.events import Event
from routing.model import AcdConfig, Rng


class AcdEngine:
    """Contacts in, offers out.

    Parameters: `config`, and `rng`, a seeded generator (`random.Random`-like) used by random orders.
    Times are seconds on one clock of the caller's choice.
    """

    def __init__(self, config: AcdConfig, rng: Rng) -> None:
        raise NotImplementedError

    def handle(self, event: Event, now_s: float) -> list[Decision]:
        """Take one event; return what to do, in order. Unknown ids are answered with Ignored."""
        raise NotImplementedError

    def get_timer(self) -> float | None:
        """When to send TimerFired next, or None."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """All state as JSON-ready values; configuration is not part of it."""
        raise NotImplementedError

    def restore(self, snapshot: dict[str, Any], now_s: float) -> list[Decision]:
        """Take over a snapshot of an earlier run into this fresh engine."""
        raise NotImplementedError
