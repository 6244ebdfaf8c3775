"""The schema and its history."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import softswitch.store
from softswitch.errors import StoreError
from softswitch.store import Store
from softswitch.store.migrate import HEAD, migrate, revision_of
from softswitch.store.periods import Span
from softswitch.store.report import agent_report, queue_report
from softswitch.store.schema import journal
from softswitch.store.statistics import Chosen
from softswitch.store.tables import metadata
from softswitch.store.tickets import TicketFilter

MIGRATIONS = Path(softswitch.store.__file__).parent / "migrations"


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def test_the_newest_revision_is_known_without_alembic() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [HEAD]


def test_the_history_ends_in_the_schema(connection: sa.Connection) -> None:
    migrate(connection)
    # The words of full-text search are virtual tables, which no metadata describe.
    options = {"include_name": lambda name, kind, _: kind != "table" or "_words" not in name}
    context = MigrationContext.configure(connection, opts=options)
    assert compare_metadata(context, metadata) == []
    indexes = sa.inspect(connection).get_indexes
    for table in metadata.tables.values():
        found = {
            (i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in indexes(table.name)
        }
        written = {
            (i.name, tuple(c.name for c in i.columns), bool(i.unique)) for i in table.indexes
        }
        assert found == written


def test_numbers_of_entries_are_row_numbers(connection: sa.Connection) -> None:
    """Else SQLite keeps every entry in two trees."""
    migrate(connection)
    plan = connection.execute(sa.text("EXPLAIN QUERY PLAN SELECT * FROM journal WHERE seq = 1"))
    assert "INTEGER PRIMARY KEY" in plan.one()[3]


def test_forward_back_and_forward_again(connection: sa.Connection) -> None:
    migrate(connection)
    assert revision_of(connection) == HEAD
    migrate(connection, "base")
    assert revision_of(connection) is None
    assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    migrate(connection)
    migrate(connection)
    assert revision_of(connection) == HEAD


@pytest.mark.parametrize("media", ["ticket", "call"])
def test_offers_of_tickets_are_taken_away_and_what_was_added_up_of_them(
    connection: sa.Connection, media: str
) -> None:
    migrate(connection, "0026")
    for number, of in enumerate(("call", media), 1):
        name = f"{of}-{number}"
        visit = {"seq": number, "call_id": name, "contact_id": name, "queue_id": "q", "media": of}
        visit |= dict.fromkeys(("caller", "customer_id", "region", "reason", "agent_id"), "")
        visit |= {"priority": 0, "entered_at_s": 0, "waited_s": 0, "offers": 1, "outcome": "x"}
        connection.execute(sa.insert(metadata.tables["queue_visits"]), visit)
        offer = {"seq": number, "call_id": name, "contact_id": name, "agent_id": "a"}
        offer |= {"queue_id": "q", "offer_id": name, "offered_at_s": 0, "outcome": "answered"}
        connection.execute(sa.insert(metadata.tables["agent_offers"]), offer)
    rolled = dict.fromkeys(("handled", "offered", "accepted", "missed", "rejected"), 2)
    rolled |= {"slot": 0, "agent_id": "a", "talk_s": 0, "hold_s": 0, "wrap_up_s": 0}
    connection.execute(sa.insert(metadata.tables["agent_rolls"]), rolled)
    facts = metadata.tables["facts"]
    connection.execute(sa.insert(facts), {"name": "rolled-to", "value": "1"})
    migrate(connection)
    count = {
        name: connection.execute(
            sa.select(sa.func.count()).select_from(metadata.tables[name])
        ).one()
        for name in ("agent_offers", "agent_rolls", "facts")
    }
    left = 1 if media == "ticket" else 2
    assert count == {"agent_offers": (left,), "agent_rolls": (left - 1,), "facts": (left - 1,)}


async def test_a_database_of_a_newer_version_is_refused_as_it_is(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'softswitch.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"version"):
            await Store.open(tmp_path, read_only=read_only)
    with engine.begin() as connection:
        assert revision_of(connection) == "9999"
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": HEAD})
    engine.dispose()
    store = await Store.open(tmp_path)
    await store.close()


def test_statements_are_never_made_of_text() -> None:
    """Values reach the database as bound parameters only."""
    for path in (MIGRATIONS.parent).rglob("*.py"):
        source = path.read_text()
        assert 'text(f"' not in source, path
        assert ".format(" not in source, path


async def test_the_journal_of_the_first_version_is_told_while_calls_go_on(
    tmp_path: Path, store_tools: Any
) -> None:
    """A database that knew calls only: its queues and agents are read from its journal."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'softswitch.db'}")
    with engine.begin() as connection:
        migrate(connection, "0001")
        rows = []
        for number in range(1, 2_001, 2):
            data = json.dumps({"contact": f"c{number}", "queue": "support"})
            row = {"call_id": f"c{number}", "at_s": float(number)}
            rows.append({**row, "seq": number, "kind": "acd-queued", "data": data})
            rows.append({**row, "seq": number + 1, "kind": "call-ended", "data": "{}"})
        connection.execute(sa.insert(journal), rows)
    engine.dispose()
    async with store_tools.opened(tmp_path) as tools:
        tools.calls.whole("new")
        assert await tools.journal.flush()
        assert await tools.store.calls.get("new") is not None
        await asyncio.wait_for(tools.journal.told_all.wait(), 20)
        assert store_tools.sql(tmp_path, "SELECT * FROM facts") == []
        assert store_tools.sql(tmp_path, "SELECT count(*), min(outcome) FROM queue_visits") == [
            (1_000, "lost")
        ]
    async with store_tools.opened(tmp_path) as tools:
        assert store_tools.sql(tmp_path, "SELECT * FROM facts") == []


