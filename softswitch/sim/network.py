"""A network in memory: hosts and ports, links that lose and delay, NATs, all from one seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from softswitch.sim.datagram import Address, DatagramTransport, OnDatagram
from softswitch.sim.link import CUT, Direction, Link, LinkCounters
from softswitch.sim.loop import SimulationError

NetworkTap = Callable[[bytes, Address, Address, float], None]

DATAGRAM_OCTETS_MAX = 65_507
ANY = "*"
_EPHEMERAL_FIRST = 32_768
_PORTS_LAST = 65_535


class AddressInUse(SimulationError):
    """Two endpoints want the same host and port."""


@dataclass(slots=True)
class NetworkCounters(LinkCounters):
    """The links' counters, and `delivered`, `unreachable` (nobody there), `filtered` (by a NAT)."""

    delivered: int = 0
    unreachable: int = 0
    filtered: int = 0


class SimSocket:
    """A bound datagram endpoint of a `SimNetwork`; made by `SimNetwork.bind` or `Nat.bind`."""

    def __init__(self, network: SimNetwork, local: Address) -> None:
        self.local = local
        self.on_unreachable: Callable[[Address], None] | None = None
        self._network = network
        self._on_datagram: OnDatagram | None = None
        self._closed = False

    def start(self, on_datagram: OnDatagram) -> None:
        """Call `on_datagram(data, source)` for each datagram from now on; earlier ones are lost."""
        self._on_datagram = on_datagram

    def send_to(self, data: bytes, destination: Address) -> None:
        """Send one datagram; what becomes of it is the network's business."""
        if not self._closed:
            self._network.carry(data, self.local, destination)

    def close(self) -> None:
        """Free the port. Datagrams on their way are lost. May be called twice."""
        if not self._closed:
            self._closed = True
            self._network.unbind(self)

    def deliver(self, data: bytes, source: Address) -> None:
        """Called by the network."""
        if self._on_datagram is not None and not self._closed:
            self._on_datagram(data, source)

    def refuse(self, destination: Address) -> None:
        """Called by the network: nobody listens at `destination` (ICMP port unreachable)."""
        if self.on_unreachable is not None and not self._closed:
            self.on_unreachable(destination)


