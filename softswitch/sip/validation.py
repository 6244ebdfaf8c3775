"""What a request must satisfy before anybody decides what it means (RFC 3261 8.2).

The parser has looked at Via, From, To, Call-ID, CSeq and Max-Forwards. This is the rest, asked once
for a request that opens something, in the order of RFC 3261 8.2: method, Request-URI, addresses,
extensions, content.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from softswitch.errors import RemoteProtocolError
from softswitch.sip import multipart
from softswitch.sip.message import SipMessage, SipRequest
from softswitch.sip.tel import TelUri, is_tel
from softswitch.sip.uri import SipUri

if TYPE_CHECKING:
    from softswitch.sip.uri import Via

METHODS: Final = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "UPDATE")
BODY_TYPES: Final = ("application/sdp", *multipart.TYPES)
MAGIC_COOKIE: Final = "z9hG4bK"

_REGISTERED_METHODS: Final = frozenset(
    {*METHODS, "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER", "MESSAGE"}
)
_SESSION_METHODS: Final = frozenset({"INVITE", "UPDATE", "PRACK"})
# Their answer is fixed by the transaction they belong to; extensions are not judged (8.2.2.3).
_NO_REQUIRE: Final = frozenset({"ACK", "CANCEL"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer with `status` and `headers`; `why` is for the log. An ACK is dropped instead."""

    status: int
    why: str
    headers: tuple[tuple[str, str], ...] = ()


def validate_request(
    request: SipRequest,
    *,
    methods: Collection[str] = METHODS,
    extensions: Collection[str] = (),
    body_types: Collection[str] = BODY_TYPES,
) -> Refusal | None:
    """Why `request` must be refused, or None.

    `methods` we handle, `extensions` are option tags we support, `body_types` the media types we
    take in INVITE and UPDATE. Never raises.
    """
    try:
        return (
            _method(request, methods)
            or _target(request)
            or _addresses(request)
            or _extensions(request, extensions)
            or _content(request, body_types)
        )
    except RemoteProtocolError as error:
        return Refusal(error.status_hint or 400, str(error))


def _method(request: SipRequest, methods: Collection[str]) -> Refusal | None:
    if request.method in methods:
        return None
    allow = (("Allow", ", ".join(methods)),)
    if request.method in _REGISTERED_METHODS:
        return Refusal(405, "method not allowed", allow)
    return Refusal(501, "unknown method", allow)  # RFC 3261 21.5.2


def _target(request: SipRequest) -> Refusal | None:
    uri = request.uri
    if (
        uri[:3] != "sip" and is_tel(uri) and request.method != "REGISTER"
    ):  # its target is a domain (10.2)
        TelUri.parse(uri)
    elif SipUri.parse(uri).headers:
        return Refusal(400, "headers in the Request-URI")  # RFC 3261 19.1.5, RFC 4475 3.1.2.11
    return None


def _addresses(request: SipRequest) -> Refusal | None:
    headers = request.headers
    first = headers.first
    via: Via = headers.parsed.get("top_via") or request.top_via
    if via.branch == MAGIC_COOKIE:
        return Refusal(400, "branch without content")  # RFC 4475 3.2.1
    if headers.some_repeat or "," in first["Via"]:
        request.vias  # noqa: B018 - parses, or raises what becomes the 400
    for name in ("Contact", "Route", "Record-Route"):
        if name in first:
            request.addresses(name)
    if request.method == "REGISTER":
        try:
            request.to.uri  # noqa: B018
        except RemoteProtocolError:
            return Refusal(400, "the address of record is no SIP URI")  # RFC 4475 3.3.4
    return None


def _extensions(request: SipRequest, extensions: Collection[str]) -> Refusal | None:
    if request.method in _NO_REQUIRE or "Require" not in request.headers.first:
        return None
    unknown = [tag for tag in request.headers.values("Require") if tag not in extensions]
    if not unknown:
        return None
    return Refusal(420, "extension not supported", (("Unsupported", ", ".join(unknown)),))


def _content(request: SipRequest, body_types: Collection[str]) -> Refusal | None:
    if request.method not in _SESSION_METHODS:
        return None
    if request.body and not _may_ignore_body(request):
        encoding = request.headers.first.get("Content-Encoding")
        if encoding and encoding.lower() != "identity":
            return Refusal(415, "encoded body", (("Accept-Encoding", "identity"),))
        kind = request.content_type
        if kind not in body_types:
            return Refusal(415, "unknown body type", (("Accept", ", ".join(body_types)),))
        if kind in multipart.TYPES and not _readable(request):
            return Refusal(415, "a part that must be understood", (("Accept", "application/sdp"),))
    if "Accept" in request.headers.first and not accepts(request, "application/sdp"):
        return Refusal(406, "the peer takes no session description")
    return None


def _readable(request: SipRequest) -> bool:
    """Whether a body of several parts holds nothing that must be understood and is not; raises where it is
    broken."""
    try:
        multipart.sdp_of_parts(request.headers.first["Content-Type"], request.body)
    except RemoteProtocolError as error:
        if error.status_hint == 415:
            return False
        raise
    return True


def _may_ignore_body(request: SipRequest) -> bool:
    disposition = request.headers.first.get("Content-Disposition")
    if disposition is None:
        return False
    return "handling=optional" in disposition.replace(" ", "").replace("\t", "").lower()


def accepts(message: SipMessage, media_type: str) -> bool:
    """True when the Accept header (or its absence, 20.1) allows `media_type` in the answer."""
    if "Accept" not in message.headers:
        return media_type == "application/sdp"
    family = media_type.partition("/")[0]
    for element in message.headers.values("Accept"):
        text = element.partition(";")[0].replace(" ", "").replace("\t", "").lower()
        if text in ("*/*", f"{family}/*", media_type):
            return True
    return False
