"""Which server to ask, and in which order: the decisions of RFC 3263 and RFC 2782, pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import groupby

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
_SRV_PREFIXES = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
_SERVICES = {"sip+d2u": "udp", "sip+d2t": "tcp", "sips+d2t": "tls"}


@dataclass(frozen=True, slots=True)
class NextHop:
    """What somebody wrote down: a host, and what he said of port and transport.

    `transport` None lets the DNS choose; `secure` (a ``sips:`` URI) allows TLS only.
    """

    host: str
    port: int | None = None
    transport: str | None = None
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One address to send to. `server_name` is what the certificate there must be for (TLS)."""

    transport: str
    address: tuple[str, int]
    server_name: str = ""

    def __str__(self) -> str:
        host, port = self.address
        return f"{self.transport}:{f'[{host}]' if ':' in host else host}:{port}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One SRV record's targets (its addresses), with its place among the others."""

    targets: tuple[Target, ...]
    priority: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Srv:
    """An SRV record (RFC 2782); `target` "" says that the service is not offered."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Naptr:
    """A NAPTR record (RFC 3403) as far as RFC 3263 uses it."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


def services(records: Iterable[Naptr], supported: Sequence[str]) -> list[tuple[str, str]]:
    """Transports that the domain offers and we support, best first, each with its SRV name (4.1)."""
    usable = [
        (record.order, record.preference, _SERVICES[record.service.lower()], record.replacement)
        for record in records
        if record.flags.lower() == "s"
        and not record.regexp
        and record.replacement
        and _SERVICES.get(record.service.lower()) in supported
    ]
    usable.sort(key=lambda entry: entry[:2])
    return [(transport, name) for _, _, transport, name in usable]


def srv_names(hop: NextHop, supported: Sequence[str]) -> list[tuple[str, str]]:
    """Where to look for SRV records when there are no NAPTR records, or none are asked for."""
    transports = [hop.transport] if hop.transport is not None else list(supported)
    return [(each, _SRV_PREFIXES[each] + hop.host) for each in transports if each in _SRV_PREFIXES]


def supported_for(hop: NextHop, transports: Iterable[str]) -> list[str]:
    """Of the transports we have, those that may carry requests to this hop, in our order."""
    ours = set(transports)
    wanted = ("tls",) if hop.secure else ("udp", "tcp", "tls")
    if hop.transport is not None:
        wanted = (hop.transport,)
    return [each for each in wanted if each in ours]


def in_order(candidates: Iterable[Candidate], uniform: Callable[[], float]) -> list[Target]:
    """All targets in the order to try them: by priority, within one by chance in proportion to
    weight (RFC 2782). `uniform` draws from [0, 1)."""
    candidates = list(candidates)
    if len(candidates) == 1:
        return list(dict.fromkeys(candidates[0].targets))
    ordered: list[Target] = []
    ranked = sorted(candidates, key=lambda candidate: candidate.priority)
    for _, group in groupby(ranked, key=lambda candidate: candidate.priority):
        # Those of weight 0 stand first, so that they are chosen, but seldom.
        left = sorted(group, key=lambda candidate: candidate.weight > 0)
        while left:
            chosen = left.pop(_draw(left, uniform()))
            ordered += [target for target in chosen.targets if target not in ordered]
    return ordered


def _draw(left: list[Candidate], chance: float) -> int:
    mark = chance * (sum(candidate.weight for candidate in left) + 1)
    running = 0
    for index, candidate in enumerate(left):
        running += candidate.weight
        if running >= int(mark):
            return index
    return len(left) - 1


def usable_address(text: str, *, private: bool) -> str | None:
    """An address from the DNS in canonical form; None for those that nothing may be sent to.

    `private` allows loopback and private networks: for peers that the office has configured, never
    for names that a stranger brought.
    """
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
        return None
    if not private and not address.is_global:
        return None
    return str(address)
