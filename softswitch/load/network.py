"""The machine's own network for the lab: the exchange's fast transports, worsened where it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from softswitch.errors import SoftswitchError
from softswitch.load.faults import Faults
from softswitch.sim.datagram import DatagramSocket
from softswitch.sim.link import Direction, Link, LinkCounters
from softswitch.sim.real_network import RealNetwork, RealSocket, SipOver
from softswitch.sip.flow import Flow
from softswitch.transport.interface import Receive, Transport, Unreachable
from softswitch.transport.udp import UdpTransport


class LoadNetwork:
    """A `PhoneNetwork`; `transport` is "udp", "tcp", "tls", "ws" or "wss"; `trusted` a PEM file of the
    authority, or the very certificate, that a server over TLS must show, "" for those that the system
    trusts."""

    def __init__(self, transport: str, faults: Faults, seed: int = 0, trusted: str = "") -> None:
        self._transport = transport
        self._trusted = Path(trusted) if trusted else None
        self._faults = faults
        self._seed = seed

    async def open_transport(self, host: str, port: int = 0) -> Transport:
        """A SIP transport. Raises `SoftswitchError` when it cannot be bound."""
        made: Transport
        if self._transport == "udp":
            made = UdpTransport.bind(host, port)
        elif self._transport in get_args(SipOver):
            network = RealNetwork(self._transport, trusted=self._trusted)  # type: ignore[arg-type]
            made = await network.open_transport(host, port)
        else:
            raise SoftswitchError(f"transport {self._transport}: udp, tcp, tls, ws or wss")
        if self._transport == "udp" and (self._faults.worsens or self._faults.rebind_sip_s):
            seed = f"{self._seed} sip {port}"
            return FaultyTransport(made, self._faults, seed, lambda: UdpTransport.bind(host, 0))
        return made

    async def open_socket(self, host: str, port: int = 0) -> DatagramSocket:
        """A UDP socket."""
        return await RealSocket.open(host, port)


class FaultyTransport:
    """A transport whose messages meet the fates of a `Link` each way.

    Every `rebind_sip_s` it goes on from another port that `again` opens, as behind a NAT that has
    forgotten: we still say the port that we believe to have, and what comes to the old one is lost.
    """

    def __init__(
        self, inner: Transport, faults: Faults, seed: str, again: Callable[[], Transport]
    ) -> None:
        self.counters_up, self.counters_down = LinkCounters(), LinkCounters()
        self._inner = inner
        self._faults = faults
        self._up, self._down = Direction(f"{seed} up"), Direction(f"{seed} down")
        self._receive: Receive | None = None
        self._unreachable: Unreachable | None = None
        self._again = again
        self._local = inner.local
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.rebindings = 0
        self.rebound_at_s = 0.0
        """When the NAT forgot us last, on the loop's clock."""
        self.on_rebind: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """As of the transport inside."""
        return self._inner.name

    @property
    def local(self) -> tuple[str, int]:
        """As of the first transport inside."""
        return self._local

    def start(self, receive: Receive, unreachable: Unreachable) -> None:
        """Begin to receive."""
        self._receive, self._unreachable = receive, unreachable
        self._inner.start(self._come, unreachable)
        self._wait_to_rebind()

    def _wait_to_rebind(self) -> None:
        if self._faults.rebind_sip_s:
            self._timer = self._loop.call_later(self._faults.rebind_sip_s, self._rebind)

    def _rebind(self) -> None:
        assert self._unreachable is not None
        old, self._inner = self._inner, self._again()
        self._inner.start(self._come, self._unreachable)
        old.close()
        self.rebindings += 1
        self.rebound_at_s = self._loop.time()
        self.on_rebind()
        self._wait_to_rebind()

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message, or not."""
        for wait_s in self._fates(self._up, self._faults.up, self.counters_up, len(data)):
            if wait_s <= 0:
                self._inner.send(data, flow)
            else:
                self._loop.call_later(wait_s, self._send_later, data, flow)

    def _send_later(self, data: bytes, flow: Flow) -> None:
        if not self._closed:
            self._inner.send(data, flow)

    def _come(self, data: bytes, flow: Flow) -> None:
        if self.rebindings:
            flow = Flow(
                flow.transport, self._local, flow.remote
            )  # who sits behind a NAT does not know
        for wait_s in self._fates(self._down, self._faults.down, self.counters_down, len(data)):
            if wait_s <= 0:
                self._deliver(data, flow)
            else:
                self._loop.call_later(wait_s, self._deliver, data, flow)

    def _deliver(self, data: bytes, flow: Flow) -> None:
        if self._receive is not None and not self._closed:
            self._receive(data, flow)

    def _fates(
        self, direction: Direction, link: Link, counters: LinkCounters, octets: int
    ) -> list[float]:
        now_s = self._loop.time()
        return [at_s - now_s for at_s in direction.deliveries(link, now_s, counters, octets)]

    def prove(self, flow: Flow) -> None:
        """Passed on."""
        self._inner.prove(flow)

    def close(self) -> None:
        """Stop."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._inner.close()

    def snapshot(self) -> dict[str, int]:
        """That of the transport inside, and what was `lost_up` and `lost_down`."""
        lost = {"lost_up": self.counters_up.lost, "lost_down": self.counters_down.lost}
        return {**self._inner.snapshot(), **lost}
