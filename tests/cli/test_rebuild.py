"""`softswitch rebuild`."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from typer.testing import CliRunner

from softswitch.cli.main import build
from softswitch.store import Store


def test_records_are_made_anew(tmp_path: Path) -> None:
    office = tmp_path / "office.toml"
    office.write_text("[office]\nname = 'x'\n")

    async def fill() -> None:
        store = await Store.open(tmp_path / "var")
        store.journal.append("call-started", "c1", {"number_from": "1001"}, 1.0)
        store.journal.append("call-ended", "c1", {}, 2.0)
        await store.close()

    asyncio.run(fill())
    with closing(sqlite3.connect(tmp_path / "var" / "softswitch.db")) as database:
        database.execute("DELETE FROM calls")
        database.commit()
    done = CliRunner().invoke(build(), ["rebuild", str(tmp_path)])
    assert done.output == "1 call records were made anew from the journal\n"
    with closing(sqlite3.connect(tmp_path / "var" / "softswitch.db")) as database:
        assert database.execute("SELECT number_from FROM calls").fetchall() == [("1001",)]
