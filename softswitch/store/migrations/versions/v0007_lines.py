"""What extensions have set by feature codes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "line_settings",
        sa.Column("extension", sa.Text, primary_key=True),
        sa.Column("setting", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("seq", _Sequence, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("line_settings")
