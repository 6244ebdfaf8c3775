"""Half-hours added up, and indexes by which old days are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_BOUNDS = (5, 10, 15, 20, 25, 30, 40, 45, 60, 90, 120, 180, 300, 600)
_VISITS = (
    "entered answered abandoned overflowed withdrawn callbacks requeued lost waiting".split()
)
_HANDLED = ("talk_s", "hold_s", "wrap_up_s")


def _slot() -> sa.Column[int]:
    return sa.Column("slot", _Sequence, primary_key=True, autoincrement=False)


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _sums(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "visit_rolls",
        _slot(),
        *_keys("queue_id", "media", "region"),
        *_counts(*_VISITS),
        *_sums("wait_answered_s", "wait_s", "wait_s_max"),
        *_counts(*(f"answered_{bound}" for bound in _BOUNDS)),
        *_counts(*(f"abandoned_{bound}" for bound in _BOUNDS)),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "handling_rolls",
        _slot(),
        *_keys("queue_id", "media"),
        *_counts("handled"),
        *_sums(*_HANDLED),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "agent_rolls",
        _slot(),
        *_keys("agent_id"),
        *_counts("handled"),
        *_sums(*_HANDLED),
        *_counts("offered", "accepted", "missed", "rejected"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "state_rolls",
        _slot(),
        *_keys("agent_id", "state", "reason"),
        *_sums("seconds"),
        sqlite_with_rowid=False,
    )
    op.create_index("agent_states_started", "agent_states", ["started_at_s", "ended_at_s"])
    long = sa.text("ended_at_s - started_at_s > 86400.0")
    op.create_index(
        "agent_states_long",
        "agent_states",
        ["ended_at_s", "started_at_s"],
        sqlite_where=long,
        postgresql_where=long,
    )


def downgrade() -> None:
    op.drop_index("agent_states_long", "agent_states")
    op.drop_index("agent_states_started", "agent_states")
    for table in ("state_rolls", "agent_rolls", "handling_rolls", "visit_rolls"):
        op.drop_table(table)
    op.execute("DELETE FROM facts WHERE name = 'rolled-to'")
