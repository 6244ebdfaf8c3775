"""Answering a challenge to a request of ours (RFC 3261 section 22)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.sip.digest import Challenge, answer_challenge
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
    challenge is not for these credentials, or comes again although it was answered and the nonce
    was not stale: the password is wrong. The caller sets the new CSeq number and counts tries.
    """
    asked, answered = _HEADERS[response.status]
    challenges = response.headers.get_all(asked)
    if answered in request.headers and not any(_is_stale(value) for value in challenges):
        return None
    value = answer_challenge(challenges, credentials, request.method, request.uri, cnonce=token())
    if value is None:
        return None
    headers = request.headers.copy()
    headers.remove("Via")
    headers.set(answered, value)
    return SipRequest(request.method, request.uri, headers, request.body)


def realm_of(response: SipResponse) -> str:
    """The realm that a refusal asks a password of; "" where it asks for none."""
    headers = _HEADERS.get(response.status)
    asked = response.headers.get_all(headers[0]) if headers else ()
    return next((c.realm for value in asked if (c := Challenge.parse(value)) is not None), "")


def is_authorised(request: SipRequest) -> bool:
    """Whether it answers a challenge already."""
    return any(answered in request.headers for _, answered in _HEADERS.values())


def _is_stale(value: str) -> bool:
    challenge = Challenge.parse(value)
    return challenge is not None and challenge.stale
