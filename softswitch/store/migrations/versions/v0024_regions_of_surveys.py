"""Surveys say of callers of which region they are, once their days are added up: made anew for that, in the background."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("surveys", sa.Column("region", sa.Text))
    op.execute(
        "DELETE FROM rolled_days WHERE kind = 'regions' AND EXISTS (SELECT 1 FROM surveys)"
    )


def downgrade() -> None:
    op.drop_column("surveys", "region")
