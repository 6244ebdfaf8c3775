"""The addresses by which streams come and go, one of each family: ports given out, sockets bound and lent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from media.agreement import is_ipv6
from media.plane.allocator import Placement, PortAllocator
from media.plane.packet_io import PORTS_MAX
from media.protocol import AddPort
from media.sockets import PortSockets

_PORT_IDS = (range(0, PORTS_MAX // 2, 2), range(PORTS_MAX // 2, PORTS_MAX, 2))
"""Ids of ports of the one and of the other address."""
_KEPT = (4, 16)
"""Ports that a worker begins with and keeps; more than the first where a quarter of the range is enough. Calls
of one carrier need a port each until their first packet: one was opened and closed for each tenth call."""

Lent = tuple[AddPort, tuple[int, int]]
"""What a worker must be told of a port, and the descriptors to go with it."""


@dataclass(frozen=True, slots=True)
class Door:
    """One address, what is written into SDP for it, and the ports on it."""

    address: str
    announced: str
    allocator: PortAllocator
    sockets: PortSockets

    def reserve(
        self, stream_id: int, worker: int, host: str | None
    ) -> tuple[Placement, Lent | None]:
        """A place for a stream; with it, where a port was opened for that, what the worker must be told.
        Raises `NoCapacity`."""
        while True:
            placement = self.allocator.reserve(stream_id, worker, host)
            if not placement.opened:
                return placement, None
            try:
                self.sockets.bind(placement)
            except OSError:
                continue  # somebody else has this port; the allocator offers it no more
            return placement, self._lent(placement)

    def _lent(self, placement: Placement) -> Lent | None:
        descriptors = self.sockets.descriptors(placement.port_id)
        if descriptors is None:
            return None
        return AddPort(placement.port_id, self.address, placement.port), descriptors

    def ports_of(self, worker: int) -> Iterator[Lent]:
        """All that a new process of `worker` must be told."""
        for placement in self.allocator.ports_of(worker):
            lent = self._lent(placement)
            if lent is not None:
                yield lent

    def release(self, stream_id: int) -> int | None:
        """A stream is given back; returns the id of a port that nobody uses now, for the worker to drop."""
        unused = self.allocator.release(stream_id)
        if unused is None:
            return None
        self.sockets.part(unused, stream_id)
        return unused.port_id


class Doors:
    """A door on each of `addresses` (of different families, the first for all peers else); `announced` instead
    of the first in SDP; `ports` first and last, for so many `workers`; `one_each`: every stream its own."""

    def __init__(
        self,
        addresses: tuple[str, ...],
        announced: str | None,
        ports: tuple[int, int],
        workers: int,
        *,
        one_each: bool,
    ) -> None:
        self._workers = workers
        self.all: list[Door] = []
        for address, ids in zip(addresses, _PORT_IDS, strict=False):
            allocator = PortAllocator(
                *ports, ports_each=_kept(ports, workers), one_each=one_each, ids=ids
            )
            shown = address if self.all or announced is None else announced
            sockets = PortSockets(address, allocator)
            self.all.append(Door(address, shown, allocator, sockets))

    def __getitem__(self, number: int) -> Door:
        return self.all[number]

    def __iter__(self) -> Iterator[Door]:
        return iter(self.all)

    def number_for(self, host: str | None) -> int:
        """The number of the first door of a peer's family; the first of all where there is none."""
        if len(self.all) == 1:
            return 0
        for number, door in enumerate(self.all):
            if host is not None and is_ipv6(host) == is_ipv6(door.address):
                return number
        return 0

    def open_first(self) -> None:
        """Bind the ports that workers begin with."""
        for door in self.all:
            for worker in range(self._workers):
                door.sockets.open_first(worker)

    def parted(self, stream_id: int) -> None:
        """A worker is done with a stream that was the last on its port."""
        for door in self.all:
            if door.sockets.parting:
                door.sockets.parted(stream_id)

    def close(self) -> None:
        """Close every socket."""
        for door in self.all:
            door.sockets.close()

    def snapshot(self) -> dict[str, int]:
        """Ports, those of them that are free, and sockets."""
        return {
            "ports": sum(len(door.allocator) for door in self.all),
            "ports_free": sum(door.allocator.snapshot()["ports_free"] for door in self.all),
            "sockets": sum(len(door.sockets) for door in self.all),
        }


def _kept(ports: tuple[int, int], workers: int) -> int:
    """How many ports a worker keeps."""
    least, most = _KEPT
    pairs = (ports[1] + 1 - ports[0]) // 2
    return min(most, max(least, pairs // (4 * workers)))
