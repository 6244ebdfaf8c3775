"""What a peer says it is: the name and version of its software."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.sip.message import SipMessage

TEXT_MAX = 256
"""Characters kept of what a stranger chose: of his software's name, a Call-ID, a user name."""


def software_of(message: SipMessage) -> str:
    """User-Agent, which phones send in answers too (RFC 3261 20.41), or else Server (20.35); "" for neither."""
    headers = message.headers
    return (headers.get("User-Agent") or headers.get("Server") or "")[:TEXT_MAX]
