"""The journal, and the call records read from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "journal",
        sa.Column("seq", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("journal_call", "journal", ["call_id", "seq"])
    op.create_table(
        "calls",
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("seq", _Sequence, nullable=False),
        sa.Column("number_from", sa.Text, nullable=False),
        sa.Column("number_to", sa.Text, nullable=False),
        sa.Column("caller_name", sa.Text, nullable=False),
        sa.Column("direction", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("started_at_s", sa.Double, nullable=False),
        sa.Column("ringing_at_s", sa.Double),
        sa.Column("answered_at_s", sa.Double),
        sa.Column("ended_at_s", sa.Double),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("q850", sa.Integer),
        sa.Column("sip_status", sa.Integer),
        sa.Column("ended_by", sa.Text, nullable=False),
        sa.Column("legs", sa.Text, nullable=False),
        sa.Column("recordings", sa.Text, nullable=False),
    )
    op.create_index("calls_seq", "calls", ["seq"], unique=True)
    op.create_index("calls_open", "calls", ["ended_at_s"])


def downgrade() -> None:
    op.drop_table("calls")
    op.drop_table("journal")
