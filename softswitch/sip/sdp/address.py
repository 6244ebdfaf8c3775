"""What kind of address a c= line names: the guard against media sent to oneself or to a crowd."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

REMEMBERED_MAX: Final = 1024
"""Addresses of media that are remembered; names are not, for there is no end of them."""
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


def canonical_address(host: str) -> str | None:
    """The one spelling of an IP literal, an IPv4-mapped IPv6 one as its IPv4; None for a name.

    A zone ("fe80::1%eth0") is not an address anybody may name to us: None.
    """
    try:
        return literal(host)[0]
    except ValueError:
        return None


def address_kind(host: str) -> AddressKind:
    """The class of `host` (IP literal or name, without brackets)."""
    try:
        return literal(host)[1]
    except ValueError:
        return AddressKind.NAME


@lru_cache(REMEMBERED_MAX)
def literal(host: str) -> tuple[str, AddressKind]:
    """What the two above say of an IP literal; raises ValueError for anything else, of which nothing is
    remembered, however long it is."""
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
