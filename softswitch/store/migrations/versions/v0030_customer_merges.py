"""What came over when customers were merged, so that it can go back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0027"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "customer_merges",
        sa.Column("id", _Sequence, primary_key=True, autoincrement=True),
        sa.Column("customer_id", _Sequence, nullable=False),
        sa.Column("other_id", _Sequence, nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("brought", sa.Text, nullable=False),
        sa.Column("undone_at_s", sa.Double),
        sqlite_autoincrement=True,
    )
    op.create_index("customer_merges_customer", "customer_merges", ["customer_id", "id"])
    op.create_index("customer_merges_other", "customer_merges", ["other_id", "id"])


def downgrade() -> None:
    op.drop_table("customer_merges")
