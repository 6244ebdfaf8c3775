"""Which socket a new stream gets: pure book-keeping, no socket here.

Streams share few UDP ports. A packet finds its stream by (local port, source address), so a stream
is placed where no other unlatched stream expects the same host and where its remote address, if SDP
has named it, is not taken. Worker processes have ports of their own; the even one carries RTP, the
next odd one RTCP.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from media.errors import NoCapacity, UnknownStream
from media.protocol import Address

_Key = TypeVar("_Key", str, Address)

STREAMS_PER_PORT_MAX = 1024


@dataclass(slots=True)
class _Port:
    port_id: int
    worker: int
    port: int
    streams: set[int] = field(default_factory=set)
    hosts: dict[str, int] = field(default_factory=dict)
    """Hosts that unlatched streams of this port expect, and how many do."""
    remotes: dict[Address, int] = field(default_factory=dict)


class _Placed(msgspec.Struct):
    port: _Port
    host: str | None
    remote: Address | None = None
    latched: bool = False


class Placement(msgspec.Struct, frozen=True):
    """Where a stream goes. `opened`: the port is new, its sockets must be bound first."""

    port_id: int
    port: int
    opened: bool


class PortAllocator:
    """Ports `first`..`last` shared out to workers and streams.

    `ports_each`: ports that a worker begins with and keeps. Beyond them a port is opened, up to
    `ports_each_max`, when a stream would otherwise meet another one's expectations or when all have
    `crowd` streams (a socket's receive buffer is bounded, and each socket costs a system call a
    batch); ports that were opened on demand are closed when they are empty. `one_each`: every
    stream its own port. `ids`: even numbers that nobody else gives to ports.
    """

    def __init__(
        self,
        first: int,
        last: int,
        *,
        ports_each: int = 4,
        ports_each_max: int = 64,
        crowd: int = 128,
        one_each: bool = False,
        ids: range = range(0, 32_768, 2),
    ) -> None:
        even = first + first % 2
        self._unused: deque[int] = deque(range(even, last, 2))
        self._set_aside: list[int] = []
        self._ids: deque[int] = deque(ids)
        self._ports: dict[int, _Port] = {}
        self._of_worker: dict[int, list[_Port]] = {}
        self._placed: dict[int, _Placed] = {}
        self._ports_each = ports_each
        self._ports_each_max = ports_each_max
        self._crowd = crowd
        self._one_each = one_each

    def __len__(self) -> int:
        return len(self._ports)

    def ports_of(self, worker: int) -> list[Placement]:
        """Return the ports of a worker, as they are to be opened again in its replacement."""
        return [
            Placement(port.port_id, port.port, True) for port in self._of_worker.get(worker, ())
        ]

    def open_first(self, worker: int) -> list[Placement]:
        """Give a new worker the ports it begins with; fewer if the range is short."""
        wanted = 0 if self._one_each else self._ports_each
        opened = []
        for _ in range(wanted):
            port = self._open(worker)
            if port is None:
                break
            opened.append(Placement(port.port_id, port.port, True))
        return opened

    def _open(self, worker: int) -> _Port | None:
        if not self._unused or not self._ids:
            # Whoever else had those ports may have gone; they are tried again next time.
            self._unused.extend(self._set_aside)
            self._set_aside.clear()
            return None
        port = _Port(self._ids.popleft(), worker, self._unused.popleft())
        self._ports[port.port_id] = port
        self._of_worker.setdefault(worker, []).append(port)
        return port

    def refused(self, port_id: int) -> None:
        """The system would not bind this port: it is set aside, its stream is unplaced."""
        port = self._ports.pop(port_id)
        self._of_worker[port.worker].remove(port)
        self._ids.append(port_id)
        self._set_aside.append(port.port)
        for stream_id in port.streams:
            del self._placed[stream_id]

    def reserve(
        self, stream_id: int, worker: int, host: str | None, remote: Address | None = None
    ) -> Placement:
        """Place a stream that expects `host` (None: not known yet). Raises `NoCapacity`."""
        if stream_id in self._placed:
            raise ValueError(f"stream {stream_id} is placed already")
        port, opened = self._choose(worker, host, remote)
        port.streams.add(stream_id)
        placed = self._placed[stream_id] = _Placed(port, host)
        if host is not None:
            port.hosts[host] = port.hosts.get(host, 0) + 1
        if remote is not None:
            placed.remote = remote
            port.remotes[remote] = port.remotes.get(remote, 0) + 1
        return Placement(port.port_id, port.port, opened)

    def _choose(self, worker: int, host: str | None, remote: Address | None) -> tuple[_Port, bool]:
        ports = self._of_worker.setdefault(worker, [])
        if not self._one_each:
            # The first that will do, so that ports opened for a rush fall empty after it: each
            # port in use costs the worker two system calls a batch.
            for roomy in ports:
                if len(roomy.streams) < self._crowd and _is_free(roomy, host, remote):
                    return roomy, False
            if len(ports) < self._ports_each_max:
                port = self._open(worker)
                if port is not None:
                    return port, True
            free = [port for port in ports if _is_free(port, host, remote)]
            if free:
                return min(free, key=_crowd), False
            usable = [port for port in ports if len(port.streams) < STREAMS_PER_PORT_MAX]
            if usable:
                # A tie that only the SSRC can break; where it is least likely to be needed.
                return min(
                    usable,
                    key=lambda port: (
                        0 if remote is None else port.remotes.get(remote, 0),
                        0 if host is None else port.hosts.get(host, 0),
                        len(port.streams),
                    ),
                ), False
        else:
            port = self._open(worker)
            if port is not None:
                return port, True
        raise NoCapacity("no RTP port is left")

    def expect(self, stream_id: int, host: str | None, remote: Address | None) -> bool:
        """Signalling has named the peer's `host` and `remote`; the local port stays as it is.

        Returns False if another stream of the port has the same remote, so that SSRCs must tell
        them apart. Raises `UnknownStream`.
        """
        placed = self._get(stream_id)
        hosts, remotes = placed.port.hosts, placed.port.remotes
        expected = None if placed.latched else placed.host
        placed.host, placed.latched = host, False
        if host != expected:  # most send from the address that they signal from
            if expected is not None:
                _take_one(hosts, expected)
            if host is not None:
                hosts[host] = hosts.get(host, 0) + 1
        before, placed.remote = placed.remote, remote
        if before is not None:
            _take_one(remotes, before)
        if remote is None:
            return True
        others = remotes.get(remote, 0)
        remotes[remote] = others + 1
        return not others

    def latched(self, stream_id: int, source: Address) -> None:
        """The stream is locked to `source`: it expects its host no longer. Unknown ids: ignored."""
        placed = self._placed.get(stream_id)
        if placed is None:
            return
        self._forget_expectations(placed)
        placed.latched = True
        placed.remote = source
        placed.port.remotes[source] = placed.port.remotes.get(source, 0) + 1

    def _forget_expectations(self, placed: _Placed) -> None:
        if placed.host is not None and not placed.latched:
            _take_one(placed.port.hosts, placed.host)
        if placed.remote is not None:
            _take_one(placed.port.remotes, placed.remote)
            placed.remote = None

    def _get(self, stream_id: int) -> _Placed:
        placed = self._placed.get(stream_id)
        if placed is None:
            raise UnknownStream(f"stream {stream_id}")
        return placed

    def release(self, stream_id: int) -> Placement | None:
        """Forget a stream; returns a port that is to be closed now, if any."""
        placed = self._placed.pop(stream_id, None)
        if placed is None:
            return None
        self._forget_expectations(placed)
        port = placed.port
        port.streams.discard(stream_id)
        kept = 0 if self._one_each else self._ports_each
        ports = self._of_worker[port.worker]
        if port.streams or ports.index(port) < kept:
            return None
        ports.remove(port)
        del self._ports[port.port_id]
        # To the end of the queue: late packets of the old call find nobody for as long as possible.
        self._unused.append(port.port)
        self._ids.append(port.port_id)
        return Placement(port.port_id, port.port, False)

    def snapshot(self) -> dict[str, int]:
        """Return ports in use and free, and streams placed."""
        return {
            "ports": len(self._ports),
            "ports_free": len(self._unused) + len(self._set_aside),
            "streams": len(self._placed),
        }


def _is_free(port: _Port, host: str | None, remote: Address | None) -> bool:
    return (
        len(port.streams) < STREAMS_PER_PORT_MAX
        and (host is None or host not in port.hosts)
        and (remote is None or remote not in port.remotes)
    )


def _crowd(port: _Port) -> int:
    return len(port.streams)


def _take_one(counter: dict[_Key, int], key: _Key) -> None:
    left = counter[key] - 1
    if left > 0:
        counter[key] = left
    else:
        del counter[key]
