"""Real sockets for simulated phones and relays: UDP by asyncio-dgram, TCP, TLS and WebSocket.

The exchange itself does not read its sockets this way (docs/adr/0003): here a phone sends a packet
in 20 ms and the convenience costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import asyncio_dgram
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from softswitch.sim.datagram import Address, DatagramTransport, OnDatagram
from softswitch.sip.flow import Flow
from softswitch.transport.credential import TlsIdentity, ensure_certificate
from softswitch.transport.interface import Receive, Transport, Unreachable
from softswitch.transport.tcp import TcpTransport
from softswitch.transport.tls import TlsTransport

_OUTBOX_MAX = 4096


SipOver = Literal["udp", "tcp", "tls", "ws", "wss"]


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

    Parameters: `transport` is what phones speak SIP over; their RTP is UDP all the same. `trusted` is
    the PEM file of the authority, or the very certificate, that a server over "tls" or "wss" must show.
    """

    def __init__(self, transport: SipOver = "udp", *, trusted: Path | None = None) -> None:
        self._transport = transport
        self._trusted = trusted

    async def open_transport(self, host: str, port: int = 0) -> Transport:
        """A SIP transport. Raises `OSError` or `SoftswitchError` when it cannot be bound."""
        match self._transport:
            case "tcp":
                return TcpTransport.bind(host, port)
            case "tls":
                return TlsTransport.bind(host, port, identity=self._identity(host))
            case "ws":
                return WsClient(host)
            case "wss":
                return WsClient(host, self._identity(host).client_context())
            case _:
                return DatagramTransport(await RealSocket.open(host, port))

    async def open_socket(self, host: str, port: int = 0) -> RealSocket:
        """A real UDP socket. Raises `OSError`."""
        return await RealSocket.open(host, port)

    def _identity(self, host: str) -> TlsIdentity:
        with tempfile.TemporaryDirectory(prefix="softswitch-sim-") as directory:
            certificate, key = ensure_certificate(Path(directory), [host])
            return TlsIdentity(certificate, key, trusted=self._trusted, now_s=time.monotonic)


class WsClient:
    """What a browser's SIP library is to a server: one WebSocket, opened with the first message; secured
    where there is a `context`, which says whom to trust."""

    def __init__(self, host: str, context: ssl.SSLContext | None = None) -> None:
        self.name = "ws" if context is None else "wss"
        self._context = context
        self._failed = ""
        # Nobody can reach it there: browsers write a name that does not exist (RFC 7118, appendix A).
        self._local: Address = (host, 9)
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue(_OUTBOX_MAX)
        self._receive: Receive | None = None
        self._task: asyncio.Task[None] | None = None
        self._counts = {"received": 0, "sent": 0}

    @property
    def local(self) -> Address:
        """The address in Via and Contact."""
        return self._local

    def start(self, receive: Receive, unreachable: Unreachable) -> None:
        """Begin to receive."""
        self._receive = receive
        self._unreachable = unreachable

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message to the server at `flow.remote`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(flow))
        self._outbox.put_nowait(data)

    def prove(self, flow: Flow) -> None:
        """Nothing to keep."""

    def why_unreachable(self, flow: Flow) -> str:
        """What the last connection failed by, "" when it did not."""
        return self._failed

    def close(self) -> None:
        """Drop the connection."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def snapshot(self) -> dict[str, int]:
        """Messages `received` and `sent`."""
        return dict(self._counts)

    async def _run(self, flow: Flow) -> None:
        host, port = flow.remote
        at = f"[{host}]" if ":" in host else host
        options: dict[str, Any] = {"subprotocols": [Subprotocol("sip")]}
        if self._context is not None:
            options |= {"ssl": self._context, "server_hostname": flow.server_name or host}
        try:
            async with connect(f"{self.name}://{at}:{port}/", **options) as socket:
                sending = asyncio.ensure_future(self._send_all(socket))
                try:
                    async for message in socket:
                        data = message.encode() if isinstance(message, str) else message
                        self._counts["received"] += 1
                        if self._receive is not None:
                            self._receive(data, flow)
                finally:
                    sending.cancel()
            self._failed = "closed by the peer"
        except ssl.SSLCertVerificationError as error:
            self._failed = f"certificate refused: {error.verify_message}"
        except (OSError, WebSocketException) as error:
            self._failed = getattr(error, "strerror", None) or str(error)
        self._task = None
        self._unreachable(flow)

    async def _send_all(self, socket: ClientConnection) -> None:
        while True:
            await socket.send((await self._outbox.get()).decode("utf-8", "surrogateescape"))
            self._counts["sent"] += 1
