"""The ports of streams on a simulated network: sound on virtual time, the same at each run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.plane.packet_io import PacketBuffer
from softswitch.load.port_io import Received
from softswitch.sim.datagram import Address
from softswitch.sim.network import SimNetwork, SimSocket

_ROWS = 256
_WAITING_MAX = 1000


class SimPortIo:
    """`StreamPorts` over `SimNetwork`; the clock is the running loop's."""

    precise = True

    def __init__(self, network: SimNetwork, width: int) -> None:
        self.tx = PacketBuffer(_ROWS)
        self._network = network
        self._width = width
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, SimSocket] = {}
        self._waiting: dict[int, deque[tuple[int, bytes, Address]]] = {}
        self._remotes: dict[int, Address] = {}
        self._numbers: dict[Address, int] = {}

    def clock_us(self) -> int:
        """Virtual microseconds."""
        return round(self._loop.time() * 1e6)

    def bind(self, port: int, host: str) -> Address:
        """See `StreamPorts.bind`."""
        socket = self._sockets[port] = self._network.bind(host)
        self._waiting[port] = deque(maxlen=_WAITING_MAX)
        socket.start(self._keep(port))
        return socket.local

    def _keep(self, port: int) -> Callable[[bytes, Address], None]:
        waiting = self._waiting[port]
        return lambda data, source: waiting.append((self.clock_us(), data, source))

    def close_port(self, port: int) -> None:
        """See `StreamPorts.close_port`."""
        socket = self._sockets.pop(port, None)
        if socket is not None:
            socket.close()
            del self._waiting[port]

    def set_destination(self, row: int, address: Address) -> None:
        """See `StreamPorts.set_destination`."""
        self._remotes[row] = address

    def source_key(self, port: int, address: Address) -> int:
        """See `StreamPorts.source_key`."""
        return self._numbers.setdefault(address, len(self._numbers) + 1) << 16 | port

    def send(
        self, octets: NDArray[np.int32], ports: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """See `StreamPorts.send`."""
        for place, (port, row) in enumerate(zip(ports.tolist(), rows.tolist(), strict=True)):
            data = self.tx.octets[place, : octets[place]].tobytes()
            self._sockets[port].send_to(data, self._remotes[row])
        return np.ones(len(rows), np.bool_)

    def receive(self, ports: NDArray[np.intp]) -> list[Received]:
        """See `StreamPorts.receive`."""
        found = []
        for port in ports.tolist():
            waiting = self._waiting.get(port, deque())
            while waiting:
                found.append((port, *waiting.popleft()))
        if not found:
            return []
        packets = np.zeros((len(found), self._width), np.uint8)
        for row, (_, _, data, _) in enumerate(found):
            kept = data[: self._width]
            packets[row, : len(kept)] = np.frombuffer(kept, np.uint8)
        return [
            Received(
                ports=np.array([entry[0] for entry in found], np.intp),
                packets=packets,
                lengths=np.array([len(entry[2]) for entry in found], np.int32),
                at_us=np.array([entry[1] for entry in found], np.int64),
                keys=np.array([self.source_key(e[0], e[3]) for e in found], np.uint64),
            )
        ]

    def drain(self, port: int) -> None:
        """See `StreamPorts.drain`."""
        self._waiting[port].clear()

    def close(self) -> None:
        """See `StreamPorts.close`."""
        for port in list(self._sockets):
            self.close_port(port)
