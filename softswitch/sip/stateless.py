"""Answers that leave no memory behind: refusals given before anything is known of the peer."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import split_commas

if TYPE_CHECKING:
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.session_effects import HeaderLines
    from softswitch.sip.uri import Via


class StatelessAnswers:
    """Builds responses whose To-tag follows from the request's ids, so that a retransmission gets
    the same octets (RFC 3261 8.2.7) and the ACK can be told from a stranger's."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def tag_of(self, request: SipRequest) -> str:
        """The To-tag for this request: HMAC over what its retransmissions and ACK have in common."""
        headers = request.headers
        number = (headers.get("CSeq") or "").partition(" ")[0]
        ids = f"{headers.get('Call-ID')}\n{headers.get('From')}\n{number}"
        octets = ids.encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, octets, "sha256").hex()[:16]

    def answer(
        self,
        request: SipRequest,
        status: int,
        reason: str | None = None,
        headers: HeaderLines = (),
    ) -> SipResponse:
        """A final response to `request`, which may be one that did not parse well."""
        response = request.response(status, reason, to_tag=self.tag_of(request))
        response.headers.extend(headers)
        return response

    def is_ours(self, ack: SipRequest) -> bool:
        """Whether an ACK acknowledges a refusal of ours."""
        try:
            tag = ack.to.tag or ""
        except RemoteProtocolError:
            return False
        return hmac.compare_digest(
            tag.encode("utf-8", "surrogateescape"), self.tag_of(ack).encode()
        )


def stamp_via(request: SipRequest, flow: Flow) -> None:
    """Write where the request really came from into its top Via (RFC 3261 18.2.1, RFC 3581 4).

    The response goes back there whatever the Via says; this tells the peer what we saw.
    """
    headers = request.headers
    line = headers.first.get("Via")
    if not line:
        return
    via: Via = headers.parsed.get("top_via") or request.top_via
    host, port = flow.remote
    lower = line.lower()
    if "received" not in lower and "," not in line:
        # The usual cases, done on the text.
        if "rport" not in lower and via.host == host:
            return
        if line.endswith(";rport") or ";rport;" in line:
            text = f"{line.replace(';rport', f';rport={port}', 1)};received={host}"
            headers.replace_top_via(text)
            return
    if via.param("rport") is None and via.host == host and via.param("received") is None:
        return
    headers.replace_top_via(_stamped(line, via, flow))


def _stamped(line: str, via: Via, flow: Flow) -> str:
    host, port = flow.remote
    wants_port = via.param("rport") is not None
    stamped = via.with_param("received", host)
    if wants_port:
        stamped = stamped.with_param("rport", str(port))
    rest = ""
    if "," in line:
        first = split_commas(line, 1)[0]
        rest = line[line.index(first) + len(first) :]
    return str(stamped) + rest
