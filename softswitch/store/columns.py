"""Rows as columns of numbers: what is packed into the blobs of `schema_columns`. Pure.

A report of a year of a large office counts ten million rows. As rows of SQL that takes some ten seconds, as
arrays one: there is nothing to look up, to convert or to sort.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from softswitch.store.schema_rolls import SLOT_S

Rows = npt.NDArray[Any]
"""A structured array, one element a row."""
_NARROW_MAX = 0xFFFF


@dataclass(frozen=True)
class Layout:
    """Which columns there are: `codes` are numbers of names, `rest` other numbers, each with its dtype."""

    codes: tuple[str, ...]
    rest: tuple[tuple[str, str], ...]

    @cached_property
    def wide(self) -> np.dtype[Any]:
        """What rows are made as: codes are u4."""
        return np.dtype([*((name, "<u4") for name in self.codes), *self.rest])

    @cached_property
    def narrow(self) -> np.dtype[Any]:
        """What rows are kept as where all codes fit: u2."""
        return np.dtype([*((name, "<u2") for name in self.codes), *self.rest])

    def pack(self, rows: Rows) -> bytes:
        """Rows of `wide` as octets, the first of which says how wide codes are."""
        if all(int(rows[name].max(initial=0)) <= _NARROW_MAX for name in self.codes):
            return b"\x02" + rows.astype(self.narrow).tobytes()
        return b"\x04" + rows.tobytes()

    def unpack(self, blobs: Sequence[bytes]) -> tuple[Rows, npt.NDArray[np.int64]]:
        """The rows of several blobs, `narrow` or `wide`, and how many each has."""
        narrow = [blob[0] == 2 for blob in blobs]
        sizes = np.where(narrow, self.narrow.itemsize, self.wide.itemsize)
        counts = (np.array([len(blob) for blob in blobs], np.int64) - 1) // sizes
        if all(narrow) or not any(narrow):  # one array at once: arrays with names are slow to join
            joined = b"".join([blob[1:] for blob in blobs])
            return np.frombuffer(joined, self.narrow if all(narrow) else self.wide), counts
        parts = [
            np.frombuffer(blob, self.narrow if is_narrow else self.wide, offset=1).astype(self.wide)
            for blob, is_narrow in zip(blobs, narrow, strict=True)
        ]
        return np.concatenate(parts), counts


VISITS = Layout(
    ("queue", "agent", "region", "media"),
    (("second", "<u2"), ("outcome", "u1"), ("waited_s", "<f8")),
)
"""`second`: whole seconds since the half-hour began; `outcome`: the place in `OUTCOMES`."""
CALLERS = Layout((), (("caller", "<u8"), ("call", "<u8"), ("at_s", "<f8")))
"""`caller`: 0 where he cannot be known again or it is a ticket, else `digest` of the number; `at_s`: when they
entered."""
HANDLINGS = Layout(
    ("queue", "agent", "region", "media"),
    (
        ("second", "<u2"),
        ("passed_on", "u1"),
        ("talk_s", "<f8"),
        ("hold_s", "<f8"),
        ("wrap_up_s", "<f8"),
    ),
)
OFFERS = Layout(("queue", "agent"), (("second", "<u2"), ("outcome", "u1")))
SURVEYS = Layout(("queue", "agent", "region"), (("second", "<u2"), ("score", "<f8")))
"""`score`: not a number where none was given."""

OUTCOMES = (
    "answered",
    "abandoned",
    "overflowed",
    "withdrawn",
    "callbacks",
    "requeued",
    "lost",
    "waiting",
    "",
)
ANSWERED = OUTCOMES.index("answered")
ABANDONED = OUTCOMES.index("abandoned")
OFFER_OUTCOMES = ("", "answered", "no-answer", "rejected")


def outcome_number(outcome: str) -> int:
    """The place of a visit's outcome in `OUTCOMES`; all that become of a callback are one."""
    if outcome.startswith("callback"):
        return OUTCOMES.index("callbacks")
    return OUTCOMES.index(outcome) if outcome in OUTCOMES else OUTCOMES.index("")


def offer_number(outcome: str) -> int:
    """The place of an offer's outcome in `OFFER_OUTCOMES`."""
    return OFFER_OUTCOMES.index(outcome) if outcome in OFFER_OUTCOMES else 0


def digest(text: str) -> int:
    """64 bits that tell texts apart: of ten million, two are alike once in 370,000 offices. 0 for none."""
    if not text:
        return 0
    octets = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(octets, "little") or 1


def slots_of(at_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The half-hours of instants."""
    found = np.floor(at_s / SLOT_S)
    found -= found * SLOT_S > at_s  # the quotient was rounded up
    return found.astype(np.int64)


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows of one layout after each other. numpy joins arrays with names field by field, ten times as slowly as
    the octets that they are."""
    return np.concatenate([part.view(np.uint8) for part in parts]).view(parts[0].dtype)


def filled(
    layout: Layout, at_s: npt.NDArray[np.float64], columns: Iterable[tuple[str, Any]]
) -> Rows:
    """Rows of `layout.wide` from columns by name; `second` from `at_s`."""
    rows = np.empty(len(at_s), layout.wide)
    if "second" in layout.wide.names:  # type: ignore[operator]
        rows["second"] = at_s - slots_of(at_s) * float(SLOT_S)
    for name, values in columns:
        rows[name] = values
    return rows
