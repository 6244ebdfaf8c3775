"""Every table of the database, for migrations and for whoever copies or compares the whole."""

from __future__ import annotations

from softswitch.store import (
    schema,
    schema_centre,
    schema_columns,
    schema_customers,
    schema_days,
    schema_lines,
    schema_office,
    schema_people,
    schema_quality,
    schema_recordings,
    schema_rolls,
    schema_shifts,
    schema_tickets,
)
from softswitch.store.schema import metadata

__all__ = [
    "metadata",
    "schema",
    "schema_centre",
    "schema_columns",
    "schema_customers",
    "schema_days",
    "schema_lines",
    "schema_office",
    "schema_people",
    "schema_quality",
    "schema_recordings",
    "schema_rolls",
    "schema_shifts",
    "schema_tickets",
]
