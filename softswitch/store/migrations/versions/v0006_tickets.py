"""Tickets, and words to find them by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "tickets",
        sa.Column("id", _Sequence, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("priority", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("assignee", sa.Text, nullable=False),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("customer_id", _Sequence),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("watchers", sa.Text, nullable=False),
        sa.Column("merged_into", _Sequence),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("changed_at_s", sa.Double, nullable=False),
        sa.Column("answered_at_s", sa.Double),
        sa.Column("solved_at_s", sa.Double),
        sa.Column("closed_at_s", sa.Double),
        sa.Column("answer_target_s", sa.Double, nullable=False),
        sa.Column("answer_due_s", sa.Double),
        sa.Column("solve_target_s", sa.Double, nullable=False),
        sa.Column("solve_spent_s", sa.Double, nullable=False),
        sa.Column("solve_since_s", sa.Double),
        sa.Column("solve_due_s", sa.Double),
        sa.Column("version", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("tickets_status", "tickets", ["status", "id"])
    op.create_index("tickets_assignee", "tickets", ["assignee", "id"])
    op.create_index("tickets_customer", "tickets", ["customer_id", "id"])
    op.create_index("tickets_due", "tickets", ["solve_due_s"])
    op.create_index("tickets_merged", "tickets", ["merged_into"])
    op.create_table(
        "ticket_comments",
        sa.Column("id", _Sequence, primary_key=True, autoincrement=True),
        sa.Column("ticket_id", _Sequence, nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ticket_comments_ticket", "ticket_comments", ["ticket_id", "id"])
    op.create_table(
        "ticket_links",
        sa.Column("ticket_id", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("thing", sa.Text, primary_key=True),
    )
    op.create_index("ticket_links_thing", "ticket_links", ["thing"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE ticket_words (id BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX ticket_words_words ON ticket_words USING gin (words)")
    else:
        op.execute("CREATE VIRTUAL TABLE ticket_words USING fts5(words, detail=full)")


def downgrade() -> None:
    op.execute("DROP TABLE ticket_words")
    for table in ("ticket_links", "ticket_comments", "tickets"):
        op.drop_table(table)
