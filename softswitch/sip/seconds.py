"""Header fields that are a number of seconds and may go on with a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.sip.message import SipMessage


def seconds_in(message: SipMessage, name: str) -> int | None:
    """The number that a header begins with, as Retry-After does (RFC 3261 20.33); None for none."""
    text = (message.headers.get(name) or "").strip(" \t")
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    return int(digits) if 1 <= len(digits) <= 9 else None
