"""Contacts by half-hour in columns of numbers, a blob each: what no sum tells is counted from them. Made from
the tables that follow from the journal, and can be made anew from them at any time (`rolls`)."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata


def _columns(name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("slot", Sequence, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.LargeBinary, nullable=False),
    )


column_names = sa.Table(
    "column_names",
    metadata,
    sa.Column("code", Sequence, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)
"""Queues, agents, regions and media, which the columns have by number."""

visit_columns = _columns("visit_columns")
caller_columns = _columns("caller_columns")
handling_columns = _columns("handling_columns")
offer_columns = _columns("offer_columns")
survey_columns = _columns("survey_columns")
"""`rows` are those of a half-hour in the order of time, as `columns.Layout` packs them. Those of
`caller_columns` are the same contacts as those of `visit_columns`."""

COLUMNS = (visit_columns, caller_columns, handling_columns, offer_columns, survey_columns)
