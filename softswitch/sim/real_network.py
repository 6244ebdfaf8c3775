"""Real UDP sockets for simulated phones and relays, by asyncio-dgram.

The exchange itself does not read its sockets this way (docs/adr/0003): here a phone sends a packet
in 20 ms and the convenience costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Literal

import asyncio_dgram

from softswitch.sim.datagram import Address, DatagramTransport, OnDatagram
from softswitch.transport.interface import Transport
from softswitch.transport.tcp import TcpTransport

_OUTBOX_MAX = 4096


class RealSocket:
    """A UDP socket as a `DatagramSocket`; open it with `await RealSocket.open(host, port)`."""

    def __init__(self, stream: Any) -> None:
        self.on_unreachable: Callable[[Address], None] | None = None
        self.dropped = 0
        self._stream = stream
        self._local: Address = tuple(stream.sockname[:2])
        self._outbox: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue(_OUTBOX_MAX)
        self._tasks = [asyncio.create_task(self._send_all())]
        self._closed = False

    @classmethod
    async def open(cls, host: str, port: int = 0) -> RealSocket:
        """Bind `host` and `port` (0: any). Raises `OSError`."""
        return cls(await asyncio_dgram.bind((host, port)))

    @property
    def local(self) -> Address:
        """The bound address and port."""
        return self._local

    def start(self, on_datagram: OnDatagram) -> None:
        """Call `on_datagram(data, source)` for each datagram, those already received included."""
        self._tasks.append(asyncio.create_task(self._receive_all(on_datagram)))

    def send_to(self, data: bytes, destination: Address) -> None:
        """Queue one datagram; when the kernel takes none for long, new ones are dropped."""
        if self._closed:
            return
        try:
            self._outbox.put_nowait((data, destination))
        except asyncio.QueueFull:
            self.dropped += 1

    def close(self) -> None:
        """Free the port. What is still in the outbox is lost."""
        if not self._closed:
            self._closed = True
            for task in self._tasks:
                task.cancel()
            self._stream.close()

    async def _send_all(self) -> None:
        with contextlib.suppress(asyncio_dgram.TransportClosed):
            while True:
                data, destination = await self._outbox.get()
                try:
                    await self._stream.send(data, destination)
                except OSError:
                    self.dropped += 1

    async def _receive_all(self, on_datagram: OnDatagram) -> None:
        with contextlib.suppress(asyncio_dgram.TransportClosed):
            while True:
                try:
                    data, source = await self._stream.recv()
                except OSError:
                    continue
                on_datagram(data, (source[0], source[1]))


class RealNetwork:
    """The machine's own network as a `softswitch.sim.datagram.PhoneNetwork`.

    With `transport` "tcp" phones speak SIP over TCP; their RTP is UDP all the same.
    """

    def __init__(self, transport: Literal["udp", "tcp"] = "udp") -> None:
        self._transport = transport

    async def open_transport(self, host: str, port: int = 0) -> Transport:
        """A SIP transport. Raises `OSError` or `SoftswitchError` when it cannot be bound."""
        if self._transport == "tcp":
            return TcpTransport.bind(host, port)
        return DatagramTransport(await RealSocket.open(host, port))

    async def open_socket(self, host: str, port: int = 0) -> RealSocket:
        """A real UDP socket. Raises `OSError`."""
        return await RealSocket.open(host, port)
