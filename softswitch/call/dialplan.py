"""From a dialled number and a proven identity to what is to be done. Pure; deny by default."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from softswitch.call.identity import Identity, OfficeIdentity, PhoneIdentity, TrunkIdentity
from softswitch.call.numbering import Numbering
from softswitch.config import IN_CALL_CODES, Destination
from softswitch.config.office import PARKED_MAX

if TYPE_CHECKING:
    from softswitch.config import Customer, Inbound, Office, Outbound

FORWARDS = ("forward_always", "forward_busy", "forward_no_answer", "forward_unreachable")
"""Settings of a line that lead elsewhere; most of them have a feature code of the same name."""

OFFICE_RIGHTS = frozenset({"local", "national"})
"""The permissions that the office itself has when it calls somebody back."""
_DIALLABLE = re.compile(r"[0-9A-Da-d*#+]{1,64}|[A-Za-z][A-Za-z0-9._-]{0,63}")


# What may follow the code for parking: the slot to take a call from.
_SLOTS = frozenset(str(number) for number in range(1, PARKED_MAX + 1))


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


def weighted_order(
    names: tuple[str, ...], weights: tuple[int, ...], uniform: Callable[[], float]
) -> tuple[str, ...]:
    """`names` by chance: each place goes to one of those left, in proportion to weight; those of weight
    0 come last, in the order given. `uniform` draws from [0, 1)."""
    left = [(name, weight) for name, weight in zip(names, weights, strict=True) if weight]
    last = [name for name, weight in zip(names, weights, strict=True) if not weight]
    ordered: list[str] = []
    while left:
        mark = uniform() * sum(weight for _, weight in left)
        for index, (_, weight) in enumerate(left):
            mark -= weight
            if mark < 0 or index == len(left) - 1:
                ordered.append(left.pop(index)[0])
                break
    return (*ordered, *last)


class Dialplan:
    """The routes of one office, prepared once so that a look-up costs a dictionary access.

    Parameters: `office`, the configuration; `handlers`, numbers that the embedding program answers
    itself (they come before everything configured); `uniform` draws from [0, 1) for trunks that share
    calls by weight.
    """

    def __init__(
        self,
        office: Office,
        handlers: frozenset[str] = frozenset(),
        uniform: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._uniform = uniform
        self._handlers = handlers
        self.use_office(office)

    def use_office(self, office: Office) -> None:
        """Route by this office from now on; calls that have been routed go on."""
        self.numbering = Numbering(office.office.country)
        self._inbound: list[tuple[Inbound, tuple[str, ...]]] = [
            (rule, self._wanted(rule.number)) for rule in office.inbound
        ]
        self._outbound: tuple[Outbound, ...] = tuple(office.outbound)
        self._permissions = {e.number: frozenset(e.permissions) for e in office.extensions}
        self._codes = office.codes
        self._local = _local_numbers(office)
        self._customers = {
            form: customer
            for customer in office.customers
            for number in customer.phone
            for form in self._forms(number)
        }
        self._known = {
            "extension": frozenset(e.number for e in office.extensions),
            "ring_group": frozenset(g.number for g in office.ring_groups),
            "queue": frozenset(q.name for q in office.queues),
            "ivr": frozenset(i.name for i in office.ivrs),
            "flow": frozenset(f.name for f in office.flows),
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

    def call_back(self, number: str, extension: str) -> Route:
        """To a number that has called `extension`, with its rights. An outside number leaves by the first
        rule that these rights and the number fit, its access code left out. Who called said himself
        which number is his: never an emergency."""
        permissions = self._permissions.get(extension, frozenset())
        if number in self._permissions:
            if "internal" not in permissions:
                return Refused(403, "no permission: internal")
            return Destination("extension", number)
        if self.numbering.e164(number) is None or self.numbering.permission(number) is None:
            return Refused(404, "no telephone number")
        missing: set[str] = set()
        for rule in self._outbound:
            if rule.strip == len(rule.prefix):
                outside = number
            elif number.startswith(rule.prefix):
                outside = number[rule.strip :]
            else:
                continue
            missing = self._needed(rule, outside) - permissions
            if not missing:
                return ToTrunks(self._trunks_of(rule), outside)
        if missing:
            return Refused(403, f"no permission: {', '.join(sorted(missing))}")
        return Refused(404, "no outbound route")

    def customer_of(self, number: str) -> Customer | None:
        """The customer that a number belongs to, however his carrier writes it."""
        if not self._customers:
            return None
        found = (self._customers.get(form) for form in self._forms(number))
        return next((customer for customer in found if customer is not None), None)

    def _forms(self, number: str) -> tuple[str, ...]:
        """A number as it came and, where it can be told, as E.164; both without a plus."""
        whole = self.numbering.e164(number)
        given = canonical_number(number)
        return (given,) if whole is None or whole[1:] == given else (given, whole[1:])

    def _wanted(self, pattern: str) -> tuple[str, ...]:
        """What an `[[inbound]]` number is in such forms; one that ends in ``*`` is the beginning of some."""
        return (canonical_number(pattern),) if pattern.endswith("*") else self._forms(pattern)

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
        code = self._code_and_more(number)
        if code is not None:
            return code
        for rule in self._outbound:
            if not number.startswith(rule.prefix):
                continue
            outside = number[rule.strip :]
            if not outside:
                return Refused(484, "nothing after the prefix")
            missing = self._needed(rule, outside) - permissions
            if missing:
                return Refused(403, f"no permission: {', '.join(sorted(missing))}")
            return ToTrunks(self._trunks_of(rule), outside)
        return Refused(404, "unknown number")

    def _code_and_more(self, number: str) -> Destination | None:
        """A feature code that something follows: a slot, an extension, the number to forward to."""
        codes = self._codes
        if number.startswith(codes.park) and number[len(codes.park) :] in _SLOTS:
            return Destination("code", "park")
        if number.startswith(codes.pick_up) and number[len(codes.pick_up) :] in self._permissions:
            return Destination("code", "pick_up")
        if number.startswith(codes.listen):
            return Destination("code", "listen")
        for name in FORWARDS:
            code = getattr(codes, name, None)
            if code is not None and number.startswith(code):
                return Destination("code", name)
        return None

    def _needed(self, rule: Outbound, outside: str) -> set[str]:
        """What a call by this rule takes. Where the rule does not say, the number does; and what a rule
        says of numbers in general opens no foreign or premium ones, unless its prefix names them."""
        dialled = self.numbering.permission(outside)
        if dialled is None:
            return set()  # an emergency
        if rule.permission is None:
            return {dialled}
        named = self.numbering.names_country(rule.prefix[rule.strip :])
        if dialled in ("international", "premium") and not named:
            return {rule.permission, dialled}
        return {rule.permission}

    def _trunks_of(self, rule: Outbound) -> tuple[str, ...]:
        if not rule.weights:
            return tuple(rule.trunks)
        return weighted_order(tuple(rule.trunks), tuple(rule.weights), self._uniform)

    def _from_office(self, number: str) -> Route:
        """Who asked to be called back said himself which number is his, as far as his carrier did not:
        so the office calls extensions and national numbers only, never international or premium
        ones. An outside number leaves by the first rule whose permission is one of ours, its access
        code (a prefix that would be stripped whole) left out."""
        if number in self._permissions:
            return Destination("extension", number)
        if self.numbering.e164(number) is None:
            return Refused(404, "no telephone number")
        needed = self.numbering.permission(number)
        if needed not in OFFICE_RIGHTS:
            return Refused(403, f"no right to {needed or 'emergency'} calls")
        for rule in self._outbound:
            if rule.permission is not None and rule.permission not in OFFICE_RIGHTS:
                continue
            if rule.strip == len(rule.prefix):
                return ToTrunks(self._trunks_of(rule), number)
            if number.startswith(rule.prefix):
                return ToTrunks(self._trunks_of(rule), number[rule.strip :])
        return Refused(404, "no outbound route")

    def _from_trunk(self, number: str, trunk: str) -> Route:
        given = self._forms(number)
        for rule, wanted in self._inbound:
            if rule.from_trunk is not None and rule.from_trunk != trunk:
                continue
            if not _fits(wanted, given):
                continue
            if rule.to.kind == "trunk":
                return ToTrunks((rule.to.name,), number)
            return Destination(rule.to.kind, rule.to.name)
        return Refused(404, "no inbound route")


def _fits(wanted: tuple[str, ...], given: tuple[str, ...]) -> bool:
    """Whether a number, in its forms, is one that an `[[inbound]]` is for, in its."""
    if wanted[0].endswith("*"):
        beginning = wanted[0][:-1]
        return given[0].startswith(beginning) or given[-1].startswith(beginning)
    return given[0] in wanted or given[-1] in wanted


def _local_numbers(office: Office) -> dict[str, Destination]:
    local: dict[str, Destination] = {}
    for extension in office.extensions:
        local[extension.number] = Destination("extension", extension.number)
    for group in office.ring_groups:
        local[group.number] = Destination("ring_group", group.number)
    for ivr in office.ivrs:
        if ivr.number:
            local[ivr.number] = Destination("ivr", ivr.name)
    for flow in office.flows:
        if flow.number:
            local[flow.number] = Destination("flow", flow.name)
    for queue in office.queues:
        if queue.number:
            local[queue.number] = Destination("queue", queue.name)
    for room in office.conferences:
        local[room.number] = Destination("conference", room.number)
    codes = office.codes
    local[codes.echo_test] = Destination("echo", "")
    for name in type(codes).model_fields:
        if name not in ("echo_test", "listen", *IN_CALL_CODES):
            local[getattr(codes, name)] = Destination("code", name)
    return local
