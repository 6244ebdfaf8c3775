"""Call records: what follows from the journal's entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store import CallRecord, MemoryStore
from softswitch.store.entry import make_entry
from softswitch.store.record import KINDS, LEGS_MAX, RECORDINGS_MAX, STATUSES, apply
from tests.databases import lay_database


def record_of(*notes: tuple[str, float, dict[str, Any]]) -> CallRecord:
    record = None
    for seq, (kind, at_s, data) in enumerate(notes, start=1):
        record = apply(record, make_entry(seq, at_s, kind, "c1", data))
    assert record is not None
    return record


async def test_a_whole_call(any_store: Any) -> None:
    store = MemoryStore()
    any_store.Calls(store.journal.append).whole("c1")
    record = await store.calls.get("c1")
    assert record is not None
    assert record.as_dict() == {
        "call_id": "c1",
        "seq": 1,
        "started_at_s": 1_000.0,
        "ringing_at_s": 1_001.0,
        "answered_at_s": 1_005.0,
        "ended_at_s": 1_065.0,
        "duration_s": 60.0,
        "number_from": "1001",
        "number_to": "1002",
        "caller_name": "Li Lei",
        "direction": "internal",
        "origin": "extension:1001",
        "destination": "extension:1002",
        "status": "answered",
        "cause": "answered",
        "q850": 16,
        "sip_status": 200,
        "ended_by": "caller",
        "customer_id": None,
        "customer_name": "",
        "recording": "c1.wav",
        "recordings": [
            {
                "name": "c1.wav",
                "started_at_s": 1_005.0,
                "stopped_at_s": 1_065.0,
                "frames": 480_000,
                "reason": "ended",
            }
        ],
        "legs": [
            {
                "leg": 1,
                "role": "caller",
                "endpoint": "1001",
                "started_at_s": 1_000.0,
                "answered_at_s": 1_005.0,
                "codec": "PCMA",
                "ended_at_s": 1_065.0,
                "status": 200,
                "q850": 16,
                "by": "caller",
                "quality": {"packets": 3_000, "lost": 2},
            },
            {
                "leg": 2,
                "role": "callee",
                "endpoint": "1002",
                "started_at_s": 1_000.0,
                "ringing_at_s": 1_001.0,
                "answered_at_s": 1_005.0,
                "codec": "PCMA",
                "ended_at_s": 1_065.0,
                "status": 200,
                "q850": 16,
                "by": "caller",
            },
        ],
    }


@pytest.mark.parametrize(
    ("end", "status", "cause"),
    [
        ({"outcome": "busy", "status": 486, "q850": 17}, "busy", "busy"),
        ({"outcome": "no-answer", "status": 480}, "no-answer", "no-answer"),
        ({"outcome": "lost", "cause": "crashed"}, "lost", "crashed"),
        ({"outcome": "rejected", "status": 403}, "rejected", "rejected"),
        ({"status": 600}, "busy", ""),
        ({"status": 408}, "no-answer", ""),
        ({"status": 487}, "cancelled", ""),
        ({"status": 603}, "rejected", ""),
        ({"status": 503}, "failed", ""),
        ({"outcome": "open", "status": 503}, "failed", "open"),
        ({"outcome": "\x00\udcff"}, "failed", "\ufffd\\udcff"),
        ({}, "failed", ""),
        ({"status": "486", "q850": True, "by": 7}, "failed", ""),
    ],
)
def test_how_a_call_ended(end: dict[str, Any], status: str, cause: str) -> None:
    record = record_of(("call-started", 1.0, {}), ("call-ended", 2.0, end))
    assert (record.status, record.cause) == (status, cause)
    assert status in STATUSES
    assert record.duration_s == 0.0


def test_the_measured_duration_is_worth_more_than_two_wall_times() -> None:
    record = record_of(
        ("call-started", 5_000.0, {}),
        ("call-answered", 5_001.0, {}),
        ("call-ended", 1_400.0, {"duration_s": 61.5}),  # the clock was set back an hour
    )
    assert record.duration_s == 61.5
    record = record_of(("call-answered", 5_001.0, {}), ("call-ended", 1_400.0, {}))
    assert record.duration_s == 0.0


def test_only_the_first_end_counts() -> None:
    record = record_of(
        ("call-started", 1.0, {}),
        ("call-ended", 2.0, {"outcome": "busy"}),
        ("call-ended", 3.0, {"outcome": "answered"}),
    )
    assert (record.status, record.ended_at_s) == ("busy", 2.0)


@pytest.mark.parametrize(
    ("kind", "key", "limit", "list_name"),
    [
        ("leg-started", "leg", LEGS_MAX, "legs"),
        ("recording-started", "name", RECORDINGS_MAX, "recordings"),
    ],
)
@pytest.mark.limit("legs in a call record", "recordings in a call record")
def test_a_record_is_bounded(kind: str, key: str, limit: int, list_name: str) -> None:
    notes = [(kind, 1.0, {key: index}) for index in range(limit + 1)]
    assert len(getattr(record_of(*notes[:-1]), list_name)) == limit
    assert len(getattr(record_of(*notes), list_name)) == limit


def test_entries_of_other_kinds_or_of_no_call_change_nothing() -> None:
    assert apply(None, make_entry(1, 1.0, "call-started", None, {})) is None
    assert apply(None, make_entry(1, 1.0, "agent-paused", "c1", {})) is None


_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_keys = st.sampled_from(
    ["leg", "name", "status", "q850", "by", "cause", "outcome", "ended_at_s", "duration_s", "kind"]
)
_notes = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.floats(0, 1e9),
        st.dictionaries(_keys, _values, max_size=5),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(_notes)
async def test_any_entries_give_the_same_records_at_once_later_and_rebuilt(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[str, float, dict[str, Any], str]]
) -> None:
    from softswitch.store import Store

    memory = MemoryStore()
    directory = tmp_path_factory.mktemp("store")
    lay_database(directory)
    store = await Store.open(directory)
    try:
        for kind, at_s, data, call_id in notes:
            store.journal.append(kind, call_id, data, at_s)
            memory.journal.append(kind, call_id, data, at_s)
        assert await store.journal.flush()
        expected = await memory.calls.list()
        assert await store.calls.list() == expected
        assert await store.rebuild() == len(expected)
        assert await store.calls.list() == expected
        assert store.snapshot()["refused"] == 0
    finally:
        await store.close()


async def test_pages(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        for number in range(7):
            tools.calls.start(f"c{number}")
        await tools.journal.flush()
        calls = tools.store.calls
        first = await calls.list(limit=3)
        second = await calls.list(limit=3, before=first[-1].seq)
        third = await calls.list(limit=3, before=second[-1].seq)
        assert [r.call_id for r in first + second + third] == [f"c{n}" for n in range(6, -1, -1)]
        assert await calls.count() == 7
        assert await calls.get("nobody") is None
        assert await calls.list(limit=-1) == []


@pytest.mark.limit("call records a page")
@pytest.mark.parametrize(("calls", "listed"), [(3, 3), (4, 3)])
async def test_a_page_is_bounded(
    calls: int, listed: int, tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("softswitch.store.calls.LIST_MAX", 3)
    async with any_store.opened(tmp_path) as tools:
        for number in range(calls):
            tools.calls.start(f"c{number}")
        await tools.journal.flush()
        assert len(await tools.store.calls.list(limit=100)) == listed
