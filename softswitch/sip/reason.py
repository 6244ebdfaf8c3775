"""The Reason header field (RFC 3326): why a request ends a call."""

from __future__ import annotations

from dataclasses import dataclass

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
