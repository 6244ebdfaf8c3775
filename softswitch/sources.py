"""Whose an address is, for limits and counts by source."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=4096)
def source_of(host: str) -> str:
    """Whose an address is: IPv4 as it is, IPv6 its /64, for one subscriber has all of that."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
