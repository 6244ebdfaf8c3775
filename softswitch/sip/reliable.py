"""Reliable provisional responses (RFC 3262): who wants them, their numbers, and PRACK's RAck."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from softswitch.sip.grammar import parse_number

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest, SipResponse

OPTION: Final = "100rel"
RSEQ_MAX: Final = 2**32 - 1
# The first number of a series; room for 2**31 more (RFC 3262 3).
RSEQ_FIRST_MAX: Final = 2**31 - 1


class Reliability(Enum):
    """What the caller says of reliable provisional responses in its INVITE."""

    NONE = auto()
    SUPPORTED = auto()
    REQUIRED = auto()


@dataclass(slots=True)
class Unpracked:
    """A reliable provisional response of ours that waits for its PRACK; only one does at a time."""

    response: SipResponse
    rseq: int
    interval_s: float
    carries_sdp: bool


def reliability_of(invite: SipRequest) -> Reliability:
    """What an INVITE allows or demands (RFC 3262 3)."""
    if invite.headers.lists("Require", OPTION):
        return Reliability.REQUIRED
    return Reliability.SUPPORTED if invite.headers.lists("Supported", OPTION) else Reliability.NONE


def rseq_of(response: SipResponse) -> int | None:
    """The number of a reliable provisional response; None for an unreliable one."""
    if not response.headers.lists("Require", OPTION):
        return None
    value = response.headers.get("RSeq")
    number = parse_number(value, RSEQ_MAX) if value else None
    return number or None


def rack_of(prack: SipRequest) -> tuple[int, int, str] | None:
    """RAck: (number of the response, CSeq number and method of its request); None if unreadable."""
    value = prack.headers.get("RAck") or ""
    words = [word for word in value.replace("\t", " ").split(" ") if word]
    if len(words) != 3:
        return None
    rseq, cseq = parse_number(words[0], RSEQ_MAX), parse_number(words[1], RSEQ_MAX)
    if rseq is None or cseq is None:
        return None
    return rseq, cseq, words[2]
