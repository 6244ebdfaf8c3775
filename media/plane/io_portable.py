"""Back end for any system with sockets: recvfrom_into and sendto, one datagram at a time."""

from __future__ import annotations

import selectors
import socket
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from media.plane.packet_io import BATCH, PORTS_MAX, STRIDE, PacketBuffer, SourceKeys
from media.protocol import Address

_KEYS_MAX = 4_096
_PER_SOCKET_MAX = 256


class PortableIo:
    """`PacketIo` by recvfrom_into and sendto; `streams` is the number of destinations to hold."""

    def __init__(self, streams: int, *, batch: int = BATCH, key_seed: bytes | None = None) -> None:
        self._batch = batch
        self._source_keys = SourceKeys(key_seed)
        self.rx = PacketBuffer(batch)
        self.tx = PacketBuffer(batch)
        self.lengths: NDArray[np.int32] = np.zeros(batch, np.int32)
        self.keys: NDArray[np.uint64] = np.zeros(batch, np.uint64)
        self.send_errors = 0
        self.packets_sent = 0
        self._sources: list[tuple[str, int]] = [("", 0)] * batch
        self._rx_rows = _rows_of(self.rx)
        self._tx_rows = _rows_of(self.tx)
        self._destinations: list[Address | None] = [None] * streams
        self._sockets: dict[int, socket.socket] = {}
        self._key_of: dict[int, dict[tuple[str, int], int]] = {}
        self._ready: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._watched: set[int] = set()

    def open_port(self, port_id: int, sock: socket.socket) -> None:
        """See `PacketIo.open_port`."""
        if not 0 <= port_id < PORTS_MAX:
            raise ValueError(f"port id {port_id}")
        self.close_port(port_id)
        sock.setblocking(False)
        self._sockets[port_id] = sock
        self._selector.register(sock, selectors.EVENT_READ, port_id)

    def close_port(self, port_id: int) -> None:
        """See `PacketIo.close_port`."""
        sock = self._sockets.pop(port_id, None)
        if sock is None:
            return
        self._selector.unregister(sock)
        self._key_of.pop(port_id, None)
        self._ready = [ready for ready in self._ready if ready != port_id]
        sock.close()

    def watch(self, descriptor: int) -> None:
        """See `PacketIo.watch`."""
        self._watched.add(descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, -1)

    def unwatch(self, descriptor: int) -> None:
        """See `PacketIo.unwatch`."""
        self._watched.discard(descriptor)
        self._selector.unregister(descriptor)

    def wait(self, timeout_s: float) -> bool:
        """See `PacketIo.wait`."""
        events = self._selector.select(max(timeout_s, 0.0))
        self._ready = [key.data for key, _ in events if key.data >= 0]
        return len(self._ready) != len(events)

    def rest(self, timeout_s: float) -> None:
        """See `PacketIo.rest`."""
        for descriptor in self._watched:
            self._selector.unregister(descriptor)
        self._selector.select(max(timeout_s, 0.0))
        for descriptor in self._watched:
            self._selector.register(descriptor, selectors.EVENT_READ, -1)

    def receive(self) -> int:
        """See `PacketIo.receive`."""
        count = 0
        found: list[int] = []
        lengths: list[int] = []
        sources, rows = self._sources, self._rx_rows
        for port_id in self._ready:
            receive = self._sockets[port_id].recvfrom_into
            key_of = self._key_of.setdefault(port_id, {})
            for _ in range(min(self._batch - count, _PER_SOCKET_MAX)):
                try:
                    length, source = receive(rows[count], STRIDE)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an error of an earlier datagram that some systems report here
                key = key_of.get(source)
                found.append(self._new_key(port_id, source) if key is None else key)
                lengths.append(length)
                sources[count] = source
                count += 1
        self.keys[:count] = found
        self.lengths[:count] = lengths
        return count

    def _new_key(self, port_id: int, source: tuple[str, int]) -> int:
        key_of = self._key_of[port_id]
        if len(key_of) >= _KEYS_MAX:
            key_of.clear()
        key = key_of[source] = self._source_keys.key(port_id, (source[0], source[1]))
        return key

    def source_of(self, index: int) -> Address:
        """See `PacketIo.source_of`."""
        source = self._sources[index]
        return source[0], source[1]

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
        packets = self._rx_rows if buffer is self.rx else self._tx_rows
        places = range(len(rows)) if index is None else index.tolist()
        sizes = repeat(octets, len(rows)) if isinstance(octets, int) else octets.tolist()
        sent = 0
        for place, length, port_id, row in zip(
            places, sizes, ports.tolist(), rows.tolist(), strict=True
        ):
            sock, destination = self._sockets.get(port_id), self._destinations[row]
            if sock is None or destination is None:
                continue
            try:
                sock.sendto(packets[place][:length], destination)
            except OSError:
                continue
            sent += 1
        self.send_errors += len(rows) - sent
        self.packets_sent += sent
        return sent

    def close(self) -> None:
        """See `PacketIo.close`."""
        for port_id in list(self._sockets):
            self.close_port(port_id)
        self._selector.close()


def _rows_of(buffer: PacketBuffer) -> list[memoryview]:
    """Return a view of each row, made once: slicing costs a good part of a system call."""
    whole = memoryview(buffer.octets.data).cast("B")
    return [whole[start : start + STRIDE] for start in range(0, len(whole), STRIDE)]
