"""Names and e-mail addresses of customers in a form that can be compared: made in the background."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "customer_keys",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("customer_id", _Sequence, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.drop_index("customers_name", "customers")
    op.execute(
        "INSERT INTO facts (name, value) SELECT 'customer-keys-told-to', '0'"
        " WHERE EXISTS (SELECT 1 FROM customers)"
    )


def downgrade() -> None:
    op.execute("DELETE FROM facts WHERE name = 'customer-keys-told-to'")
    op.create_index("customers_name", "customers", ["name"])
    op.drop_table("customer_keys")
