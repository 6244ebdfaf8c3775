"""Days added up."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_BOUNDS = (5, 10, 15, 20, 25, 30, 40, 45, 60, 90, 120, 180, 300, 600)
_VISITS = (
    "entered answered abandoned overflowed withdrawn callbacks requeued lost waiting".split()
)
_HANDLED = ("talk_s", "hold_s", "wrap_up_s")


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _day() -> sa.Column[int]:
    return sa.Column("day", _Sequence, primary_key=True, autoincrement=False)


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _sums(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names]


def _visits() -> list[sa.Column[Any]]:
    return [
        *_counts(*_VISITS),
        *_sums("wait_answered_s", "wait_s", "wait_s_max"),
        *_counts(*(f"answered_{bound}" for bound in _BOUNDS)),
        *_counts(*(f"abandoned_{bound}" for bound in _BOUNDS)),
    ]


def upgrade() -> None:
    op.create_table(
        "rolled_days",
        *_keys("kind", "zone"),
        _day(),
        *_sums("start_s", "end_s"),
    )
    tables: dict[str, tuple[list[sa.Column[str]], list[sa.Column[Any]]]] = {
        "visit_days": (_keys("queue_id", "media", "region"), _visits()),
        "handling_days": (_keys("queue_id", "media"), [*_counts("handled"), *_sums(*_HANDLED)]),
        "agent_days": (
            _keys("agent_id"),
            [
                *_counts("handled"),
                *_sums(*_HANDLED),
                *_counts("offered", "accepted", "missed", "rejected"),
            ],
        ),
        "state_days": (_keys("agent_id", "state", "reason"), _sums("seconds")),
        "agent_visit_days": (_keys("agent_id", "queue_id", "media"), _visits()),
        "agent_handling_days": (
            _keys("agent_id", "queue_id", "media"),
            [*_counts("handled", "transferred"), *_sums(*_HANDLED)],
        ),
        "outcome_days": (_keys("agent_id", "queue_id"), _counts("known", "resolved")),
    }
    for name, (keys, columns) in tables.items():
        op.create_table(name, _day(), *keys, *columns, sqlite_with_rowid=False)


def downgrade() -> None:
    for name in (
        "outcome_days",
        "agent_handling_days",
        "agent_visit_days",
        "state_days",
        "agent_days",
        "handling_days",
        "visit_days",
        "rolled_days",
    ):
        op.drop_table(name)
