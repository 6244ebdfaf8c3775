"""Questions to the DNS, by dnspython's own sockets: never `getaddrinfo`, whose threads are everybody's."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from softswitch.errors import SoftswitchError
from softswitch.transport.targets import Naptr, Srv

QUERY_S = 4.0
RECORDS_MAX = 32
_NEGATIVE_TTL_S = 300.0
_HOSTS = "/etc/hosts"
_RESOLV_CONF = "/etc/resolv.conf"
_HOSTS_OCTETS_MAX = 1 << 18
_HOSTS_TTL_S = 60.0

Record = str | Srv | Naptr


class LookupFailed(SoftswitchError):
    """No answer (time-out, SERVFAIL, refused, malformed): nothing is known."""


class NoRecords(SoftswitchError):
    """The answer is that there are none (NXDOMAIN, NODATA); good for `ttl_s`."""

    def __init__(self, problem: str, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of one name and type: addresses as text, `Srv`, `Naptr`; good for `ttl_s`."""

    records: tuple[Record, ...]
    ttl_s: float


class Lookup(Protocol):
    """Asks for one name and type ("A", "AAAA", "SRV", "NAPTR")."""

    async def query(self, name: str, kind: str) -> Answer:
        """Raises `NoRecords` or `LookupFailed`."""
        ...


class DnsLookup:
    """The system's name servers (resolv.conf), after its hosts file.

    Parameters: `nameservers`, (address, port) pairs, replace those of the system; `query_s` bounds a
    question with all its retries.
    """

    def __init__(
        self,
        nameservers: tuple[tuple[str, int], ...] = (),
        *,
        query_s: float = QUERY_S,
        hosts: str = _HOSTS,
    ) -> None:
        self._nameservers = nameservers
        self._query_s = query_s
        self._hosts = hosts
        self._resolver: Any = None
        self._read_at = 0

    async def query(self, name: str, kind: str) -> Answer:
        """Truncated answers are asked for again over TCP; an alias is followed."""
        import dns.exception
        import dns.name
        import dns.resolver

        if kind in ("A", "AAAA"):
            found = self._in_hosts(name, kind)
            if found:
                return Answer(found, _HOSTS_TTL_S)
        try:
            answer = await self._system().resolve(name, kind, lifetime=self._query_s)
        except dns.resolver.NXDOMAIN as error:
            raise NoRecords(f"{name} does not exist", _negative_ttl(error)) from None
        except dns.resolver.NoAnswer as error:
            raise NoRecords(f"{name} has no {kind} records", _negative_ttl(error)) from None
        except (dns.exception.DNSException, OSError, ValueError, struct.error) as error:
            raise LookupFailed(f"{kind} of {name}: {_words(error)}") from None
        records = tuple(record_of(data, kind) for data in list(answer)[:RECORDS_MAX])
        return Answer(records, float(answer.rrset.ttl))

    def _system(self) -> Any:
        import dns.asyncresolver

        if self._nameservers:
            if self._resolver is None:
                self._resolver = dns.asyncresolver.Resolver(configure=False)
                # The same address may stand with several ports: one object each.
                self._resolver.nameservers = [_server(*each) for each in self._nameservers]
            return self._resolver
        try:
            changed_at = os.stat(_RESOLV_CONF).st_mtime_ns
        except OSError:
            changed_at = -1
        if self._resolver is None or changed_at != self._read_at:
            try:
                self._resolver = dns.asyncresolver.Resolver()
            except Exception as error:
                raise LookupFailed(f"{_RESOLV_CONF}: {_words(error)}") from None
            self._read_at = changed_at
        return self._resolver

    def _in_hosts(self, name: str, kind: str) -> tuple[str, ...]:
        try:
            with open(self._hosts, encoding="utf-8", errors="replace") as file:
                text = file.read(_HOSTS_OCTETS_MAX)
        except OSError:
            return ()
        return address_in_hosts(text, name, kind)


def address_in_hosts(text: str, name: str, kind: str) -> tuple[str, ...]:
    """The addresses of `name` in a hosts file."""
    wanted = name.lower().rstrip(".")
    found: list[str] = []
    for line in text.split("\n"):
        words = line.partition("#")[0].lower().split()
        if wanted in words[1:] and (":" in words[0]) == (kind == "AAAA"):
            found.append(words[0])
    return tuple(found[:RECORDS_MAX])


def addresses_of(lookup: Lookup) -> Callable[[str], Awaitable[list[str]]]:
    """A function that gives the addresses of a name, IPv4 first, none where nothing is known."""

    async def addresses(name: str) -> list[str]:
        found: list[str] = []
        for kind in ("A", "AAAA"):
            with contextlib.suppress(NoRecords, LookupFailed):
                answer = await lookup.query(name, kind)
                found += [record for record in answer.records if isinstance(record, str)]
        return found

    return addresses


def _server(host: str, port: int) -> Any:
    import dns.nameserver

    return dns.nameserver.Do53Nameserver(host, port)


def record_of(data: Any, kind: str) -> Record:
    """A record of the library's as ours."""
    if kind == "SRV":
        return Srv(data.priority, data.weight, data.port, _name(data.target))
    if kind == "NAPTR":
        return Naptr(
            data.order,
            data.preference,
            data.flags.decode("ascii", "replace"),
            data.service.decode("ascii", "replace"),
            data.regexp.decode("ascii", "replace"),
            _name(data.replacement),
        )
    return str(data.address)


def _name(name: Any) -> str:
    """Without the final dot; the root, which stands for "none", is empty."""
    text: str = name.to_text(omit_final_dot=True)
    return "" if text in (".", "@") else text


def _negative_ttl(error: Any) -> float:
    """RFC 2308: the lesser of the SOA's TTL and its minimum, never more than five minutes here."""
    responses = error.kwargs.get("responses") or {}
    for response in [*responses.values(), error.kwargs.get("response")]:
        for rrset in response.authority if response is not None else ():
            for data in rrset:
                if hasattr(data, "minimum"):
                    return float(min(rrset.ttl, data.minimum, _NEGATIVE_TTL_S))
    return _NEGATIVE_TTL_S


def _words(error: Exception) -> str:
    name = type(error).__name__
    known = {
        "LifetimeTimeout": "no answer in time",
        "Timeout": "no answer in time",
        "NoNameservers": "every name server failed",
    }
    return known.get(name) or str(error)[:200] or name
