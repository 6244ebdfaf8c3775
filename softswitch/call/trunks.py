"""The trunks of an office: who they are by address, how much they carry, and which of their servers
are well."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from softswitch.call.endpoint import Step, TrunkEndpoint, TrunkTarget
from softswitch.call.identity import TrunkIdentity
from softswitch.call.trunk_health import Condition, HealthEvent, TargetHealth
from softswitch.sip.credentials import Credentials
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Admitted
from softswitch.sip.uri import write_host

if TYPE_CHECKING:
    from softswitch.config import Office, Trunk

_SIP_PORT = 5060


@lru_cache(maxsize=4096)
def plain_host(host: str) -> str:
    """An IP literal in one canonical form; an IPv4 address mapped into IPv6 is the IPv4 address.

    Without it ``::ffff:10.0.0.1`` would pass, or fail, an address set that holds ``10.0.0.1``.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    text = str(address)
    return (
        host if text == host else text
    )  # tables of ten thousand sources share it with their flows


def credentials_of(trunk: Trunk) -> Credentials | None:
    """What the challenges of a trunk are answered with."""
    if not trunk.username:
        return None
    return Credentials(trunk.username, trunk.password or "", trunk.realms)


def why_withheld(trunk: Trunk, realm: str) -> str:
    """Why a challenge of this realm was not answered, in a few words; "" where it was, or there was none."""
    credentials = credentials_of(trunk)
    if not realm or credentials is None or credentials.are_for(realm):
        return ""
    return f'asks for a password of realm "{realm[:64]}", which is not in its `realms`'


class TrunkLoad:
    """Counts one trunk's calls: concurrent ones, and a token bucket for the rate. Pure.

    Parameters: `calls_max` at once; `calls_per_s_max`, also the size of the bucket.
    """

    __slots__ = ("_calls_max", "_rate_per_s", "_tokens", "_updated_s", "calls", "refused")

    def __init__(self, calls_max: int, calls_per_s_max: float) -> None:
        self._calls_max = calls_max
        self._rate_per_s = calls_per_s_max
        self._tokens = max(1.0, calls_per_s_max)
        self._updated_s = 0.0
        self.calls = 0
        self.refused = 0

    def limit(self, calls_max: int, calls_per_s_max: float) -> None:
        """Other limits from now on; what is counted stays."""
        self._calls_max = calls_max
        self._rate_per_s = calls_per_s_max

    def take(self, now_s: float) -> bool:
        """Count one more call, or say no."""
        rate_per_s, elapsed_s = self._rate_per_s, now_s - self._updated_s
        self._updated_s = now_s
        tokens = self._tokens + elapsed_s * rate_per_s if elapsed_s > 0.0 else self._tokens
        full = rate_per_s if rate_per_s > 1.0 else 1.0
        self._tokens = tokens if tokens < full else full
        if self.calls >= self._calls_max or self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        self.calls += 1
        return True

    def give_back(self) -> None:
        """One call less; called once for each successful `take`."""
        self.calls -= 1


class TargetState:
    """One address of a trunk and how it fares."""

    __slots__ = ("health", "target")

    def __init__(self, target: TrunkTarget, health: TargetHealth) -> None:
        self.target = target
        self.health = health

    def snapshot(self) -> dict[str, object]:
        host, port = self.target.address
        return {
            "address": write_host(host, port),
            "transport": self.target.transport,
            "state": self.health.condition.value,
            "why": self.health.why,
        }


class TrunkRecord:
    """One trunk: its configuration, its load and the addresses it is reached at now.

    Parameters: `remote`, where that is known already. Attributes: `problem`, why there is no address,
    or only an old one; `withheld`, why it was not given the password that it asked for last; `registration`,
    in a word; `hosts`, the addresses that may speak inside its dialogs; `admission`, what lets its requests in.
    """

    __slots__ = (
        "_listed",
        "admission",
        "config",
        "hosts",
        "load",
        "order",
        "problem",
        "registration",
        "targets",
        "withheld",
    )

    def __init__(self, config: Trunk, remote: tuple[str, int] | None = None) -> None:
        self.config = config
        self._listed = {plain_host(host) for host, _ in config.from_addresses}
        self._know(frozenset(self._listed))
        self.load = TrunkLoad(config.max_calls, config.max_calls_per_s)
        self.targets: list[TargetState] = []
        # SRV weights want another order for each call; by default that of the list.
        self.order: Callable[[], Iterable[TrunkTarget]] = lambda: [s.target for s in self.targets]
        self.problem = self.withheld = ""
        self.registration = "off"
        if remote is not None:
            self.set_targets([TrunkTarget(config.transport, remote)])

    def set_targets(self, targets: Iterable[TrunkTarget]) -> list[TargetState]:
        """Take these addresses from now on; those known already keep their health. Returns the new
        ones."""
        known = {state.target: state for state in self.targets}
        self.targets = [
            known.get(target) or TargetState(target, TargetHealth(self.config.health_check_s))
            for target in dict.fromkeys(targets)
        ]
        reached = {plain_host(state.target.address[0]) for state in self.targets}
        self._know(frozenset(self._listed | reached))
        return [state for state in self.targets if state.target not in known]

    def _know(self, hosts: frozenset[str]) -> None:
        self.hosts = hosts
        identity = TrunkIdentity(self.config.name)
        self.admission = Admitted(identity, hosts, follow_contact=True)

    def in_order(self) -> list[TrunkTarget]:
        """The addresses in the order to try them for one call."""
        if len(self.targets) == 1:
            return [self.targets[0].target]  # as most have one
        known = {state.target for state in self.targets}
        return [target for target in self.order() if target in known]

    def state_of(self, target: TrunkTarget) -> TargetState | None:
        for state in self.targets:
            if state.target == target:
                return state
        return None

    @property
    def condition(self) -> Condition:
        """DOWN when no target is left to try."""
        if not self.targets:
            return Condition.DOWN
        found = {state.health.condition for state in self.targets}
        order = (Condition.UP, Condition.UNKNOWN, Condition.HALF_OPEN, Condition.DOWN)
        return next(condition for condition in order if condition in found)

    def snapshot(self) -> dict[str, object]:
        first = self.targets[0].target.address if self.targets else (self.config.host, _SIP_PORT)
        ill = next((s.health.why for s in self.targets if s.health.why), "")
        why = self.problem or ill or self.withheld
        return {
            "name": self.config.name,
            "address": f"{first[0]}:{first[1]}",
            "state": self.condition.value,
            "why": why,
            "registration": self.registration,
            "targets": [state.snapshot() for state in self.targets],
            "calls": self.load.calls,
            "calls_max": self.config.max_calls,
            "refused": self.load.refused,
        }


