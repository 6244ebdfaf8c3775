"""Stretches: entries of a call in one row, and readers who see entries all the same."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from softswitch.store import stretch
from softswitch.store.entries import JournalEntries, _may_have_below
from softswitch.store.entry import Entry, arrays_of, make_entry
from softswitch.store.schema import journal
from softswitch.store.stretch import (
    BYTES_MAX,
    KINDS,
    SPAN,
    SPAN_S,
    STRETCH,
    all_entries,
    entries_in,
    in_order,
    rows_of,
)
from softswitch.store.told import hear

HEARD = KINDS | {"acd-queued"}


def made(*entries: tuple[int, str, str | None], at_s: float = 5.0) -> list[Entry]:
    return [make_entry(seq, at_s, kind, call, {"leg": seq}) for seq, kind, call in entries]


def rows(entries: list[Entry], at_hand: bool = True) -> list[Entry]:
    arrays = dict(zip([e.seq for e in entries], arrays_of(entries), strict=True)) if at_hand else {}
    return [Entry(*row) for row in rows_of(entries, hear(entries, HEARD), arrays)]


@pytest.mark.parametrize("at_hand", [True, False])
def test_what_a_commit_has_of_a_call_is_one_row(at_hand: bool) -> None:
    entries = made(
        (1, "call-started", "a"),
        (2, "call-started", "b"),
        (3, "acd-score", None),
        (4, "leg-ended", "a"),
        (5, "call-ended", "b"),
        (6, "leg-ended", "c"),
    )
    found = rows(entries, at_hand)
    assert [(row.seq, row.kind, row.call_id) for row in found] == [
        (3, "acd-score", None),
        (4, STRETCH, "a"),
        (5, STRETCH, "b"),
        (6, "leg-ended", "c"),
    ]
    assert entries_in(found[1]) == [entries[0], entries[3]]
    assert all_entries(found) == [*in_order(found)] == entries


@pytest.mark.parametrize("other", ["acd-queued", "digit"])
def test_a_call_with_entries_of_other_kinds_has_a_row_for_each(other: str) -> None:
    entries = made((1, "call-started", "a"), (2, other, "a"), (3, "leg-ended", "a"))
    entries += made((4, "call-started", "b"), (5, "call-ended", "b"))
    found = rows(entries)
    assert found[:3] == entries[:3]
    assert entries_in(found[3]) == entries[3:]


@pytest.mark.limit
def test_the_first_of_a_stretch_is_near_its_last() -> None:
    near = made((1, "call-started", "a"), (SPAN, "call-ended", "a"))
    far = made((1, "call-started", "a"), (SPAN + 1, "call-ended", "a"))
    assert [row.kind for row in rows(near)] == [STRETCH]
    assert rows(far) == far
    late = made((2, "call-ended", "a"), at_s=5.0 + SPAN_S)
    later = made((2, "call-ended", "a"), at_s=5.5 + SPAN_S)
    assert [row.kind for row in rows(near[:1] + late)] == [STRETCH]
    assert rows(near[:1] + later) == near[:1] + later


@pytest.mark.limit
def test_a_stretch_is_not_longer_than_an_entry_may_be() -> None:
    def of(length: int) -> list[Entry]:
        return [make_entry(seq, 1.0, "leg-ended", "a", {"by": "x" * length}) for seq in (1, 2)]

    empty = len(rows(of(0))[0].text)
    longest = of((BYTES_MAX - empty) // 2)
    assert [len(row.text) for row in rows(longest)] == [BYTES_MAX - (BYTES_MAX - empty) % 2]
    longer = of((BYTES_MAX - empty) // 2 + 1)
    assert rows(longer) == longer


@pytest.mark.parametrize("text", ["", "{", "[]", '{"entries":7}', '{"entries":[[1,2]]}'])
def test_a_stretch_that_is_damaged_is_a_row_that_tells_nothing(text: str) -> None:
    row = Entry(7, 1.0, STRETCH, "a", text)
    assert entries_in(row) == [row]
    assert hear([row], HEARD) == {}


def test_rows_in_their_order_give_entries_in_theirs_however_they_are_mixed() -> None:
    source = random.Random(3)
    seq = itertools.count(1)
    commits = [
        made(*((next(seq), "leg-ended", source.choice("abcdefgh")) for _ in range(length)))
        for length in (SPAN, 1, 30, SPAN - 1, 2, 400)
    ]
    found = [row for entries in commits for row in rows(entries)]
    assert len(found) < 60
    every = [entry for entries in commits for entry in entries]
    assert [*in_order(found)] == every
    twice = [*in_order([found[0], *found])]  # as a damaged table may give it
    assert [entry for entry, _ in itertools.groupby(twice)] == every


async def test_a_call_is_read_as_it_was_written(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        tools.calls.start("a", 1_000.0)
        assert await tools.journal.flush()
        tools.calls.answer("a", 1_005.0)  # with a recording: no stretch
        assert await tools.journal.flush()
        tools.calls.append("leg-ended", "a", {"leg": 1, "by": 'a "b" \\ 李雷 \0'}, 1_060.0)
        tools.calls.append("call-ended", "a", {"outcome": "answered"}, 1_060.5)
        assert await tools.journal.flush()
        kinds = [row[0] for row in any_store.sql(tmp_path, "SELECT kind FROM journal ORDER BY seq")]
        assert [kinds[0], kinds[-1], kinds.count(STRETCH)] == [STRETCH, STRETCH, 2]
        entries = await tools.store.entries.of_call("a")
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert [entry.kind for entry in entries[-2:]] == ["leg-ended", "call-ended"]
        assert entries[-2].data()["by"] == 'a "b" \\ 李雷 \0'
        assert await tools.store.entries.call_ids("a") == ["a"]
        record = await tools.store.calls.get("a")
        assert record.ended_at_s == 1_060.5
        assert await tools.store.rebuild() == 1
        assert await tools.store.calls.get("a") == record


def _wanted(all_of: list[Entry], **which: Any) -> list[Entry]:
    return [
        entry
        for entry in reversed(all_of)
        if (which.get("before") is None or entry.seq < which["before"])
        and (which.get("kind") is None or entry.kind == which["kind"])
        and (which.get("since_s") is None or entry.at_s >= which["since_s"])
        and (which.get("until_s") is None or entry.at_s < which["until_s"])
    ]


@pytest.mark.parametrize("rows_min", [1, 100])
async def test_readers_see_entries_whatever_rows_they_are_in(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch, rows_min: int
) -> None:
    """Against a list of what was appended: calls of one to four commits, mixed with each other."""
    monkeypatch.setattr("softswitch.store.entries._ROWS_MIN", rows_min)
    source = random.Random(7)
    plain = sorted(KINDS)
    async with any_store.opened(tmp_path) as tools:
        written: list[Entry] = []
        for commit in range(12):
            for _ in range(source.randrange(1, 40)):
                call = source.choice([None, *(f"c{commit // 4}-{n}" for n in range(5))])
                kind = "digit" if call is None or source.random() < 0.02 else source.choice(plain)
                at_s = 1_000.0 + commit * 3 + source.random() * 2
                seq = tools.calls.append(kind, call, {"n": len(written)}, at_s)
                written.append(make_entry(seq, at_s, kind, call, {"n": len(written)}))
            assert await tools.journal.flush()
        read: JournalEntries = tools.store.entries
        assert len(any_store.sql(tmp_path, "SELECT 1 FROM journal")) < len(written) / 2
        assert await read.between(0, len(written), len(written)) == written
        for _ in range(120):
            after, limit = source.randrange(len(written)), source.choice([1, 3, 20, 500])
            until = after + source.randrange(60)
            assert await read.between(after, until, limit) == written[after:until][:limit]
            calls = {entry.call_id for entry in source.sample(written, 3)} - {None}
            found = await read.of_calls(calls, until)
            assert found == [e for e in written[:until] if e.call_id in calls]
            kind = source.choice(plain)
            of_kind = [e for e in written[after:] if e.kind == kind][-limit:]
            told = [(e.seq, e.at_s, e.data()) for e in of_kind]
            assert await read.after(after, kind, limit) == told
            which: dict[str, Any] = {
                "before": source.choice([None, after]),
                "kind": source.choice([None, kind, "digit"]),
                "since_s": source.choice([None, 1_000.0 + source.random() * 36]),
                "until_s": source.choice([None, 1_000.0 + source.random() * 36]),
            }
            before = which.pop("before")
            page = await read.page(limit, before, **which)
            assert page == _wanted(written, before=before, **which)[:limit]
        assert await read.page(10, kind=STRETCH) == []


async def test_a_database_of_before_is_read_on(tmp_path: Path, any_store: Any) -> None:
    """Rows of an older version, a call up, and the rest of it by this one."""
    async with any_store.opened(tmp_path) as tools:
        assert await tools.journal.flush()
    old = [
        ("call-started", {"number_from": "1001"}),
        ("leg-started", {"leg": 1}),
        ("leg-ringing", {"leg": 1}),
    ]
    for seq, (kind, data) in enumerate(old, 1):
        values = f"{seq}, 1000.0, '{kind}', 'a', '{json.dumps(data)}'"
        any_store.write(tmp_path, f"INSERT INTO journal VALUES ({values})")
    async with any_store.opened(tmp_path) as tools:
        tools.calls.append("leg-answered", "a", {"leg": 1}, 1_001.0)
        tools.calls.append("call-answered", "a", {}, 1_001.0)
        tools.calls.append("leg-ended", "a", {"leg": 1}, 1_002.0)
        tools.calls.append("call-ended", "a", {"outcome": "answered"}, 1_002.0)
        assert await tools.journal.flush()
        assert [e.seq for e in await tools.store.entries.of_call("a")] == list(range(1, 8))
        record = await tools.store.calls.get("a")
        assert await tools.store.rebuild() == 1
        rebuilt = await tools.store.calls.get("a")
        assert rebuilt.number_from == "1001"
        assert (rebuilt.seq, rebuilt.status, rebuilt.answered_at_s) == (1, "answered", 1_001.0)
        assert [record.status, record.ended_at_s] == [rebuilt.status, rebuilt.ended_at_s]


async def test_a_page_is_not_looked_for_in_the_whole_table(
    tmp_path: Path, store_tools: Any
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        query = sa.select(journal.c.seq).where(_may_have_below(7)).order_by(journal.c.seq.desc())
        words = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        async with tools.store._database.connect() as connection:
            plan = (await connection.execute(sa.text(f"EXPLAIN QUERY PLAN {words}"))).one()
    assert "SEARCH journal USING INTEGER PRIMARY KEY (rowid<?)" in plan[3]


def test_kinds_are_told_as_objects() -> None:
    from softswitch.store.told import _DECODERS

    assert set(_DECODERS) == KINDS == stretch.KINDS
