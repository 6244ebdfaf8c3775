"""Half-hours added up, so that a report of a year need not read a year of calls. Made from the tables that
follow from the journal, and can be made anew from them at any time (`rolls`)."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata

SLOT_S = 1_800
"""A half-hour."""
BOUNDS_S = (5, 10, 15, 20, 25, 30, 40, 45, 60, 90, 120, 180, 300, 600)
"""The T of service levels that are counted beforehand; any other is counted from the contacts."""


def _slot() -> sa.Column[int]:
    return sa.Column("slot", Sequence, primary_key=True, autoincrement=False)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _sums(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names]


VISIT_COUNTS = (
    "entered",
    "answered",
    "abandoned",
    "overflowed",
    "withdrawn",
    "callbacks",
    "requeued",
    "lost",
    "waiting",
)
VISIT_SUMS = ("wait_answered_s", "wait_s", "wait_s_max")
HANDLED_SUMS = ("talk_s", "hold_s", "wrap_up_s")
OFFER_COUNTS = ("offered", "accepted", "missed", "rejected")

visit_rolls = sa.Table(
    "visit_rolls",
    metadata,
    _slot(),
    _key("queue_id"),
    _key("media"),
    _key("region"),
    *_counts(*VISIT_COUNTS),
    *_sums(*VISIT_SUMS),
    *_counts(*(f"answered_{bound}" for bound in BOUNDS_S)),
    *_counts(*(f"abandoned_{bound}" for bound in BOUNDS_S)),
    sqlite_with_rowid=False,
)
"""`slot` counts half-hours since 1970; ``answered_20``: answered within 20 seconds."""

handling_rolls = sa.Table(
    "handling_rolls",
    metadata,
    _slot(),
    _key("queue_id"),
    _key("media"),
    *_counts("handled"),
    *_sums(*HANDLED_SUMS),
    sqlite_with_rowid=False,
)

agent_rolls = sa.Table(
    "agent_rolls",
    metadata,
    _slot(),
    _key("agent_id"),
    *_counts("handled"),
    *_sums(*HANDLED_SUMS),
    *_counts(*OFFER_COUNTS),
    sqlite_with_rowid=False,
)

state_rolls = sa.Table(
    "state_rolls",
    metadata,
    _slot(),
    _key("agent_id"),
    _key("state"),
    _key("reason"),
    *_sums("seconds"),
    sqlite_with_rowid=False,
)
"""How long agents were in each state in each half-hour."""

ROLLS = (visit_rolls, handling_rolls, agent_rolls, state_rolls)
