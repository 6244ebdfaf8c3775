"""From a dialled number and a proven identity to what is to be done. Pure; deny by default."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from softswitch.call.identity import Identity, OfficeIdentity, PhoneIdentity, TrunkIdentity
from softswitch.call.numbers import permission_for
from softswitch.config import Destination

if TYPE_CHECKING:
    from softswitch.config import Customer, Inbound, Office, Outbound

OFFICE_RIGHTS = frozenset({"local", "national"})
"""The permissions that the office itself has when it calls somebody back."""
_DIALLABLE = re.compile(r"[0-9A-Da-d*#+]{1,64}|[A-Za-z][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ToTrunks:
    """Out, over the first of these trunks that takes the number."""

    trunks: tuple[str, ...]
    number: str


@dataclass(frozen=True, slots=True)
class Refused:
    """No way, with the SIP status that says so and a word for the journal."""

    status: int
    why: str


Route: TypeAlias = Destination | ToTrunks | Refused


def canonical_number(number: str) -> str:
    """Digits of an E.164 number without its plus, so that carriers that omit it are understood."""
    return number[1:] if number.startswith("+") else number


def number_matches(pattern: str, number: str) -> bool:
    """`pattern` of `[[inbound]]`: a number, or a prefix that ends in ``*``."""
    wanted, given = canonical_number(pattern), canonical_number(number)
    if wanted.endswith("*"):
        return given.startswith(wanted[:-1])
    return wanted == given


class Dialplan:
    """The routes of one office, prepared once so that a look-up costs a dictionary access.

    Parameters: `office`, the configuration; `handlers`, numbers that the embedding program answers
    itself (they come before everything configured).
    """

    def __init__(self, office: Office, handlers: frozenset[str] = frozenset()) -> None:
        self._inbound: tuple[Inbound, ...] = tuple(office.inbound)
        self._outbound: tuple[Outbound, ...] = tuple(office.outbound)
        self._permissions = {e.number: frozenset(e.permissions) for e in office.extensions}
        self._country = office.office.country
        self._listen = office.codes.listen
        self._handlers = handlers
        self._local = _local_numbers(office)
        self._customers = {
            canonical_number(number): customer
            for customer in office.customers
            for number in customer.phone
        }
        self._known = {
            "extension": frozenset(e.number for e in office.extensions),
            "ring_group": frozenset(g.number for g in office.ring_groups),
            "queue": frozenset(q.name for q in office.queues),
            "ivr": frozenset(i.name for i in office.ivrs),
            "conference": frozenset(c.number for c in office.conferences),
            "voicemail": frozenset(e.number for e in office.extensions if e.voicemail),
        }

    def route(self, number: str, identity: Identity) -> Route:
        """Where this caller's call to `number` goes."""
        if not _DIALLABLE.fullmatch(number):
            return Refused(484 if not number else 404, "not a number")
        match identity:
            case PhoneIdentity():
                return self._from_phone(number, identity.extension)
            case TrunkIdentity():
                return self._from_trunk(number, identity.trunk)
            case OfficeIdentity():
                return self._from_office(number)

    def onward(self, text: str, identity: Identity) -> Route:
        """Where a handler sends a call: a destination as in the office file (``queue:support``,
        ``hangup``) that exists, or a number with the rights of the caller. A trunk is no destination:
        only numbers lead out."""
        kind, colon, name = text.partition(":")
        if text == "hangup":
            return Destination("hangup")
        if not colon:
            return self.route(text, identity)
        if name not in self._known.get(kind, ()):
            return Refused(404, "unknown destination")
        return Destination(kind, name)

    def customer_of(self, number: str) -> Customer | None:
        """The customer that a number belongs to."""
        return self._customers.get(canonical_number(number))

    def forward_rights(self, number: str, extension: str) -> Route:
        """A forward or transfer uses the rights of the extension that set it."""
        return self._from_phone(number, extension)

    def _from_phone(self, number: str, extension: str) -> Route:
        if number in self._handlers:
            return Destination("handler", number)
        permissions = self._permissions.get(extension, frozenset())
        local = self._local.get(number)
        if local is not None:
            if "internal" not in permissions:
                return Refused(403, "no permission: internal")
            return local
        if number.startswith(self._listen):
            return Destination("code", "listen")
        for rule in self._outbound:
            if not number.startswith(rule.prefix):
                continue
            if rule.permission not in permissions:
                return Refused(403, f"no permission: {rule.permission}")
            outside = number[rule.strip :]
            if not outside:
                return Refused(484, "nothing after the prefix")
            return ToTrunks(tuple(rule.trunks), outside)
        return Refused(404, "unknown number")

    def _from_office(self, number: str) -> Route:
        """Who asked to be called back said himself which number is his, as far as his carrier did not:
        so the office calls extensions and national numbers only, never international or premium
        ones. An outside number leaves by the first rule whose permission is one of ours, its access
        code (a prefix that would be stripped whole) left out."""
        if number in self._permissions:
            return Destination("extension", number)
        needed = permission_for(number, self._country)
        if needed not in OFFICE_RIGHTS:
            return Refused(403, f"not called back: {needed or 'no telephone number'}")
        for rule in self._outbound:
            if rule.permission not in OFFICE_RIGHTS:
                continue
            if rule.strip == len(rule.prefix):
                return ToTrunks(tuple(rule.trunks), number)
            if number.startswith(rule.prefix):
                return ToTrunks(tuple(rule.trunks), number[rule.strip :])
        return Refused(404, "no outbound route")

    def _from_trunk(self, number: str, trunk: str) -> Route:
        for rule in self._inbound:
            if rule.from_trunk is not None and rule.from_trunk != trunk:
                continue
            if not number_matches(rule.number, number):
                continue
            if rule.to.kind == "trunk":
                return ToTrunks((rule.to.name,), number)
            return Destination(rule.to.kind, rule.to.name)
        return Refused(404, "no inbound route")


def _local_numbers(office: Office) -> dict[str, Destination]:
    local: dict[str, Destination] = {}
    for extension in office.extensions:
        local[extension.number] = Destination("extension", extension.number)
    for group in office.ring_groups:
        local[group.number] = Destination("ring_group", group.number)
    for ivr in office.ivrs:
        if ivr.number:
            local[ivr.number] = Destination("ivr", ivr.name)
    for queue in office.queues:
        if queue.number:
            local[queue.number] = Destination("queue", queue.name)
    for room in office.conferences:
        local[room.number] = Destination("conference", room.number)
    codes = office.codes
    local[codes.echo_test] = Destination("echo", "")
    for name in ("voicemail", "agent_log_in_out", "agent_pause", "park", "pick_up", "record_pause"):
        code = getattr(codes, name, None)
        if code:
            local[code] = Destination("code", name)
    return local
