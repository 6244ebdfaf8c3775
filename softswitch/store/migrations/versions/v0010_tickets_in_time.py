"""Tickets that are given out, escalated, and have files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXTS = {"queue": "", "skill": "", "reply_to": "", "steps_taken": "[]", "remind_text": ""}
_TIMES = ("next_step_s", "remind_at_s")


def _id() -> sa.Column[int]:
    return sa.Column("id", _Sequence, primary_key=True, autoincrement=True)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def upgrade() -> None:
    for name, default in _TEXTS.items():
        column = sa.Column(name, sa.Text, nullable=False, server_default=default)
        op.add_column("tickets", column)
    for name in _TIMES:
        op.add_column("tickets", sa.Column(name, sa.Double))
    # Looked at once at the first start, which says when their next step really is.
    op.execute("UPDATE tickets SET next_step_s = 0 WHERE status IN ('new', 'open', 'pending')")
    op.create_index("tickets_next_step", "tickets", ["next_step_s"])
    op.create_index("tickets_remind", "tickets", ["remind_at_s"])
    op.create_table(
        "ticket_attachments",
        _id(),
        sa.Column("ticket_id", _Sequence, nullable=False),
        *_texts("name", "type"),
        sa.Column("size", sa.BigInteger, nullable=False),
        *_texts("sha256", "author"),
        sa.Column("at_s", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ticket_attachments_ticket", "ticket_attachments", ["ticket_id", "id"])
    op.create_table(
        "ticket_mails",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("ticket_id", _Sequence, nullable=False),
    )
    op.create_table(
        "ticket_settings",
        _id(),
        *_texts("sort", "name", "value"),
        sa.Column("version", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ticket_settings_sort", "ticket_settings", ["sort", "id"])
    op.create_table(
        "notices",
        _id(),
        *_texts("reader"),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("ticket_id", _Sequence, nullable=False),
        *_texts("kind", "text"),
        sa.Column("read_at_s", sa.Double),
        sqlite_autoincrement=True,
    )
    op.create_index("notices_reader", "notices", ["reader", "id"])
    op.create_index("notices_at", "notices", ["at_s"])


def downgrade() -> None:
    for table in ("notices", "ticket_settings", "ticket_mails", "ticket_attachments"):
        op.drop_table(table)
    op.drop_index("tickets_remind", "tickets")
    op.drop_index("tickets_next_step", "tickets")
    for name in (*_TIMES, *_TEXTS):
        op.drop_column("tickets", name)
