"""Contacts in columns, which the background fills, instead of the sums of days that these make needless."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_COLUMNS = ("visit", "caller", "handling", "offer", "survey")
_VISITS = (
    "entered answered abandoned overflowed withdrawn callbacks requeued lost waiting".split()
)
_WAITS = ("wait_answered_s", "wait_s", "wait_s_max")
_BOUNDS = (5, 10, 15, 20, 25, 30, 40, 45, 60, 90, 120, 180, 300, 600)
_IN_TIME = [f"{name}_{bound}" for name in ("answered", "abandoned") for bound in _BOUNDS]
_HANDLED = ("talk_s", "hold_s", "wrap_up_s")
_FORMER = {
    "agent_visit_days": ("agent_id queue_id media", [*_VISITS, *_WAITS, *_IN_TIME]),
    "agent_handling_days": ("agent_id queue_id media", ["handled", "transferred", *_HANDLED]),
    "region_handling_days": ("queue_id media region", ["handled", "transferred", *_HANDLED]),
    "outcome_days": ("agent_id queue_id", ["known", "resolved"]),
    "region_outcome_days": ("queue_id region", ["known", "resolved"]),
    "outcome_halves": ("queue_id region", ["known", "resolved"]),
}


def upgrade() -> None:
    for name in _COLUMNS:
        op.create_table(
            f"{name}_columns",
            sa.Column("slot", _Sequence, primary_key=True, autoincrement=False),
            sa.Column("rows", sa.LargeBinary, nullable=False),
        )
        if op.get_bind().dialect.name == "postgresql":  # numbers that nothing makes shorter
            op.execute(f'ALTER TABLE {name}_columns ALTER COLUMN "rows" SET STORAGE EXTERNAL')
    op.create_table(
        "column_names",
        sa.Column("code", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )
    op.execute("DELETE FROM rolled_days WHERE kind <> 'contacts'")
    for name in (*_FORMER, "repeat_visits"):
        op.drop_table(name)


def downgrade() -> None:
    op.create_table(
        "repeat_visits",
        sa.Column("slot", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("seq", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("again_at_s", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    for name, (keys, figures) in _FORMER.items():
        first = "slot" if name == "outcome_halves" else "day"
        op.create_table(
            name,
            sa.Column(first, _Sequence, primary_key=True, autoincrement=False),
            *(sa.Column(key, sa.Text, primary_key=True) for key in keys.split()),
            *(
                sa.Column(
                    figure, sa.Double if figure.endswith(("_s", "_max")) else sa.Integer, nullable=False
                )
                for figure in figures
            ),
            sqlite_with_rowid=False,
        )
    op.execute("DELETE FROM rolled_days")
    op.execute("DELETE FROM facts WHERE name = 'columns-to'")
    op.drop_table("column_names")
    for name in _COLUMNS:
        op.drop_table(f"{name}_columns")
