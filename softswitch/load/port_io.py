"""A socket a stream, read and written in bulk: one call of the interpreter for all of them.

`recvmmsg` and `sendmmsg` pay where a socket has many datagrams. Here each has one every 20 ms, so the calls
are as many as the packets, and what can be saved is everything around them: `map` runs over sockets
and prepared headers inside the interpreter, no stream costs a line of Python, and nothing waits for
events, since who is live is known. Each datagram carries the moment at which the kernel took it
(`SO_TIMESTAMPNS`, socket(7)), so that a socket can be looked at rarely and the delay is exact all the
same. Where these calls are not there, `PortableIo` does the work, which `precise` tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import time
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from media.plane.io_mmsg import MmsgIo, available
from media.plane.io_portable import PortableIo
from media.plane.packet_io import PORTS_MAX, PacketBuffer
from softswitch.errors import SoftswitchError
from softswitch.sim.datagram import Address

_SO_TIMESTAMPNS = 35
_CONTROL_WORDS = 8
_CONTROL_OCTETS = 8 * _CONTROL_WORDS
_CMSG_OCTETS = 32  # header 16, timespec 16
_KIND = (_SO_TIMESTAMPNS << 32) | socket.SOL_SOCKET
_WINDOW = 4
"""Datagrams that one look at a socket takes."""
_PORTS_AT_ONCE = 512
_PORT_BITS = np.uint64(0xFFFF)
_WIDTH_MIN = 172
"""Columns of a batch at least: a packet of G.711, so that nobody has to look whether there are as many."""


_CLOSE_US = 20
_READINGS_MAX = 8
"""Two clocks are read that close to each other, or as close as some tries allow."""
_ASLEEP_S = 0.002
_STAMPS_WITHIN_S = 1.0


def clock_us() -> int:
    """The clock that all generators on a machine share, in microseconds."""
    return time.monotonic_ns() // 1000


def _wall_clock() -> tuple[int, int]:
    """`clock_us`, and how far the kernel's clock of arrivals is before it. Who is held up between the two
    readings would shift every packet by that: the closest of some pairs counts."""
    best = (1 << 62, 0, 0)
    for _ in range(_READINGS_MAX):
        before_us = clock_us()
        wall_us = time.time_ns() // 1000
        after_us = clock_us()
        best = min(best, (after_us - before_us, after_us, wall_us - before_us))
        if best[0] <= _CLOSE_US:
            break
    return best[1], best[2]


def _stamp_keeper() -> socket.socket | None:
    """A socket while which is open the kernel notes when datagrams come; None: it never does.

    Who asks first for its notes gets them a little later: a kernel thread switches them on, which on a busy
    machine waits for its turn (`net_enable_timestamp`). What comes before that bears the moment at which it is
    fetched, and looks delayed by as long as nobody looked. So we send to ourselves until a note tells of the
    arrival, and keep this socket, lest they be switched off again.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        keeper.bind(("127.0.0.1", 0))
        keeper.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        until_s = time.monotonic() + _STAMPS_WITHIN_S
        while time.monotonic() < until_s:
            keeper.sendto(b"", keeper.getsockname())
            sent_ns = time.time_ns()
            time.sleep(_ASLEEP_S)
            for _, kind, note in keeper.recvmsg(1, _CONTROL_OCTETS, socket.MSG_DONTWAIT)[1]:
                seconds, nanoseconds = struct.unpack("@qq", note)
                noted_ns = 1_000_000_000 * seconds + nanoseconds
                if kind == _SO_TIMESTAMPNS and noted_ns - sent_ns < 500_000_000 * _ASLEEP_S:
                    return keeper
    except OSError:
        pass
    keeper.close()
    return None


@dataclass(slots=True)
class Received:
    """(n,) datagrams, those of one port in the order in which they came."""

    ports: NDArray[np.intp]
    packets: NDArray[np.uint8]
    """(n, W) octets, cut to `W`."""
    lengths: NDArray[np.int32]
    at_us: NDArray[np.int64]
    """When the kernel took each, on `clock_us`."""
    keys: NDArray[np.uint64]
    """Where each came from, as `PortIo.source_key` writes it."""


