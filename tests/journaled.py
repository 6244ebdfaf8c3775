"""What an independent reader of the database finds in the journal's table."""

from __future__ import annotations

import json
from typing import Any

ENTRIES = "SELECT seq, at_s, kind, call_id, data FROM journal ORDER BY seq"


def entries_in(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The entries of rows of the journal's table, a stretch being several, in order."""
    found: list[tuple[Any, ...]] = []
    for row in rows:
        if row[2] == "stretch":
            told = json.loads(row[4])["entries"]
            assert (row[0], row[1], {row[3]}) == (*told[-1][:2], {entry[3] for entry in told})
            found += [(*about, json.dumps(data, separators=(",", ":"))) for *about, data in told]
        else:
            found.append(row)
    return sorted(found)
