"""SIP over TCP (RFC 3261 section 18, keep-alives of RFC 5626): connections with deadlines and limits."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from softswitch.errors import SoftswitchError
from softswitch.sip.flow import Flow
from softswitch.sip.framing import KeepAlive, StreamFramer
from softswitch.sip.parser import DEFAULT_LIMITS, Limits, ParseError
from softswitch.transport.address import unmapped
from softswitch.transport.interface import Receive, Unreachable

_log = logging.getLogger("softswitch.transport")

_ACCEPTS_PER_WAKE = 16
_BACKLOG = 256
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PING = b"\r\n\r\n"
_PONG = b"\r\n"


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """What strangers may make us hold, and for how long.

    `message_s`: a message once begun, and the first one of a connection to us, must be complete in
    this time; `idle_s`: a connection on which nothing at all comes is closed (a ping is enough);
    `unsent_octets`: what a peer that does not read may leave in our memory; `waiting`: messages
    kept while a connection is being made.
    """

    connections: int = 4096
    connections_per_source: int = 64
    message_s: float = 10.0
    idle_s: float = 120.0
    connect_s: float = 4.0
    unsent_octets: int = 1024 * 1024
    waiting: int = 64
    accept_pause_s: float = 0.5
    messages: Limits = DEFAULT_LIMITS


@dataclass(slots=True)
class TcpCounters:
    """`refused`: connections above a limit; `late`: closed by a deadline; `malformed`: closed
    because the stream could not be cut into messages; `exceptions` must stay 0."""

    received: int = 0
    sent: int = 0
    accepted: int = 0
    connected: int = 0
    connect_failed: int = 0
    refused: int = 0
    late: int = 0
    malformed: int = 0
    unsendable: int = 0
    accept_pauses: int = 0
    exceptions: int = 0


class TcpTransport:
    """A listening socket and the connections from and to it; fits `interface.Transport`.

    Make it with `bind`. A flow with a `connection_id` means exactly that connection: when it is
    gone, `unreachable` is told, and nobody else's connection is tried. A flow without one means the
    connection we have opened to `flow.remote`, which is made when there is none.
    """

    name = "tcp"

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, limits: TcpLimits
    ) -> None:
        self.counters = TcpCounters()
        self.limits = limits
        self.loop = loop
        self._sock = sock
        self._family = sock.family
        address = sock.getsockname()
        self._local: tuple[str, int] = (address[0], address[1])
        self._receive: Receive | None = None
        self._unreachable: Unreachable | None = None
        self._connections: dict[int, Connection] = {}
        self._ours: dict[tuple[str, int], Connection] = {}
        self._by_source: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_id = 0
        self._accepting = False
        self._resume: asyncio.TimerHandle | None = None
        self._closed = False

    @classmethod
    def bind(
        cls,
        host: str,
        port: int,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        limits: TcpLimits | None = None,
    ) -> TcpTransport:
        """Listen on `host` (an IP literal) and `port` (0: any).

        Raises `SoftswitchError` in one line when that cannot be done.
        """
        try:
            six = ipaddress.ip_address(host).version == 6
        except ValueError as error:
            raise SoftswitchError(f"tcp {host}: an IP address is needed") from error
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
            raise SoftswitchError(f"tcp {host}:{port}: {error.strerror}") from error
        return cls(
            sock,
            loop if loop is not None else asyncio.get_running_loop(),
            limits if limits is not None else TcpLimits(),
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
            connection = self._ours.get(flow.remote) or self._connect(flow.remote)
        if connection is None:
            self.counters.unsendable += 1
            self._tell_unreachable(flow)
        else:
            connection.send(data)

    def close(self) -> None:
        """Stop listening and drop all connections. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._pause_accepting()
        if self._resume is not None:
            self._resume.cancel()
        self._sock.close()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.abort()
        self._receive = self._unreachable = None

    def snapshot(self) -> dict[str, int]:
        """The counters, `connections` now, and the `sources` they come from."""
        found = {name: getattr(self.counters, name) for name in TcpCounters.__slots__}
        found["connections"] = len(self._connections)
        found["sources"] = len(self._by_source)
        return found

    # -- called by connections -----------------------------------------------------------------

    def deliver(self, data: bytes, connection: Connection) -> None:
        """A whole message has come."""
        self.counters.received += 1
        if self._receive is not None:
            self._receive(data, connection.flow)

    def forget(self, connection: Connection) -> None:
        """A connection is over: its place is free, whoever used it is told."""
        if self._connections.pop(connection.flow.connection_id, None) is None:
            return
        source = connection.flow.remote[0]
        if connection.ours:
            if self._ours.get(connection.flow.remote) is connection:
                del self._ours[connection.flow.remote]
            self._tell_unreachable(Flow(self.name, self._local, connection.flow.remote))
        else:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]
        self._tell_unreachable(connection.flow)
        if not self._closed and self._resume is None:
            self._accept_again()

    def _tell_unreachable(self, flow: Flow) -> None:
        if self._unreachable is not None:
            # Never from inside `send`: the stack may be in the middle of a decision.
            self.loop.call_soon(self._unreachable, flow)

    # -- accepting -----------------------------------------------------------------------------

    def _accept_again(self) -> None:
        self._resume = None
        if (
            not self._closed
            and not self._accepting
            and self._receive is not None
            and len(self._connections) < self.limits.connections
        ):
            self._accepting = True
            self.loop.add_reader(self._sock.fileno(), self._accept)

    def _pause_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            self.loop.remove_reader(self._sock.fileno())

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_WAKE):
            if len(self._connections) >= self.limits.connections:
                # What is left waits in the kernel's queue until somebody hangs up.
                self.counters.accept_pauses += 1
                self._pause_accepting()
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
            self._welcome(sock, (unmapped(address[0]), address[1]))

    def _welcome(self, sock: socket.socket, remote: tuple[str, int]) -> None:
        if self._by_source[remote[0]] >= self.limits.connections_per_source:
            self.counters.refused += 1
            sock.close()
            return
        self.counters.accepted += 1
        sock.setblocking(False)
        self._by_source[remote[0]] += 1
        connection = self._register(remote, ours=False)
        self._keep(self._adopt(connection, sock))

    async def _adopt(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            sock.close()
            self.forget(connection)

    # -- connecting ----------------------------------------------------------------------------

    def _connect(self, remote: tuple[str, int]) -> Connection | None:
        """Begin to connect; None where the address is not usable or the table is full."""
        try:
            address = ipaddress.ip_address(remote[0])
        except ValueError:
            return None  # a name would ask the DNS in the pool all file writes share
        fits = (address.version == 6) == (self._family == socket.AF_INET6)
        if not (fits or self._local[0] == "::") or not 0 < remote[1] < 65_536:
            return None
        if len(self._connections) >= self.limits.connections:
            return None
        connection = self._register(remote, ours=True)
        self._ours[remote] = connection
        self._keep(self._open(connection))
        return connection

    async def _open(self, connection: Connection) -> None:
        host, port = connection.flow.remote
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
        except (OSError, TimeoutError):
            self.counters.connect_failed += 1
            self.forget(connection)
        else:
            self.counters.connected += 1

    def _register(self, remote: tuple[str, int], *, ours: bool) -> Connection:
        self._last_id += 1
        flow = Flow(self.name, self._local, remote, self._last_id)
        connection = self._connections[self._last_id] = Connection(self, flow, ours=ours)
        return connection

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Connection(asyncio.Protocol):
    """One TCP connection: cuts what comes into messages, keeps its deadlines."""

    def __init__(self, owner: TcpTransport, flow: Flow, *, ours: bool) -> None:
        self.flow = flow
        self.ours = ours
        self._owner = owner
        self._framer = StreamFramer(owner.limits.messages, client=ours)
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._heard_s = owner.loop.time()
        self._begun_s: float | None = None if ours else self._heard_s
        self._pinged = False
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def send(self, data: bytes) -> None:
        """Write, or keep until the connection is there."""
        if self._transport is None:
            if len(self._waiting) < self._owner.limits.waiting:
                self._waiting.append(data)
            else:
                self._owner.counters.unsendable += 1
            return
        if self._over:
            return
        if self._transport.get_write_buffer_size() > self._owner.limits.unsent_octets:
            # The peer reads nothing: its messages would only fill our memory.
            self._owner.counters.unsendable += 1
            self.abort()
            return
        self._owner.counters.sent += 1
        self._transport.write(data)

    def abort(self) -> None:
        """Drop the connection at once."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()
        else:
            self._owner.forget(self)

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._over:
            transport.abort()
            return
        self._arm()
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.send(data)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self._take(data)
        except Exception:
            # asyncio would close the connection without a word about whose fault it was.
            self._owner.counters.exceptions += 1
            _log.exception("a TCP connection failed on %d octets", len(data))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._owner.forget(self)

    # -- inside ----------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        now_s = self._owner.loop.time()
        self._heard_s, self._pinged = now_s, False
        items = self._framer.feed(data)
        if not self._framer.pending:
            self._begun_s = None
        elif items or self._begun_s is None:
            self._begin(now_s)
        for item in items:
            if self._over:
                return
            if item is KeepAlive.PING:
                self._write(_PONG)
            elif isinstance(item, bytes):
                self._owner.deliver(item, self)
        if self._framer.error is not None and not self._over:
            self._refuse(self._framer.error)

    def _begin(self, now_s: float) -> None:
        """A message has begun: its deadline is nearer than the one the timer waits for."""
        self._begun_s = now_s
        self._arm()

    def _refuse(self, error: ParseError) -> None:
        """Answer what can be answered, then close: the rest of the stream means nothing."""
        self._owner.counters.malformed += 1
        self._over = True
        assert self._transport is not None
        if error.request is not None and error.status_hint is not None:
            self._transport.write(error.request.response(error.status_hint).serialise())
        self._transport.close()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        if self._transport.get_write_buffer_size() <= self._owner.limits.unsent_octets:
            self._transport.write(data)

    def _due_s(self) -> float:
        limits = self._owner.limits
        idle_s = limits.idle_s / 2 if self.ours and not self._pinged else limits.idle_s
        due_s = self._heard_s + idle_s
        if self._begun_s is not None:
            due_s = min(due_s, self._begun_s + limits.message_s)
        return due_s

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._owner.loop.call_at(self._due_s(), self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        """One timer a connection, set too early rather than moved at each message."""
        self._timer = None
        now_s, limits = self._owner.loop.time(), self._owner.limits
        if now_s < self._due_s():
            self._arm()
            return
        idle = now_s >= self._heard_s + limits.idle_s
        late = self._begun_s is not None and now_s >= self._begun_s + limits.message_s
        if idle or late:
            self._owner.counters.late += 1
            self.abort()
            return
        self._pinged = True
        self._write(_PING)
        self._arm()
