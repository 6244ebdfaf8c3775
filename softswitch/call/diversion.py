"""Who has sent a call on before it came to where it is: Diversion (RFC 5806), and History-Info (RFC 7044) with
the causes of RFC 4458. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from softswitch.errors import RemoteProtocolError
from softswitch.sip.tel import TelUri, is_tel, number_of
from softswitch.sip.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest

DIVERSIONS_MAX = 8
"""So many are kept of what a trunk tells, and told on."""

_CAUSES = {
    "unconditional": 302,
    "user-busy": 486,
    "no-answer": 408,
    "unavailable": 503,
    "deflection": 480,
    "unknown": 404,
}
_REASONS_OF_RFC_5806 = frozenset(_CAUSES) | {
    "time-of-day",
    "do-not-disturb",
    "follow-me",
    "out-of-service",
    "away",
}
_REASONS = {**{cause: reason for reason, cause in _CAUSES.items()}, 487: "deflection"}
_COUNTER_MAX = 99
_NUMBER_MAX = 64
Lines = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Diversion:
    """One who sent a call on: his `number` and why, a reason of RFC 5806. `host` is where that number is
    at home, "" for the office's own; `hidden` when it is not to be shown to those called."""

    number: str
    reason: str = "unknown"
    counter: int = 1
    host: str = ""
    hidden: bool = False


def diversions_of(request: SipRequest) -> tuple[Diversion, ...]:
    """Those that a trunk tells of, the latest first; what cannot be read is passed over."""
    headers = request.headers
    if "Diversion" not in headers and "History-Info" not in headers:
        return ()
    return _from_diversion(request) or _from_history(request)


def _from_diversion(request: SipRequest) -> tuple[Diversion, ...]:
    found = []
    for value in _values(request, "Diversion", DIVERSIONS_MAX):
        try:
            address = NameAddr.parse(value)
            number, host = _number_of(address)
        except RemoteProtocolError:
            continue
        reason = (address.param("reason") or "").strip('"').lower()
        counter = address.param("counter") or "1"
        hidden = (address.param("privacy") or "").strip('"').lower() in ("full", "uri")
        times = min(int(counter), _COUNTER_MAX) if counter.isdecimal() and len(counter) < 9 else 1
        known = reason if reason in _REASONS_OF_RFC_5806 else "unknown"
        found.append(Diversion(number, known, max(times, 1), host, hidden))
    return tuple(found)


def _from_history(request: SipRequest) -> tuple[Diversion, ...]:
    """Each entry that is followed by one with a cause has been diverted for it (RFC 7044 10.1)."""
    entries = []
    for value in _values(request, "History-Info", DIVERSIONS_MAX + 1):
        try:
            address = NameAddr.parse(value)
            number, host = _number_of(address)
            cause, headers = _cause_and_headers(address)
        except RemoteProtocolError:
            continue
        reason = _REASONS.get(int(cause), "unknown") if _is_cause(cause) else ""
        hidden = "privacy=" in headers.lower()
        entries.append((number, host, hidden, reason))
    return tuple(
        Diversion(number, reason, 1, host, hidden)
        for (number, host, hidden, _), (*_, reason) in pairwise(entries)
        if reason
    )[::-1]


def _values(request: SipRequest, name: str, at_most: int) -> list[str]:
    try:
        return request.headers.values(name)[:at_most]
    except RemoteProtocolError:
        return []


def _is_cause(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdecimal()


def _number_of(address: NameAddr) -> tuple[str, str]:
    """Number, as it was written, and host; raises `RemoteProtocolError` where there is no number."""
    if is_tel(address.uri_text):
        number, host = number_of(address.uri_text), ""
    else:
        number, host = address.uri.user or "", address.uri.host
    if not number or len(number) > _NUMBER_MAX:
        raise RemoteProtocolError("a diversion of nobody")
    return number, host


def _cause_and_headers(address: NameAddr) -> tuple[str, str]:
    if is_tel(address.uri_text):
        return TelUri.parse(address.uri_text).param("cause") or "", ""
    uri = address.uri
    return uri.param("cause") or "", uri.headers


def diversion_lines(diversions: Sequence[Diversion], domain: str) -> Lines:
    """Diversion headers, the latest first (RFC 5806 5)."""
    lines = []
    for each in diversions[:DIVERSIONS_MAX]:
        uri = SipUri("sip", each.number, each.host or domain)
        privacy = ";privacy=full" if each.hidden else ""
        lines.append(("Diversion", f"<{uri}>;reason={each.reason};counter={each.counter}{privacy}"))
    return lines


def history_lines(diversions: Sequence[Diversion], domain: str, target: SipUri) -> Lines:
    """History-Info: where the call was meant to go at first, step by step to this request itself."""
    lines, index, reason = [], "1", ""
    for each in reversed(diversions[:DIVERSIONS_MAX]):
        uri = SipUri("sip", each.number, each.host or domain)
        privacy = "?Privacy=history" if each.hidden else ""
        lines.append(("History-Info", f"<{uri}{_cause(reason)}{privacy}>;index={index}"))
        index, reason = f"{index}.1", each.reason
    lines.append(("History-Info", f"<{target}{_cause(reason)}>;index={index}"))
    return [*lines, ("Supported", "histinfo")]


def _cause(reason: str) -> str:
    return f";cause={_CAUSES.get(reason, _CAUSES['unknown'])}" if reason else ""
