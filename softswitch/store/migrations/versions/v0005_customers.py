"""Customers, and words to find them by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("id", _Sequence, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("phones", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("addresses", sa.Text, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("merged_into", _Sequence),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("changed_at_s", sa.Double, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("customers_name", "customers", ["name"])
    op.create_index("customers_merged", "customers", ["merged_into"])
    op.create_table(
        "customer_phones",
        sa.Column("phone", sa.Text, primary_key=True),
        sa.Column("customer_id", _Sequence, primary_key=True, autoincrement=False),
    )
    op.create_index("customer_phones_customer", "customer_phones", ["customer_id"])
    op.create_table(
        "customer_notes",
        sa.Column("id", _Sequence, primary_key=True, autoincrement=True),
        sa.Column("customer_id", _Sequence, nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("customer_notes_customer", "customer_notes", ["customer_id", "id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE customer_words (id BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX customer_words_words ON customer_words USING gin (words)")
    else:
        op.execute("CREATE VIRTUAL TABLE customer_words USING fts5(words, detail=full)")


def downgrade() -> None:
    op.execute("DROP TABLE customer_words")
    for table in ("customer_notes", "customer_phones", "customers"):
        op.drop_table(table)
