"""What the journal tells about queues and agents, beside the calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key() -> sa.Column[int]:
    return sa.Column("seq", _Sequence, primary_key=True, autoincrement=False)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "facts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "segments",
        _key(),
        *_texts("kind", "call_id"),
        *_numbers("started_at_s"),
        sa.Column("ended_at_s", sa.Double),
        *_texts("leg", "endpoint", "queue_id", "agent_id", "name", "outcome"),
    )
    op.create_index("segments_call", "segments", ["call_id"])
    op.create_table(
        "queue_visits",
        _key(),
        *_texts(
            "call_id", "contact_id", "queue_id", "media", "caller", "customer_id", "region"
        ),
        *_numbers("priority", "entered_at_s"),
        sa.Column("answered_at_s", sa.Double),
        sa.Column("left_at_s", sa.Double),
        *_numbers("waited_s"),
        *_texts("outcome", "reason", "agent_id"),
        sa.Column("offers", sa.Integer, nullable=False),
    )
    op.create_index("queue_visits_call", "queue_visits", ["call_id"])
    op.create_index(
        "queue_visits_report",
        "queue_visits",
        ["entered_at_s", "queue_id", "outcome", "waited_s", "media", "region"],
    )
    op.create_index("queue_visits_agent", "queue_visits", ["agent_id", "entered_at_s"])
    op.create_table(
        "agent_offers",
        _key(),
        *_texts("call_id", "contact_id", "agent_id", "queue_id", "offer_id"),
        *_numbers("offered_at_s"),
        sa.Column("ended_at_s", sa.Double),
        *_texts("outcome"),
    )
    op.create_index("agent_offers_call", "agent_offers", ["call_id"])
    op.create_index(
        "agent_offers_report", "agent_offers", ["offered_at_s", "agent_id", "queue_id", "outcome"]
    )
    op.create_table(
        "handlings",
        _key(),
        *_texts("call_id", "contact_id", "agent_id", "queue_id", "media"),
        *_numbers("at_s", "ring_s", "talk_s", "hold_s", "wrap_up_s"),
        *_texts("outcome"),
    )
    op.create_index("handlings_call", "handlings", ["call_id"])
    op.create_index("handlings_report", "handlings", ["at_s", "queue_id", "agent_id"])
    op.create_table(
        "agent_states",
        _key(),
        *_texts("agent_id", "state", "reason", "contact_id"),
        *_numbers("started_at_s"),
        sa.Column("ended_at_s", sa.Double),
    )
    op.create_index("agent_states_agent", "agent_states", ["agent_id", "started_at_s"])
    op.create_index("agent_states_ended", "agent_states", ["ended_at_s", "started_at_s"])
    # The journal of the version before is read by and by, while calls go on.
    op.execute(
        "INSERT INTO facts SELECT 'stories-told-to', '0' WHERE EXISTS (SELECT 1 FROM journal)"
    )


def downgrade() -> None:
    for table in (
        "agent_states",
        "handlings",
        "agent_offers",
        "queue_visits",
        "segments",
        "facts",
    ):
        op.drop_table(table)
