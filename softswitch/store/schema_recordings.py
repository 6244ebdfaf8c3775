"""Recordings that must not be deleted."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import metadata

recording_holds = sa.Table(
    "recording_holds",
    metadata,
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("held_by", sa.Text, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
)
"""Calls whose recordings outlive their time: a dispute, a court."""
