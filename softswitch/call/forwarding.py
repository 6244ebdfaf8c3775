"""Call forwarding: where a call goes when its extension does not take it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.call.steps import RING_S_DEFAULT
from softswitch.errors import RemoteProtocolError

if TYPE_CHECKING:
    from softswitch.call.endpoint import Outcome
    from softswitch.config import Destination, Extension
    from softswitch.sip.message import SipResponse

# Two extensions that forward to each other would hunt for ever (RFC 5359 2.9 leaves the bound to us).
FORWARDS_MAX = 5


def redirection_of(response: SipResponse | None) -> str | None:
    """The number that a phone's 301 or 302 names; its host is not ours to go to. None for any other
    answer."""
    if response is None or response.status not in (301, 302):
        return None
    try:
        contacts = response.contacts
        return (contacts[0].uri.username or None) if contacts else None
    except RemoteProtocolError:
        return None


def forward_at_once(extension: Extension) -> Destination | None:
    """Where every call to this extension goes, if it forwards always."""
    return extension.forward.always


def ring_s_of(extension: Extension) -> float:
    """How long its phones ring: until its forwarding on no answer, if it has one."""
    return extension.forward.after_s if extension.forward.no_answer else RING_S_DEFAULT


def forward_after(extension: Extension, outcome: Outcome) -> Destination | None:
    """Where a call goes that ended unanswered with `outcome`; None: the caller is told so."""
    forward = extension.forward
    match outcome.result:
        case "busy" | "rejected":
            return forward.busy
        case "no-answer" if outcome.q850 != 20:
            return forward.no_answer
        case "no-answer" | "unreachable" | "failed":
            # Nobody registered: whoever wants calls on no answer wants them then, too.
            return forward.unreachable or forward.no_answer
    return None
