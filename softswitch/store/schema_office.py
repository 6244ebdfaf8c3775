"""Tables of what is configured through the API."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata

office_entries = sa.Table(
    "office_entries",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("section", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("changed_at_s", sa.Double, nullable=False),
    sa.Index("office_entries_name", "section", "name"),
    sqlite_autoincrement=True,
)
"""Tables as in the office file. `sealed` is JSON, encrypted: it may hold passwords."""

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("filter", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("disabled_because", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""Whom to tell what happens. `sealed` holds the secret that signs; `filter` is JSON."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("webhook_id", sa.BigInteger, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("took_ms", sa.Double, nullable=False),
    sa.Column("body", sa.LargeBinary),
    sa.Index("deliveries_webhook", "webhook_id", "id"),
    sqlite_autoincrement=True,
)
"""How telling went: `event` is the position, `status` "delivered", "failed" or "dropped", `body` what it said,
for sending it again."""

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("key_hash", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("idempotency_at", "at_s"),
)
"""Answers to creations that may be asked for again; kept for a day."""
