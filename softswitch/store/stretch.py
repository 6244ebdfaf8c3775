"""Stretches: what one commit brings of one call, as one row of the journal's table.

A call has a dozen entries, of which four come by its INVITE, three by its answer, five by its end. A row each
costs SQLite as much as all else that a commit does (ADR 0078). Only entries of `KINDS` are put together, and
only where a call has no others in the commit, so that its rows stay in order. A stretch has the number and the
time of its last entry. The journal's log has a line for each entry; whoever reads the table reads entries:
`entries_in`.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

import msgspec

from softswitch.store.entry import Entry, arrays_of
from softswitch.store.told import Heard, HeardByCall

STRETCH = "stretch"
KINDS = frozenset(
    {
        "call-started",
        "call-routed",
        "call-answered",
        "call-ended",
        "leg-started",
        "leg-ringing",
        "leg-answered",
        "leg-ended",
        "leg-quality",
    }
)
SPAN = 2_048
"""So far is the number of a stretch's first entry below that of its last, less one, at most."""
SPAN_S = 10.0
"""So far apart are the times of its first and its last entry at most."""
BYTES_MAX = 64 * 1024
_seq = attrgetter("seq")
_log = logging.getLogger("softswitch.store")

Row: TypeAlias = tuple[int, float, str, str | None, str]


class _Stretch(msgspec.Struct, gc=False):
    entries: list[tuple[int, float, str, str | None, msgspec.Raw]]


_decode = msgspec.json.Decoder(_Stretch).decode


def rows_of(entries: Sequence[Entry], heard: HeardByCall, arrays: Mapping[int, bytes]) -> list[Row]:
    """The rows of what a commit brings; `heard`, what was heard of it, by call; `arrays_of` them by number, as
    far as they are at hand."""
    told = sum(len(of_call.heard) for of_call in heard.values())
    mixed: set[str | None] = set()
    if told < len(entries):
        every = {id(entry) for of_call in heard.values() for entry, _ in of_call.heard}
        mixed = {entry.call_id for entry in entries if id(entry) not in every}
    rows: list[Row] = []
    joined: set[str | None] = set()
    for call_id, of_call in heard.items():
        if of_call.kinds <= KINDS and call_id not in mixed and len(of_call.heard) > 1:
            row = _stretch(call_id, of_call.heard, arrays)
            if row is not None:
                rows.append(row)
                joined.add(call_id)
    if len(joined) < len(heard) or told < len(entries):
        rows += [
            (entry.seq, entry.at_s, entry.kind, entry.call_id, entry.text)
            for entry in entries
            if entry.call_id not in joined
        ]
    rows.sort(key=_first)
    return rows


def _first(row: Row) -> int:
    return row[0]


def _stretch(call_id: str, heard: Sequence[Heard], arrays: Mapping[int, bytes]) -> Row | None:
    """One row of them; None where they are too far apart, or too much."""
    first, last = heard[0][0], heard[-1][0]
    if last.seq - first.seq >= SPAN or abs(last.at_s - first.at_s) > SPAN_S:
        return None
    try:
        bodies = [arrays[entry.seq] for entry, _ in heard]
    except KeyError:
        bodies = arrays_of(entry for entry, _ in heard)
    text = b'{"entries":[%b]}' % b",".join(bodies)
    if len(text) > BYTES_MAX:
        return None
    return last.seq, last.at_s, STRETCH, call_id, text.decode()


def entries_in(row: Entry) -> list[Entry]:
    """The entries of a row, in order; of a stretch that is damaged the row itself."""
    if row.kind != STRETCH:
        return [row]
    try:
        found = _decode(row.text).entries
        return [
            Entry(seq, at_s, kind, call_id, bytes(data).decode())
            for seq, at_s, kind, call_id, data in found
        ]
    except (ValueError, TypeError, RecursionError) as error:
        _log.error("entry %d of the journal cannot be read: %s", row.seq, error)
        return [row]


def all_entries(rows: Iterable[Entry]) -> list[Entry]:
    """The entries of some rows, in the order of their numbers."""
    return sorted((entry for row in rows for entry in entries_in(row)), key=_seq)


def in_order(rows: Iterable[Entry]) -> Iterator[Entry]:
    """The same of rows in the order of their numbers, however many."""
    waiting: list[tuple[int, int, Entry]] = []
    number = 0  # a damaged table may have an entry twice
    for row in rows:
        while waiting and waiting[0][0] <= row.seq - SPAN:
            yield heapq.heappop(waiting)[2]
        for entry in entries_in(row):
            number += 1
            heapq.heappush(waiting, (entry.seq, number, entry))
    while waiting:
        yield heapq.heappop(waiting)[2]
