"""Call forwarding: where a call goes when its extension does not take it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.call.steps import RING_S_DEFAULT
from softswitch.errors import RemoteProtocolError
from softswitch.sip.tel import number_of

if TYPE_CHECKING:
    from softswitch.call.endpoint import Outcome
    from softswitch.call.line import Line
    from softswitch.config import Destination
    from softswitch.sip.message import SipResponse

# Two extensions that forward to each other would hunt for ever (RFC 5359 2.9 leaves the bound to us).
FORWARDS_MAX = 5
DIVERTED_MAX = 10
"""With those that a carrier tells of: two exchanges may send a call to and fro (RFC 5806 7)."""


def redirection_of(response: SipResponse | None) -> str | None:
    """The number that a phone's 301 or 302 names; its host is not ours to go to. None for any other
    answer."""
    if response is None or response.status not in (301, 302):
        return None
    try:
        contacts = response.contacts
        return (number_of(contacts[0].uri_text) or None) if contacts else None
    except RemoteProtocolError:
        return None


def ring_s_of(line: Line) -> float:
    """How long its phones ring: until its forwarding on no answer, if it has one."""
    return line.after_s if line.forward_no_answer else RING_S_DEFAULT


def forward_after(line: Line, outcome: Outcome) -> tuple[Destination | None, str]:
    """Where a call goes that ended unanswered with `outcome`, and the reason in the words of RFC 5806;
    None: the caller is told so."""
    match outcome.result:
        case "busy" | "rejected":
            return line.forward_busy, "user-busy"
        case "no-answer" if outcome.q850 != 20:
            return line.forward_no_answer, "no-answer"
        case "no-answer" | "unreachable" | "failed":
            # Nobody registered: whoever wants calls on no answer wants them then, too.
            return line.forward_unreachable or line.forward_no_answer, "unavailable"
    return None, ""
