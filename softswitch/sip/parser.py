"""Octets to messages: one bounded, linear pass over the head; values wait until they are asked.

The head is split once, names go through one dict of known spellings, and only what every layer
above needs (top Via, From, To, Call-ID, CSeq, Max-Forwards) is looked into. `ParseError` is the
only exception that leaves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import split_commas
from softswitch.sip.headers import SPELLINGS, Headers, canonical_name
from softswitch.sip.message import SipRequest, SipResponse

_REQUEST_LINE: Final = re.compile(
    r"([A-Za-z0-9\-.!%*_+`'~]{1,64}) ([^\x00-\x20\x7f<>\"]++) [sS][iI][pP]/2\.0"
)
_STATUS_LINE: Final = re.compile(r"[sS][iI][pP]/2\.0 ([1-6][0-9]{2})(?: (.*+))?+", re.DOTALL)
_VERSION: Final = re.compile(r"[sS][iI][pP]/([0-9]{1,9}\.[0-9]{1,9})")
_METHOD_START: Final = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]{1,64})[ \t]")
_CONTROLS: Final = bytes(octet for octet in (*range(32), 127) if octet != 9)  # HTAB is white space
_BARE_CONTROL: Final = re.compile(rb"(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FOLD: Final = re.compile(r"\r\n[ \t]++")
_LENGTH: Final = re.compile(r"[0-9]{1,10}")
_REMEMBERED: Final = 80
"""Status lines up to this length are remembered with what they say."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stranger may make us hold; octets and counts."""

    head: int = 65_536
    body: int = 65_536
    headers: int = 256
    vias: int = 70


DEFAULT_LIMITS: Final = Limits()


class ParseError(RemoteProtocolError):
    """The octets are no SIP message we accept.

    `status_hint` is the answer a request deserves (None: drop it, as for any response); `request`
    holds what could be read of the head, enough to build that answer, or None.
    """

    def __init__(
        self, reason: str, status_hint: int | None = 400, request: SipRequest | None = None
    ) -> None:
        self.request = request
        super().__init__(reason, status_hint)


