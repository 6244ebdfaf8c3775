"""Where a leg can go: plain values, no sockets, no SIP objects."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class PhoneEndpoint(msgspec.Struct, frozen=True):
    """One registered contact of an extension.

    `contact_uri` is the Request-URI to use; `flow_key` names the flow the registration came on
    (transport, local address, remote address), because a phone behind NAT is reached only there;
    `q` is the preference that the phone registered with (RFC 3261 10.2.1.2); `route` leads through the
    proxies that it registered by (RFC 3327); `others` are further flows to the same phone, to be tried
    one after the other should this one fail (RFC 5626 section 5.3).
    """

    extension: str
    contact_uri: str
    flow_key: tuple[str, tuple[str, int], tuple[str, int], int]
    q: float = 1.0
    route: tuple[str, ...] = ()
    others: tuple[PhoneEndpoint, ...] = ()

    @property
    def label(self) -> str:
        return f"extension:{self.extension}"


class TrunkTarget(msgspec.Struct, frozen=True):
    """One address of a trunk. `server_name` is what the certificate there must be for (TLS)."""

    transport: str
    address: tuple[str, int]
    server_name: str = ""


class TrunkEndpoint(msgspec.Struct, frozen=True):
    """A number to be reached through a trunk, as it is to be dialled there; `target` names one of the
    trunk's addresses, None the first that is well."""

    trunk: str
    number: str
    target: TrunkTarget | None = None

    @property
    def label(self) -> str:
        return f"trunk:{self.trunk}"


Endpoint: TypeAlias = PhoneEndpoint | TrunkEndpoint


class Step(msgspec.Struct, frozen=True):
    """Endpoints that ring together, for how long, and how long a silent one is waited for.

    `ring_s` bounds the whole step. `silence_s`, where set, gives up a leg that has not shown any sign of
    life, long before timer B (RFC 3261 17.1.1.2) would.
    """

    endpoints: tuple[Endpoint, ...]
    ring_s: float
    silence_s: float | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How a dial attempt ended.

    `result` is one of ``answered``, ``busy``, ``no-answer``, ``unreachable``, ``rejected``, ``failed``,
    ``cancelled``; `status` and `q850` are what the caller is told if nobody tries further.
    """

    result: str
    status: int
    q850: int
    by: str = ""

    @property
    def answered(self) -> bool:
        return self.result == "answered"
