"""What is counted of contacts, as expressions of SQL: by half-hour, by day, or as a report asks."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from softswitch.store.schema_centre import handlings, queue_visits
from softswitch.store.schema_rolls import BOUNDS_S, SLOT_S, VISIT_COUNTS, VISIT_SUMS

TICKET = "ticket"
"""The medium of what lies in queues without anybody waiting for an answer."""


def slot_of(at_s: sa.Column[float], dialect: str) -> sa.ColumnElement[int]:
    """The half-hour of an instant."""
    number = at_s / float(SLOT_S)
    if dialect == "postgresql":  # its casts round
        return sa.cast(sa.func.floor(number), sa.BigInteger)
    return sa.cast(number, sa.Integer)


def counted(clause: sa.ColumnElement[bool]) -> Any:
    """How many rows are so."""
    return sa.func.sum(sa.case((clause, 1), else_=0))


def visit_columns() -> dict[str, Any]:
    """The counts of `visit_rolls` over `queue_visits`, by name."""
    table = queue_visits.c
    answered = table.outcome == "answered"
    columns: dict[str, Any] = {
        "entered": sa.func.count(),
        "answered": counted(answered),
        "callbacks": counted(table.outcome.like("callback%")),
        "wait_answered_s": sa.func.sum(sa.case((answered, table.waited_s), else_=0.0)),
        "wait_s": sa.func.sum(table.waited_s),
        "wait_s_max": sa.func.max(table.waited_s),
    }
    for name in VISIT_COUNTS:
        columns.setdefault(name, counted(table.outcome == name))
    return columns


def numbered(groups: list[Any]) -> list[Any]:
    """Groups by their place: PostgreSQL takes an expression with parameters for another each time."""
    return [sa.literal_column(str(place)) for place in range(1, len(groups) + 1)]


def visit_query(
    groups: list[Any],
    start_s: float | sa.BindParameter[float],
    end_s: float | sa.BindParameter[float],
) -> sa.Select[Any]:
    """The columns of `visit_rolls` over the contacts of some time, after `groups`; the caller groups."""
    table = queue_visits.c
    columns = visit_columns()
    within = [
        counted(sa.and_(table.outcome == outcome, table.waited_s <= float(bound)))
        for outcome in ("answered", "abandoned")
        for bound in BOUNDS_S
    ]
    sums = (columns[name] for name in (*VISIT_COUNTS, *VISIT_SUMS))
    return sa.select(*groups, *sums, *within).where(
        table.entered_at_s >= start_s, table.entered_at_s < end_s
    )


def region_of(table: sa.Table) -> sa.ColumnElement[str]:
    """The caller's region of a row of `handlings` or `surveys`: as it is noted there, else that of the same
    contact in the queues, "" where it is not known."""
    visits = queue_visits.alias("entered").c
    same = [visits.call_id == table.c.call_id]
    if "contact_id" in table.c:
        same.append(visits.contact_id == table.c.contact_id)
    found = sa.select(sa.func.max(visits.region)).where(*same).correlate(table)
    return sa.func.coalesce(table.c.region, found.scalar_subquery(), "")


def was_passed_on() -> sa.ColumnElement[bool]:
    """Which handlings ended by giving the contact to somebody else."""
    return handlings.c.outcome.in_(("transferred", "requeued"))
