"""From the name of a next hop to addresses: RFC 3263, with memory for bad days of the DNS."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from softswitch.errors import SoftswitchError
from softswitch.transport.dns_lookup import Answer, Lookup, LookupFailed, NoRecords
from softswitch.transport.targets import (
    DEFAULT_PORTS,
    Candidate,
    Naptr,
    NextHop,
    Srv,
    Target,
    services,
    srv_names,
    supported_for,
    usable_address,
)

_K = TypeVar("_K")
_V = TypeVar("_V")

_log = logging.getLogger("softswitch.dns")

STALE_S_MAX = 24 * 3600.0
TTL_S_MIN = 5.0
TTL_S_MAX = 3600.0
TARGETS_MAX = 16
NAMES_MAX = 1024
QUERIES_MAX = 16
_STEP_S_MAX = 5.0
_RETRY_S = 15.0


class ResolveFailed(SoftswitchError):
    """No address is known, nor has one been known within a day."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a next hop is, until `fresh_until_s`; `problem`: why an older answer has to serve."""

    candidates: tuple[Candidate, ...]
    fresh_until_s: float
    problem: str = ""

    @property
    def targets(self) -> tuple[Target, ...]:
        """All of them, in no order but that of priority."""
        ranked = sorted(self.candidates, key=lambda candidate: candidate.priority)
        return tuple(dict.fromkeys(target for each in ranked for target in each.targets))


@dataclass(slots=True)
class _Known:
    answer: Answer | NoRecords
    until_s: float


