"""What was merged is indexed, and not what was not: a day's tickets were looked for among all that were not merged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    some = sa.text("merged_into IS NOT NULL")
    for table in ("tickets", "customers"):
        op.drop_index(f"{table}_merged", table)
        op.create_index(
            f"{table}_merged", table, ["merged_into"], sqlite_where=some, postgresql_where=some
        )


def downgrade() -> None:
    for table in ("tickets", "customers"):
        op.drop_index(f"{table}_merged", table)
        op.create_index(f"{table}_merged", table, ["merged_into"])
