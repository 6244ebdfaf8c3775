"""Whose caller came again, contact by contact: noted in the background, some half-hours at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "repeat_visits",
        sa.Column("slot", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("seq", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("again_at_s", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.execute("DELETE FROM rolled_days WHERE kind IN ('repeats', 'repeats-so-far')")
    op.drop_table("repeat_visits")
