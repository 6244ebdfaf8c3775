"""Scorecards and evaluations, and what callers answered when they were asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _id() -> sa.Column[int]:
    return sa.Column("id", _Sequence, primary_key=True, autoincrement=True)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names]


def _maybe(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double) for name in names]


def _version() -> sa.Column[int]:
    return sa.Column("version", sa.Integer, nullable=False)


def upgrade() -> None:
    op.create_table(
        "scorecards",
        _id(),
        *_texts("name"),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        *_numbers("created_at_s", "changed_at_s"),
        _version(),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "scorecard_forms",
        sa.Column("scorecard_id", _Sequence, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *_texts("form", "created_by"),
        *_numbers("created_at_s"),
    )
    op.create_table(
        "evaluations",
        _id(),
        sa.Column("scorecard_id", _Sequence, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        *_texts("call_id", "agent_id", "queue_id", "evaluator", "status", "answers", "summary"),
        *_maybe("score", "raw_score"),
        sa.Column("passed", sa.Boolean, nullable=False),
        *_texts("failed"),
        sa.Column("calibration_id", _Sequence),
        *_numbers("created_at_s", "changed_at_s"),
        *_maybe("published_at_s", "acknowledged_at_s"),
        *_texts("appeal"),
        *_maybe("appealed_at_s"),
        *_texts("decision", "decided_by"),
        *_maybe("decided_at_s"),
        sa.Column("upheld", sa.Boolean),
        _version(),
        sqlite_autoincrement=True,
    )
    op.create_index("evaluations_agent", "evaluations", ["agent_id", "id"])
    op.create_index("evaluations_call", "evaluations", ["call_id"])
    op.create_index("evaluations_status", "evaluations", ["status", "id"])
    op.create_index("evaluations_calibration", "evaluations", ["calibration_id"])
    op.create_index("evaluations_published", "evaluations", ["published_at_s"])
    op.create_table(
        "evaluation_comments",
        _id(),
        sa.Column("evaluation_id", _Sequence, nullable=False),
        *_numbers("at_s"),
        *_texts("author"),
        sa.Column("recording", sa.Integer, nullable=False),
        *_maybe("second"),
        *_texts("text"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "evaluation_comments_evaluation", "evaluation_comments", ["evaluation_id", "id"]
    )
    op.create_table(
        "calibrations",
        _id(),
        sa.Column("scorecard_id", _Sequence, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        *_texts("call_id", "agent_id", "created_by"),
        *_numbers("created_at_s"),
        *_maybe("closed_at_s"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sampling_rules",
        _id(),
        *_texts("name", "kind"),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("scorecard_id", _Sequence),
        *_texts("queues", "keyword"),
        sa.Column("per_week", sa.Integer, nullable=False),
        *_numbers("threshold"),
        _version(),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "samples",
        _id(),
        sa.Column("rule_id", _Sequence, nullable=False),
        *_texts("call_id", "agent_id", "queue_id", "reason", "week", "status"),
        *_numbers("at_s"),
        sa.Column("evaluation_id", _Sequence),
        sqlite_autoincrement=True,
    )
    op.create_index("samples_once", "samples", ["rule_id", "call_id", "agent_id"], unique=True)
    op.create_index("samples_week", "samples", ["rule_id", "week"])
    op.create_index("samples_status", "samples", ["status", "id"])
    op.create_index("samples_call", "samples", ["call_id"])
    op.create_table(
        "coaching_notes",
        _id(),
        *_texts("agent_id"),
        sa.Column("evaluation_id", _Sequence),
        *_texts("author"),
        *_numbers("at_s"),
        *_texts("text"),
        *_maybe("acknowledged_at_s"),
        sqlite_autoincrement=True,
    )
    op.create_index("coaching_notes_agent", "coaching_notes", ["agent_id", "id"])
    op.create_table(
        "surveys",
        sa.Column("seq", _Sequence, primary_key=True, autoincrement=False),
        *_texts("call_id", "survey", "queue_id", "agent_id", "caller", "customer"),
        sa.Column("score", sa.Integer),
        *_numbers("at_s"),
    )
    op.create_index("surveys_call", "surveys", ["call_id"])
    op.create_index("surveys_report", "surveys", ["at_s", "queue_id", "agent_id", "score"])
    op.create_index("surveys_caller", "surveys", ["caller", "at_s"])
    # What was answered before is read from the journal by and by, while calls go on.
    op.execute("DELETE FROM facts WHERE name = 'stories-told-to'")
    op.execute(
        "INSERT INTO facts SELECT 'stories-told-to', '0' WHERE EXISTS (SELECT 1 FROM journal)"
    )


def downgrade() -> None:
    for table in (
        "surveys",
        "coaching_notes",
        "samples",
        "sampling_rules",
        "calibrations",
        "evaluation_comments",
        "evaluations",
        "scorecard_forms",
        "scorecards",
    ):
        op.drop_table(table)
