"""Tables of those who may use the API, and of what they did."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("full_name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("must_change", sa.Boolean, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("users_name", "name", unique=True),
    sqlite_autoincrement=True,
)
"""People beside the agents of the office file. A higher `epoch` ends all sessions begun before."""

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("secret_hash", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("expires_at_s", sa.Double),
    sa.Column("last_used_at_s", sa.Double),
)
"""Keys of programs. Of the secret only its SHA-256 is kept: it has 192 random bits, no salt is needed."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Index("audit_object", "object", "id"),
    sa.Index("audit_actor", "actor", "id"),
    sqlite_autoincrement=True,
)
"""Who changed what: written in the transaction of the change. `details` is a JSON object; of secrets it
says that they were changed, never what they are."""
