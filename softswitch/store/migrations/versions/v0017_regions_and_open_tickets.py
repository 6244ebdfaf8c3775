"""Days added up by region, and open tickets found by customer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _day() -> sa.Column[int]:
    return sa.Column("day", _Sequence, primary_key=True, autoincrement=False)


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "region_handling_days",
        _day(),
        *_keys("queue_id", "media", "region"),
        *_counts("handled", "transferred"),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("talk_s", "hold_s", "wrap_up_s")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "region_outcome_days",
        _day(),
        *_keys("queue_id", "region"),
        *_counts("known", "resolved"),
        sqlite_with_rowid=False,
    )
    is_open = sa.text("status <> 'solved' AND status <> 'closed' AND merged_into IS NULL")
    op.create_index(
        "tickets_open",
        "tickets",
        ["customer_id", "id"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )


def downgrade() -> None:
    op.drop_index("tickets_open", "tickets")
    # Days that this version added up mean nothing to the one before.
    op.execute("DELETE FROM rolled_days WHERE kind IN ('regions', 'region-outcomes')")
    op.drop_table("region_outcome_days")
    op.drop_table("region_handling_days")
