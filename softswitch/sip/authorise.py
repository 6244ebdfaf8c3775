"""Answering a challenge to a request of ours (RFC 3261 section 22)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.sip.digest import answer_challenge
from softswitch.sip.message import SipRequest

if TYPE_CHECKING:
    from softswitch.sip.credentials import Credentials
    from softswitch.sip.message import SipResponse

_HEADERS = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


def authorised_copy(
    request: SipRequest,
    response: SipResponse,
    credentials: Credentials,
    token: Callable[[], str],
) -> SipRequest | None:
    """`request` again with an answer to the challenge in `response`, without Via; None where the
    challenge is not for these credentials. The caller sets the new CSeq number.
    """
    asked, answered = _HEADERS[response.status]
    value = answer_challenge(
        response.headers.get_all(asked), credentials, request.method, request.uri, cnonce=token()
    )
    if value is None:
        return None
    headers = request.headers.copy()
    headers.remove("Via")
    headers.set(answered, value)
    return SipRequest(request.method, request.uri, headers, request.body)
