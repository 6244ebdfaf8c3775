"""Tables of tickets."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import MERGED, Sequence, metadata

OPEN_TICKET = "status <> 'solved' AND status <> 'closed' AND merged_into IS NULL"
"""Who calls is told how many he has, beside his call: a large customer has thousands that are closed."""

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
    sa.Column("queue", sa.Text, nullable=False, server_default=""),
    sa.Column("skill", sa.Text, nullable=False, server_default=""),
    sa.Column("reply_to", sa.Text, nullable=False, server_default=""),
    sa.Column("steps_taken", sa.Text, nullable=False, server_default="[]"),
    sa.Column("next_step_s", sa.Double),
    sa.Column("remind_at_s", sa.Double),
    sa.Column("remind_text", sa.Text, nullable=False, server_default=""),
    sa.Index("tickets_next_step", "next_step_s"),
    sa.Index("tickets_remind", "remind_at_s"),
    sa.Index("tickets_created", "created_at_s"),
    sa.Index("tickets_solved", "solved_at_s"),
    sa.Index("tickets_status", "status", "id"),
    sa.Index("tickets_assignee", "assignee", "id"),
    sa.Index("tickets_customer", "customer_id", "id"),
    sa.Index(
        "tickets_open",
        "customer_id",
        "id",
        sqlite_where=sa.text(OPEN_TICKET),
        postgresql_where=sa.text(OPEN_TICKET),
    ),
    sa.Index("tickets_due", "solve_due_s"),
    sa.Index(
        "tickets_merged",
        "merged_into",
        sqlite_where=sa.text(MERGED),
        postgresql_where=sa.text(MERGED),
    ),
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

ticket_attachments = sa.Table(
    "ticket_attachments",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("ticket_id", Sequence, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("comment_id", Sequence),
    sa.Index("ticket_attachments_ticket", "ticket_id", "id"),
    sa.Index("ticket_attachments_comment", "comment_id"),
    sqlite_autoincrement=True,
)
"""Files of tickets. `name` is what a stranger says and is only shown; the file is named by the id."""

ticket_mails = sa.Table(
    "ticket_mails",
    metadata,
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("ticket_id", Sequence, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False, server_default="0"),
    sa.Index("ticket_mails_ticket", "ticket_id", "at_s"),
)
"""Which letters are in which ticket, theirs and ours: an answer finds it, and none is taken twice."""

ticket_settings = sa.Table(
    "ticket_settings",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("sort", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("ticket_settings_sort", "sort", "id"),
    sqlite_autoincrement=True,
)
"""Triggers, templates and macros, as JSON objects."""

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", Sequence, primary_key=True, autoincrement=True),
    sa.Column("reader", sa.Text, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("ticket_id", Sequence, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("read_at_s", sa.Double),
    sa.Index("notices_reader", "reader", "id"),
    sa.Index("notices_at", "at_s"),
    sqlite_autoincrement=True,
)
"""What people are told about tickets. `reader` is a name, or "role:supervisor"."""
