"""Days of the office's own time zone added up, so that a report of a year need not read every half-hour of
it. Made from the half-hours and from the tables that follow from the journal (`days`)."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata
from softswitch.store.schema_rolls import (
    agent_rolls,
    handling_rolls,
    state_rolls,
    visit_rolls,
)


def _day() -> sa.Column[int]:
    return sa.Column("day", Sequence, primary_key=True, autoincrement=False)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _like(name: str, rolls: sa.Table) -> sa.Table:
    """The columns of a table of half-hours, by day."""
    columns = [
        sa.Column(column.name, column.type, primary_key=column.primary_key, nullable=False)
        for column in rolls.columns
        if column.name != "slot"
    ]
    return sa.Table(name, metadata, _day(), *columns, sqlite_with_rowid=False)


rolled_days = sa.Table(
    "rolled_days",
    metadata,
    _key("kind"),
    _key("zone"),
    _day(),
    sa.Column("start_s", sa.Double, nullable=False),
    sa.Column("end_s", sa.Double, nullable=False),
)
"""Which days are added up: the sums of a day that is not here mean nothing. `start_s` and `end_s` are the
time of the entries that a day depends on: whoever changes something in it deletes the row."""

visit_days = _like("visit_days", visit_rolls)
handling_days = _like("handling_days", handling_rolls)
agent_days = _like("agent_days", agent_rolls)
state_days = _like("state_days", state_rolls)
"""`day` counts days of local time since 1970-01-01."""

OF_HALVES = (
    (visit_rolls, visit_days),
    (handling_rolls, handling_days),
    (agent_rolls, agent_days),
    (state_rolls, state_days),
)
DAYS = (rolled_days, *(days for _, days in OF_HALVES))