class Trunks:
    """All trunks, found by name or by the exact address that a packet came from.

    `on_health(record, state, event)` is called with what calls tell of a target's health.
    """

    def __init__(self, records: list[TrunkRecord]) -> None:
        self.on_health: Callable[[TrunkRecord, TargetState, HealthEvent], None] | None = None
        self._by_name: dict[str, TrunkRecord] = {}
        self._by_address: dict[tuple[str, int | None], TrunkRecord] = {}
        self._use(records)

    def _use(self, records: list[TrunkRecord]) -> None:
        self._by_name = {record.config.name: record for record in records}
        self._by_address = {
            (plain_host(host), port): record
            for record in records
            for host, port in record.config.from_addresses
        }

    def use_office(self, office: Office) -> tuple[list[TrunkRecord], list[TrunkRecord]]:
        """Take these trunks from now on; those that are as before keep their health. Returns (new or
        changed, gone or changed). Calls over one that is gone go on; it is told no more of them."""
        records, new = [], []
        for trunk in office.trunks:
            record = self._by_name.get(trunk.name)
            if record is None or record.config != trunk:
                before = record
                record = TrunkRecord(trunk)
                if before is not None:
                    record.load = before.load  # calls that go on give their places back to it
                    record.load.limit(trunk.max_calls, trunk.max_calls_per_s)
                new.append(record)
            records.append(record)
        old = [record for record in self._by_name.values() if record not in records]
        self._use(records)
        return new, old

    def __iter__(self) -> Iterator[TrunkRecord]:
        return iter(self._by_name.values())

    def named(self, name: str) -> TrunkRecord | None:
        return self._by_name.get(name)

    def of_flow(self, flow: Flow) -> TrunkRecord | None:
        """The trunk that this packet's source is, by host and port, or by a host given without port."""
        host, port = flow.remote
        host = plain_host(host)
        return self._by_address.get((host, port)) or self._by_address.get((host, None))

    def reach(self, address: tuple[str, int]) -> bool:
        """Whether this is an address of one of the trunks."""
        return any(state.target.address == address for record in self for state in record.targets)

    def spread(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """One step for each address of a trunk; where all steps are trunks, those that are down come
        last: they are tried when nothing else is left, for who is down may only be slow to answer
        OPTIONS."""
        spread = [each for step in steps for each in self._of_step(step)]
        if len(spread) < 2 or not all(_leads_out(step) for step in steps):
            return tuple(spread)
        return tuple(sorted(spread, key=self._is_down))

    def _of_step(self, step: Step) -> list[Step]:
        if not _leads_out(step) or len(step.endpoints) != 1:
            return [step]
        (endpoint,) = step.endpoints
        assert isinstance(endpoint, TrunkEndpoint)
        record = self._by_name.get(endpoint.trunk)
        if record is None or endpoint.target is not None:
            return [step]
        number = endpoint.number
        ordered = [TrunkEndpoint(endpoint.trunk, number, target) for target in record.in_order()]
        return [Step((each,), step.ring_s, step.silence_s) for each in ordered] or [step]

    def _is_down(self, step: Step) -> bool:
        endpoint = step.endpoints[0] if step.endpoints else None
        if not isinstance(endpoint, TrunkEndpoint):
            return False
        record = self._by_name.get(endpoint.trunk)
        if record is None or endpoint.target is None:
            return True
        state = record.state_of(endpoint.target)
        return state is None or state.health.down

    def note(self, record: TrunkRecord, target: TrunkTarget, event: HealthEvent) -> None:
        """What became of a call to a target."""
        state = record.state_of(target)
        if state is None or self.on_health is None or state.health.is_told(event):
            return  # as of nearly every call
        self.on_health(record, state, event)

    def snapshot(self) -> list[dict[str, object]]:
        return [record.snapshot() for record in self._by_name.values()]


def _leads_out(step: Step) -> bool:
    return bool(step.endpoints) and all(isinstance(e, TrunkEndpoint) for e in step.endpoints)
