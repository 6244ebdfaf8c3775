"""The tables. A change here needs a migration; a test holds the two together."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

# SQLite numbers its rows itself where the key is exactly INTEGER; anything else is a second tree.
Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")

MERGED = "merged_into IS NOT NULL"
"""Indexes of what was merged into something else hold nothing but that: a database would take such an index for
the few rows that have no such value, which are nearly all."""

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("journal_call", "call_id", "seq"),
)
"""The truth: what happened, in order. Rows are added and, past their retention, deleted; never changed."""

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("seq", Sequence, nullable=False),
    sa.Column("number_from", sa.Text, nullable=False),
    sa.Column("number_to", sa.Text, nullable=False),
    sa.Column("caller_name", sa.Text, nullable=False),
    sa.Column("direction", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("started_at_s", sa.Double, nullable=False),
    sa.Column("ringing_at_s", sa.Double),
    sa.Column("answered_at_s", sa.Double),
    sa.Column("ended_at_s", sa.Double),
    sa.Column("duration_s", sa.Double, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("q850", sa.Integer),
    sa.Column("sip_status", sa.Integer),
    sa.Column("ended_by", sa.Text, nullable=False),
    sa.Column("legs", sa.Text, nullable=False),
    sa.Column("recordings", sa.Text, nullable=False),
    sa.Column("customer_id", sa.BigInteger),
    sa.Column("customer_name", sa.Text, nullable=False, server_default=""),
    sa.Index(
        "calls_customer",
        "customer_id",
        "seq",
        sqlite_where=sa.text("customer_id IS NOT NULL"),
        postgresql_where=sa.text("customer_id IS NOT NULL"),
    ),
    sa.Index("calls_seq", "seq", unique=True),
    sa.Index("calls_open", "ended_at_s"),
    sa.Index("calls_from", "number_from", "seq"),
    sa.Index("calls_to", "number_to", "seq"),
    sa.Index("calls_started", "started_at_s"),
)
"""One row a call, read from the journal; `legs` and `recordings` are JSON arrays."""
