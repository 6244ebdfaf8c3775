"""Which transaction a message belongs to (RFC 3261 17.1.3 and 17.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest, SipResponse
    from softswitch.sip.uri import CSeq, Via

MAGIC_COOKIE = "z9hG4bK"

ClientKey = tuple[str, str]
ServerKey = tuple[str, ...]


def client_key(response: SipResponse) -> ClientKey:
    """Branch and method; the branch is ours and random, so it alone makes guessing hopeless."""
    parsed = response.headers.parsed
    via: Via = parsed.get("top_via") or response.top_via
    cseq: CSeq = parsed.get("CSeq") or response.cseq
    return via.branch or "", cseq.method


def server_key(request: SipRequest, source_host: str, method: str | None = None) -> ServerKey:
    """Source host, branch, sent-by and method, an ACK counting as its INVITE.

    The source host is more than the RFC asks: a stranger who copies a branch cannot touch another
    host's transaction. Peers of RFC 2543 times, without the cookie, are matched by the headers
    that identify a request; To and Request-URI are left out, for the ACK may differ in them. A
    branch of the bare cookie identifies nothing (RFC 4475 3.2.1) and is matched the same way.
    `method` asks for the key of another request of the same branch: INVITE, for a CANCEL.
    """
    via: Via = request.headers.parsed.get("top_via") or request.top_via
    method = method or request.method
    if method == "ACK":
        method = "INVITE"
    branch = via.branch or ""
    if branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return source_host, branch, via.host, str(via.port or ""), method
    return (
        source_host,
        request.from_.tag or str(request.from_),
        request.call_id,
        str(request.cseq.number),
        branch + str(via.host) + str(via.port or ""),
        method,
    )
