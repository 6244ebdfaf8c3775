"""What was added up of who called again counted tickets about callers as their calls: made anew where there are
any, in the background."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_KINDS = "'repeats', 'repeats-so-far', 'outcomes', 'outcome-halves', 'region-outcomes'"


def upgrade() -> None:
    op.execute(
        f"DELETE FROM rolled_days WHERE kind IN ({_KINDS})"
        " AND EXISTS (SELECT 1 FROM visit_rolls WHERE media = 'ticket')"
    )


def downgrade() -> None:
    pass