class StreamPorts(Protocol):
    """Sockets by number, one a stream: `PortIo`, or `SimPortIo` on a simulated network."""

    precise: bool
    """Whether arrival times are exact, not those of our looking."""

    @property
    def tx(self) -> PacketBuffer:
        """Where packets are made that `send` sends."""

    def clock_us(self) -> int:
        """The clock of `Received.at_us`."""

    def bind(self, port: int, host: str) -> Address:
        """Open port number `port` on any free UDP port of `host`. Raises `SoftswitchError`."""

    def close_port(self, port: int) -> None:
        """Close a port's socket."""

    def set_destination(self, row: int, address: Address) -> None:
        """Where stream `row` sends."""

    def source_key(self, port: int, address: Address) -> int:
        """The key of what comes from `address` on a port."""

    def send(
        self, octets: NDArray[np.int32], ports: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Send the first n rows of `tx`, each from its port to its row's destination.

        Returns (n,) which of them the system took.
        """

    def receive(self, ports: NDArray[np.intp]) -> list[Received]:
        """What has come to these ports (without a kernel's help: to any), in batches."""

    def drain(self, port: int) -> None:
        """Throw away what has come to a port that had rested."""

    def close(self) -> None:
        """Close all ports."""


class PortIo:
    """`StreamPorts` of the machine; `streams` destinations. `width`: octets of a datagram that are
    wanted."""

    def __init__(self, streams: int, width: int) -> None:
        self._bulk = _BulkIo(streams) if available() else None
        self._portable = PortableIo(streams) if self._bulk is None else None
        self._io: _BulkIo | PortableIo = self._bulk or self._portable  # type: ignore[assignment]
        self._width = width
        self._keeper = None if self._bulk is None else _stamp_keeper()
        self.precise = self._keeper is not None

    @property
    def tx(self) -> PacketBuffer:
        """See `StreamPorts.tx`."""
        return self._io.tx

    def clock_us(self) -> int:
        """See `clock_us`."""
        return clock_us()

    def bind(self, port: int, host: str) -> Address:
        """See `StreamPorts.bind`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.bind((host, 0))
        except OSError as error:
            sock.close()
            raise SoftswitchError(f"rtp {host}: {error.strerror}") from error
        self._io.open_port(port, sock)
        name = sock.getsockname()
        return str(name[0]), int(name[1])

    def close_port(self, port: int) -> None:
        """See `StreamPorts.close_port`."""
        self._io.close_port(port)

    def set_destination(self, row: int, address: Address) -> None:
        """See `StreamPorts.set_destination`."""
        self._io.set_destination(row, address)

    def source_key(self, port: int, address: Address) -> int:
        """See `StreamPorts.source_key`."""
        return self._io.source_key(port, address)

    def send(
        self, octets: NDArray[np.int32], ports: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """See `StreamPorts.send`."""
        if self._bulk is not None:
            return self._bulk.send_each(octets, ports, rows)
        assert self._portable is not None
        sent = self._portable.send(self.tx, None, octets, ports, rows)
        return np.full(len(rows), sent > 0)

    def receive(self, ports: NDArray[np.intp]) -> list[Received]:
        """See `StreamPorts.receive`."""
        if self._bulk is not None:
            return self._bulk.receive_each(ports, self._width)
        assert self._portable is not None
        found = []
        self._portable.wait(0.0)
        while count := self._portable.receive():
            keys = self._portable.keys[:count].copy()
            found.append(
                Received(
                    ports=(keys & _PORT_BITS).astype(np.intp),
                    packets=self._portable.rx.octets[:count, : self._width].copy(),
                    lengths=self._portable.lengths[:count].copy(),
                    at_us=np.full(count, clock_us(), np.int64),
                    keys=keys,
                )
            )
            self._portable.wait(0.0)
        return found

    def drain(self, port: int) -> None:
        """See `StreamPorts.drain`."""
        if self._bulk is not None:
            self._bulk.receive_each(np.array([port]), self._width)

    def close(self) -> None:
        """See `StreamPorts.close`."""
        self._io.close()
        if self._keeper is not None:
            self._keeper.close()


class _BulkIo(MmsgIo):
    """`MmsgIo` by single messages, with a control buffer for each datagram."""

    def __init__(self, streams: int) -> None:
        super().__init__(streams, batch=_PORTS_AT_ONCE * _WINDOW)
        libc = ctypes.PyDLL(None, use_errno=True)
        self._sendmsg = libc.sendmsg
        self._descriptors: list[ctypes.c_int] = [ctypes.c_int(-1)] * PORTS_MAX
        self._of_port: NDArray[np.uint64] = np.zeros(PORTS_MAX, np.uint64)
        self._ipv6: NDArray[np.bool_] = np.zeros(PORTS_MAX, np.bool_)

    def _make_headers(self, batch: int, streams: int) -> None:
        super()._make_headers(batch, streams)
        self._control: NDArray[np.uint64] = np.zeros((batch, _CONTROL_WORDS), np.uint64)
        rows = np.arange(batch, dtype=np.uint64)
        self._rx_msg["control"] = self._control.ctypes.data + rows * np.uint64(_CONTROL_OCTETS)
        self._control_octets = self._rx_msg["controllen"]
        self._control_octets[:] = _CONTROL_OCTETS
        octets = self._rx_msg.itemsize
        self._tx_heads = [ctypes.c_void_p(self._tx_at + octets * row) for row in range(batch)]
        self._rx_heads = [
            ctypes.c_void_p(self._rx_at + octets * row) for row in range(0, batch, _WINDOW)
        ]
        self._window = ctypes.c_uint(_WINDOW)
        self._flags = ctypes.c_int(socket.MSG_DONTWAIT)

    def open_port(self, port_id: int, sock: socket.socket) -> None:
        """Keep a socket, without an event queue."""
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._ports[port_id] = sock
        self._descriptors[port_id] = ctypes.c_int(sock.fileno())
        self._ipv6[port_id] = sock.family == socket.AF_INET6
        self._any_ipv6 = self._any_ipv6 or bool(self._ipv6[port_id])
        # What turns the first 8 octets of a sockaddr_in into a key: the port for the family.
        self._of_port[port_id] = ctypes.c_uint64(port_id - socket.AF_INET).value

    def close_port(self, port_id: int) -> None:
        """Close a socket."""
        sock = self._ports.pop(port_id, None)
        if sock is not None:
            self._descriptors[port_id] = ctypes.c_int(-1)
            sock.close()

    def send_each(
        self, octets: NDArray[np.int32], ports: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """See `PortIo.send`."""
        count = len(rows)
        self._tx_name[:count] = self._remote_at.take(rows)
        self._tx_namelen[:count] = self._remote_len.take(rows)
        self._tx_base[:count] = self.tx.pointers[:count]
        self._tx_len[:count] = octets
        sockets = map(self._descriptors.__getitem__, ports.tolist())
        calls = map(self._sendmsg, sockets, self._tx_heads, repeat(self._flags, count))
        took = np.fromiter(calls, np.int32, count) >= 0
        self.packets_sent += count
        return took

    def receive_each(self, ports: NDArray[np.intp], width: int) -> list[Received]:
        """See `PortIo.receive`."""
        found = []
        while len(ports):
            full = []
            for start in range(0, len(ports), _PORTS_AT_ONCE):
                some = ports[start : start + _PORTS_AT_ONCE]
                many = self._look(some)
                rows = np.flatnonzero(np.arange(_WINDOW) < many[:, None])
                if rows.size:
                    found.append(self._gather(rows, some[rows // _WINDOW], width))
                full.append(some[many == _WINDOW])
            ports = np.concatenate(full)
        return found

    def _look(self, ports: NDArray[np.intp]) -> NDArray[np.int32]:
        """One call a socket: (n,) datagrams of each, in rows `_WINDOW * i` and on."""
        count = len(ports)
        sockets = map(self._descriptors.__getitem__, ports.tolist())
        calls = map(
            self._recvmmsg,
            sockets,
            self._rx_heads,
            repeat(self._window, count),
            repeat(self._flags),
            repeat(None),
        )
        return np.maximum(np.fromiter(calls, np.int32, count), 0)

    def _gather(self, rows: NDArray[np.intp], ports: NDArray[np.intp], width: int) -> Received:
        lengths = self._rx_len[rows].astype(np.int32)
        wide = min(width, max(_WIDTH_MIN, int(lengths.max())))
        keys = self._name0[rows] + self._of_port[ports]
        if self._any_ipv6:
            self._rx_namelen[rows] = self._names.itemsize * self._names.shape[1]
            for place in np.flatnonzero(self._ipv6[ports]).tolist():
                row = int(rows[place])
                self._fold_ipv6(row, row + 1, int(ports[place]))
                keys[place] = self.keys[row]
        return Received(ports, self.rx.octets[rows, :wide], lengths, self._stamps_us(rows), keys)

    def _stamps_us(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """(n,) arrival on `clock_us`; and makes ready for the next look."""
        control = self._control[rows, :4]
        now_us, offset_us = _wall_clock()
        there = (control[:, 0] == _CMSG_OCTETS) & (control[:, 1] == _KIND)
        at_us = (control[:, 2] * np.uint64(1_000_000) + control[:, 3] // np.uint64(1000)).astype(
            np.int64
        )
        stamps: NDArray[np.int64] = np.where(there, at_us - offset_us, now_us)
        self._control_octets[rows] = _CONTROL_OCTETS
        self._control[rows, 0] = 0
        # A clock that was set in between must not send packets into the past or the future.
        return np.clip(stamps, now_us - 1_000_000, now_us)
