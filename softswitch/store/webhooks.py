"""Webhooks and the log of their deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from softswitch.store.ledger import Conflict, Missing, Stale
from softswitch.store.office_entries import Seal
from softswitch.store.reading import reading
from softswitch.store.schema_office import deliveries, webhooks

if TYPE_CHECKING:
    from softswitch.store.database import Database
    from softswitch.store.ledger import Ledger

WEBHOOKS_MAX = 100
DELIVERIES_KEPT = 1_000
"""A webhook; older lines go."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom to tell what; `secret` signs. `disabled_because`: why it was switched off, "" by hand. `told_to`: of
    the journal's entries up to this one it has been told; None where nobody has noted it."""

    id: int
    name: str
    url: str
    topics: tuple[str, ...]
    queue: str
    agent: str
    secret: str
    active: bool
    disabled_because: str
    created_by: str
    created_at_s: float
    version: int
    told_to: int | None = None


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """How telling one event went."""

    id: int
    webhook_id: int
    event: str
    kind: str
    at_s: float
    attempts: int
    status: str
    detail: str
    took_ms: float


class Webhooks:
    """The two tables. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database, ledger: Ledger, directory: Path) -> None:
        self._database = database
        self._ledger = ledger
        self._seal = Seal(directory)

    async def all(self) -> list[Webhook]:
        """By id."""
        query = sa.select(webhooks).order_by(webhooks.c.id)
        async with reading(self._database) as connection:
            rows = (await connection.execute(query)).all()
        if rows:
            await self._seal.ready()
        return [self._webhook(row) for row in rows]

    async def add(self, actor: str, values: dict[str, Any], secret: str) -> Webhook:
        """A new one. Raises `Conflict` beyond `WEBHOOKS_MAX`."""
        await self._seal.ready()
        async with self._ledger.change(actor) as change:
            count = sa.select(sa.func.count()).select_from(webhooks)
            if (await change.connection.execute(count)).scalar_one() >= WEBHOOKS_MAX:
                raise Conflict(f"there are {WEBHOOKS_MAX} webhooks already")
            row = {
                **_row(values),
                "sealed": b"",
                "active": True,
                "disabled_because": "",
                "created_by": actor,
                "created_at_s": change.at_s,
                "version": 1,
            }
            query = sa.insert(webhooks).values(row).returning(webhooks.c.id)
            number = int((await change.connection.execute(query)).scalar_one())
            sealed = self._seal.close({"secret": secret}, f"webhook:{number}")
            update = sa.update(webhooks).where(webhooks.c.id == number).values(sealed=sealed)
            made = (await change.connection.execute(update.returning(webhooks))).one()
            change.note("webhook-added", f"webhook:{number}", url=values["url"])
        return self._webhook(made)

    async def change(
        self, actor: str, webhook: Webhook, values: dict[str, Any], version: int | None = None
    ) -> Webhook:
        """Other values. Raises `Missing`, `Stale`."""
        row = _row(
            {
                "name": webhook.name,
                "url": webhook.url,
                "topics": webhook.topics,
                "queue": webhook.queue,
                "agent": webhook.agent,
                "told_to": webhook.told_to,
                **values,
            }
        )
        for name in ("active", "disabled_because"):
            row[name] = values.get(name, getattr(webhook, name))
        async with self._ledger.change(actor) as change:
            if version is not None and version != webhook.version:
                raise Stale("the webhook was changed meanwhile")
            query = sa.update(webhooks).where(
                webhooks.c.id == webhook.id, webhooks.c.version == webhook.version
            )
            update = query.values(version=webhook.version + 1, **row).returning(webhooks)
            found = (await change.connection.execute(update)).first()
            if found is None:
                raise Stale("the webhook was changed meanwhile")
            details = {k: v for k, v in values.items() if k not in ("secret", "told_to")}
            change.note("webhook-changed", f"webhook:{webhook.id}", **details)
        return self._webhook(found)

    async def remove(self, actor: str, webhook_id: int, version: int | None = None) -> None:
        """With its log. Raises `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            here = webhooks.c.id == webhook_id
            found = await change.connection.execute(sa.select(webhooks.c.version).where(here))
            kept = found.scalar_one_or_none()
            if kept is None:
                raise Missing("there is no such webhook")
            if version not in (None, kept):
                raise Stale(f"webhook {webhook_id} was changed meanwhile")
            await change.connection.execute(sa.delete(webhooks).where(here))
            own = sa.delete(deliveries).where(deliveries.c.webhook_id == webhook_id)
            await change.connection.execute(own)
            change.note("webhook-removed", f"webhook:{webhook_id}")

    async def log(
        self, webhook_id: int, lines: list[dict[str, Any]], told_to: int | None = None
    ) -> None:
        """Add lines, forget old ones; note how far it has been told, unless that is None."""
        async with self._ledger.change("switch:webhooks") as change:
            if told_to is not None:
                here = webhooks.c.id == webhook_id
                found = await change.connection.execute(sa.select(webhooks.c.filter).where(here))
                kept = found.scalar_one_or_none()
                if kept is not None:
                    noted = {**msgspec.json.decode(kept), "told_to": told_to}
                    text = msgspec.json.encode(noted).decode()
                    await change.connection.execute(
                        sa.update(webhooks).where(here).values(filter=text)
                    )
            if not lines:
                return
            await change.connection.execute(
                sa.insert(deliveries), [{"webhook_id": webhook_id, **line} for line in lines]
            )
            own = deliveries.c.webhook_id == webhook_id
            kept = (
                sa.select(deliveries.c.id)
                .where(own)
                .order_by(deliveries.c.id.desc())
                .offset(DELIVERIES_KEPT)
                .limit(1)
            )
            last = (await change.connection.execute(kept)).scalar()
            if last is not None:
                await change.connection.execute(
                    sa.delete(deliveries).where(own, deliveries.c.id <= last)
                )

    async def line(self, webhook_id: int, delivery_id: int) -> tuple[DeliveryLine, bytes | None]:
        """A line of the log with what the event said; None: it is not kept. Raises `Missing`."""
        query = sa.select(deliveries).where(
            deliveries.c.webhook_id == webhook_id, deliveries.c.id == delivery_id
        )
        async with reading(self._database) as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise Missing(f"webhook {webhook_id} has no delivery {delivery_id}")
        told = dict(row._mapping)
        body = told.pop("body")
        return DeliveryLine(**told), body

    async def update_line(self, delivery_id: int, values: dict[str, Any]) -> None:
        """What came of sending it again."""
        async with self._ledger.change("switch:webhooks") as change:
            here = sa.update(deliveries).where(deliveries.c.id == delivery_id)
            await change.connection.execute(here.values(**values))

    async def lines(
        self, webhook_id: int, limit: int, before: int | None = None, status: str = ""
    ) -> list[DeliveryLine]:
        """The log, newest first; of one status."""
        shown = [column for column in deliveries.c if column.name != "body"]
        query = sa.select(*shown).where(deliveries.c.webhook_id == webhook_id)
        if status:
            query = query.where(deliveries.c.status == status)
        if before is not None:
            query = query.where(deliveries.c.id < before)
        query = query.order_by(deliveries.c.id.desc()).limit(limit)
        async with reading(self._database) as connection:
            rows = (await connection.execute(query)).all()
        return [DeliveryLine(**row._mapping) for row in rows]

    def _webhook(self, row: sa.Row[tuple[Any, ...]]) -> Webhook:
        wanted = msgspec.json.decode(row.filter)
        return Webhook(
            id=row.id,
            name=row.name,
            url=row.url,
            topics=tuple(wanted["topics"]),
            queue=wanted["queue"],
            agent=wanted["agent"],
            secret=str(self._seal.open(row.sealed, f"webhook:{row.id}")["secret"]),
            active=row.active,
            disabled_because=row.disabled_because,
            created_by=row.created_by,
            created_at_s=row.created_at_s,
            version=row.version,
            told_to=wanted.get("told_to"),
        )


def _row(values: dict[str, Any]) -> dict[str, Any]:
    wanted = {
        "topics": sorted(values["topics"]),
        "queue": values["queue"],
        "agent": values["agent"],
        "told_to": values.get("told_to"),
    }
    return {
        "name": values["name"],
        "url": values["url"],
        "filter": msgspec.json.encode(wanted).decode(),
    }
