"""What TCP, TLS and WebSocket have in common: listening, connecting, the table of connections."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import struct
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, ClassVar, Self

from softswitch.errors import SoftswitchError
from softswitch.sip.flow import Flow
from softswitch.sources import source_of
from softswitch.transport.address import unmapped
from softswitch.transport.arrivals import Arrivals
from softswitch.transport.connection import Connection
from softswitch.transport.interface import OnShed, Receive, Unreachable, nobody_asks
from softswitch.transport.layers import Framing, SipFraming
from softswitch.transport.limits import (
    ConnectionQuota,
    StreamCounters,
    StreamLimits,
)
from softswitch.transport.tls_session import TlsSession

_log = logging.getLogger("softswitch.transport")

_READ_OCTETS = 262_144
"""More than the largest message: one that is refused has been read, and its sender hears so."""
_ACCEPTS_PER_WAKE = 256
_WELCOMES_PER_WAKE = 16
_DISPLACED_PER_WAKE = 16
"""Their descriptors are closed when the loop turns, not before."""
_BACKLOG = 4096
"""What waits here costs the kernel little, and who finds it full waits a second for his next SYN."""
_AT_ONCE = struct.pack("ii", 1, 0)
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FAILURES_MAX = 256
_REFUSED_S = 3600.0

Peer = tuple[tuple[str, int], str]
"""Address and, for TLS, the name its certificate must be for."""


class StreamTransport:
    """A listening socket and the connections from and to it; fits `interface.Transport`.

    Make it with `bind`. A flow with a `connection_id` means exactly that connection: when it is gone,
    `unreachable` is told, and nobody else's connection is tried. A flow without one means the
    connection that we have opened to `flow.remote` (under `flow.server_name`), which is made when
    there is none.
    """

    name: ClassVar[str] = ""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        limits: StreamLimits,
        quota: ConnectionQuota,
    ) -> None:
        self.counters = StreamCounters()
        self.limits = limits
        self.loop = loop
        self.buffer = bytearray(_READ_OCTETS)
        self._sock = sock
        self._family = sock.family
        address = sock.getsockname()
        self._local: tuple[str, int] = (address[0], address[1])
        self._quota = quota
        self.on_refused: OnShed = nobody_asks
        self._receive: Receive | None = None
        self._unreachable: Unreachable | None = None
        self._connections: dict[int, Connection] = {}
        self._ours: dict[Peer, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: OrderedDict[Peer, str] = OrderedDict()
        self._refused: OrderedDict[Peer, float] = OrderedDict()
        self._last_id = 0
        self._accepting = False
        self._arrivals: Arrivals[tuple[socket.socket, tuple[str, int], str]] = Arrivals()
        self._welcoming: asyncio.Handle | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._closed = False

    @classmethod
    def bind(
        cls,
        host: str,
        port: int,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        limits: StreamLimits | None = None,
        quota: ConnectionQuota | None = None,
        **options: Any,
    ) -> Self:
        """Listen on `host` (an IP literal) and `port` (0: any).

        `quota` may be shared between transports; `options` are those of the class. Raises
        `SoftswitchError` in one line when that cannot be done.
        """
        sock = listening_socket(host, port, cls.name)
        return cls(
            sock,
            loop if loop is not None else asyncio.get_running_loop(),
            limits if limits is not None else StreamLimits(),
            quota if quota is not None else ConnectionQuota(),
            **options,
        )

    @property
    def local(self) -> tuple[str, int]:
        """The listening address and port; `local` of all flows, those we opened included."""
        return self._local

    def start(self, receive: Receive, unreachable: Unreachable) -> None:
        """Begin to accept; `receive` gets whole messages, `unreachable` lost and refused flows."""
        self._receive = receive
        self._unreachable = unreachable
        self._accept_again()

    def send(self, data: bytes, flow: Flow) -> None:
        """Write one message to its connection, made first where there is none."""
        if self._closed:
            return
        if flow.connection_id:
            connection = self._connections.get(flow.connection_id)
        else:
            connection = self._ours.get((flow.remote, flow.server_name)) or self._connect(flow)
        if connection is None:
            self.counters.unsendable += 1
            self._tell_unreachable(flow)
        else:
            connection.send(data)

    def prove(self, flow: Flow) -> None:
        """The sender of this flow has shown who he is: his connection stays."""
        connection = self._connections.get(flow.connection_id)
        if connection is not None and not connection.proven:
            connection.prove()
            self._quota.prove(connection, self.loop.time())

    def why_unreachable(self, flow: Flow) -> str:
        """What the last connection to this peer failed by, "" when it did not."""
        return self._failures.get((flow.remote, flow.server_name), "")

    def refused(self, flow: Flow) -> bool:
        """Whether this peer let no connection of ours be made within the last hour."""
        at_s = self._refused.get((flow.remote, flow.server_name))
        return at_s is not None and self.loop.time() - at_s < _REFUSED_S

    def close(self) -> None:
        """Stop listening and drop all connections. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._pause_accepting()
        if self._resume is not None:
            self._resume.cancel()
        if self._welcoming is not None:
            self._welcoming.cancel()
        while self._arrivals:
            sock, _, source = self._arrivals.next()
            self._quota.turn_back(source)
            sock.close()
        self._sock.close()
        for connection in list(self._connections.values()):
            connection.abort()
        self._receive = self._unreachable = None

    def snapshot(self) -> dict[str, int]:
        """The counters, `connections` now and those `opened` by us."""
        found = {name: getattr(self.counters, name) for name in StreamCounters.__slots__}
        found["connections"] = len(self._connections)
        found["opened"] = len(self._ours)
        return found

    # -- what transports differ in ---------------------------------------------------------------

    def make_framing(self, *, ours: bool) -> Framing:
        """How messages are cut out of a new connection's plain octets."""
        return SipFraming(self.limits.messages, client=ours)

    def make_tls(self, flow: Flow, *, ours: bool) -> TlsSession | None:
        """The TLS session of a new connection, if this transport has one."""
        return None

    # -- called by connections -----------------------------------------------------------------

    def deliver(self, message: bytes, connection: Connection) -> None:
        """A whole message has come."""
        self.counters.received += 1
        if self._receive is not None:
            self._receive(message, connection.flow)

    def forget(self, connection: Connection, why: str) -> None:
        """A connection is over: its place is free, whoever used it is told."""
        flow = connection.flow
        if self._connections.pop(flow.connection_id, None) is None:
            return
        if connection.ours:
            peer = (flow.remote, flow.server_name)
            if self._ours.get(peer) is connection:
                del self._ours[peer]
            self._note_failure(peer, why)
            unnumbered = Flow(self.name, self._local, flow.remote, 0, flow.server_name)
            self._tell_unreachable(unnumbered)
        else:
            self.counters.displaced += why == "displaced"
            self._quota.give_back(connection)
        self._tell_unreachable(flow)

    def _note_failure(self, peer: Peer, why: str) -> None:
        self._failures.pop(peer, None)
        self._failures[peer] = why
        if len(self._failures) > _FAILURES_MAX:
            self._failures.popitem(last=False)

    def _tell_unreachable(self, flow: Flow) -> None:
        if self._unreachable is not None:
            # Never from inside `send`: the stack may be in the middle of a decision.
            self.loop.call_soon(self._unreachable, flow)

    # -- accepting -----------------------------------------------------------------------------

    def _accept_again(self) -> None:
        self._resume = None
        if not self._closed and not self._accepting and self._receive is not None:
            self._accepting = True
            self.loop.add_reader(self._sock.fileno(), self._accept)

    def _pause_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            self.loop.remove_reader(self._sock.fileno())

    def _accept(self) -> None:
        """Many a turn, since that costs next to nothing; who is let in has his turn by `Arrivals`."""
        displaced = 0
        for _ in range(_ACCEPTS_PER_WAKE):
            if displaced == _DISPLACED_PER_WAKE:
                return
            if not self._quota.has_room():
                # What is left waits in the kernel's queue until somebody hangs up.
                self.counters.accept_pauses += 1
                self._pause_accepting()
                self._quota.wait(self._accept_again)
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS:
                    raise
                self.counters.accept_pauses += 1
                self._pause_accepting()
                self._resume = self.loop.call_later(self.limits.accept_pause_s, self._accept_again)
                return
            remote = (unmapped(address[0]), address[1])
            source = source_of(remote[0])
            if self._quota.allows(source, self.loop.time()):
                held, another_goes = self._quota.arrive(source)
                displaced += another_goes
                self._arrivals.add((sock, remote, source), held)
                self._welcome_soon()
            else:
                self.counters.refused += 1
                self.on_refused(remote[0], True, self.loop.time())
                # By RST: nothing of it is left in our kernel either.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                sock.close()

    def _welcome_soon(self) -> None:
        if self._welcoming is None:
            self._welcoming = self.loop.call_soon(self._welcome_some)

    def _welcome_some(self) -> None:
        self._welcoming = None
        for _ in range(min(_WELCOMES_PER_WAKE, len(self._arrivals))):
            sock, remote, _ = self._arrivals.next()
            self._welcome(sock, remote)
        if self._arrivals:
            self._welcome_soon()

    def _welcome(self, sock: socket.socket, remote: tuple[str, int]) -> None:
        self.counters.accepted += 1
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._register(Flow(self.name, self._local, remote), ours=False)
        self._quota.take(connection)
        self._keep(self._adopt(connection, sock))

    async def _adopt(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, sock)
        except OSError as error:
            sock.close()
            self.forget(connection, str(error))

    # -- connecting ----------------------------------------------------------------------------

    def _connect(self, flow: Flow) -> Connection | None:
        """Begin to connect; None where the address is not usable or the table is full."""
        try:
            address = ipaddress.ip_address(flow.remote[0])
        except ValueError:
            return None  # a name would ask the DNS in the pool all file writes share
        fits = (address.version == 6) == (self._family == socket.AF_INET6)
        if not (fits or self._local[0] == "::") or not 0 < flow.remote[1] < 65_536:
            return None
        if len(self._ours) >= self.limits.outgoing:
            return None
        try:
            connection = self._register(flow, ours=True)
        except ValueError:
            return None  # a server name that no certificate can carry
        self._ours[(flow.remote, flow.server_name)] = connection
        connection.task = self._keep(self._open(connection))
        return connection

    async def _open(self, connection: Connection) -> None:
        host, port = connection.flow.remote
        peer = (connection.flow.remote, connection.flow.server_name)
        try:
            async with asyncio.timeout(self.limits.connect_s):
                # From our own address, by which a carrier knows us.
                wildcard = self._local[0] in ("0.0.0.0", "::")
                await self.loop.create_connection(
                    lambda: connection,
                    host,
                    port,
                    local_addr=None if wildcard else (self._local[0], 0),
                )
        except (OSError, TimeoutError) as error:
            self.counters.connect_failed += 1
            self._refused[peer] = self.loop.time()
            if len(self._refused) > _FAILURES_MAX:
                self._refused.popitem(last=False)
            connection.task = None
            connection.abort(_words(error))
        else:
            self.counters.connected += 1
            connection.task = None
            self._failures.pop(peer, None)
            self._refused.pop(peer, None)

    def _register(self, flow: Flow, *, ours: bool) -> Connection:
        self._last_id += 1
        flow = Flow(self.name, self._local, flow.remote, self._last_id, flow.server_name)
        connection = Connection(
            self,
            flow,
            self.make_framing(ours=ours),
            self.make_tls(flow, ours=ours),
            ours=ours,
        )
        self._connections[self._last_id] = connection
        return connection

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def listening_socket(host: str, port: int, what: str) -> socket.socket:
    """A bound, listening, non-blocking socket. Raises `SoftswitchError` in one line."""
    try:
        six = ipaddress.ip_address(host).version == 6
    except ValueError as error:
        raise SoftswitchError(f"{what} {host}: an IP address is needed") from error
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise SoftswitchError(f"{what} {host}:{port}: {error.strerror}") from error
    return sock


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer to the connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)
