"""Tables of quality inspection."""

from __future__ import annotations

import sqlalchemy as sa

from softswitch.store.schema import Sequence, metadata


def _id() -> sa.Column[int]:
    return sa.Column("id", Sequence, primary_key=True, autoincrement=True)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


scorecards = sa.Table(
    "scorecards",
    metadata,
    _id(),
    *_texts("name"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("archived", sa.Boolean, nullable=False),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("changed_at_s", sa.Double, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""`number` is that of the newest form, `version` counts changes of the row."""

scorecard_forms = sa.Table(
    "scorecard_forms",
    metadata,
    sa.Column("scorecard_id", Sequence, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    *_texts("form", "created_by"),
    sa.Column("created_at_s", sa.Double, nullable=False),
)
"""Every form a scorecard has had: what was judged by it stays as it was judged."""

evaluations = sa.Table(
    "evaluations",
    metadata,
    _id(),
    sa.Column("scorecard_id", Sequence, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    *_texts("call_id", "agent_id", "queue_id", "evaluator", "status", "answers", "summary"),
    sa.Column("score", sa.Double),
    sa.Column("raw_score", sa.Double),
    sa.Column("passed", sa.Boolean, nullable=False),
    *_texts("failed"),
    sa.Column("calibration_id", Sequence),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("changed_at_s", sa.Double, nullable=False),
    sa.Column("published_at_s", sa.Double),
    sa.Column("acknowledged_at_s", sa.Double),
    *_texts("appeal"),
    sa.Column("appealed_at_s", sa.Double),
    *_texts("decision", "decided_by"),
    sa.Column("decided_at_s", sa.Double),
    sa.Column("upheld", sa.Boolean),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("evaluations_agent", "agent_id", "id"),
    sa.Index("evaluations_call", "call_id"),
    sa.Index("evaluations_status", "status", "id"),
    sa.Index("evaluations_calibration", "calibration_id"),
    sa.Index("evaluations_published", "published_at_s"),
    sqlite_autoincrement=True,
)

evaluation_comments = sa.Table(
    "evaluation_comments",
    metadata,
    _id(),
    sa.Column("evaluation_id", Sequence, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    *_texts("author"),
    sa.Column("recording", sa.Integer, nullable=False),
    sa.Column("second", sa.Double),
    *_texts("text"),
    sa.Index("evaluation_comments_evaluation", "evaluation_id", "id"),
    sqlite_autoincrement=True,
)
"""`second` of the recording it is about; null for the whole."""

calibrations = sa.Table(
    "calibrations",
    metadata,
    _id(),
    sa.Column("scorecard_id", Sequence, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    *_texts("call_id", "agent_id", "created_by"),
    sa.Column("created_at_s", sa.Double, nullable=False),
    sa.Column("closed_at_s", sa.Double),
    sqlite_autoincrement=True,
)
"""Several inspectors judge the same conversation; none sees the others' before it is closed."""

sampling_rules = sa.Table(
    "sampling_rules",
    metadata,
    _id(),
    *_texts("name", "kind"),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("scorecard_id", Sequence),
    *_texts("queues", "keyword"),
    sa.Column("per_week", sa.Integer, nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)

samples = sa.Table(
    "samples",
    metadata,
    _id(),
    sa.Column("rule_id", Sequence, nullable=False),
    *_texts("call_id", "agent_id", "queue_id", "reason", "week", "status"),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("evaluation_id", Sequence),
    sa.Index("samples_once", "rule_id", "call_id", "agent_id", unique=True),
    sa.Index("samples_week", "rule_id", "week"),
    sa.Index("samples_status", "status", "id"),
    sa.Index("samples_call", "call_id"),
    sqlite_autoincrement=True,
)
"""Conversations to listen to: status "waiting", "done" or "dismissed"."""

coaching_notes = sa.Table(
    "coaching_notes",
    metadata,
    _id(),
    *_texts("agent_id"),
    sa.Column("evaluation_id", Sequence),
    *_texts("author"),
    sa.Column("at_s", sa.Double, nullable=False),
    *_texts("text"),
    sa.Column("acknowledged_at_s", sa.Double),
    sa.Index("coaching_notes_agent", "agent_id", "id"),
    sqlite_autoincrement=True,
)
