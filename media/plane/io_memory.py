"""A network in memory: an engine driven by a test or by the simulation, without sockets."""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from media.plane.packet_io import BATCH, STRIDE, PacketBuffer, SourceKeys
from media.protocol import Address


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram: the engine's port, the address of the other end, the octets."""

    port_id: int
    remote: Address
    data: bytes


class MemoryIo:
    """`PacketIo` whose datagrams are put in by `deliver` and taken out of `sent`."""

    def __init__(self, streams: int = 64, *, batch: int = BATCH) -> None:
        self._batch = batch
        self._source_keys = SourceKeys(bytes(16))
        self.rx = PacketBuffer(batch)
        self.tx = PacketBuffer(batch)
        self.lengths: NDArray[np.int32] = np.zeros(batch, np.int32)
        self.keys: NDArray[np.uint64] = np.zeros(batch, np.uint64)
        self.send_errors = 0
        self.packets_sent = 0
        self.sent: list[Datagram] = []
        self.ports: set[int] = set()
        self._waiting: deque[Datagram] = deque()
        self._sources: list[Address] = []
        self._destinations: list[Address | None] = [None] * streams

    def deliver(self, port_id: int, remote: Address, data: bytes) -> None:
        """Let a datagram from `remote` wait at port `port_id` for the next `receive`."""
        self._waiting.append(Datagram(port_id, remote, data))

    def take_sent(self) -> list[Datagram]:
        """Return what was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent

    def use_port(self, port_id: int) -> None:
        """Open a port that has no socket behind it."""
        self.ports.add(port_id)

    def open_port(self, port_id: int, sock: socket.socket) -> None:
        """See `PacketIo.open_port`; the socket is closed, there is no network here."""
        sock.close()
        self.ports.add(port_id)

    def close_port(self, port_id: int) -> None:
        """See `PacketIo.close_port`."""
        self.ports.discard(port_id)

    def watch(self, descriptor: int) -> None:
        """See `PacketIo.watch`: nothing to watch."""

    def unwatch(self, descriptor: int) -> None:
        """See `PacketIo.unwatch`: nothing to watch."""

    def wait(self, timeout_s: float) -> bool:
        """See `PacketIo.wait`: never sleeps."""
        return False

    def rest(self, timeout_s: float) -> None:
        """See `PacketIo.rest`: never sleeps."""

    def receive(self) -> int:
        """See `PacketIo.receive`."""
        self._sources.clear()
        while self._waiting and len(self._sources) < self._batch:
            datagram = self._waiting.popleft()
            if datagram.port_id not in self.ports:
                continue
            row = len(self._sources)
            data = datagram.data[:STRIDE]
            self.rx.octets[row, : len(data)] = np.frombuffer(data, np.uint8)
            self.lengths[row] = len(data)
            self.keys[row] = self._source_keys.key(datagram.port_id, datagram.remote)
            self._sources.append(datagram.remote)
        return len(self._sources)

    def source_of(self, index: int) -> Address:
        """See `PacketIo.source_of`."""
        return self._sources[index]

    def source_key(self, port_id: int, address: Address) -> int:
        """See `PacketIo.source_key`."""
        return self._source_keys.key(port_id, address)

    def set_destination(self, row: int, address: Address) -> None:
        """See `PacketIo.set_destination`."""
        self._destinations[row] = address

    def send(
        self,
        buffer: PacketBuffer,
        index: NDArray[np.intp] | None,
        octets: NDArray[np.integer] | int,
        ports: NDArray[np.integer],
        rows: NDArray[np.integer],
    ) -> int:
        """See `PacketIo.send`."""
        places = range(len(rows)) if index is None else index.tolist()
        sizes = repeat(octets, len(rows)) if isinstance(octets, int) else octets.tolist()
        sent = 0
        for place, length, port_id, row in zip(
            places, sizes, ports.tolist(), rows.tolist(), strict=True
        ):
            destination = self._destinations[row]
            if destination is None or port_id not in self.ports:
                self.send_errors += 1
                continue
            self.sent.append(
                Datagram(port_id, destination, buffer.octets[place, :length].tobytes())
            )
            sent += 1
        self.packets_sent += sent
        return sent

    def close(self) -> None:
        """See `PacketIo.close`."""
        self.ports.clear()
