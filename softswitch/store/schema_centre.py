"""Tables read from the journal about queues and agents, beside `calls`. All can be rebuilt from it."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""What the store notes about itself. `STORIES_TOLD_TO`: entries after that number are still to be read
for the tables below; absent when all are."""

STORIES_TOLD_TO = "stories-told-to"

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("started_at_s", sa.Double, nullable=False),
    sa.Column("ended_at_s", sa.Double),
    sa.Column("leg", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("queue_id", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Index("segments_call", "call_id"),
)
"""Stretches of calls that have ended or passed a queue: `story.Segment`."""

queue_visits = sa.Table(
    "queue_visits",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("queue_id", sa.Text, nullable=False),
    sa.Column("media", sa.Text, nullable=False),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("priority", sa.Double, nullable=False),
    sa.Column("entered_at_s", sa.Double, nullable=False),
    sa.Column("answered_at_s", sa.Double),
    sa.Column("left_at_s", sa.Double),
    sa.Column("waited_s", sa.Double, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("offers", sa.Integer, nullable=False),
    sa.Index("queue_visits_call", "call_id"),
    # What the reports ask for is in the index: they need not touch the rows.
    sa.Index(
        "queue_visits_report", "entered_at_s", "queue_id", "outcome", "waited_s", "media", "region"
    ),
    sa.Index("queue_visits_agent", "agent_id", "entered_at_s"),
    sa.Index("queue_visits_caller", "caller", "entered_at_s"),
)
"""One row a contact and queue: `story.Visit`."""

agent_offers = sa.Table(
    "agent_offers",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("queue_id", sa.Text, nullable=False),
    sa.Column("offer_id", sa.Text, nullable=False),
    sa.Column("offered_at_s", sa.Double, nullable=False),
    sa.Column("ended_at_s", sa.Double),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Index("agent_offers_call", "call_id"),
    sa.Index("agent_offers_report", "offered_at_s", "agent_id", "queue_id", "outcome"),
)
"""Every time an agent was rung: `story.AgentOffer`."""

handlings = sa.Table(
    "handlings",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("queue_id", sa.Text, nullable=False),
    sa.Column("media", sa.Text, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("ring_s", sa.Double, nullable=False),
    sa.Column("talk_s", sa.Double, nullable=False),
    sa.Column("hold_s", sa.Double, nullable=False),
    sa.Column("wrap_up_s", sa.Double, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("region", sa.Text),
    sa.Index("handlings_call", "call_id"),
    sa.Index("handlings_report", "at_s", "queue_id", "agent_id"),
)
"""One row an agent and contact: `story.Handling`. The region is null where it is not noted yet (`days`)."""

agent_states = sa.Table(
    "agent_states",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("started_at_s", sa.Double, nullable=False),
    sa.Column("ended_at_s", sa.Double),
    sa.Index("agent_states_agent", "agent_id", "started_at_s"),
    sa.Index("agent_states_ended", "ended_at_s", "started_at_s"),
    sa.Index("agent_states_started", "started_at_s", "ended_at_s"),
    sa.Index(
        "agent_states_long",
        "ended_at_s",
        "started_at_s",
        sqlite_where=sa.text("ended_at_s - started_at_s > 86400.0"),
        postgresql_where=sa.text("ended_at_s - started_at_s > 86400.0"),
    ),
)
"""What an agent was doing from when to when; the end is null while it lasts."""

surveys = sa.Table(
    "surveys",
    metadata,
    sa.Column("seq", Sequence, primary_key=True, autoincrement=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("survey", sa.Text, nullable=False),
    sa.Column("queue_id", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("score", sa.Integer),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("region", sa.Text),
    sa.Index("surveys_call", "call_id"),
    sa.Index("surveys_report", "at_s", "queue_id", "agent_id", "score"),
    sa.Index("surveys_caller", "caller", "at_s"),
)
"""What callers were asked after a call; the score is null where they did not answer, the region where it is not
noted yet (`days`)."""
