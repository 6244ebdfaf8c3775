"""SIP over UDP (RFC 3261 section 18): one socket, read by the loop's reader into one buffer.

Not asyncio's DatagramProtocol: see docs/adr/0003-udp-reader-not-datagram-protocol.md for what that
costs a packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softswitch.errors import SoftswitchError
from softswitch.sip.flow import Flow
from softswitch.transport.address import unmapped
from softswitch.transport.gathering import Gathering
from softswitch.transport.interface import Receive, Unreachable

_BUFFER_OCTETS = 65_536
_DRAIN_MAX = 64
_AT_ONCE_MAX = 16
_DEFERRED_MAX = 1024
_FLUSH_MAX = 64
BACKLOG_MAX = 1024
PEERS_MAX = 8192
_RECEIVE_BUFFER_OCTETS = 4 * 1024 * 1024
_ERRORS_MAX = 64

# Linux numbers that the socket module of 3.11 does not name.
_SO_RCVBUFFORCE = 33
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000
_ERROR_REPORTS = frozenset({(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)})
_PEER_GONE = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EPROTO}
)

_EPOLL = hasattr(select, "epoll")

SocketAddress = tuple[Any, ...]
Gather = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class UdpCounters:
    """`backlog_dropped`: oldest datagrams given up because the socket stayed full; `icmp_errors`:
    reports of the network about what we sent; `send_errors`: refused by our own kernel."""

    received: int = 0
    sent: int = 0
    backlog_dropped: int = 0
    icmp_errors: int = 0
    receive_errors: int = 0
    send_errors: int = 0
    bad_destinations: int = 0


class UdpTransport:
    """A UDP socket that fits `softswitch.transport.interface.Transport`.

    Make it with `bind`. `drain_max` datagrams are read a wake-up, then the loop's other readers
    have their turn. Where `defer` is set, only a few are handed on at once and all others to it: who
    matters is found among all that wait, and the kernel's buffer does not overflow. `gather`, where set, is
    given what reads, and calls it; `gathering` says when the socket is looked at again. When the socket is
    full, up to `backlog_max` datagrams wait in order; then the oldest is dropped, as SIP retransmits it.
    """

    name = "udp"

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        *,
        drain_max: int = _DRAIN_MAX,
        backlog_max: int = BACKLOG_MAX,
    ) -> None:
        sock.setblocking(False)
        self.counters = UdpCounters()
        self._sock = sock
        self._loop = loop
        self._six = sock.family == socket.AF_INET6
        address = sock.getsockname()
        self._local: tuple[str, int] = (unmapped(address[0]), address[1])
        self._drain_max = drain_max
        self._backlog_max = backlog_max
        self.defer: Receive | None = None
        self.gather: Gather | None = None
        self.gathering: Gathering | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._buffer = bytearray(_BUFFER_OCTETS)
        self._backlog: deque[tuple[bytes, SocketAddress]] = deque()
        self._flows: dict[SocketAddress, Flow] = {}
        self._destinations: dict[tuple[str, int], SocketAddress | None] = {}
        self._receive: Receive | None = None
        self._unreachable: Unreachable | None = None
        self._closed = False
        # To be told by it that nothing more waits costs a sixth of what an exception of the socket costs.
        self._waits = select.epoll() if _EPOLL else None

    @classmethod
    def bind(
        cls,
        host: str,
        port: int,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        receive_buffer_octets: int = _RECEIVE_BUFFER_OCTETS,
        drain_max: int = _DRAIN_MAX,
        backlog_max: int = BACKLOG_MAX,
    ) -> UdpTransport:
        """Bind `host` (an IPv4 or IPv6 literal; "::" takes both families) and `port` (0: any).

        Raises `SoftswitchError` in one line when the address cannot be bound.
        """
        try:
            address = ipaddress.ip_address(host)
        except ValueError as error:
            raise SoftswitchError(f"udp {host}: an IP address is needed") from error
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                only_six = int(host != "::")
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_six)
            _enlarge_receive_buffer(sock, receive_buffer_octets)
            _ask_for_icmp(sock)
            sock.bind((host, port))
            return cls(
                sock,
                loop if loop is not None else asyncio.get_running_loop(),
                drain_max=drain_max,
                backlog_max=backlog_max,
            )
        except OSError as error:
            sock.close()
            raise SoftswitchError(f"udp {host}:{port}: {error.strerror}") from error

    @property
    def local(self) -> tuple[str, int]:
        """The bound address and port."""
        return self._local

    def start(self, receive: Receive, unreachable: Unreachable) -> None:
        """Begin to receive; `unreachable` hears of ICMP errors about what we sent."""
        self._receive = receive
        self._unreachable = unreachable
        self._loop.add_reader(self._sock.fileno(), self._read)
        if self._waits is not None:
            self._waits.register(self._sock.fileno(), select.EPOLLIN)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send now, or queue behind what the full socket has not taken yet."""
        destination = self._destinations.get(flow.remote)
        if destination is None:
            destination = None if self._closed else self._resolve(flow.remote)
            if destination is None:
                self.counters.bad_destinations += not self._closed
                return
        elif not self._backlog:
            try:
                self._sock.sendto(data, destination)
            except OSError as error:  # what it says is found out below
                del error
            else:
                self.counters.sent += 1
                return
        if self._backlog:
            self._queue(data, destination)
        elif not self._try_send(data, destination):
            self._queue(data, destination)
            self._loop.add_writer(self._sock.fileno(), self._flush)

    def prove(self, flow: Flow) -> None:
        """Nothing to keep: UDP has no connections."""

    def close(self) -> None:
        """Stop and free the port. What still waits in the backlog is dropped."""
        if self._closed:
            return
        self._closed = True
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._backlog.clear()
        self._flows.clear()
        self._destinations.clear()
        self._receive = self._unreachable = None
        self._sock.close()
        if self._waits is not None:
            self._waits.close()

    def snapshot(self) -> dict[str, int]:
        """The counters, the length of the `backlog` and the number of remembered `peers`."""
        found = {name: getattr(self.counters, name) for name in UdpCounters.__slots__}
        found["backlog"] = len(self._backlog)
        found["peers"] = len(self._flows)
        return found

    # -- receiving ---------------------------------------------------------------------------

    def _read(self) -> None:
        began_s, before = self._loop.time(), self.counters.received
        if self.gather is not None:
            self.gather(self._read_some)
        else:
            self._read_some()
        if self.gathering is not None and not self._closed:
            count = self.counters.received - before
            rest_s = self.gathering.rest_s(count, began_s)
            self._look_at(began_s + rest_s if rest_s else None)

    def _look_at(self, at_s: float | None) -> None:
        """Leave the socket alone until then (loop's time); None: until it says that somebody has come."""
        resting = self._rest is not None
        if at_s is not None:
            if not resting:
                self._loop.remove_reader(self._sock.fileno())
            self._rest = self._loop.call_at(at_s, self._look)
        elif resting:
            self._rest = None
            self._loop.add_reader(self._sock.fileno(), self._read)

    def _look(self) -> None:
        """A rest is over."""
        if self._waits is None or self._waits.poll(0):
            self._read()
        else:
            self._look_at(None)

    def _read_some(self) -> None:
        if self.defer is None:
            self._hand_on(self._receive, self._drain_max)
        elif self._hand_on(self._receive, _AT_ONCE_MAX):
            self._hand_on(self.defer, _DEFERRED_MAX)

    def _hand_on(self, receive: Receive | None, most: int) -> bool:
        """Read up to `most` datagrams; whether there may be more."""
        recvfrom_into = self._sock.recvfrom_into
        waits = self._waits if most <= self._drain_max else None  # many: one exception is nothing
        buffer = self._buffer
        flows = self._flows
        for count in range(most):
            if count and waits is not None and not waits.poll(0):
                return False
            try:
                octets, address = recvfrom_into(buffer)
            except (BlockingIOError, InterruptedError):
                if count == 0:
                    self._read_icmp()
                return False
            except OSError:
                # An ICMP error is reported once by the next call on the socket, whoever sent it.
                self.counters.receive_errors += 1
                self._read_icmp()
                continue
            flow = flows.get(address)
            if flow is None:
                flow = self._remember(address)
            self.counters.received += 1
            if receive is not None:
                receive(bytes(buffer[:octets]), flow)
            if self._closed:
                return False
        return True

    def _remember(self, address: SocketAddress) -> Flow:
        """The flow of a peer. The table only saves time, so a flood of sources just empties it."""
        if len(self._flows) >= PEERS_MAX:
            self._flows.clear()
        flow = self._flow(address)
        self._flows[address] = flow
        return flow

    def _flow(self, address: SocketAddress) -> Flow:
        host = unmapped(address[0])
        plain = (
            len(address) == 2 and host is address[0]
        )  # then the tuple of every datagram is shared
        return Flow("udp", self._local, address if plain else (host, address[1]))

    def _read_icmp(self) -> None:
        """Empty the socket's error queue (Linux); until then the selector reports it for ever."""
        for _ in range(_ERRORS_MAX):
            try:
                _, ancillary, _, address = self._sock.recvmsg(1, 512, _MSG_ERRQUEUE)
            except OSError:
                return
            self.counters.icmp_errors += 1
            if address and self._unreachable is not None and peer_is_gone(ancillary):
                flow = self._flow(address)
                self._loop.call_soon(self._unreachable, flow)

    # -- sending -----------------------------------------------------------------------------

    def _try_send(self, data: bytes, destination: SocketAddress) -> bool:
        """Whether the datagram is dealt with (sent, or refused for good)."""
        for _ in range(3):
            try:
                self._sock.sendto(data, destination)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return False
                if error.errno not in _PEER_GONE:
                    break
                # An old ICMP error that this call only reported: it says nothing about this
                # destination, so take it off the socket and try again.
                self._read_icmp()
            else:
                self.counters.sent += 1
                return True
        self.counters.send_errors += 1
        return True

    def _queue(self, data: bytes, destination: SocketAddress) -> None:
        if len(self._backlog) >= self._backlog_max:
            self._backlog.popleft()
            self.counters.backlog_dropped += 1
        self._backlog.append((data, destination))

    def _flush(self) -> None:
        for _ in range(_FLUSH_MAX):
            if not self._backlog:
                break
            data, destination = self._backlog[0]
            if not self._try_send(data, destination):
                return
            self._backlog.popleft()
        if not self._backlog:
            self._loop.remove_writer(self._sock.fileno())

    def _resolve(self, remote: tuple[str, int]) -> SocketAddress | None:
        """The socket address of an IP literal. A host name would make `sendto` ask the DNS and
        stop the whole exchange meanwhile, so it is refused here."""
        host, port = remote
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        if not 0 < port < 65_536:
            return None
        destination: SocketAddress
        if not self._six:
            if address.version == 6:
                return None
            destination = remote
        elif address.version == 4:
            destination = (f"::ffff:{host}", port, 0, 0)
        else:
            destination = self._scoped(host, port)
        if len(self._destinations) >= PEERS_MAX:
            self._destinations.clear()
        self._destinations[remote] = destination
        return destination

    @staticmethod
    def _scoped(host: str, port: int) -> SocketAddress:
        """A link-local peer is known by its interface as well (`fe80::1%eth0`)."""
        bare, _, scope = host.partition("%")
        index = 0
        if scope:
            with contextlib.suppress(OSError, ValueError):
                index = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
        return (bare, port, 0, index)


def peer_is_gone(ancillary: list[tuple[int, int, bytes]]) -> bool:
    """Read struct sock_extended_err: errno is its first 32 bits."""
    for level, kind, data in ancillary:  # the time stamp comes beside it
        if (level, kind) in _ERROR_REPORTS and len(data) >= 4:
            return int.from_bytes(data[:4], sys.byteorder) in _PEER_GONE
    return False


def _enlarge_receive_buffer(sock: socket.socket, octets: int) -> None:
    """A burst must wait in the kernel while Python works; root may pass the system's limit."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, octets)
            return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


def _ask_for_icmp(sock: socket.socket) -> None:
    """Without this Linux reports no ICMP error to an unconnected socket."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
