"""Call forwarding: where a call goes when its extension does not take it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.call.steps import RING_S_DEFAULT

if TYPE_CHECKING:
    from softswitch.call.endpoint import Outcome
    from softswitch.config import Destination, Extension

# Two extensions that forward to each other would hunt for ever (RFC 5359 2.9 leaves the bound to us).
FORWARDS_MAX = 5


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
