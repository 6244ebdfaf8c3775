"""MESSAGE between extensions (RFC 3428): passed to where the other is registered, or refused; nothing is
stored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softswitch.call.dial import best_status
from softswitch.call.identity import PhoneIdentity
from softswitch.config.derived import FromOffice, extensions_by_number
from softswitch.errors import RemoteProtocolError, SipError
from softswitch.sip.events import RequestFailed, RequestReceived, ResponseReceived
from softswitch.sip.flow import Flow
from softswitch.sip.uri import NameAddr

if TYPE_CHECKING:
    from softswitch.call.endpoint import PhoneEndpoint
    from softswitch.call.wiring import Wiring

OCTETS_MAX = 4096
PENDING_MAX = 256
BURST = 20.0
RATE_PER_S = 2.0
"""What one extension may send: `BURST` at once, then so many a second."""

_PASSED_ON = ("Content-Encoding", "Content-Disposition", "Content-Language", "Subject", "Date")
"""Header fields without which what is sent cannot be read, or says less (RFC 3261 20, RFC 3428 10)."""
_ANSWER_S = 10.0
_SENDERS_MAX = 4096


@dataclass(slots=True)
class _Passing:
    """One MESSAGE on its way to the phones of an extension."""

    handle: int
    waiting: set[int] = field(default_factory=set)
    failures: list[int] = field(default_factory=list)


class Messages:
    """Passes messages on; the first phone that takes one answers for all."""

    def __init__(
        self, wiring: Wiring, registered: Callable[[str], tuple[PhoneEndpoint, ...]]
    ) -> None:
        self._wiring = wiring
        self._registered = registered
        self._extensions = FromOffice(wiring, extensions_by_number)
        self._passing: dict[int, _Passing] = {}
        self._rates: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def snapshot(self) -> dict[str, int]:
        return {"passing": len(self._passing)}

    def message(self, event: RequestReceived, now_s: float) -> None:
        """One authenticated MESSAGE."""
        status = self._refusal(event, now_s) or self._pass(event, now_s)
        if status is not None:
            headers = (("Retry-After", "10"),) if status == 503 else ()
            self._wiring.stack.respond(event.handle, status, headers=headers, now_s=now_s)

    def answered(self, event: ResponseReceived | RequestFailed, now_s: float) -> bool:
        """A phone's answer; False when it is not about a message."""
        passing = self._passing.pop(event.handle, None)
        if passing is None:
            return False
        passing.waiting.discard(event.handle)
        status = event.response.status if isinstance(event, ResponseReceived) else event.status
        if status < 300:
            self._wiring.stack.respond(passing.handle, 200, now_s=now_s)
            for handle in passing.waiting:
                self._passing.pop(handle, None)
            return True
        passing.failures.append(status)
        if not passing.waiting:
            best = best_status(passing.failures)
            self._wiring.stack.respond(passing.handle, best, now_s=now_s)
        return True

    def _refusal(self, event: RequestReceived, now_s: float) -> int | None:
        request, identity = event.request, event.identity
        if not isinstance(identity, PhoneIdentity) or event.session is not None:
            return 403  # of telephones, and not in a call's dialog
        if len(request.body) > OCTETS_MAX:
            return 413
        if not self._may_send(identity.extension, now_s) or len(self._passing) >= PENDING_MAX:
            return 503
        return None

    def _may_send(self, extension: str, now_s: float) -> bool:
        tokens, since_s = self._rates.pop(extension, (BURST, now_s))
        tokens = min(BURST, tokens + (now_s - since_s) * RATE_PER_S)
        allowed = tokens >= 1.0
        self._rates[extension] = (tokens - 1.0 if allowed else tokens, now_s)
        if len(self._rates) > _SENDERS_MAX:
            self._rates.popitem(last=False)
        return allowed

    def _pass(self, event: RequestReceived, now_s: float) -> int | None:
        request, identity = event.request, event.identity
        assert isinstance(identity, PhoneIdentity)
        try:
            target = request.called
            name = request.from_.display_name
        except RemoteProtocolError as error:
            return error.status_hint or 400
        if target not in self._extensions():
            return 404
        endpoints = self._registered(target)
        domain = self._wiring.office.office.domain
        passing = _Passing(event.handle)
        told = [(name, value) for name in _PASSED_ON if (value := request.headers.get(name))]
        for endpoint in endpoints:
            try:
                handle = self._wiring.stack.request(
                    "MESSAGE",
                    endpoint.contact_uri,
                    Flow(*endpoint.flow_key),
                    from_=NameAddr(f"sip:{identity.extension}@{domain}", name),
                    to=NameAddr(f"sip:{target}@{domain}"),
                    headers=[*(("Route", route) for route in endpoint.route), *told],
                    body=request.body,
                    content_type=request.headers.get("Content-Type") or "text/plain",
                    timeout_s=_ANSWER_S,
                    now_s=now_s,
                )
            except SipError:
                continue
            passing.waiting.add(handle)
            self._passing[handle] = passing
        return None if passing.waiting else 480
