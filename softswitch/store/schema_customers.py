"""Tables of customers."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import MERGED, Sequence, metadata

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("phones", sa.Text, nullable=False),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("addresses", sa.Text, nullable=False),
    sa.Column("fields", sa.Text, nullable=False),
    sa.Column("merged_into", Sequence),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("changed_at_s", sa.Double, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index(
        "customers_merged",
        "merged_into",
        sqlite_where=sa.text(MERGED),
        postgresql_where=sa.text(MERGED),
    ),
    sqlite_autoincrement=True,  # a number that a link holds is never given to another
)
"""`phones`, `tags` and `addresses` are JSON arrays of texts, `fields` is a JSON object. One that was merged
stays, so that links to it still lead somewhere."""

customer_phones = sa.Table(
    "customer_phones",
    metadata,
    sa.Column("phone", sa.Text, primary_key=True),
    sa.Column("customer_id", Sequence, primary_key=True, autoincrement=False),
    sa.Index("customer_phones_customer", "customer_id"),
)
"""The index of the numbers (E.164). A number may belong to several: a family, a company."""

customer_keys = sa.Table(
    "customer_keys",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("customer_id", Sequence, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""What customers are compared by beside their numbers (`duplicates`): `kind` is "name" or "address"."""

KEYS_TOLD_TO = "customer-keys-told-to"
"""Fact: customers after that id may have no keys yet; absent when all have."""

customer_notes = sa.Table(
    "customer_notes",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("customer_id", Sequence, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("customer_notes_customer", "customer_id", "id"),
    sqlite_autoincrement=True,
)

customer_merges = sa.Table(
    "customer_merges",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("customer_id", Sequence, nullable=False),
    sa.Column("other_id", Sequence, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("brought", sa.Text, nullable=False),
    sa.Column("undone_at_s", sa.Double),
    sa.Index("customer_merges_customer", "customer_id", "id"),
    sa.Index("customer_merges_other", "other_id", "id"),
    sqlite_autoincrement=True,
)
"""Who turned out to be whom: `other_id` to be `customer_id`. `brought` is JSON
(`customer_merges.Brought`): what came over with him and goes back when that is undone."""
