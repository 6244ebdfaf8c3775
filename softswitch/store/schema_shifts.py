"""Agents' plans."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata

shifts = sa.Table(
    "shifts",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("start_s", sa.Double, nullable=False),
    sa.Column("end_s", sa.Double, nullable=False),
    sa.Column("activity", sa.Text, nullable=False),
    sa.Index("shifts_start", "start_s", "agent_id"),
    sqlite_autoincrement=True,
)
