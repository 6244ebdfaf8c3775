"""What extensions set for themselves is there again after a restart, and outlives the journal's entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from softswitch.call import line
from softswitch.store import lines
from softswitch.store.schema import journal


def changed(tools: Any, extension: str, setting: str, value: object) -> None:
    data = {"extension": extension, "setting": setting, "value": value, "by": extension}
    tools.store.journal.append(line.LINE_CHANGED, None, data, 1_000.0)


def test_one_kind() -> None:
    assert lines.LINE_CHANGED == line.LINE_CHANGED


async def test_the_last_word_counts_and_is_kept(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path) as tools:
        changed(tools, "1001", "do_not_disturb", True)
        changed(tools, "1001", "forward_busy", "1002")
        await tools.store.journal.flush()
        changed(tools, "1001", "do_not_disturb", False)
        changed(tools, "1002", "call_waiting", None)
        told = {"object": "extension:1002", "by": "user:a", "changed": ["call_waiting"]}
        tools.store.journal.append(line.LINE_CHANGED, None, told, 1_001.0)  # the audit log's
        await tools.store.journal.flush()
        kept = sorted(await tools.store.lines.all())
        assert kept == [
            ("1001", "do_not_disturb", False),
            ("1001", "forward_busy", "1002"),
            ("1002", "call_waiting", None),
        ]
    async with store_tools.opened(tmp_path) as tools:
        assert sorted(await tools.store.lines.all()) == kept
        async with tools.store._database.connect() as connection, connection.begin():
            await connection.execute(sa.delete(journal))  # past their retention
        await tools.store.rebuild()
        assert sorted(await tools.store.lines.all()) == kept
