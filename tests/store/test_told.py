"""What entries tell: read in one step where they are plain, and else the same by the longer way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.store.entry import TEXT_MAX, Entry, make_entry
from softswitch.store.record import KINDS
from softswitch.store.story import KINDS as STORY_KINDS
from softswitch.store.told import CallStarted, LegEnded, LegMeasured, hear, tell_entry, told_of

QUALITY = {"leg": 3, "packets_in": 50, "packets_out": 51, "lost": 0, "jitter_ms": 1.5, "mos": None}

_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        ["x" * TEXT_MAX, "x" * (TEXT_MAX + 1), "\\", "李雷", "a\0", "\udc80", 1e15, {}]
    )
)
_KEYS = (
    "leg role endpoint kind name by status q850 cause outcome duration_s ended_at_s number_from queue trunk"
    " codec packets_in mos lost other"
)
_keys = st.sampled_from(_KEYS.split())


def plain(told: Any) -> Any:
    """With a quality as the object that it is."""
    return msgspec.json.decode(msgspec.json.encode(told))


def read(entry: Entry) -> Any:
    (of_call,) = hear([entry], {entry.kind}).values()
    ((same, told),) = of_call.heard
    assert same is entry
    assert of_call.kinds == {entry.kind}
    return told


@given(st.sampled_from(sorted(KINDS | STORY_KINDS)), st.dictionaries(_keys, _values, max_size=5))
def test_plain_or_not_an_entry_tells_the_same(kind: str, data: dict[str, Any]) -> None:
    entry = make_entry(1, 1.0, kind, "c1", data)
    told, surely = read(entry), tell_entry(entry)
    assert type(told) is type(surely)
    assert plain(told) == plain(surely)


def test_what_a_plain_entry_tells_is_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"number_from": "1001", "trunk": "carrier"}
    ended = {"leg": 3, "by": "caller", "status": 200, "cause": 16}
    entries = [
        make_entry(seq, 1.0, kind, "c1", data)
        for seq, (kind, data) in enumerate(
            [("call-started", started), ("leg-ended", ended), ("leg-quality", QUALITY)], 1
        )
    ]
    monkeypatch.setattr("softswitch.store.told.tell_entry", None)
    (of_call,) = hear(entries, KINDS).values()
    assert [told for _, told in of_call.heard[:2]] == [CallStarted(**started), LegEnded(**ended)]
    measured = of_call.heard[2][1]
    assert isinstance(measured, LegMeasured)
    assert isinstance(measured.quality, msgspec.Raw)
    figures = {key: value for key, value in QUALITY.items() if key != "leg"}
    assert plain(measured.quality) == figures == told_of("leg-quality", QUALITY).quality


def test_entries_are_grouped_by_their_calls_in_the_order_of_their_first() -> None:
    calls = ["b", "a", None, "b"]
    entries = [make_entry(seq, 1.0, "digit", call, {}) for seq, call in enumerate(calls, 1)]
    entries.append(make_entry(5, 1.0, "other", "a", {}))
    found = hear(entries, {"digit"})
    seqs = {call: [entry.seq for entry, _ in of.heard] for call, of in found.items()}
    assert list(seqs.items()) == [("b", [1, 4]), ("a", [2])]


@pytest.mark.parametrize("kind", ["call-ended", "leg-quality", "digit"])
@pytest.mark.parametrize("odd", ["[]", "7", "null", '{"a":', "\xff", '{"a":1},{"b":2}'])
def test_a_damaged_entry_tells_nothing_and_spoils_no_other(kind: str, odd: str) -> None:
    good = make_entry(1, 1.0, kind, "c1", {"leg": 2})
    damaged = Entry(2, 1.0, kind, "c1", odd)
    (of_call,) = hear([good, damaged, good], {kind}).values()
    first, nothing, last = (plain(told) for _, told in of_call.heard)
    assert first == last == plain(told_of(kind, {"leg": 2}))
    assert nothing == plain(told_of(kind, {}))
