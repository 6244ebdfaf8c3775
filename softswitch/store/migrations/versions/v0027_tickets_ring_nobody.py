"""A ticket that was handed to an agent counted as an offer that he had taken: taken away, and what was added up of
offers is made anew where there are any, in the background."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_OF_TICKETS = (
    "contact_id IN (SELECT contact_id FROM queue_visits WHERE media = 'ticket')"
    " AND call_id IN (SELECT call_id FROM queue_visits WHERE media = 'ticket')"
)
_ANY = f"SELECT 1 FROM agent_offers WHERE {_OF_TICKETS} LIMIT 1"
_SUMS = (
    *("visit_rolls", "handling_rolls", "agent_rolls", "state_rolls", "rolled_days"),
    *(f"{name}_columns" for name in ("visit", "caller", "handling", "offer", "survey")),
)


def upgrade() -> None:
    # Asked once: of ten million contacts it takes seconds, and a start waits for it.
    if op.get_bind().execute(sa.text(_ANY)).first() is None:
        return
    for table in _SUMS:
        op.execute(f"DELETE FROM {table}")
    op.execute("DELETE FROM facts WHERE name IN ('rolled-to', 'columns-to')")
    op.execute(f"DELETE FROM agent_offers WHERE {_OF_TICKETS}")


def downgrade() -> None:
    pass