class Resolver:
    """Asks `lookup`, remembers answers by their TTL (from 5 s to 1 h) and negative ones too.

    Where the DNS fails, or says that nothing is there any more, the last answer that was good serves
    for up to 24 hours. All tables are bounded; a question that somebody waits for already is not
    asked twice.

    Parameters: `now_s` is the clock; `transports` are those we can send by, `kinds` the records of the
    address families we can.
    """

    def __init__(
        self,
        lookup: Lookup,
        now_s: Callable[[], float],
        transports: Iterable[str],
        kinds: Iterable[str] = ("A", "AAAA"),
    ) -> None:
        self._lookup = lookup
        self._now_s = now_s
        self._transports = frozenset(transports)
        self._kinds = tuple(kinds)
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._asked: dict[tuple[str, str], asyncio.Task[Answer]] = {}
        self._good: OrderedDict[tuple[NextHop, bool], tuple[Resolution, float]] = OrderedDict()
        self._permits = asyncio.Semaphore(QUERIES_MAX)
        self.counters = {"queries": 0, "failed": 0, "negative": 0, "stale": 0}

    async def resolve(self, hop: NextHop, *, private: bool = False) -> Resolution:
        """Addresses of `hop`, good for a while; raises `ResolveFailed`.

        `private` accepts loopback and private addresses from the DNS (configured peers only). Takes a
        few seconds at worst and never blocks the loop.
        """
        now_s = self._now_s()
        key = (hop, private)
        try:
            found = await self._find(hop, private)
        except (LookupFailed, NoRecords) as error:
            return self._last_good(key, str(error))
        if not found.candidates:
            return self._last_good(key, f"{hop.host}: no usable address")
        _remember(self._good, key, (found, now_s))
        return found

    def close(self) -> None:
        """Stop asking."""
        for task in self._asked.values():
            task.cancel()
        self._asked.clear()

    def snapshot(self) -> dict[str, int]:
        """Table sizes and counters."""
        return {
            "names": len(self._known),
            "hops": len(self._good),
            "asking": len(self._asked),
            **self.counters,
        }

    def _last_good(self, key: tuple[NextHop, bool], problem: str) -> Resolution:
        now_s = self._now_s()
        good = self._good.get(key)
        if good is None:
            raise ResolveFailed(problem)
        resolution, at_s = good
        if now_s - at_s > STALE_S_MAX:
            del self._good[key]
            raise ResolveFailed(f"{problem}; the last answer is more than a day old")
        self.counters["stale"] += 1
        return replace(resolution, fresh_until_s=now_s + _RETRY_S, problem=problem)

    # -- RFC 3263 section 4 ------------------------------------------------------------------------

    async def _find(self, hop: NextHop, private: bool) -> Resolution:
        literal = usable_address(hop.host, private=True)  # written down, not told by the DNS
        supported = supported_for(hop, self._transports)
        if not supported:
            raise LookupFailed(f"no listener for {hop.transport or 'its transport'}")
        if literal is not None:
            transport = supported[0]
            target = Target(transport, (literal, hop.port or DEFAULT_PORTS[transport]), "")
            return Resolution((Candidate((target,)),), float("inf"))
        if hop.port is not None:
            found, until_s = await self._addresses(hop.host, private)
            return self._plain(hop, found, supported[0], hop.port, until_s)
        return await self._by_service(hop, supported, private)

    async def _by_service(self, hop: NextHop, supported: list[str], private: bool) -> Resolution:
        names, until_s = await self._services(hop, supported)
        for transport, name in names:
            try:
                answer, fresh_s = await self._ask(name, "SRV")
            except NoRecords as error:
                until_s = min(until_s, self._now_s() + _clamp(error.ttl_s))
                continue
            records = [each for each in answer.records if isinstance(each, Srv) and each.target]
            if not records:
                raise NoRecords(f"{name}: the service is not offered", answer.ttl_s)
            return await self._of_servers(hop, transport, records, min(until_s, fresh_s), private)
        found, fresh_s = await self._addresses(hop.host, private)
        transport = supported[0]
        return self._plain(hop, found, transport, DEFAULT_PORTS[transport], min(until_s, fresh_s))

    async def _services(
        self, hop: NextHop, supported: list[str]
    ) -> tuple[list[tuple[str, str]], float]:
        """Transports with their SRV names, by NAPTR where the hop leaves the transport open."""
        forever = float("inf")
        if hop.transport is not None:
            return srv_names(hop, supported), forever
        try:
            answer, until_s = await self._ask(hop.host, "NAPTR")
        except NoRecords as error:
            return srv_names(hop, supported), self._now_s() + _clamp(error.ttl_s)
        offered = services((r for r in answer.records if isinstance(r, Naptr)), supported)
        return offered or srv_names(hop, supported), until_s

    async def _of_servers(
        self, hop: NextHop, transport: str, records: list[Srv], until_s: float, private: bool
    ) -> Resolution:
        candidates: list[Candidate] = []
        failed: SoftswitchError | None = None
        for record in sorted(records, key=lambda record: record.priority)[:TARGETS_MAX]:
            try:
                found, fresh_s = await self._addresses(record.target, private)
            except (LookupFailed, NoRecords) as error:
                failed = error  # the others may do
                until_s = min(until_s, self._now_s() + _RETRY_S)
                continue
            until_s = min(until_s, fresh_s)
            targets = tuple(_target(hop, transport, host, record.port) for host in found)
            candidates.append(Candidate(targets, record.priority, record.weight))
        if not candidates and failed is not None:
            raise failed
        return Resolution(tuple(candidates), until_s)

    def _plain(
        self, hop: NextHop, found: list[str], transport: str, port: int, until_s: float
    ) -> Resolution:
        targets = tuple(_target(hop, transport, host, port) for host in found)
        return Resolution((Candidate(targets),) if targets else (), until_s)

    async def _addresses(self, name: str, private: bool) -> tuple[list[str], float]:
        """IPv4 and IPv6 addresses that may be used; IPv4 first, as the carriers are there."""
        found: list[str] = []
        until_s = float("inf")
        failed: LookupFailed | NoRecords | None = None
        for kind in self._kinds:
            try:
                answer, fresh_s = await self._ask(name, kind)
            except (LookupFailed, NoRecords) as error:
                failed = error if failed is None or isinstance(error, LookupFailed) else failed
                if isinstance(error, LookupFailed):
                    until_s = min(until_s, self._now_s() + _RETRY_S)
                continue
            until_s = min(until_s, fresh_s)
            failed = failed or NoRecords(f"{name}: no usable address", answer.ttl_s)
            for record in answer.records:
                host = usable_address(str(record), private=private)
                if host is None:
                    _log.warning("%s: the DNS names %s, which is not used", name, record)
                elif host not in found:
                    found.append(host)
        if not found and failed is not None:
            raise failed
        return found[:TARGETS_MAX], until_s

    # -- one question ------------------------------------------------------------------------------

    async def _ask(self, name: str, kind: str) -> tuple[Answer, float]:
        """The answer and until when it is good; from memory, or of whoever is asking already."""
        key = (name.lower().rstrip("."), kind)
        known = self._known.get(key)
        if known is None or known.until_s <= self._now_s():
            task = self._asked.get(key)
            if task is None:
                task = asyncio.get_running_loop().create_task(self._query(*key))
                self._asked[key] = task
                task.add_done_callback(lambda _: self._asked.pop(key, None))
            # One who gives up must not take the answer from the others.
            await asyncio.wait([task])
            task.result()
            known = self._known[key]
        if isinstance(known.answer, NoRecords):
            # A new one each time: an exception collects a traceback whenever it is raised.
            raise NoRecords(str(known.answer), known.answer.ttl_s)
        return known.answer, known.until_s

    async def _query(self, name: str, kind: str) -> Answer:
        self.counters["queries"] += 1
        try:
            async with self._permits, asyncio.timeout(_STEP_S_MAX):
                answer = await self._lookup.query(name, kind)
        except TimeoutError:
            self.counters["failed"] += 1
            raise LookupFailed(f"{kind} of {name}: no answer in time") from None
        except LookupFailed:
            self.counters["failed"] += 1
            raise
        except NoRecords as error:
            self.counters["negative"] += 1
            until_s = self._now_s() + _clamp(error.ttl_s)
            _remember(self._known, (name, kind), _Known(error, until_s))
            return Answer((), error.ttl_s)
        until_s = self._now_s() + _clamp(answer.ttl_s)
        _remember(self._known, (name, kind), _Known(answer, until_s))
        return answer


def _target(hop: NextHop, transport: str, host: str, port: int) -> Target:
    # RFC 5922 7.1: the certificate is for the domain that was asked for, whatever the DNS says.
    return Target(transport, (host, port), hop.host if transport == "tls" else "")


def _clamp(ttl_s: float) -> float:
    return min(max(ttl_s, TTL_S_MIN), TTL_S_MAX)


def _remember(table: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > NAMES_MAX:
        table.popitem(last=False)