def parse_message(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> SipRequest | SipResponse:
    """One datagram, or one framed message of a stream.

    Line breaks before the start line are skipped (RFC 3261 7.5). Octets after Content-Length are
    dropped (18.3); without Content-Length the body is the rest. Raises ParseError and nothing else.
    """
    if data[:2] == b"\r\n":
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n", 0, limits.head + 4)
    if end < 0:
        if len(data) > limits.head:
            raise refuse_head(data, limits, "head too large", 513)
        raise refuse_head(data, limits, "head without end")
    head = data[:end]
    try:
        message = _parse_head(head, limits)
    except RemoteProtocolError as error:
        raise refuse_head(head, limits, str(error), error.status_hint) from None
    headers = message.headers
    first = headers.first
    try:
        if headers.some_repeat or "," in first.get("Via", ""):
            _check_repetitions(headers, limits)
        cseq = message.parse_compulsory()
        if type(message) is SipRequest:
            if cseq.method != message.method:
                raise RemoteProtocolError("CSeq method differs from the request's")
            if first.get("Max-Forwards") != "70":  # what nearly all begin with
                message.max_forwards  # noqa: B018 - raises where malformed
        if first.get("Content-Length") != "0":
            message.body = _cut_body(headers, data, end + 4, limits)
    except RemoteProtocolError as error:
        if isinstance(message, SipResponse):
            raise ParseError(str(error), None) from None
        answerable = message if _answerable(headers) else None
        raise ParseError(str(error), error.status_hint, answerable) from None
    return message


def _parse_head(head: bytes, limits: Limits) -> SipRequest | SipResponse:
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n", limits.headers + 1)
    breaks = len(lines) - 1
    if breaks > limits.headers:
        raise RemoteProtocolError("too many headers", 513)
    # One pass in C: whatever is missing afterwards beyond the CR LF pairs was a control octet.
    if len(head) - len(head.translate(None, _CONTROLS)) != 2 * breaks:
        _check_controls(head, breaks)
    start = lines.pop(0)
    headers = _parse_headers(lines, text)
    if start[:4].upper() == "SIP/":  # no method holds a slash
        read = _status_line if len(start) <= _REMEMBERED else _status_line.__wrapped__
        status_line = read(start)
        if status_line is not None:
            return SipResponse(*status_line, headers)
    else:
        request_line = _REQUEST_LINE.fullmatch(start)
        if request_line is not None:
            method, uri = request_line.groups()
            return SipRequest(method, uri, headers)
    version = _VERSION.fullmatch(start.rpartition(" ")[2])
    if version is not None and version.group(1) != "2.0":
        raise RemoteProtocolError("SIP version not supported", 505)
    raise RemoteProtocolError("malformed start line")


@lru_cache(256)
def _status_line(start: str) -> tuple[int, str] | None:
    """Status and reason, of which there are few."""
    match = _STATUS_LINE.fullmatch(start)
    return None if match is None else (int(match.group(1)), match.group(2) or "")


def _check_controls(head: bytes, breaks: int) -> None:
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
        raise RemoteProtocolError("bare CR or LF in the head")
    # RFC 4475 3.1.1.2: a quoted-pair may carry any control octet but CR and LF.
    if _BARE_CONTROL.search(head) is not None:
        raise RemoteProtocolError("control octet in the head")


def _unfolded(text: str) -> list[str]:
    """The lines of a head in which some go on in the next (RFC 3261 7.3.1), the start line among them."""
    if text.partition("\r\n")[2][:1] in (" ", "\t"):
        raise RemoteProtocolError("folded start line")
    return _FOLD.sub(" ", text).split("\r\n")


def _parse_headers(lines: list[str], text: str) -> Headers:
    """The header lines; `text` is the whole head, looked into only where a line is unusual."""
    first: dict[str, str] = {}
    spelled = SPELLINGS
    for line in lines:
        try:
            name, value = line.split(": ", 1)
            first[spelled[name]] = value.strip(" \t")
        except (KeyError, ValueError):
            name, colon, value = line.partition(":")
            known = spelled.get(name)
            if known is None or not colon:
                # No name begins with white space, so a folded line always comes here.
                if "\r\n " in text or "\r\n\t" in text:
                    return _parse_headers(_unfolded(text)[1:], "")
                known = known or canonical_name(name.rstrip(" \t"))
                if not colon:
                    raise RemoteProtocolError("header line without colon") from None
            first[known] = value.strip(" \t")
    if len(first) == len(lines):
        return Headers(first)
    return _repeating(lines)


def _repeating(lines: list[str]) -> Headers:
    """The same where a name stands there twice; each line has been found to be in order."""
    names: list[str] = []
    values: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        names.append(SPELLINGS.get(name) or canonical_name(name.rstrip(" \t")))
        values.append(value.strip(" \t"))
    return Headers.of_canonical(names, values)


def _check_repetitions(headers: Headers, limits: Limits) -> None:
    repeated = headers.repeated()
    if repeated:
        raise RemoteProtocolError(f"more than one {min(repeated)}")
    _check_vias(headers, limits)


def _check_vias(headers: Headers, limits: Limits) -> None:
    lines = headers.get_all("Via")
    if len(lines) + sum(line.count(",") for line in lines) > limits.vias:
        count = sum(len(split_commas(line, limits.vias + 1)) for line in lines)
        if count > limits.vias:
            raise RemoteProtocolError("too many Vias")


def _cut_body(headers: Headers, data: bytes, start: int, limits: Limits) -> bytes:
    text = headers.first.get("Content-Length")
    available = len(data) - start
    if text is None:
        length = available
    elif _LENGTH.fullmatch(text) is None:
        raise RemoteProtocolError("malformed Content-Length")
    else:
        length = int(text)
        if length > available and length <= limits.body:
            raise RemoteProtocolError("body shorter than Content-Length")
    if length > limits.body:
        raise RemoteProtocolError("body too large", 413)
    return data[start : start + length]


def refuse_head(head: bytes, limits: Limits, reason: str, status: int | None = 400) -> ParseError:
    """Build the error for a head that does not parse, with what can be saved for an answer.

    Only whole, well-formed lines of the headers a response copies are kept.
    """
    if head[:4].upper() == b"SIP/":
        return ParseError(reason, None)
    lines = head[: limits.head].split(b"\r\n", limits.headers + 1)[: limits.headers + 1]
    method = _METHOD_START.match(lines[0].decode("utf-8", "surrogateescape"))
    if method is None:
        return ParseError(reason, status)
    headers = Headers()
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        known = SPELLINGS.get(name.rstrip(b" \t").decode("utf-8", "surrogateescape"))
        if known in ("Via", "From", "To", "Call-ID", "CSeq") and not _BARE_CONTROL.search(value):
            text = value.decode("utf-8", "surrogateescape").strip(" \t")
            if "\r" not in text and "\n" not in text:
                headers.add(known, text)
    if not _answerable(headers):
        return ParseError(reason, status)
    return ParseError(reason, status, SipRequest(method.group(1), "sip:invalid", headers))


def _answerable(headers: Headers) -> bool:
    """Whether this was meant as SIP and its sender could make something of a refusal: a Via says so,
    and so do the names by which a client without one keeps its transactions (RFC 4475, test.dat)."""
    return "Via" in headers or ("Call-ID" in headers and "From" in headers)
