"""What was handled says for callers of which region; of older rows that is noted when their days are added up anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("handlings", sa.Column("region", sa.Text))
    op.execute("DELETE FROM rolled_days WHERE kind = 'regions'")


def downgrade() -> None:
    op.drop_column("handlings", "region")
