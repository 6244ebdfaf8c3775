"""Tables of tickets."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata

tickets = sa.Table(
    "tickets",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("assignee", sa.Text, nullable=False),
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("customer_id", Sequence),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("fields", sa.Text, nullable=False),
    sa.Column("watchers", sa.Text, nullable=False),
    sa.Column("merged_into", Sequence),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("changed_at_s", sa.Double, nullable=False),
    sa.Column("answered_at_s", sa.Double),
    sa.Column("solved_at_s", sa.Double),
    sa.Column("closed_at_s", sa.Double),
    sa.Column("answer_target_s", sa.Double, nullable=False),
    sa.Column("answer_due_s", sa.Double),
    sa.Column("solve_target_s", sa.Double, nullable=False),
    sa.Column("solve_spent_s", sa.Double, nullable=False),
    sa.Column("solve_since_s", sa.Double),
    sa.Column("solve_due_s", sa.Double),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("tickets_status", "status", "id"),
    sa.Index("tickets_assignee", "assignee", "id"),
    sa.Index("tickets_customer", "customer_id", "id"),
    sa.Index("tickets_due", "solve_due_s"),
    sa.Index("tickets_merged", "merged_into"),
    sqlite_autoincrement=True,
)
"""`solve_spent_s`, `solve_since_s` and `solve_target_s` are the clock of the solution (`sla.SlaClock`);
`*_due_s` are when the promises are broken, null while they are paused or kept."""

ticket_comments = sa.Table(
    "ticket_comments",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("ticket_id", Sequence, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("public", sa.Boolean, nullable=False),
    sa.Index("ticket_comments_ticket", "ticket_id", "id"),
    sqlite_autoincrement=True,
)

ticket_links = sa.Table(
    "ticket_links",
    metadata,
    sa.Column("ticket_id", Sequence, primary_key=True, autoincrement=False),
    sa.Column("thing", sa.Text, primary_key=True),
    sa.Index("ticket_links_thing", "thing"),
)
"""What a ticket is about: "call:ID", "voicemail:ID", "ticket:ID"."""
