"""A UDP relay on real sockets that loses, doubles and delays from a seed.

`tc netem` needs root and a kernel module; this needs neither, and repeats itself exactly as far as
the order of what it is given repeats.
"""

from __future__ import annotations

import asyncio
from typing import Self

from softswitch.sim.datagram import Address
from softswitch.sim.link import PERFECT, Direction, Link, LinkCounters
from softswitch.sim.real_network import RealSocket

_CLIENTS_MAX = 4096


class LossRelay:
    """Stands between clients and one server: clients send to `address`, the server sees one port
    of the relay for each client.

    Parameters: `server` where everything goes; `up` is what happens on the way to it, `down` on the
    way back; both may be changed at any time. The fates of datagrams depend on `seed`, the number
    of the client (in the order of their first datagram) and the number of the datagram::

        async with LossRelay(server, up=Link(loss=0.2), down=Link(loss=0.2), seed=7) as relay:
            phone = VirtualPhone(RealNetwork(), number="1001", server=relay.address, ...)
    """

    def __init__(
        self,
        server: Address,
        *,
        up: Link = PERFECT,
        down: Link = PERFECT,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.up = up
        self.down = down
        self.counters_up = LinkCounters()
        self.counters_down = LinkCounters()
        self.refused = 0
        self._server = server
        self._seed = seed
        self._host, self._port = host, port
        self._front: RealSocket | None = None
        self._clients: dict[Address, _Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        """Bind the front address. Raises `OSError`."""
        self._front = await RealSocket.open(self._host, self._port)
        self._front.start(self._from_client)

    async def close(self) -> None:
        """Free all ports; what is delayed is lost."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients.values():
            client.close()
        if self._front is not None:
            self._front.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    @property
    def address(self) -> Address:
        """Where clients send to."""
        assert self._front is not None, "open() first"
        return self._front.local

    async def rebind(self) -> None:
        """Forget all bindings, as a NAT that was restarted: the server sees every client come from
        another port, and what it still sends to the old one is lost."""
        for client in list(self._clients.values()):
            await client.rebind()

    def seen_as(self, client: Address) -> Address | None:
        """The address under which the server sees `client`, or None before its first datagram."""
        found = self._clients.get(client)
        return found.back.local if found is not None and found.back is not None else None

    def snapshot(self) -> dict[str, int]:
        """`clients`, and for both ways what was sent, lost, duplicated and reordered."""
        found = {"clients": len(self._clients), "refused": self.refused}
        for way, counters in (("up", self.counters_up), ("down", self.counters_down)):
            for name in LinkCounters.__slots__:
                found[f"{way}_{name}"] = getattr(counters, name)
        return found

    def _from_client(self, data: bytes, source: Address) -> None:
        client = self._clients.get(source)
        if client is None:
            if len(self._clients) >= _CLIENTS_MAX or self._closed:
                self.refused += 1
                return
            client = self._clients[source] = _Client(self, source, len(self._clients))
            task = asyncio.create_task(client.open())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        client.go_up(data)

    def deliver(self, client: _Client, way: str, data: bytes) -> None:
        """Called by the clients when a datagram's time has come."""
        if self._closed or self._front is None or client.back is None:
            return
        if way == "up":
            client.back.send_to(data, self._server)
        else:
            self._front.send_to(data, client.address)


class _Client:
    """One client: its port towards the server and its two directions."""

    def __init__(self, relay: LossRelay, address: Address, number: int) -> None:
        self.address = address
        self.back: RealSocket | None = None
        self._relay = relay
        self._waiting: list[bytes] = []
        self._up = Direction(f"{relay._seed} {number} up")
        self._down = Direction(f"{relay._seed} {number} down")

    async def open(self) -> None:
        """Bind the port towards the server, then send what came meanwhile."""
        self.back = await RealSocket.open(self._relay._host)
        self.back.start(lambda data, _: self.go_down(data))
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.go_up(data)

    async def rebind(self) -> None:
        """Go on from another port."""
        old, self.back = self.back, None
        await self.open()
        if old is not None:
            old.close()

    def close(self) -> None:
        if self.back is not None:
            self.back.close()

    def go_up(self, data: bytes) -> None:
        if self.back is None:
            self._waiting.append(data)
            return
        self._schedule("up", self._up, self._relay.up, self._relay.counters_up, data)

    def go_down(self, data: bytes) -> None:
        self._schedule("down", self._down, self._relay.down, self._relay.counters_down, data)

    def _schedule(
        self, way: str, direction: Direction, link: Link, counters: LinkCounters, data: bytes
    ) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for at_s in direction.deliveries(link, now_s, counters, len(data)):
            if at_s <= now_s:
                self._relay.deliver(self, way, data)
            else:
                loop.call_at(at_s, self._relay.deliver, self, way, data)
