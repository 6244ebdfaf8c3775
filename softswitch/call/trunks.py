"""The trunks of an office: who they are by address, and how much they may carry at once."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from softswitch.errors import CallError
from softswitch.sip.flow import Flow

if TYPE_CHECKING:
    from softswitch.config import Trunk


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
    return str(address)


class TrunkBusy(CallError):
    """The trunk carries all the calls, or the call rate, that it may."""


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

    def take(self, now_s: float) -> bool:
        """Count one more call, or say no."""
        elapsed_s = max(0.0, now_s - self._updated_s)
        self._updated_s = now_s
        self._tokens = min(max(1.0, self._rate_per_s), self._tokens + elapsed_s * self._rate_per_s)
        if self.calls >= self._calls_max or self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        self.calls += 1
        return True

    def give_back(self) -> None:
        """One call less; called once for each successful `take`."""
        self.calls -= 1


class TrunkRecord:
    """One trunk: its configuration, the address it is reached at and its load."""

    __slots__ = ("config", "load", "remote")

    def __init__(self, config: Trunk, remote: tuple[str, int]) -> None:
        self.config = config
        self.remote = remote
        self.load = TrunkLoad(config.max_calls, config.max_calls_per_s)

    def snapshot(self) -> dict[str, object]:
        return {
            "name": self.config.name,
            "address": f"{self.remote[0]}:{self.remote[1]}",
            "calls": self.load.calls,
            "calls_max": self.config.max_calls,
            "refused": self.load.refused,
        }


class Trunks:
    """All trunks, found by name or by the exact address that a packet came from."""

    def __init__(self, records: list[TrunkRecord]) -> None:
        self._by_name = {record.config.name: record for record in records}
        self._by_address: dict[tuple[str, int | None], TrunkRecord] = {}
        for record in records:
            for host, port in record.config.from_addresses:
                self._by_address[plain_host(host), port] = record

    def named(self, name: str) -> TrunkRecord | None:
        return self._by_name.get(name)

    def of_flow(self, flow: Flow) -> TrunkRecord | None:
        """The trunk that this packet's source is, by host and port, or by a host given without port."""
        host, port = flow.remote
        host = plain_host(host)
        return self._by_address.get((host, port)) or self._by_address.get((host, None))

    def hosts(self, record: TrunkRecord) -> frozenset[str]:
        """The addresses that may speak inside this trunk's dialogs."""
        listed = {plain_host(host) for host, _ in record.config.from_addresses}
        return frozenset({*listed, plain_host(record.remote[0])})

    def snapshot(self) -> list[dict[str, object]]:
        return [record.snapshot() for record in self._by_name.values()]
