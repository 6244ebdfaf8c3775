"""Media directions as sets of two verbs, and the answer they allow (RFC 3264 6.1, 8.4)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")

_SENDS: Final = frozenset({"sendrecv", "sendonly"})
_RECEIVES: Final = frozenset({"sendrecv", "recvonly"})


def compose(*, send: bool, receive: bool) -> str:
    """The direction that does these."""
    if send:
        return "sendrecv" if receive else "sendonly"
    return "recvonly" if receive else "inactive"


def sends(direction: str) -> bool:
    """True when the one who writes `direction` sends."""
    return direction in _SENDS


def receives(direction: str) -> bool:
    """True when the one who writes `direction` wants to receive."""
    return direction in _RECEIVES


def reverse(direction: str) -> str:
    """The same stream seen from the other side."""
    return compose(send=receives(direction), receive=sends(direction))


@lru_cache(64)
def answer_direction(theirs: str, wanted: str = "sendrecv") -> str:
    """What we may answer to `theirs` when we would like `wanted`: neither more than the other."""
    return compose(
        send=receives(theirs) and sends(wanted), receive=sends(theirs) and receives(wanted)
    )
