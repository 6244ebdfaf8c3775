"""Entries of a call that came in one commit may stand in one row of the journal, of the kind "stretch", which
older versions do not know. What is there stays as it is."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_journal = sa.table(
    "journal",
    sa.column("seq", sa.BigInteger),
    sa.column("at_s", sa.Double),
    sa.column("kind", sa.Text),
    sa.column("call_id", sa.Text),
    sa.column("data", sa.Text),
)
_ROWS = 500


def upgrade() -> None:
    pass


def downgrade() -> None:
    """A row for each entry; of a stretch that is damaged the row as it is."""
    connection = op.get_bind()
    stretches = sa.select(_journal.c.seq, _journal.c.data).where(_journal.c.kind == "stretch")
    seq = 0
    while rows := connection.execute(
        stretches.where(_journal.c.seq > seq).order_by(_journal.c.seq).limit(_ROWS)
    ).all():
        seq = rows[-1].seq
        for row in rows:
            entries = _entries_in(row.data)
            if entries:
                connection.execute(sa.delete(_journal).where(_journal.c.seq == row.seq))
                connection.execute(sa.insert(_journal), entries)


def _entries_in(text: str) -> list[dict[str, object]]:
    try:
        found = json.loads(text)["entries"]
        return [
            {
                "seq": seq,
                "at_s": at_s,
                "kind": kind,
                "call_id": call_id,
                "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
            }
            for seq, at_s, kind, call_id, data in found
        ]
    except (ValueError, TypeError, KeyError):
        return []
