"""Call records say which customer was calling, files of tickets with which comment they go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("customer_id", sa.BigInteger))
    op.add_column(
        "calls", sa.Column("customer_name", sa.Text, nullable=False, server_default="")
    )
    some = sa.text("customer_id IS NOT NULL")
    op.add_column("ticket_attachments", sa.Column("comment_id", sa.BigInteger().with_variant(sa.Integer, "sqlite")))
    op.create_index("ticket_attachments_comment", "ticket_attachments", ["comment_id"])
    op.create_index(
        "calls_customer",
        "calls",
        ["customer_id", "seq"],
        sqlite_where=some,
        postgresql_where=some,
    )


def downgrade() -> None:
    op.drop_index("calls_customer", "calls")
    op.drop_index("ticket_attachments_comment", "ticket_attachments")
    op.drop_column("ticket_attachments", "comment_id")
    op.drop_column("calls", "customer_name")
    op.drop_column("calls", "customer_id")
