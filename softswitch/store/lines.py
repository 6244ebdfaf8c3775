"""What extensions have set by feature codes and programs, read from the journal as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from softswitch.store.database import Database
from softswitch.store.entry import Entry, text_of
from softswitch.store.reading import reading
from softswitch.store.rows import Writes
from softswitch.store.schema_lines import line_settings

LINE_CHANGED = "line-changed"
SETTINGS_MAX = 1_000_000


class LineProjection:
    """Keeps `line_settings` up to date with the journal, in its transactions. The table outlives the
    retention of the entries: it is never made anew, only brought forward."""

    async def write(self, writes: Writes, entries: Sequence[Entry]) -> None:
        """Take what these entries say of lines."""
        newest: dict[tuple[str, str], dict[str, Any]] = {}
        for entry in entries:
            if entry.kind == LINE_CHANGED:
                data = entry.data()
                key = (text_of(data.get("extension")), text_of(data.get("setting")))
                if not all(key):
                    continue  # who has set it: that is the audit log's, under the same name
                newest[key] = {
                    "extension": key[0],
                    "setting": key[1],
                    "value": msgspec.json.encode(data.get("value")).decode(),
                    "seq": entry.seq,
                }
        if not newest:
            return
        insert: Any = _insert(writes.connection.dialect.name)
        upsert = insert.on_conflict_do_update(
            index_elements=["extension", "setting"],
            set_={"value": insert.excluded.value, "seq": insert.excluded.seq},
            where=line_settings.c.seq < insert.excluded.seq,
        )
        await writes.execute(upsert, list(newest.values()))


def _insert(dialect: str) -> Any:
    if dialect == "postgresql":
        return postgresql.insert(line_settings)
    return sqlite.insert(line_settings)


class LineSettings:
    """The table of settings, for a start. Raises `StoreError` while the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[tuple[str, str, Any]]:
        """(extension, setting, value) of everything that was ever changed; value None: as in the office
        file."""
        columns = (line_settings.c.extension, line_settings.c.setting, line_settings.c.value)
        query = sa.select(*columns).order_by(line_settings.c.seq).limit(SETTINGS_MAX)
        async with reading(self._database) as connection:
            rows = (await connection.execute(query)).all()
        return [(row[0], row[1], msgspec.json.decode(row[2])) for row in rows]
