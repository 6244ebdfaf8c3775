"""The Reason header field (RFC 3326): why a request ends a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import (
    LWS,
    find_param,
    is_token,
    parse_number,
    parse_params,
    quote,
    split_commas,
)

if TYPE_CHECKING:
    from softswitch.sip.message import SipMessage

_REASONS_MAX = 4


@dataclass(frozen=True, slots=True)
class ReasonHeader:
    """`protocol` is "Q.850" or "SIP", `cause` its number, `text` a few words for people."""

    protocol: str
    cause: int
    text: str = ""

    def __str__(self) -> str:
        if not self.text:
            return f"{self.protocol};cause={self.cause}"
        return f"{self.protocol};cause={self.cause};text={quote(self.text)}"

    @property
    def q850(self) -> int:
        """The Q.850 cause, 0 where this is none."""
        return self.cause if self.protocol.upper() == "Q.850" and 0 < self.cause < 128 else 0

    @property
    def elsewhere(self) -> bool:
        """Whether somebody else took the call: no missed one (RFC 3326 2)."""
        return self.protocol.upper() == "SIP" and self.cause == 200

    @classmethod
    def of(cls, message: SipMessage, protocol: str) -> ReasonHeader | None:
        """The reason of this protocol in a message, which may have one of each; else its first (never
        raises)."""
        if "Reason" not in message.headers.first:
            return None
        try:
            values = message.headers.values("Reason")[:_REASONS_MAX]
        except RemoteProtocolError:
            values = message.headers.get_all("Reason")[:1]
        found = [reason for reason in map(cls.parse, values) if reason is not None]
        of_it = (reason for reason in found if reason.protocol.upper() == protocol)
        return next(of_it, found[0] if found else None)

    @classmethod
    def parse(cls, value: str) -> ReasonHeader | None:
        """The first reason of a header line, or None where it is unreadable (never raises)."""
        try:
            protocol, semicolon, rest = split_commas(value, 1)[0].partition(";")
            params = parse_params(semicolon + rest)
        except RemoteProtocolError:
            return None
        protocol = protocol.rstrip(LWS)
        cause = parse_number(find_param(params, "cause") or "", 99_999)
        if cause is None or len(protocol) > 32 or not is_token(protocol):
            return None
        return cls(protocol, cause, (find_param(params, "text") or "")[:256])
