"""Days of the office's own time zone added up, so that a report of a year need not read every half-hour of
it. Made from the half-hours and from the tables that follow from the journal (`days`)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata
from softswitch.store.schema_rolls import (
    HANDLED_SUMS,
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


def _by_key(name: str, keys: tuple[str, ...], *figures: sa.Column[Any]) -> sa.Table:
    """Figures of a day by other keys than its half-hours have."""
    return sa.Table(name, metadata, _day(), *map(_key, keys), *figures, sqlite_with_rowid=False)


def _handled(name: str, *keys: str) -> sa.Table:
    counts = (sa.Column(each, sa.Integer, nullable=False) for each in ("handled", "transferred"))
    times = (sa.Column(each, sa.Double, nullable=False) for each in HANDLED_SUMS)
    return _by_key(name, keys, *counts, *times)


def _outcomes(name: str, *keys: str) -> sa.Table:
    counts = (sa.Column(each, sa.Integer, nullable=False) for each in ("known", "resolved"))
    return _by_key(name, keys, *counts)


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

agent_visit_days = _by_key(
    "agent_visit_days",
    ("agent_id", "queue_id", "media"),
    *(
        sa.Column(column.name, column.type, nullable=False)
        for column in visit_rolls.columns
        if not column.primary_key
    ),
)
"""Contacts that came to an agent, as `visit_days` has those of queues."""

agent_handling_days = _handled("agent_handling_days", "agent_id", "queue_id", "media")
region_handling_days = _handled("region_handling_days", "queue_id", "media", "region")
"""What was done by each agent, and for callers of each region."""

outcome_days = _outcomes("outcome_days", "agent_id", "queue_id")
region_outcome_days = _outcomes("region_outcome_days", "queue_id", "region")
"""Whether callers came again within a week, by agent and by region; known a week later."""

outcome_halves = sa.Table(
    "outcome_halves",
    metadata,
    sa.Column("slot", Sequence, primary_key=True, autoincrement=False),
    *map(_key, ("queue_id", "region")),
    *(sa.Column(each, sa.Integer, nullable=False) for each in ("known", "resolved")),
    sqlite_with_rowid=False,
)
"""The half-hours of `region_outcome_days`, made a day at a time with them: whether each of a day's callers came
again is a look somewhere else in the table of a year, a second of them where nothing is in memory."""

repeat_visits = sa.Table(
    "repeat_visits",
    metadata,
    sa.Column("slot", Sequence, primary_key=True, autoincrement=False),
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("again_at_s", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)
"""Answered contacts, by the half-hour they came in, whose callers came again within a week: one in five or so.
What no sum tells (agents by half-hour, agents by region, three days instead of seven) is counted with them from
a day's own rows, which lie together, without a look for each caller."""

OF_HALVES = (
    (visit_rolls, visit_days),
    (handling_rolls, handling_days),
    (agent_rolls, agent_days),
    (state_rolls, state_days),
)
DAYS = (
    rolled_days,
    *(days for _, days in OF_HALVES),
    agent_visit_days,
    agent_handling_days,
    outcome_days,
    region_handling_days,
    region_outcome_days,
    outcome_halves,
    repeat_visits,
)
