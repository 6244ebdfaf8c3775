"""The registrar's bindings (RFC 3261 section 10.3, RFC 3327 Path, RFC 5626 instance) as a machine.

It decides what a REGISTER changes and what it is answered; who may register which address of record
was decided before (the gate). Time comes in as an argument and goes out as a timer effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, assert_never

from softswitch.errors import RemoteProtocolError
from softswitch.sip.effects import SetTimer, TimerFired
from softswitch.sip.grammar import parse_number
from softswitch.sip.uri import NameAddr, SipUri, write_host

if TYPE_CHECKING:
    from softswitch.sip.flow import Flow
    from softswitch.sip.message import SipRequest

CONTACT_MAX = 512
TEXTS_MAX = 256
PATH_MAX = 8
PATH_OCTETS_MAX = 1024


@dataclass(frozen=True, slots=True)
class RegistrationPolicy:
    """Limits of the registrar.

    Expiry in seconds: asked for less than `min_expires_s` (but not 0) is refused with 423, more
    than `max_expires_s` is cut. `own_addresses` are (host, port) pairs no contact may name, for a
    call to it would come back to us. `flow_timer_s`: how often phones with an outbound flow are told to
    ping it (RFC 5626 5.4).
    """

    default_expires_s: int = 3600
    min_expires_s: int = 60
    max_expires_s: int = 3600
    contacts_max: int = 10
    bindings_max: int = 100_000
    flow_timer_s: int = 100
    own_addresses: frozenset[tuple[str, int]] = frozenset()


DEFAULT_POLICY = RegistrationPolicy()


@dataclass(slots=True)
class Binding:
    """One place where an address of record can be reached.

    `contact` is the URI for the Request-URI, `address` the (host, port) in it, `flow` the path it was
    registered by and is called on, `path` the routes of RFC 3327; `expires_at_s` on the scale of `now_s`.
    """

    contact: str
    flow: Flow
    expires_at_s: float
    call_id: str
    cseq: int
    q: float = 1.0
    path: tuple[str, ...] = ()
    instance: str = ""
    user_agent: str = ""
    address: tuple[str, int] = ("", 0)

    @property
    def device(self) -> str:
        """The phone that has registered by several flows (RFC 5626), "" for one that does not say so."""
        name, _, flow = self.instance.rpartition("#")
        return name if flow else ""


class UnboundBecause(Enum):
    REMOVED = "removed"
    EXPIRED = "expired"
    REPLACED = "replaced"
    FLOW_LOST = "flow lost"
    REVOKED = "its password is no longer good"


# -- inputs ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class RegisterArrived:
    """An authenticated REGISTER for `aor`, which its sender owns."""

    aor: str
    request: SipRequest
    flow: Flow


@dataclass(slots=True)
class FlowLost:
    """A stream connection closed: what was registered by it cannot be reached any more."""

    flow: Flow


RegistrationInput = RegisterArrived | FlowLost | TimerFired

# -- effects -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Answer:
    """Respond to the REGISTER."""

    status: int
    headers: list[tuple[str, str]]
    reason: str | None = None


@dataclass(slots=True)
class Bound:
    """A binding is new (not merely refreshed)."""

    aor: str
    binding: Binding


@dataclass(slots=True)
class Unbound:
    """A binding is gone."""

    aor: str
    binding: Binding
    because: UnboundBecause


RegistrationEffect = Answer | Bound | Unbound | SetTimer


class _Refused(Exception):
    def __init__(self, status: int, reason: str, headers: list[tuple[str, str]] | None = None):
        super().__init__(reason)
        self.answer = Answer(status, headers or [], reason)


class Bindings:
    """Address of record -> bindings. `handle` takes the inputs above, also the timer `expiry`."""

    __slots__ = ("_by_aor", "_by_flow", "_count", "_due", "_policy", "_texts", "_timer_at_s")

    def __init__(self, policy: RegistrationPolicy | None = None) -> None:
        self._policy = policy or DEFAULT_POLICY
        self._by_aor: dict[str, list[Binding]] = {}
        self._by_flow: dict[Flow, set[str]] = {}
        self._count = 0
        self._due: list[tuple[float, str]] = []
        self._texts: dict[str, str] = {}
        self._timer_at_s = float("inf")

    def handle(self, event: RegistrationInput, now_s: float) -> list[RegistrationEffect]:
        """One input, the effects it asks for."""
        effects: list[RegistrationEffect] = []
        match event:
            case RegisterArrived():
                self._expire(event.aor, now_s, effects)
                try:
                    self._register(event, now_s, effects)
                except _Refused as refused:
                    effects.append(refused.answer)
                except RemoteProtocolError as error:
                    effects.append(Answer(400, [], str(error)))
            case FlowLost():
                self._lose_flow(event.flow, effects)
            case TimerFired():
                self._timer_at_s = float("inf")
                self._expire_due(now_s, effects)
            case _:
                assert_never(event)
        self._arm(now_s, effects)
        return effects

    def revoke(self, aor: str) -> list[RegistrationEffect]:
        """Forget all bindings of an address of record: its owner must register anew."""
        effects: list[RegistrationEffect] = []
        for binding in list(self._by_aor.get(aor, ())):
            self._drop(aor, binding, UnboundBecause.REVOKED, effects)
        return effects

    def contacts(self, aor: str, now_s: float) -> list[Binding]:
        """Where `aor` can be reached now: highest q first, then the latest registered."""
        live = [b for b in self._by_aor.get(aor, ()) if b.expires_at_s > now_s]
        live.reverse()
        live.sort(key=lambda binding: -binding.q)
        return live

    def addresses_of_record(self) -> list[str]:
        """Every address of record with a binding, in order of first registration."""
        return list(self._by_aor)

    def snapshot(self) -> dict[str, int]:
        """Sizes of the tables."""
        return {"aors": len(self._by_aor), "bindings": self._count}

    # -- REGISTER ----------------------------------------------------------------------------------

    def _register(
        self, event: RegisterArrived, now_s: float, effects: list[RegistrationEffect]
    ) -> None:
        request = event.request
        contacts = request.contacts
        if any(contact.uri_text == "*" for contact in contacts):
            self._remove_all(event, effects)
        elif contacts:
            # Decide everything before changing anything: a REGISTER applies whole or not (10.3).
            wanted = [self._wanted(event, contact, now_s) for contact in contacts]
            self._check_room(event.aor, wanted, now_s)
            for old, binding in wanted:
                self._apply(event.aor, old, binding, now_s, effects)
        lines = self._contact_lines(event.aor, now_s)
        if request.headers.lists("Supported", "path"):
            lines += [("Path", route) for route in _path_of(request)]  # RFC 3327 5.3
        if _wants_outbound(event):
            # RFC 5626 section 6: the flow is kept; ping it this often.
            lines.append(("Require", "outbound"))
            if event.flow.reliable:  # over UDP the phone knows itself what NATs want (4.4.2)
                lines.append(("Flow-Timer", str(self._policy.flow_timer_s)))
        effects.append(Answer(200, lines))

    def _remove_all(self, event: RegisterArrived, effects: list[RegistrationEffect]) -> None:
        request = event.request
        if len(request.contacts) != 1 or request.expires != 0:
            raise _Refused(400, "Contact * needs Expires 0 and no other Contact")
        bindings = self._by_aor.get(event.aor, [])
        for binding in bindings:
            self._check_order(binding, request)
        for binding in list(bindings):
            self._drop(event.aor, binding, UnboundBecause.REMOVED, effects)

    def _wanted(
        self, event: RegisterArrived, contact: NameAddr, now_s: float
    ) -> tuple[Binding | None, Binding]:
        """The binding this contact asks for, and the one it replaces."""
        request, policy = event.request, self._policy
        uri = self._checked_uri(contact, event.flow)
        address = uri.host, uri.port or 5060
        expires_s = self._expires_s(contact, request)
        if 0 < expires_s < policy.min_expires_s:
            minimum = [("Min-Expires", str(policy.min_expires_s))]
            raise _Refused(423, "Interval Too Brief", minimum)
        instance = _instance_of(contact)
        old = self._same(event.aor, contact.uri_text, uri, instance)
        if old is not None:
            self._check_order(old, request)
        return old, Binding(
            contact.uri_text,
            event.flow,
            now_s + min(expires_s, policy.max_expires_s),
            request.call_id,
            request.cseq.number,
            _q_of(contact),
            _path_of(request),
            instance,
            self._shared((request.headers.get("User-Agent") or "")[:128]),
            event.flow.remote if address == event.flow.remote else address,
        )

    def _shared(self, text: str) -> str:
        """The same text once for all: a hundred telephones of a kind call themselves alike."""
        if len(self._texts) >= TEXTS_MAX:
            self._texts.clear()
        return self._texts.setdefault(text, text)

    def _expires_s(self, contact: NameAddr, request: SipRequest) -> int:
        text = contact.param("expires")
        if text is not None:
            # A malformed value counts as 3600 (20.10), that is as the default.
            number = parse_number(text, 2**32 - 1)
            return self._policy.default_expires_s if number is None else number
        expires_s = request.expires
        return self._policy.default_expires_s if expires_s is None else expires_s

    def _checked_uri(self, contact: NameAddr, flow: Flow) -> SipUri:
        if len(contact.uri_text) > CONTACT_MAX:
            raise _Refused(400, "Contact too long")
        try:
            uri = contact.uri
        except RemoteProtocolError as error:
            raise _Refused(400, str(error)) from None
        if uri.headers:
            raise _Refused(400, "headers in a Contact URI")
        port = uri.port or (5061 if uri.scheme == "sips" else 5060)
        if (uri.host, port) in self._policy.own_addresses or _unreachable(uri.host, flow):
            raise _Refused(403, "Contact address not allowed")
        return uri

    def _same(self, aor: str, text: str, uri: SipUri, instance: str) -> Binding | None:
        """The binding of the same URI (19.1.4), or of the same phone that has moved."""
        for binding in self._by_aor.get(aor, ()):
            if instance and binding.instance == instance:
                return binding
            if binding.contact == text or SipUri.parse(binding.contact).equivalent(uri):
                return binding
        return None

    def _check_order(self, binding: Binding, request: SipRequest) -> None:
        # Step 7 of 10.3: an older request of the same registration must not undo a newer one.
        if binding.call_id == request.call_id and request.cseq.number <= binding.cseq:
            raise _Refused(500, "REGISTER out of order")

    def _check_room(
        self, aor: str, wanted: list[tuple[Binding | None, Binding]], now_s: float
    ) -> None:
        policy = self._policy
        added = sum(old is None and new.expires_at_s > now_s for old, new in wanted)
        if len(wanted) > policy.contacts_max or (
            added and len(self._by_aor.get(aor, ())) + added > policy.contacts_max
        ):
            raise _Refused(403, "Too many contacts")
        if added and self._count + added > policy.bindings_max:
            raise _Refused(503, "Too many bindings", [("Retry-After", "60")])

    def _apply(
        self,
        aor: str,
        old: Binding | None,
        binding: Binding,
        now_s: float,
        effects: list[RegistrationEffect],
    ) -> None:
        if old is not None and old not in self._by_aor.get(aor, ()):
            old = None  # named twice in the same request
        if binding.expires_at_s <= now_s:
            if old is not None:
                self._drop(aor, old, UnboundBecause.REMOVED, effects)
            return
        if old is not None:
            moved = any(
                before != now
                for before, now in (
                    (old.contact, binding.contact),
                    (old.flow, binding.flow),
                    (old.path, binding.path),
                )
            )
            self._take_out(aor, old)
            if moved:
                effects.append(Unbound(aor, old, UnboundBecause.REPLACED))
        self._by_aor.setdefault(aor, []).append(binding)
        self._count += 1
        if binding.flow.reliable:
            self._by_flow.setdefault(binding.flow, set()).add(aor)
        heappush(self._due, (binding.expires_at_s, aor))
        if old is None or moved:
            effects.append(Bound(aor, binding))

    def _contact_lines(self, aor: str, now_s: float) -> list[tuple[str, str]]:
        lines: list[tuple[str, str]] = []
        for binding in self._by_aor.get(aor, ()):
            left_s = max(round(binding.expires_at_s - now_s), 1)
            q = "" if binding.q == 1.0 else f";q={binding.q:g}"
            lines.append(("Contact", f"<{binding.contact}>;expires={left_s}{q}"))
        return lines

    # -- leaving -----------------------------------------------------------------------------------

    def _take_out(self, aor: str, binding: Binding) -> None:
        bindings = self._by_aor[aor]
        bindings.remove(binding)
        self._count -= 1
        if binding.flow.reliable and all(b.flow != binding.flow for b in bindings):
            users = self._by_flow.get(binding.flow, set())
            users.discard(aor)
            if not users:
                self._by_flow.pop(binding.flow, None)
        if not bindings:
            del self._by_aor[aor]

    def _drop(
        self,
        aor: str,
        binding: Binding,
        because: UnboundBecause,
        effects: list[RegistrationEffect],
    ) -> None:
        self._take_out(aor, binding)
        effects.append(Unbound(aor, binding, because))

    def _lose_flow(self, flow: Flow, effects: list[RegistrationEffect]) -> None:
        for aor in sorted(self._by_flow.get(flow, ())):
            for binding in [b for b in self._by_aor.get(aor, ()) if b.flow == flow]:
                self._drop(aor, binding, UnboundBecause.FLOW_LOST, effects)

    def _expire(self, aor: str, now_s: float, effects: list[RegistrationEffect]) -> None:
        for binding in [b for b in self._by_aor.get(aor, ()) if b.expires_at_s <= now_s]:
            self._drop(aor, binding, UnboundBecause.EXPIRED, effects)

    def _expire_due(self, now_s: float, effects: list[RegistrationEffect]) -> None:
        while self._due and self._due[0][0] <= now_s:
            self._expire(heappop(self._due)[1], now_s, effects)

    def _arm(self, now_s: float, effects: list[RegistrationEffect]) -> None:
        """Keep one timer for the earliest expiry; a refresh leaves its old entry behind, which is
        then a wake-up for nothing, and entries are dropped when they outnumber the bindings."""
        if len(self._due) > 64 and len(self._due) > 4 * self._count:
            self._due = sorted(
                (b.expires_at_s, aor) for aor, bindings in self._by_aor.items() for b in bindings
            )
        if not self._count:
            self._due.clear()
            return
        at_s = self._due[0][0]
        if at_s < self._timer_at_s:
            self._timer_at_s = at_s
            effects.append(SetTimer("expiry", max(at_s - now_s, 0.0)))


def _path_of(request: SipRequest) -> tuple[str, ...]:
    """The routes that lead back to the phone through the proxies that it registered by (RFC 3327)."""
    routes = request.headers.values("Path")
    if len(routes) > PATH_MAX or sum(map(len, routes)) > PATH_OCTETS_MAX:
        raise _Refused(400, "Path too long")
    for route in routes:
        NameAddr.parse(route)
    return tuple(routes)


def _wants_outbound(event: RegisterArrived) -> bool:
    """A phone that keeps a flow of its own to be called on, and says so (RFC 5626 4.2)."""
    headers = event.request.headers
    contacts = event.request.contacts
    named = any("#" in _instance_of(c) and c.param("reg-id") for c in contacts)
    # Behind a proxy the flow is the proxy's, and not the phone's to keep.
    return named and "Path" not in headers and headers.lists("Supported", "outbound")


def _instance_of(contact: NameAddr) -> str:
    """Device and registration flow of RFC 5626: one phone, however often it moves."""
    instance = contact.param("+sip.instance")
    return f"{instance[:128]}#{(contact.param('reg-id') or '')[:16]}" if instance else ""


def _q_of(contact: NameAddr) -> float:
    text = contact.param("q") or ""
    digits = text.replace(".", "", 1)
    if len(text) <= 5 and digits.isascii() and digits.isdigit():
        return min(float(text), 1.0)
    return 1.0


def _unreachable(host: str, flow: Flow) -> bool:
    """Addresses no phone is at: loopback (unless it registered from there), multicast, broadcast.

    Names pass: a call goes by the flow of the registration and never looks the name up.
    """
    if host == flow.remote[0]:
        return False  # it has just sent this from there
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return not _is_loopback(flow.remote[0])
    broadcast = write_host(host, None) == "255.255.255.255"
    return address.is_multicast or address.is_unspecified or broadcast


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
