"""Entries and their lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.store.entry import (
    ENTRY_BYTES_MAX,
    Entry,
    arrays_of,
    lines_of,
    make_entry,
    read_line,
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_any_text = st.text(st.characters(codec=None, categories=None))


@given(
    st.integers(1, 2**62),
    st.floats(),
    st.text(max_size=20),
    st.none() | _any_text,
    st.dictionaries(_any_text, _json | _any_text, max_size=4),
)
def test_what_is_written_is_read_again(
    seq: int, at_s: float, kind: str, call_id: str | None, data: dict[str, Any]
) -> None:
    entry = make_entry(seq, at_s, kind, call_id, data)
    line = entry.line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    again = read_line(line[:-1])
    assert again is not None
    assert (again.seq, again.at_s, again.kind, again.call_id) == (
        entry.seq,
        entry.at_s,
        entry.kind,
        entry.call_id,
    )
    assert again.data() == entry.data()


@given(st.data())
def test_a_damaged_line_is_no_entry(data: st.DataObject) -> None:
    line = make_entry(7, 1.5, "digit", "c1", {"digit": "5"}).line()[:-1]
    place = data.draw(st.integers(0, len(line) - 1))
    bit = data.draw(st.integers(0, 7))
    torn = line[:place]
    flipped = line[:place] + bytes([line[place] ^ (1 << bit)]) + line[place + 1 :]
    assert read_line(torn) is None
    assert read_line(flipped) is None


def _cycle() -> dict[str, Any]:
    data: dict[str, Any] = {}
    data["self"] = data
    return data


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no text for this")

    __str__ = __repr__


@pytest.mark.parametrize(
    "data",
    [
        {"user": "caf\udce9"},
        {"caf\udce9": 1},
        {1: "number as key"},
        {"path": Path("/a"), "loss": np.float32(0.5), "bytes": b"\xff"},
        {"huge": 10**30, "nan": float("nan"), "inf": float("inf")},
        {"nul": "a\0b"},
        _cycle(),
        {"x": Unprintable()},
    ],
    ids=lambda data: ",".join(ascii(key) for key in data),
)
def test_anything_can_be_noted(data: dict[Any, Any]) -> None:
    entry = make_entry(1, float("nan"), "odd\udcff", "id\0\udcff", data)
    again = read_line(entry.line()[:-1])
    assert again is not None
    assert again.data() == json.loads(entry.text)
    assert entry.at_s == 0.0
    for text in (entry.kind, entry.call_id or "", entry.text):
        assert "\0" not in text
        assert text.encode()


@pytest.mark.limit("journal entry")
def test_an_entry_is_bounded() -> None:
    room = ENTRY_BYTES_MAX - len('{"x":""}')
    assert make_entry(1, 0.0, "k", None, {"x": "a" * room}).data() == {"x": "a" * room}
    over = make_entry(1, 0.0, "k" * 1_000, "c" * 1_000, {"x": "a" * (room + 1)})
    assert over.data() == {"truncated_bytes": ENTRY_BYTES_MAX + 1}
    assert len(over.line()) < 1_000


@given(st.lists(st.dictionaries(_any_text, _json | _any_text, max_size=4), max_size=6))
def test_many_lines_are_those_of_each_alone(datas: list[dict[str, Any]]) -> None:
    entries = [make_entry(seq, 1.0, "digit", "c1", data) for seq, data in enumerate(datas, 1)]
    assert lines_of(arrays_of(entries)) == b"".join(entry.line() for entry in entries)


@pytest.mark.parametrize(
    "odd", ["[]", "7", '{"a":1},{"b":2}', "null", '{"a":', "\xff", "[" * 9_999]
)
def test_of_what_is_damaged_or_no_object_there_are_no_particulars(odd: str) -> None:
    good = make_entry(1, 1.0, "digit", "c1", {"digit": "5"})
    strange = Entry(2, 1.0, "digit", "c1", odd)
    assert strange.data() == {}
    assert not strange.is_readable
    assert good.is_readable


def test_lines_of_a_text_with_a_line_end_are_those_of_each_alone() -> None:
    entries = [Entry(1, 1.5, "digit", "c1", "{}"), Entry(2, 1.5, "digit", None, '{"a":\n1}')]
    assert lines_of(arrays_of(entries)) == b"".join(entry.line() for entry in entries)
    assert lines_of([]) == b""