class SimNetwork:
    """Datagram network between (host, port) endpoints on the running loop's time.

    Parameters: `seed` fixes every loss, copy and delay (each pair of addresses has its own chance,
    so that one conversation does not disturb another's); `default` is the link between hosts for
    which `set_link` has said nothing; with `icmp` a datagram to a port where nobody listens on a
    host that exists is reported to its sender. `tap(data, source, destination, now_s)`, when set,
    sees each datagram as it is sent, `tap_delivered` as it arrives, copies included.

    Works on a `VirtualLoop` and, for experiments, on any other asyncio loop.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        default: Link | None = None,
        icmp: bool = False,
    ) -> None:
        self.counters = NetworkCounters()
        self.tap: NetworkTap | None = None
        self.tap_delivered: NetworkTap | None = None
        self._seed = seed
        self._loop = loop if loop is not None else asyncio.get_running_loop()
        self._default = default if default is not None else Link()
        self._icmp = icmp
        self._links: dict[tuple[str, str], Link] = {}
        self._cuts: set[frozenset[str]] = set()
        self._sockets: dict[Address, SimSocket] = {}
        self._directions: dict[tuple[Address, Address], Direction] = {}
        self._next_port: dict[str, int] = {}
        self._in_flight = 0

    def bind(self, host: str, port: int = 0) -> SimSocket:
        """A new endpoint; port 0 takes the next free one from 32768. Raises `AddressInUse`."""
        socket = SimSocket(self, (host, port or self._free_port(host)))
        if socket.local in self._sockets:
            raise AddressInUse(f"{host}:{port}")
        self._sockets[socket.local] = socket
        return socket

    def transport(self, host: str, port: int = 0) -> DatagramTransport:
        """A new endpoint as a SIP transport. Raises `AddressInUse`."""
        return DatagramTransport(self.bind(host, port))

    async def open_transport(self, host: str, port: int = 0) -> DatagramTransport:
        """`transport`, in the form that `PhoneNetwork` asks for."""
        return self.transport(host, port)

    async def open_socket(self, host: str, port: int = 0) -> SimSocket:
        """`bind`, in the form that `PhoneNetwork` asks for."""
        return self.bind(host, port)

    def nat(self, public_host: str, *, filtering: bool = True) -> Nat:
        """A NAT with one public address; bind the hosts behind it with `Nat.bind`."""
        return Nat(self, public_host, filtering=filtering)

    def set_link(self, link: Link, *, source: str = ANY, destination: str = ANY) -> None:
        """Use `link` from host `source` to host `destination` from now on ("*": any host).

        The most particular setting wins; of two with one "*", the one that names the source.
        """
        self._links[(source, destination)] = link

    def cut(self, host: str, other: str = ANY) -> None:
        """Let nothing pass between two hosts (or one and all others) until `mend`."""
        self._cuts.add(frozenset((host, other)))

    def mend(self, host: str, other: str = ANY) -> None:
        """Undo `cut`."""
        self._cuts.discard(frozenset((host, other)))

    def link_between(self, source: str, destination: str) -> Link:
        """The link a datagram sent now would take."""
        for pair in ((source, destination), (source, ANY), (destination, ANY)):
            if self._cuts and frozenset(pair) in self._cuts:
                return CUT
        links = self._links
        for key in ((source, destination), (source, ANY), (ANY, destination), (ANY, ANY)):
            link = links.get(key)
            if link is not None:
                return link
        return self._default

    def carry(self, data: bytes, source: Address, destination: Address) -> None:
        """Take one datagram from `source`; deliver it as the link between the hosts decides."""
        if len(data) > DATAGRAM_OCTETS_MAX:
            self.counters.lost += 1
            return
        now_s = self._loop.time()
        if self.tap is not None:
            self.tap(data, source, destination, now_s)
        direction = self._directions.get((source, destination))
        if direction is None:
            text = f"{self._seed} {source[0]}:{source[1]} {destination[0]}:{destination[1]}"
            direction = self._directions[(source, destination)] = Direction(text)
        link = self.link_between(source[0], destination[0])
        for at_s in direction.deliveries(link, now_s, self.counters, len(data)):
            self._in_flight += 1
            self._loop.call_at(at_s, self._arrive, bytes(data), source, destination)

    def unbind(self, socket: SimSocket) -> None:
        """Called by `SimSocket.close`."""
        if self._sockets.get(socket.local) is socket:
            del self._sockets[socket.local]

    def snapshot(self) -> dict[str, int]:
        """Counters, `endpoints` that are bound and datagrams `in_flight`."""
        counters = self.counters
        return {
            "endpoints": len(self._sockets),
            "in_flight": self._in_flight,
            "sent": counters.sent,
            "lost": counters.lost,
            "duplicated": counters.duplicated,
            "reordered": counters.reordered,
            "delivered": counters.delivered,
            "unreachable": counters.unreachable,
            "filtered": counters.filtered,
        }

    def _arrive(self, data: bytes, source: Address, destination: Address) -> None:
        self._in_flight -= 1
        socket = self._sockets.get(destination)
        if socket is None:
            self.counters.unreachable += 1
            if self._icmp and any(host == destination[0] for host, _ in self._sockets):
                sender = self._sockets.get(source)
                if sender is not None:
                    sender.refuse(destination)
            return
        self.counters.delivered += 1
        if self.tap_delivered is not None:
            self.tap_delivered(data, source, destination, self._loop.time())
        socket.deliver(data, source)

    def _free_port(self, host: str) -> int:
        port = self._next_port.get(host, _EPHEMERAL_FIRST)
        for _ in range(_PORTS_LAST - _EPHEMERAL_FIRST + 1):
            if port > _PORTS_LAST:
                port = _EPHEMERAL_FIRST
            if (host, port) not in self._sockets:
                self._next_port[host] = port + 1
                return port
            port += 1
        raise AddressInUse(f"{host}: no port is free")


class _InsideSocket(SimSocket):
    """A host behind a NAT: sees its private address, sends from the public one."""

    def __init__(self, nat: Nat, network: SimNetwork, local: Address) -> None:
        super().__init__(network, local)
        self._nat = nat

    def send_to(self, data: bytes, destination: Address) -> None:
        if not self._closed:
            self._nat.send_out(self, data, destination)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._nat.forget(self)


class Nat:
    """A NAT with endpoint-independent mapping (RFC 4787); made by `SimNetwork.nat`.

    With `filtering` only addresses that the inside has sent to may send in, as most NATs do.
    """

    def __init__(self, network: SimNetwork, public_host: str, *, filtering: bool) -> None:
        self.public_host = public_host
        self._network = network
        self._filtering = filtering
        self._inside: dict[Address, _InsideSocket] = {}
        self._outside: dict[Address, SimSocket] = {}
        self._permitted: dict[Address, set[Address]] = {}

    def bind(self, host: str, port: int = 0) -> SimSocket:
        """An endpoint of a private host; its `local` is the private address."""
        if not port:
            port = _EPHEMERAL_FIRST
            while (host, port) in self._inside:
                port += 1
        if (host, port) in self._inside:
            raise AddressInUse(f"{host}:{port}")
        socket = self._inside[(host, port)] = _InsideSocket(self, self._network, (host, port))
        return socket

    async def open_transport(self, host: str, port: int = 0) -> DatagramTransport:
        """A private SIP endpoint, in the form that `PhoneNetwork` asks for."""
        return DatagramTransport(self.bind(host, port))

    async def open_socket(self, host: str, port: int = 0) -> SimSocket:
        """`bind`, in the form that `PhoneNetwork` asks for."""
        return self.bind(host, port)

    def rebind(self) -> None:
        """Forget every mapping, as a NAT that restarts: the next datagrams leave by new ports."""
        for outside in self._outside.values():
            outside.close()
        self._outside.clear()
        self._permitted.clear()

    def public_address(self, private: Address) -> Address | None:
        """Where the world sees a private endpoint, or None before it has sent anything."""
        outside = self._outside.get(private)
        return outside.local if outside is not None else None

    def send_out(self, inside: SimSocket, data: bytes, destination: Address) -> None:
        """Called by the inside endpoints."""
        outside = self._outside.get(inside.local)
        if outside is None:
            outside = self._outside[inside.local] = self._network.bind(self.public_host)
            self._permitted[inside.local] = set()
            outside.start(lambda data, source: self._come_in(inside, data, source))
            outside.on_unreachable = inside.refuse
        self._permitted[inside.local].add(destination)
        outside.send_to(data, destination)

    def forget(self, inside: SimSocket) -> None:
        """Called when an inside endpoint closes."""
        self._inside.pop(inside.local, None)
        self._permitted.pop(inside.local, None)
        outside = self._outside.pop(inside.local, None)
        if outside is not None:
            outside.close()

    def _come_in(self, inside: SimSocket, data: bytes, source: Address) -> None:
        if self._filtering and source not in self._permitted[inside.local]:
            self._network.counters.filtered += 1
            return
        inside.deliver(data, source)
