"""Questions of flows to other programs: https, to public addresses, unless the office file says otherwise."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from softswitch.call.lookup import fetch
from softswitch.config.values import plain_ip

_log = logging.getLogger("softswitch.apps")

Addresses: TypeAlias = Callable[[str], Awaitable[list[str]]]
"""The IP addresses of a host name, "" and errors being none."""


class Asker(Protocol):
    """Asks `url`, with `query` added, for JSON; None where there is no good answer in time."""

    async def __call__(
        self, url: str, *, timeout_s: float, query: Mapping[str, str]
    ) -> Any | None: ...


class RefusedHost(ValueError):
    """A host that may not be asked."""


_PRIVATE = "a private address, and the host is not in look_up.hosts"


class GuardedAsker:
    """Asks with the rights of the office file.

    Parameters: `hosts`, names and addresses of ``[look_up] hosts``, which may be asked by plain http and
    may have private addresses; `addresses` resolves a name, once: the connection goes to the address that
    has been judged, so that a name which changes meanwhile gains nothing.
    """

    def __init__(self, hosts: Iterable[str], addresses: Addresses) -> None:
        self._trusted = frozenset(host.lower() for host in hosts)
        self._addresses = addresses

    async def __call__(self, url: str, *, timeout_s: float, query: Mapping[str, str]) -> Any | None:
        """Never raises for what the other side does."""
        try:
            async with asyncio.timeout(timeout_s):
                where = await self.where(url)
                return await fetch(url, query, timeout_s=timeout_s, connect_to=where)
        except TimeoutError:
            _log.warning("look-up at %s: no answer within %g s", _host(url), timeout_s)
        except (RefusedHost, ValueError) as error:
            _log.warning("look-up at %s: %s", _host(url), error)
        return None

    async def where(self, url: str) -> str:
        """The address to connect to. Raises `RefusedHost`."""
        self.check(url)
        host = _host(url)
        literal = plain_ip(host)
        found = [literal] if literal is not None else await self._addresses(host)
        if not found:
            raise RefusedHost("the name has no address")
        if host not in self._trusted and not all(is_public(address) for address in found):
            raise RefusedHost(_PRIVATE)
        return found[0]

    def check(self, url: str) -> None:
        """What can be judged without asking the DNS. Raises `RefusedHost`."""
        host = _host(url)
        if not host:
            raise RefusedHost("no address of a host")
        if host in self._trusted:
            return
        if not url.lower().startswith("https:"):
            raise RefusedHost("only https, unless the host is in look_up.hosts")
        if host == "localhost" or (plain_ip(host) is not None and not is_public(host)):
            raise RefusedHost(_PRIVATE)


def is_public(address: str) -> bool:
    """Whether this is an address of the whole world; IPv4 written as IPv6 is IPv4."""
    plain = plain_ip(address)
    if plain is None:
        return False
    parsed = ipaddress.ip_address(plain)
    if isinstance(parsed, ipaddress.IPv6Address) and (parsed.sixtofour or parsed.teredo):
        return False
    return parsed.is_global and not parsed.is_multicast


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
