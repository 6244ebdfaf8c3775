"""Recordings that are kept beyond their time, and contacts found by their caller."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recording_holds",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("held_by", sa.Text, nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
    )
    op.create_index("queue_visits_caller", "queue_visits", ["caller", "entered_at_s"])
    op.create_index("tickets_created", "tickets", ["created_at_s"])
    op.create_index("tickets_solved", "tickets", ["solved_at_s"])


def downgrade() -> None:
    op.drop_index("tickets_solved", "tickets")
    op.drop_index("tickets_created", "tickets")
    op.drop_index("queue_visits_caller", "queue_visits")
    op.drop_table("recording_holds")
