"""The UDP sockets of all workers: bound here, lent to workers, so that a port outlives its worker."""

from __future__ import annotations

import contextlib
import socket

from media.plane.allocator import Placement, PortAllocator

_BUFFER_OCTETS = 4 << 20
_FORCED = ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF))
"""(SO_RCVBUFFORCE, SO_SNDBUFFORCE: beyond the system's limit, for those who may) and the usual."""

Pair = tuple[socket.socket, socket.socket]
"""The RTP and the RTCP socket of a port."""


class PortSockets:
    """Sockets of the ports that `allocator` has given out, on `address` (numeric)."""

    def __init__(self, address: str, allocator: PortAllocator) -> None:
        self._address = address
        self._allocator = allocator
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._pairs: dict[int, Pair] = {}
        self.parting: dict[int, tuple[int, Pair]] = {}

    def __len__(self) -> int:
        return 2 * (len(self._pairs) + len(self.parting))

    def open_first(self, worker: int) -> None:
        """Bind the ports a worker begins with, as far as they are to be had."""
        for placement in self._allocator.open_first(worker):
            with contextlib.suppress(OSError):
                self.bind(placement)

    def bind(self, placement: Placement) -> None:
        """Bind both sockets of a port; raises `OSError` after taking the port out of use."""
        for stream_id, (port, pair) in self.parting.items():
            if port == placement.port:
                del self.parting[stream_id]
                self._pairs[placement.port_id] = pair
                return
        made: list[socket.socket] = []
        try:
            for offset in (0, 1):
                made.append(self._made())
                made[-1].bind((self._address, placement.port + offset))
        except OSError:
            for sock in made:
                sock.close()
            self._allocator.refused(placement.port_id)
            raise
        self._pairs[placement.port_id] = (made[0], made[1])

    def _made(self) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        if self._family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        for forced, usual in _FORCED:
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_OCTETS)
            except OSError:
                sock.setsockopt(socket.SOL_SOCKET, usual, _BUFFER_OCTETS)
        return sock

    def descriptors(self, port_id: int) -> tuple[int, int] | None:
        """Return the descriptors of a port, None if it could not be bound."""
        pair = self._pairs.get(port_id)
        return None if pair is None else (pair[0].fileno(), pair[1].fileno())

    def part(self, placement: Placement, stream_id: int) -> None:
        """`stream_id` was the last on this port: its sockets close when the worker has closed them,
        see `parted`. As long as the worker holds them nobody else can bind the port."""
        pair = self._pairs.pop(placement.port_id, None)
        if pair is not None:
            self.parting[stream_id] = (placement.port, pair)

    def parted(self, stream_id: int) -> None:
        """The worker is done with what `part` was told of this stream."""
        parting = self.parting.pop(stream_id, None)
        if parting is not None:
            for sock in parting[1]:
                sock.close()

    def close(self) -> None:
        """Close every socket."""
        for stream_id in list(self.parting):
            self.parted(stream_id)
        for pair in self._pairs.values():
            for sock in pair:
                sock.close()
        self._pairs.clear()
