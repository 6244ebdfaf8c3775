"""Calls are found by number and time."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("calls_from", "calls", ["number_from", "seq"])
    op.create_index("calls_to", "calls", ["number_to", "seq"])
    op.create_index("calls_started", "calls", ["started_at_s"])


def downgrade() -> None:
    for name in ("calls_started", "calls_to", "calls_from"):
        op.drop_index(name, "calls")