MADE_BY_0010 = Path(__file__).parent / "data" / "office-0010.db.gz"
"""A database that the code of schema 0010 wrote (commit 9a7c5e4): six calls of a queue, the last one cut off by
the end of the process, a customer and a ticket."""


async def test_a_database_that_an_older_version_made(tmp_path: Path) -> None:
    (tmp_path / "softswitch.db").write_bytes(gzip.decompress(MADE_BY_0010.read_bytes()))
    store = await Store.open(tmp_path)
    try:
        zone = ZoneInfo("Asia/Shanghai")
        start_s = 1_780_000_000.0
        span = Span(start_s, start_s + 7_200, zone, "all")
        chosen = Chosen(default_s=20.0)

        async def told() -> list[Any]:
            return [
                [*(await queue_report(store.statistics, span, chosen, "queue", "all")).plain()],
                [*(await agent_report(store.statistics, span, chosen, span.end_s)).plain()],
                [(r.call_id, r.status, r.caller_name) for r in await store.calls.list(10)],
            ]

        before = await told()
        (queue,) = before[0]
        assert (queue["entered"], queue["answered"], queue["handled"]) == (6, 6, 5)
        assert queue["average_answer_s"]["value"] == 4.0
        assert [call[1] for call in before[2]] == ["open", *["answered"] * 5]
        (cut,) = await store.close_open_calls("restart", start_s + 90_000)
        assert (cut.call_id, cut.status) == ("c5", "lost")
        (customer,) = await store.customers.find_by_phone("+8613800000001")
        assert (customer.profile.name, customer.profile.tags) == ("王伟", ["vip"])
        (ticket,) = await store.tickets.page(TicketFilter(text="声音"))
        assert (ticket.matter.customer_id, ticket.life.status) == (customer.id, "new")
        assert await store.tickets.links(ticket.id) == ["call:c1"]
        assert [c.text for c in await store.tickets.comments(ticket.id)] == ["we look into it"]
        # What this version adds works on it: sums, and everything made anew from the journal.
        live = await told()
        while await store.journal.roll_on(start_s + 20 * 86_400, zone):
            pass
        assert await told() == live
        await store.rebuild()
        assert await told() == live
    finally:
        await store.close()


def test_revisions_follow_each_other_one_by_one() -> None:
    """Two of one number, each from a branch of its own, are one for Alembic: a table would be missing."""
    files = sorted(MIGRATIONS.glob("versions/v*.py"))
    texts = [file.read_text() for file in files]
    revisions = [re.findall(r'^revision = "(\d{4})"', text, re.MULTILINE)[0] for text in texts]
    before = [re.findall(r'^down_revision = (?:"(\d{4})"|None)', text, re.M)[0] for text in texts]
    assert [file.name[1:5] for file in files] == revisions
    assert before == ["", *revisions[:-1]]
    assert revisions[-1] == HEAD
