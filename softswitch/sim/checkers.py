"""What must be true after every scenario. Each checker returns findings in words; none is best.

require(
    check_wire(world.trace),
    check_rest(switch=switch, media=plane, network=network),
    check_records(records, call_ids),
)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from softswitch.sim.datagram import Address
from softswitch.sim.loop import SimulationError
from softswitch.sim.media import SimMediaPlane
from softswitch.sim.sip_trace import SipTrace, TraceEntry

TABLES = frozenset(
    {
        "backlog",
        "bridges",
        "calls",
        "closing_streams",
        "dialogs",
        "handlers",
        "handles",
        "in_flight",
        "legs",
        "offers",
        "plays",
        "ports_used",
        "recordings",
        "rooms",
        "sessions",
        "streams",
        "tasks",
        "timers",
        "transactions",
    }
)
"""The names under which a `snapshot()` reports what must be 0 when no call is left."""

_FINDINGS_SHOWN_MAX = 50
_TIMER_B_S = 32.0


class InvariantViolation(SimulationError, AssertionError):
    """At least one invariant does not hold; the text lists the findings."""


class HasSnapshot(Protocol):
    """Anything long-lived of the exchange."""

    def snapshot(self) -> Mapping[str, Any]: ...


def require(*findings: Iterable[str]) -> None:
    """Raise `InvariantViolation` unless every checker found nothing."""
    found = [line for lines in findings for line in lines]
    if found:
        shown = found[:_FINDINGS_SHOWN_MAX]
        if len(found) > len(shown):
            shown.append(f"and {len(found) - len(shown)} more")
        raise InvariantViolation("\n".join(shown))


# -- the wire --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _InviteTransaction:
    invite: TraceEntry
    finals: set[int] = field(default_factory=set)
    final_tags: set[str] = field(default_factory=set)
    acknowledged: bool = False


def check_wire(
    trace: SipTrace, *, arrived: SipTrace | None = None, silent: Collection[Address] = ()
) -> list[str]:
    """Check what was sent: transactions and dialogs as RFC 3261 wants them.

    Every INVITE got exactly one final response and its ACK; every BYE exactly one; every dialog that
    was established was ended. `trace` must have seen everything that was sent (`SimNetwork.tap`),
    before any loss. With `arrived` (`SimNetwork.tap_delivered`) only a request of which a copy
    arrived needs its response, and only such a response its ACK. Destinations in `silent` need not
    answer (dead peers of the scenario).
    """
    known = _Arrivals(arrived)
    invites: dict[tuple[str, str], _InviteTransaction] = {}
    others: dict[tuple[str, str], tuple[TraceEntry, set[int]]] = {}
    established: dict[tuple[str, frozenset[str]], TraceEntry] = {}
    ended: set[tuple[str, frozenset[str]]] = set()
    acknowledged: set[tuple[str, str, int]] = set()
    for entry in trace:
        key = (entry.branch, entry.call_id)
        if entry.status is None:
            if entry.method == "INVITE":
                invites.setdefault(key, _InviteTransaction(entry))
            elif entry.method == "ACK":
                acknowledged.add((entry.call_id, entry.from_tag, entry.cseq))
                if key in invites:
                    invites[key].acknowledged = True
            elif entry.method == "BYE":
                others.setdefault(key, (entry, set()))
                ended.add(_dialog(entry))
        elif entry.status >= 200:
            if entry.method == "INVITE" and key in invites:
                transaction = invites[key]
                transaction.finals.add(entry.status)
                transaction.final_tags.add(entry.to_tag)
                if entry.status < 300:
                    established.setdefault(_dialog(entry), entry)
            elif entry.method == "BYE" and key in others:
                others[key][1].add(entry.status)
    silent = set(silent)
    findings = _check_invites(invites.values(), acknowledged, silent, known)
    for bye, finals in others.values():
        if not finals and not known.request(bye):
            continue
        if len(finals) != 1 and bye.destination not in silent:
            findings.append(f"BYE with {len(finals)} final responses {sorted(finals)}: {bye}")
    for dialog, answer in established.items():
        if dialog not in ended and not {answer.source, answer.destination} & silent:
            findings.append(f"a dialog that nobody ended: {answer.call_id} {answer}")
    return findings


def _check_invites(
    transactions: Iterable[_InviteTransaction],
    acknowledged: set[tuple[str, str, int]],
    silent: set[Address],
    known: _Arrivals,
) -> list[str]:
    findings: list[str] = []
    for transaction in transactions:
        invite = transaction.invite
        if invite.destination in silent:
            continue
        finals = transaction.finals
        if not finals and not known.request(invite):
            continue
        if len(finals) != 1 or len(transaction.final_tags) != 1:
            findings.append(f"INVITE with final responses {sorted(finals)}: {invite}")
            continue
        in_dialog = (invite.call_id, invite.from_tag, invite.cseq) in acknowledged
        acknowledged_at_all = transaction.acknowledged or in_dialog or invite.source in silent
        if not acknowledged_at_all and known.final(invite):
            findings.append(f"{finals} of an INVITE without ACK: {invite}")
    return findings


class _Arrivals:
    """Which transactions' messages arrived; without a trace of arrivals, all."""

    def __init__(self, arrived: SipTrace | None) -> None:
        self._all = arrived is None
        self._requests: set[tuple[str, str]] = set()
        self._finals: set[tuple[str, str]] = set()
        self._first_response_s: dict[tuple[str, str], float] = {}
        for entry in arrived if arrived is not None else ():
            key = (entry.branch, entry.method)
            if entry.status is None:
                self._requests.add(key)
                continue
            self._first_response_s.setdefault(key, entry.at_s)
            if entry.status >= 200:
                self._finals.add(key)

    def request(self, entry: TraceEntry) -> bool:
        """Whether a copy of this request arrived."""
        return self._all or (entry.branch, entry.method) in self._requests

    def final(self, entry: TraceEntry) -> bool:
        """Whether a final response to this request arrived while somebody waited for it: a client
        that has heard nothing at all for timer B has given up (RFC 3261 17.1.1.2)."""
        key = (entry.branch, entry.method)
        heard_s = self._first_response_s.get(key, 0.0)
        return self._all or (key in self._finals and heard_s < entry.at_s + _TIMER_B_S)


