"""What kind of address a c= line names: the guard against media sent to oneself or to a crowd."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

REMEMBERED_MAX: Final = 1024
"""Addresses of media that are remembered; names are not, for there is no end of them."""
_LITERAL_MAX: Final = 45
"""Of six groups of IPv6 with an IPv4 address behind them (RFC 4291 2.2)."""
_LIMITED_BROADCAST: Final = IPv4Address("255.255.255.255")


class AddressKind(Enum):
    """Classes of media addresses; only UNICAST is harmless without further policy."""

    UNICAST = "unicast"
    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    LINK_LOCAL = "link-local"
    RESERVED = "reserved"
    NAME = "name"


_A_NAME: Final = (None, AddressKind.NAME)


def judge(host: str) -> tuple[str | None, AddressKind]:
    """What `canonical_address` and `address_kind` say, in one go."""
    if len(host) > _LITERAL_MAX:  # nor remembered: it may be as long as a description
        return _A_NAME
    try:
        return _literal(host)
    except ValueError:
        return _A_NAME


def canonical_address(host: str) -> str | None:
    """The one spelling of an IP literal, an IPv4-mapped IPv6 one as its IPv4; None for a name.

    A zone ("fe80::1%eth0") is not an address anybody may name to us: None.
    """
    return judge(host)[0]


def address_kind(host: str) -> AddressKind:
    """The class of `host` (IP literal or name, without brackets)."""
    return judge(host)[1]


@lru_cache(REMEMBERED_MAX)
def _literal(host: str) -> tuple[str, AddressKind]:
    """Raises ValueError for a name."""
    if "%" in host:
        raise ValueError("an address with a zone")
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address), _kind(address)


def _kind(address: IPv4Address | IPv6Address) -> AddressKind:
    if address.is_unspecified or (isinstance(address, IPv4Address) and address.packed[0] == 0):
        return AddressKind.UNSPECIFIED
    if address.is_loopback:
        return AddressKind.LOOPBACK
    if address == _LIMITED_BROADCAST:
        return AddressKind.BROADCAST
    if address.is_multicast:
        return AddressKind.MULTICAST
    if address.is_link_local:
        return AddressKind.LINK_LOCAL
    if isinstance(address, IPv4Address) and address.is_reserved:
        return AddressKind.RESERVED
    return AddressKind.UNICAST


def reflects(host: str, own_hosts: Collection[str], *, allow_loopback: bool = False) -> bool:
    """True when media sent to `host` could come back to us or reach a crowd: answer 488.

    `own_hosts` are our own addresses (IP literals); `allow_loopback` is for tests and demos on one
    machine. The unspecified address is not refused: it is the old way to hold (RFC 3264 8.4).
    """
    kind = address_kind(host)
    if kind is AddressKind.LOOPBACK:
        return not allow_loopback
    if kind in (AddressKind.BROADCAST, AddressKind.MULTICAST, AddressKind.RESERVED):
        return True
    if kind is AddressKind.NAME:
        return host.lower().rstrip(".") in ("localhost", "localhost.localdomain")
    text = canonical_address(host)
    return any(text == canonical_address(own) for own in own_hosts)
