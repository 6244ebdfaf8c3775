"""Who is still to be told that his letter has come: noted with the ticket that it has opened, so that neither a
restart nor a mail server that is away for an hour makes us forget it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store.ledger import Change
from softswitch.store.schema_centre import facts

PREFIX = "acknowledge:"
OWED_MAX = 500
"""So many at once; who comes when there are more is not told."""


@dataclass(frozen=True, slots=True)
class Owed:
    """`to`, by the `name` he gave himself, for his letter (its Message-ID)."""

    to: str
    name: str = ""
    letter: str = ""


async def owe(change: Change, ticket_id: int, owed: Owed) -> None:
    """Note in somebody's change that a ticket's sender is to be told."""
    ours = facts.c.name.like(f"{PREFIX}%")
    count = sa.select(sa.func.count()).select_from(facts).where(ours)
    if (await change.connection.execute(count)).scalar_one() < OWED_MAX:
        row = {"name": f"{PREFIX}{ticket_id}", "value": msgspec.json.encode(owed).decode()}
        await change.connection.execute(sa.insert(facts).values(row))


async def owed_to(connection: AsyncConnection) -> dict[int, Owed]:
    """Who is to be told, by the ticket, oldest first."""
    query = sa.select(facts.c.name, facts.c.value).where(facts.c.name.like(f"{PREFIX}%"))
    found = {
        int(name.removeprefix(PREFIX)): msgspec.json.decode(value, type=Owed)
        for name, value in (await connection.execute(query)).all()
    }
    return dict(sorted(found.items()))


async def settle(change: Change, ticket_id: int) -> None:
    """He was told, or never will be."""
    await change.connection.execute(sa.delete(facts).where(facts.c.name == f"{PREFIX}{ticket_id}"))
