"""Who goes first while more comes than can be done, told from a message's first octets. Pure.

Nothing is parsed here: the same question is asked of every datagram of a flood.
"""

from __future__ import annotations

import re
from enum import Enum, IntEnum

HEAD_OCTETS_SEEN = 2048
"""A tag beyond them is not seen; who writes such heads waits like somebody new."""

_TAGGED = re.compile(
    rb"\r\n(?:To|t)[ \t]*+:(?:[^\r\n;]++|;(?![ \t]*+tag[ \t]*+=))*+;", re.IGNORECASE
)
_METHOD_OCTETS_MAX = 16
_WITHIN = frozenset({b"ACK", b"BYE", b"PRACK", b"UPDATE", b"INFO", b"REFER", b"NOTIFY"})
_BEGINNING = frozenset({b"INVITE", b"CANCEL"})


class Rank(IntEnum):
    """Classes of messages, the first served first. The three of a SIP server are in-dialog and trunks,
    sources that have proven a password, strangers; within each what belongs to a call comes first."""

    GOING = 0
    TRUNK_CALL = 1
    PHONE_CALL = 2
    PHONE = 3
    WELL_MEANT = 4
    STRANGER = 5

    @property
    def title(self) -> str:
        """In words, for people."""
        return _TITLES[self]

    @property
    def is_call(self) -> bool:
        """Whether calls begin in it: only there is anybody answered 503 for having to wait."""
        return self in (Rank.TRUNK_CALL, Rank.PHONE_CALL)


_TITLES = {
    Rank.GOING: "calls that are up, trunks",
    Rank.TRUNK_CALL: "new calls of trunks",
    Rank.PHONE_CALL: "new calls of phones",
    Rank.PHONE: "registrations and the like",
    Rank.WELL_MEANT: "strangers who register",
    Rank.STRANGER: "other strangers",
}


class Kind(Enum):
    """What a message is about."""

    WITHIN = "within a call"
    BEGINNING = "begins a call, or calls it off"
    OTHER = "neither"


def kind_of(data: bytes) -> Kind:
    """What this message, of somebody we know, is about.

    A CANCEL is of the kind of its INVITE, so that it can never overtake it.
    """
    if data.startswith(b"SIP/2.0 "):
        return Kind.WITHIN
    method = data[:_METHOD_OCTETS_MAX].partition(b" ")[0]
    if method in _WITHIN:
        return Kind.WITHIN
    if method not in _BEGINNING:
        return Kind.OTHER
    tagged = method == b"INVITE" and _TAGGED.search(data, 0, HEAD_OCTETS_SEEN) is not None
    return Kind.WITHIN if tagged else Kind.BEGINNING
