"""The log of webhooks keeps what an event said, so that it can be sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("body", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("deliveries", "body")
