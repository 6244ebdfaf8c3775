"""A DNS in memory that can be ill: for worlds and for tests of resolvers."""

from __future__ import annotations

import asyncio

from softswitch.transport.dns_lookup import Answer, LookupFailed, NoRecords, Record


class SimDns:
    """Zones in a dictionary; fits `softswitch.transport.dns_lookup.Lookup`.

    `records[(name, kind)]` is an `Answer`. `failing` names (or "*") give SERVFAIL, `missing` ones do
    not exist whatever the records say, and every answer takes `delay_s`. `asked` has all questions.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Answer] = {}
        self.failing: set[str] = set()
        self.missing: set[str] = set()
        self.delay_s = 0.0
        self.negative_ttl_s = 60.0
        self.asked: list[tuple[str, str]] = []

    def set(self, name: str, kind: str, *records: Record, ttl_s: float = 300.0) -> None:
        """What `name` has of `kind` from now on."""
        self.records[(name.lower(), kind)] = Answer(records, ttl_s)

    async def query(self, name: str, kind: str) -> Answer:
        """As `Lookup.query`."""
        self.asked.append((name, kind))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if name in self.failing or "*" in self.failing:
            raise LookupFailed(f"{kind} of {name}: SERVFAIL")
        found = self.records.get((name.lower(), kind))
        if found is None or name in self.missing or "*" in self.missing:
            raise NoRecords(f"{name} has no {kind} records", self.negative_ttl_s)
        return found
