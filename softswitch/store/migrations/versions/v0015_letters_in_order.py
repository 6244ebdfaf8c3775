"""Letters of tickets in their order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "ticket_mails", sa.Column("at_s", sa.Double, nullable=False, server_default="0")
    )
    op.create_index("ticket_mails_ticket", "ticket_mails", ["ticket_id", "at_s"])


def downgrade() -> None:
    op.drop_index("ticket_mails_ticket", "ticket_mails")
    op.drop_column("ticket_mails", "at_s")