def _dialog(entry: TraceEntry) -> tuple[str, frozenset[str]]:
    return entry.call_id, frozenset((entry.from_tag, entry.to_tag))


# -- tables ----------------------------------------------------------------------------------------


def check_rest(
    *, baseline: Mapping[str, Any] | None = None, **objects: HasSnapshot | None
) -> list[str]:
    """Check that no table holds anything: nothing of a call is left when all have hung up.

    `objects` by name, each with `snapshot()`; of nested mappings every value under a name in
    `TABLES` counts. `baseline` is what `flatten` gave before the scenario, for tables that hold
    something at rest too.
    """
    allowed = baseline if baseline is not None else {}
    return [
        f"{name} is {value}, {allowed.get(name, 0)} at rest"
        for name, value in flatten(**objects).items()
        if value > allowed.get(name, 0)
    ]


def flatten(**objects: HasSnapshot | None) -> dict[str, int]:
    """The table sizes of several objects by dotted name (`switch.stack.dialogs`)."""
    found: dict[str, int] = {}
    for name, thing in objects.items():
        if thing is not None:
            _flatten(name, thing.snapshot(), found)
    return found


def _flatten(prefix: str, snapshot: Mapping[str, Any], found: dict[str, int]) -> None:
    for key, value in snapshot.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            _flatten(name, value, found)
        elif key in TABLES and isinstance(value, int):
            found[name] = value
        elif key in TABLES and isinstance(value, Collection):
            found[name] = len(value)


def check_media(plane: SimMediaPlane) -> list[str]:
    """Check the books of the media plane: no port with two owners, no bridge with a missing or
    unwilling end, no mistaken command."""
    findings = list(plane.violations)
    ports = Counter((stream.local.host, stream.local.port) for stream in plane.streams.values())
    findings += [f"port {port} has {count} owners" for port, count in ports.items() if count > 1]
    for stream_id, stream in plane.streams.items():
        if stream.bridged_to is None:
            continue
        other = plane.streams.get(stream.bridged_to)
        if other is None or other.bridged_to != stream_id:
            findings.append(f"stream {stream_id} is bridged to {stream.bridged_to}, not back")
    return findings


def check_ports(owners: Iterable[tuple[Address, object]]) -> list[str]:
    """Check that no address belongs to two: pairs of (address, owner)."""
    seen: dict[Address, object] = {}
    findings: list[str] = []
    for address, owner in owners:
        if address in seen and seen[address] != owner:
            findings.append(f"{address} belongs to {seen[address]} and to {owner}")
        seen[address] = owner
    return findings


# -- calls and records -----------------------------------------------------------------------------


def check_legs(legs: Iterable[tuple[Hashable, Hashable]], calls: Collection[Hashable]) -> list[str]:
    """Check that no leg outlives its call: pairs of (leg, its call) and the calls that live."""
    return [f"leg {leg} outlives its call {call}" for leg, call in legs if call not in calls]


def check_records(recorded: Iterable[Hashable], calls: Iterable[Hashable]) -> list[str]:
    """Check that there is one record a call: the call ids of all records, and of all calls."""
    counts = Counter(recorded)
    known = set(calls)
    findings = [f"call {call} has no record" for call in known if call not in counts]
    findings += [f"call {call} has {count} records" for call, count in counts.items() if count > 1]
    findings += [f"a record of {call}, which was no call" for call in counts if call not in known]
    return sorted(findings)


class _Entry(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def call_id(self) -> str | None: ...

    @property
    def data(self) -> Mapping[str, Any]: ...


def check_journal(entries: Iterable[_Entry]) -> list[str]:
    """Check a journal after the last hang-up: every call started once and ended once, last of all
    but the accounts of media; every leg of it ended once, before it."""
    calls: dict[str, dict[str, int]] = {}
    legs: dict[tuple[str, object], int] = {}
    findings: list[str] = []
    for entry in entries:
        if entry.call_id is None:
            continue
        kinds = calls.setdefault(entry.call_id, {})
        kinds[entry.kind] = kinds.get(entry.kind, 0) + 1
        leg = (entry.call_id, entry.data.get("leg"))
        if entry.kind == "leg-started":
            legs[leg] = legs.get(leg, 0) + 1
        elif entry.kind == "leg-ended":
            legs[leg] = legs.get(leg, 0) - 1
            if "call-ended" in kinds:
                findings.append(f"leg {leg[1]} outlives its call {entry.call_id}")
    for call_id, kinds in calls.items():
        if all(kind.startswith("acd-") for kind in kinds):
            continue  # a callback that was asked for without a call
        for kind in ("call-started", "call-ended"):
            if kinds.get(kind, 0) != 1:
                findings.append(f"call {call_id} has {kinds.get(kind, 0)} {kind} entries")
    findings += [
        f"leg {leg} of call {call_id} ended {1 - balance} times"
        for (call_id, leg), balance in legs.items()
        if balance
    ]
    return findings
