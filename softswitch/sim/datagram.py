"""What a simulated phone needs of a network, be it in memory or real: sockets and a SIP transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from softswitch.sip.flow import Flow
from softswitch.transport.interface import Receive, Transport, Unreachable

Address = tuple[str, int]
"""An IP address in text and a port."""

OnDatagram = Callable[[bytes, Address], None]
"""Called with each datagram and where it came from."""


class DatagramSocket(Protocol):
    """A bound datagram endpoint."""

    on_unreachable: Callable[[Address], None] | None

    @property
    def local(self) -> Address:
        """The bound address and port."""

    def start(self, on_datagram: OnDatagram) -> None:
        """Call `on_datagram` for each datagram from now on."""

    def send_to(self, data: bytes, destination: Address) -> None:
        """Send one datagram; never waits."""

    def close(self) -> None:
        """Free the port. May be called twice."""


class PhoneNetwork(Protocol):
    """Where a phone can be plugged in: `SimNetwork`, a `Nat` of it, or `RealNetwork`."""

    async def open_transport(self, host: str, port: int = 0) -> Transport:
        """A SIP transport over UDP; port 0 takes any."""

    async def open_socket(self, host: str, port: int = 0) -> DatagramSocket:
        """A datagram endpoint for RTP; port 0 takes any."""


class DatagramTransport:
    """A `DatagramSocket` as a SIP transport for `softswitch.transport.driver.Driver`."""

    name = "udp"

    def __init__(self, socket: DatagramSocket) -> None:
        self._socket = socket
        self._receive: Receive | None = None
        self._flows: dict[Address, Flow] = {}
        self._received = self._sent = 0

    @property
    def local(self) -> Address:
        """The bound host and port."""
        return self._socket.local

    def start(self, receive: Receive, unreachable: Unreachable) -> None:
        """Begin to receive."""
        self._receive = receive
        self._socket.start(self._arrive)
        self._socket.on_unreachable = lambda remote: unreachable(self._flow(remote))

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message to `flow.remote`."""
        self._sent += 1
        self._socket.send_to(data, flow.remote)

    def prove(self, flow: Flow) -> None:
        """Nothing to keep: there are no connections."""

    def close(self) -> None:
        """Free the port."""
        self._receive = None
        self._socket.close()

    def snapshot(self) -> dict[str, int]:
        """Messages `received` and `sent`."""
        return {"received": self._received, "sent": self._sent}

    def _arrive(self, data: bytes, source: Address) -> None:
        if self._receive is not None:
            self._received += 1
            self._receive(data, self._flow(source))

    def _flow(self, remote: Address) -> Flow:
        flow = self._flows.get(remote)
        if flow is None:
            flow = self._flows[remote] = Flow(self.name, self.local, remote)
        return flow
