"""Half-hours of what came of contacts: made in the background, a day at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "outcome_halves",
        sa.Column("slot", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("queue_id", sa.Text, primary_key=True),
        sa.Column("region", sa.Text, primary_key=True),
        sa.Column("known", sa.Integer, nullable=False),
        sa.Column("resolved", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.execute("DELETE FROM rolled_days WHERE kind = 'outcome-halves'")
    op.drop_table("outcome_halves")
