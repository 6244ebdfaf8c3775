"""Checks between the values of an office: what each key alone cannot know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from softswitch.config.flow_checks import check_flows
from softswitch.config.places import ACKNOWLEDGED, unknown_places
from softswitch.config.problems import Problem, nearest, quoted
from softswitch.config.values import Destination, HostPort, plain_ip

if TYPE_CHECKING:
    from softswitch.config.model import Office

_NUMBERED = (
    ("extension", "extensions"),
    ("ring_group", "ring_groups"),
    ("conference", "conferences"),
    ("ivr", "ivrs"),
    ("flow", "flows"),
    ("queue", "queues"),
)
_NAMED = (
    ("trunk", "trunks", "name"),
    ("hours", "hours", "name"),
    ("ivr", "ivrs", "name"),
    ("flow", "flows", "name"),
    ("region", "regions", "name"),
    ("queue", "queues", "name"),
    ("agent", "agents", "id"),
)


def check_office(office: Office) -> Iterator[Problem]:
    """Every problem between values: doubled names and numbers, dangling names, overlaps."""
    yield from _doubled_names(office)
    yield from _doubled_numbers(office)
    yield from _doubled_codes(office)
    yield from _doubled_listeners(office)
    yield from _doubled_digests(office)
    yield from _tls(office)
    yield from _media(office)
    known = Known(office)
    yield from _extensions(office, known)
    yield from _trunks(office)
    yield from _routes(office, known)
    yield from known.destination("parking.back_to", "", office.parking.back_to)
    yield from _menus(office, known)
    yield from check_flows(office, known)
    yield from _conferences(office)
    yield from _regions(office)
    yield from _queues(office, known)
    yield from _agents(office, known)
    yield from _customers(office)
    yield from _tickets(office, known)


class Known:
    """The names that may be referred to, by kind."""

    def __init__(self, office: Office) -> None:
        self.names: dict[str, frozenset[str]] = {
            "extension": frozenset(e.number for e in office.extensions),
            "ring_group": frozenset(g.number for g in office.ring_groups),
            "queue": frozenset(q.name for q in office.queues),
            "ivr": frozenset(i.name for i in office.ivrs),
            "flow": frozenset(f.name for f in office.flows),
            "conference": frozenset(c.number for c in office.conferences),
            "voicemail": frozenset(e.number for e in office.extensions if e.voicemail),
            "trunk": frozenset(t.name for t in office.trunks),
            "hours": frozenset(h.name for h in office.hours),
            "region": frozenset(r.name for r in office.regions),
        }

    def check(self, path: str, entry: str, kind: str, name: str) -> Iterator[Problem]:
        """A problem if nothing of `kind` is called `name`."""
        names = self.names[kind]
        if name in names:
            return
        words = kind.replace("_", " ")
        problem = f'there is no {words} "{name}"'
        if kind == "voicemail" and name in self.names["extension"]:
            problem = f'extension "{name}" has no voicemail'
        allowed = quoted(sorted(names)) if names else f"none; the file has no {words}"
        yield Problem(path, problem + nearest(name, names), allowed, entry)

    def destination(
        self, path: str, entry: str, to: Destination | None, *, transit: bool = False
    ) -> Iterator[Problem]:
        """A problem if `to` leads nowhere, or to a trunk where that is not written for."""
        if to is None or to.kind in ("hangup", "number"):
            return
        if to.kind == "trunk" and not transit:
            yield Problem(
                path,
                "cannot lead out over a trunk",
                "a trunk only in an [[inbound]] with `from`",
                entry,
            )
            return
        yield from self.check(path, entry, to.kind, to.name)


def _doubled(
    items: Iterable[tuple[str, str, str]], problem: Callable[[str], str]
) -> Iterator[Problem]:
    """`items` are (value, key path, entry); the second of two equal values is a problem."""
    first: dict[str, str] = {}
    for value, path, entry in items:
        if value in first:
            yield Problem(path, problem(first[value]), "a value of its own", entry)
        else:
            first[value] = path


def _doubled_names(office: Office) -> Iterator[Problem]:
    for section, attribute, key in _NAMED:
        entries = enumerate(getattr(office, attribute))
        named = ((getattr(e, key), f"{section}[{i}].{key}", getattr(e, key)) for i, e in entries)
        yield from _doubled(named, lambda first: f"is the same as {first}")


def _doubled_numbers(office: Office) -> Iterator[Problem]:
    numbered = (
        (entry.number, f"{section}[{index}].number", entry.number)
        for section, attribute in _NUMBERED
        for index, entry in enumerate(getattr(office, attribute))
        if entry.number is not None
    )
    yield from _doubled(numbered, lambda first: f"is the same number as {first}")


IN_CALL_CODES = ("transfer", "attended_transfer", "conference", "record_pause", "record")
"""Codes that are pressed during a call, not dialled: none of them begins another."""

# Anything may follow these, an extension or a number: no other code may begin with one of them.
_OPEN_CODES = ("listen", "forward_always", "forward_busy", "forward_no_answer")


def _doubled_codes(office: Office) -> Iterator[Problem]:
    codes = [(name, getattr(office.codes, name)) for name in type(office.codes).model_fields]
    yield from _doubled(
        ((code, f"codes.{name}", "") for name, code in codes),
        lambda first: f"is the same code as {first}",
    )
    in_call = [(name, code) for name, code in codes if name in IN_CALL_CODES]
    for name, code in in_call:
        for other, begins in in_call:
            if code != begins and code.startswith(begins):
                yield Problem(
                    f"codes.{name}", f"begins with codes.{other} ({begins})", "a code of its own"
                )
    for open_name in _OPEN_CODES:
        begins = getattr(office.codes, open_name)
        for name, code in codes:
            if name != open_name and code != begins and code.startswith(begins):
                yield Problem(
                    f"codes.{name}",
                    f"begins with codes.{open_name} ({begins})",
                    "a code of its own",
                )


def _doubled_listeners(office: Office) -> Iterator[Problem]:
    listening = (
        # UDP and the stream transports have ports of their own.
        (f"{'udp' if a.transport == 'udp' else 'tcp'} {HostPort(a.host, a.port)}", i, a)
        for i, a in enumerate(office.sip.listen)
        if a.port != 0
    )
    yield from _doubled(
        ((key, f"sip.listen[{i}]", str(a)) for key, i, a in listening),
        lambda first: f"is the same address and port as {first}",
    )


def _media(office: Office) -> Iterator[Problem]:
    first, other = office.media.address, office.media.other_address
    if other and (":" in first) == (":" in other):  # "auto" finds one of IPv4
        says = f"{first} of media.address is of the same family"
        yield Problem("media.other_address", says, "IPv6 beside IPv4, or IPv4 beside IPv6")


def _tls(office: Office) -> Iterator[Problem]:
    tls = office.tls
    if (tls.certificate is None) != (tls.key is None):
        missing = "key" if tls.key is None else "certificate"
        yield Problem(
            f"tls.{missing}", "is missing: certificate and key go together", "both, or none"
        )


def _doubled_digests(office: Office) -> Iterator[Problem]:
    yield from _doubled(
        ((name, f"sip.digest[{i}]", "") for i, name in enumerate(office.sip.digest)),
        lambda first: f"is the same as {first}",
    )


def _extensions(office: Office, known: Known) -> Iterator[Problem]:
    for index, extension in enumerate(office.extensions):
        path, entry = f"extension[{index}]", extension.number
        for key in ("always", "busy", "no_answer", "unreachable"):
            to = getattr(extension.forward, key)
            yield from known.destination(f"{path}.forward.{key}", entry, to)
            if to is not None and to.kind in ("extension", "number") and to.name == entry:
                yield Problem(f"{path}.forward.{key}", "leads to itself", "elsewhere", entry)
    for index, group in enumerate(office.ring_groups):
        yield from known.destination(
            f"ring_group[{index}].otherwise", group.number, group.otherwise
        )
        if group.otherwise == Destination("ring_group", group.number):
            yield Problem(
                f"ring_group[{index}].otherwise", "leads to itself", "elsewhere", group.number
            )
        members = [(m, f"ring_group[{index}].members[{i}]") for i, m in enumerate(group.members)]
        for member, path in members:
            yield from known.check(path, group.number, "extension", member)
        yield from _doubled(
            ((member, path, group.number) for member, path in members),
            lambda first: f"is the same as {first}",
        )


def _trunks(office: Office) -> Iterator[Problem]:
    owners: dict[str, list[tuple[int | None, str, str]]] = {}
    for index, trunk in enumerate(office.trunks):
        path, entry = f"trunk[{index}]", trunk.name
        if trunk.registers and not (trunk.username and trunk.password):
            yield Problem(
                f"{path}.register", "needs username and password", "both keys, or false", entry
            )
        if trunk.password and not trunk.username:
            yield Problem(f"{path}.password", "stands without a username", "both or none", entry)
        if trunk.realms and not trunk.username:
            yield Problem(f"{path}.realms", "stand without a username", "both or none", entry)
        if trunk.uri.startswith("sips:") and trunk.transport != "tls":
            yield Problem(f"{path}.transport", "does not fit a sips: uri", '"tls"', entry)
        for number, (host, port) in enumerate(trunk.from_addresses):
            here = f"{path}.from_addresses[{number}]"
            taken = owners.setdefault(plain_ip(host) or host, [])
            for other_port, other, other_path in taken:
                if other_port is None or port is None or other_port == port:
                    yield Problem(
                        here,
                        f'overlaps {other_path} of trunk "{other}"'
                        if other != entry
                        else f"overlaps {other_path}",
                        "addresses that no other entry has",
                        entry,
                    )
                    break
            taken.append((port, entry, here))


def _routes(office: Office, known: Known) -> Iterator[Problem]:
    for index, out in enumerate(office.outbound):
        path = f"outbound[{index}]"
        if out.strip > len(out.prefix):
            yield Problem(
                f"{path}.strip",
                f"takes more digits than the prefix {out.prefix!r} has",
                f"0 to {len(out.prefix)}",
                out.prefix,
            )
        if out.weights and len(out.weights) != len(out.trunks):
            yield Problem(
                f"outbound[{index}].weights",
                f"has {len(out.weights)} entries for {len(out.trunks)} trunks",
                "one for each trunk, or none",
                out.prefix,
            )
        for i, name in enumerate(out.trunks):
            yield from known.check(f"{path}.trunks[{i}]", out.prefix, "trunk", name)
    for index, inbound in enumerate(office.inbound):
        path, entry = f"inbound[{index}]", inbound.number
        if inbound.from_trunk is not None:
            yield from known.check(f"{path}.from", entry, "trunk", inbound.from_trunk)
        elif inbound.to.kind == "trunk":
            yield Problem(
                f"{path}.from",
                "is missing: calls from trunk to trunk must say which trunk brings them",
                "the name of a trunk",
                entry,
            )
        yield from known.destination(f"{path}.to", entry, inbound.to, transit=True)
    yield from _doubled(
        (
            (f"{i.from_trunk or ''} {i.number.removeprefix('+')}", f"inbound[{n}].number", i.number)
            for n, i in enumerate(office.inbound)
        ),
        lambda first: f"is the same as {first}, which is found first",
    )


def _menus(office: Office, known: Known) -> Iterator[Problem]:
    for index, ivr in enumerate(office.ivrs):
        path, entry = f"ivr[{index}]", ivr.name
        if ivr.hours is not None:
            yield from known.check(f"{path}.hours", entry, "hours", ivr.hours)
        for key, to in ivr.options.items():
            yield from known.destination(f'{path}.options."{key}"', entry, to)
        yield from known.destination(f"{path}.otherwise", entry, ivr.otherwise)
        yield from known.destination(f"{path}.closed", entry, ivr.closed)
        if ivr.closed == Destination("ivr", ivr.name):
            yield Problem(f"{path}.closed", "leads to itself", "elsewhere", entry)


def _conferences(office: Office) -> Iterator[Problem]:
    for index, room in enumerate(office.conferences):
        path = f"conference[{index}]"
        if room.moderator_pin and room.moderator_pin == room.pin:
            problem = "is the PIN of members too"
            yield Problem(f"{path}.moderator_pin", problem, "another one", room.number)
        for key in ("wait_for_moderator", "end_with_moderator"):
            if getattr(room, key) and not room.moderator_pin:
                problem = "needs a moderator_pin: nobody could be the moderator"
                yield Problem(f"{path}.{key}", problem, "false, or a moderator_pin", room.number)


def _regions(office: Office) -> Iterator[Problem]:
    yield from _doubled(
        (
            (prefix.removeprefix("+"), f"region[{n}].prefixes[{i}]", region.name)
            for n, region in enumerate(office.regions)
            for i, prefix in enumerate(region.prefixes)
        ),
        lambda first: f"is the same prefix as {first}",
    )


def _queues(office: Office, known: Known) -> Iterator[Problem]:
    for index, queue in enumerate(office.queues):
        path, entry = f"queue[{index}]", queue.name
        if queue.hours is not None:
            yield from known.check(f"{path}.hours", entry, "hours", queue.hours)
        yield from known.destination(f"{path}.overflow", entry, queue.overflow)
        for key, to in queue.keys.items():
            yield from known.destination(f'{path}.keys."{key}"', entry, to)
        if queue.overflow == Destination("queue", queue.name):
            yield Problem(f"{path}.overflow", "leads to itself", "elsewhere", entry)
        yield from _doubled(
            ((name, f"{path}.route[{i}]", entry) for i, name in enumerate(queue.route)),
            lambda first: f"is the same as {first}",
        )
        given = [key for key in ("tiers", "penalties") if getattr(queue, key) is not None]
        given += ["levels"] if "levels" in queue.model_fields_set else []
        if len(given) > 1:
            problem = f"stands beside {given[1]}, which says the same in another way"
            yield Problem(f"{path}.{given[0]}", problem, "one of the two", entry)
        for i, (before, after) in enumerate(pairwise(queue.relax)):
            if after.after_s <= before.after_s:
                yield Problem(
                    f"{path}.relax[{i + 1}].after_s",
                    "is not later than the step before",
                    f"more than {before.after_s:g}",
                    entry,
                )


def _tickets(office: Office, known: Known) -> Iterator[Problem]:
    told = office.tickets
    if told.queue is not None:
        yield from known.check("tickets.queue", "", "queue", told.queue)
    if told.hours is not None:
        yield from known.check("tickets.hours", "", "hours", told.hours)
    if told.acknowledge and not told.mail_out:
        yield Problem("tickets.acknowledge", "is never sent: mail_out is false", "mail_out = true")
    for place in unknown_places(told.acknowledge, ACKNOWLEDGED):
        wrong = f"{{{{{place}}}}} is no place to fill in"
        yield Problem("tickets.acknowledge", wrong, ", ".join(ACKNOWLEDGED))
    for i, box in enumerate(told.voicemail):
        yield from known.check(f"tickets.voicemail[{i}]", "", "voicemail", box)
    for i, step in enumerate(told.steps):
        if step.queue is not None:
            yield from known.check(f"tickets.steps[{i}].queue", "", "queue", step.queue)
    yield from _doubled(
        ((f"{s.clock}:{s.percent}", f"tickets.steps[{i}]", "") for i, s in enumerate(told.steps)),
        lambda first: f"is at the same time as {first}",
    )


def _agents(office: Office, known: Known) -> Iterator[Problem]:
    for index, agent in enumerate(office.agents):
        path, entry = f"agent[{index}]", agent.id
        yield from known.check(f"{path}.extension", entry, "extension", agent.extension)
        for i, name in enumerate(agent.queues):
            yield from known.check(f"{path}.queues[{i}]", entry, "queue", name)
        for name in agent.membership:
            if name not in agent.queues:
                yield Problem(
                    f"{path}.membership.{name}",
                    "is a queue that this agent does not serve",
                    quoted(sorted(agent.queues)) if agent.queues else "none; he serves no queue",
                    entry,
                )
        for i, name in enumerate(agent.regions):
            yield from known.check(f"{path}.regions[{i}]", entry, "region", name)


def _customers(office: Office) -> Iterator[Problem]:
    yield from _doubled(
        (
            (phone.removeprefix("+"), f"customer[{n}].phone[{i}]", customer.name)
            for n, customer in enumerate(office.customers)
            for i, phone in enumerate(customer.phone)
        ),
        lambda first: f"is the same number as {first}",
    )
