"""The table of what extensions have set for themselves."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata

line_settings = sa.Table(
    "line_settings",
    metadata,
    sa.Column("extension", sa.Text, primary_key=True),
    sa.Column("setting", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("seq", Sequence, nullable=False),
)
"""One row a setting that was ever changed; `value` is JSON, null for "as in the office file"."""
