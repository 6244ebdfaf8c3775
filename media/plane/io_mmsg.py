"""Linux back end: recvmmsg(2) and sendmmsg(2) through ctypes, straight into numpy arrays.

The C structures are numpy structured arrays whose addresses are handed to libc; they live as long
as this object.
"""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import sys

import numpy as np
from numpy.typing import NDArray

from media.plane.packet_io import BATCH, PORTS_MAX, STRIDE, PacketBuffer, SourceKeys, packed_host
from media.protocol import Address

_MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("namelen", "u4"),
        ("pad0", "u4"),
        ("iov", "u8"),
        ("iovlen", "u8"),
        ("control", "u8"),
        ("controllen", "u8"),
        ("flags", "u4"),
        ("pad1", "u4"),
        ("len", "u4"),
        ("pad2", "u4"),
    ]
)
_MMSGHDR_OCTETS = _MMSGHDR.itemsize
_IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
_SOCKADDR_OCTETS = 32
_INET_OCTETS, _INET6_OCTETS = 16, 28
_INET, _INET6 = socket.AF_INET.to_bytes(2, "little"), socket.AF_INET6.to_bytes(2, "little")
_DONTWAIT = 0x40
_PER_SOCKET_MAX = 1024
_Entry = tuple[int, np.uint64, int, bool]
"""Descriptor, what makes a key of an address, port id, is it IPv6."""

_NOT_NOW = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


def available() -> bool:
    """Tell whether this machine has the calls and the structure layout that this module knows."""
    if sys.platform != "linux" or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    libc = ctypes.CDLL(None)
    return hasattr(libc, "recvmmsg") and hasattr(libc, "sendmmsg")


class MmsgIo:
    """`PacketIo` by recvmmsg and sendmmsg; `streams` is the number of destinations to hold."""

    def __init__(self, streams: int, *, batch: int = BATCH, key_seed: bytes | None = None) -> None:
        # PyDLL keeps the interpreter lock: these calls never sleep, and giving the lock away and
        # taking it back costs as much as an empty call itself. Pointers are made C values here,
        # since declared argument types cost more; integers are C integers without being told.
        libc = ctypes.PyDLL(None, use_errno=True)
        self._recvmmsg = libc.recvmmsg
        self._sendmmsg = libc.sendmmsg
        self._batch = batch
        self._source_keys = SourceKeys(key_seed)
        self.rx = PacketBuffer(batch)
        self.tx = PacketBuffer(batch)
        self.lengths: NDArray[np.int32] = np.zeros(batch, np.int32)
        self.keys: NDArray[np.uint64] = np.zeros(batch, np.uint64)
        self.send_errors = 0
        self.packets_sent = 0
        self._make_headers(batch, streams)
        self._ports: dict[int, socket.socket] = {}
        self._fds: list[int] = [-1] * (PORTS_MAX + 1)
        self._entry_of_fd: dict[int, _Entry] = {}
        self._ready: list[_Entry] = []
        self._epoll = select.epoll()
        self._watched: set[int] = set()

    def _make_headers(self, batch: int, streams: int) -> None:
        rows = np.arange(batch, dtype=np.uint64)
        self._names: NDArray[np.uint64] = np.zeros((batch, _SOCKADDR_OCTETS // 8), np.uint64)
        self._rx_iov = np.zeros(batch, _IOVEC)
        self._rx_iov["base"] = self.rx.pointers
        self._rx_iov["len"] = STRIDE
        self._rx_msg = np.zeros(batch, _MMSGHDR)
        self._rx_msg["name"] = self._names.ctypes.data + rows * _SOCKADDR_OCTETS
        self._rx_msg["namelen"] = _SOCKADDR_OCTETS
        self._rx_msg["iov"] = self._rx_iov.ctypes.data + rows * _IOVEC.itemsize
        self._rx_msg["iovlen"] = 1
        self._tx_iov = np.zeros(batch, _IOVEC)
        self._tx_msg = np.zeros(batch, _MMSGHDR)
        self._tx_msg["iov"] = self._tx_iov.ctypes.data + rows * _IOVEC.itemsize
        self._tx_msg["iovlen"] = 1
        self._remotes: NDArray[np.uint8] = np.zeros((streams, _SOCKADDR_OCTETS), np.uint8)
        self._remote_octets = self._remotes.reshape(-1).data
        self._remote_len: NDArray[np.uint32] = np.zeros(streams, np.uint32)
        self._any_ipv6 = False
        self._tx_alike = 0, 0
        """The length that so many of the first places have."""
        self._rx_at = self._rx_msg.ctypes.data
        self._tx_at = self._tx_msg.ctypes.data
        rows = np.arange(streams, dtype=np.uint64)
        self._remote_at: NDArray[np.uint64] = self._remotes.ctypes.data + rows * _SOCKADDR_OCTETS
        # Views of single fields, made once: a field look-up by name costs as much as the work.
        self._rx_len = self._rx_msg["len"]
        self._rx_namelen = self._rx_msg["namelen"]
        self._name0 = self._names[:, 0]
        self._family: NDArray[np.uint64] = np.zeros(batch, np.uint64)
        self._tx_name = self._tx_msg["name"]
        self._tx_namelen = self._tx_msg["namelen"]
        self._tx_base = self._tx_iov["base"]
        self._tx_len = self._tx_iov["len"]
        self._tx_namelen[:] = _INET_OCTETS

    def open_port(self, port_id: int, sock: socket.socket) -> None:
        """See `PacketIo.open_port`."""
        if not 0 <= port_id < PORTS_MAX:
            raise ValueError(f"port id {port_id}")
        self.close_port(port_id)
        sock.setblocking(False)
        ipv6 = sock.family == socket.AF_INET6
        self._any_ipv6 = self._any_ipv6 or ipv6
        self._ports[port_id] = sock
        self._fds[port_id] = sock.fileno()
        # What turns the first 8 octets of a sockaddr_in into a key: the port for the family.
        family = ctypes.c_uint64(port_id - socket.AF_INET).value
        entry = (sock.fileno(), np.uint64(family), port_id, ipv6)
        self._entry_of_fd[sock.fileno()] = entry
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def close_port(self, port_id: int) -> None:
        """See `PacketIo.close_port`."""
        sock = self._ports.pop(port_id, None)
        if sock is None:
            return
        self._epoll.unregister(sock.fileno())
        del self._entry_of_fd[sock.fileno()]
        self._fds[port_id] = -1
        self._ready = []
        sock.close()

    def watch(self, descriptor: int) -> None:
        """See `PacketIo.watch`."""
        self._watched.add(descriptor)
        self._epoll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        """See `PacketIo.unwatch`."""
        self._watched.discard(descriptor)
        self._epoll.unregister(descriptor)

    def wait(self, timeout_s: float) -> bool:
        """See `PacketIo.wait`."""
        events = self._epoll.poll(
            timeout_s if timeout_s > 0.0 else 0, len(self._ports) + len(self._watched) + 1
        )
        entries = self._entry_of_fd
        self._ready = [entries[fd] for fd, _ in events if fd in entries]
        return len(self._ready) != len(events)

    def rest(self, timeout_s: float) -> None:
        """See `PacketIo.rest`."""
        for descriptor in self._watched:
            self._epoll.modify(descriptor, 0)
        self._epoll.poll(timeout_s if timeout_s > 0.0 else 0, 1)
        for descriptor in self._watched:
            self._epoll.modify(descriptor, select.EPOLLIN)

    def receive(self) -> int:
        """See `PacketIo.receive`."""
        count = 0
        batch, at, family, pointer = self._batch, self._rx_at, self._family, ctypes.c_void_p
        fetch = self._recvmmsg
        for descriptor, kin, port_id, ipv6 in self._ready:
            room = batch - count
            if room >= _PER_SOCKET_MAX:
                room = _PER_SOCKET_MAX
            elif room == 0:
                break
            where = pointer(at + count * _MMSGHDR_OCTETS)
            took: int = fetch(descriptor, where, room, _DONTWAIT, None)
            if took <= 0:
                continue
            end = count + took
            family[count:end] = kin
            if ipv6:
                self._fold_ipv6(count, end, port_id)
            count = end
        if count:
            if self._any_ipv6:
                self._rx_namelen[:count] = _SOCKADDR_OCTETS
                plain = (self._names[:count, 0] & np.uint64(0xFFFF)) == socket.AF_INET
                sums = self._name0[:count] + family[:count]
                self.keys[:count] = np.where(plain, sums, self.keys[:count])
            else:
                np.add(self._name0[:count], family[:count], out=self.keys[:count])
            self.lengths[:count] = self._rx_len[:count]
        return count

    def _fold_ipv6(self, start: int, end: int, port_id: int) -> None:
        names = self._names[start:end].view("<u4")
        high = names[:, 2:4].copy().view(np.uint64)[:, 0]
        low = names[:, 4:6].copy().view(np.uint64)[:, 0]
        keys = self._source_keys
        mixed = (high * np.uint64(keys.high & 0xFFFFFFFFFFFFFFFF)) ^ (
            low * np.uint64(keys.low & 0xFFFFFFFFFFFFFFFF)
        )
        port = names[:, 0].astype(np.uint64) & np.uint64(0xFFFF0000)
        self.keys[start:end] = (mixed & np.uint64(0xFFFFFFFF00000000)) | port | np.uint64(port_id)

    def source_of(self, index: int) -> Address:
        """See `PacketIo.source_of`."""
        raw = self._names[index].tobytes()
        port = int.from_bytes(raw[2:4], "big")
        if int.from_bytes(raw[:2], "little") == socket.AF_INET:
            return socket.inet_ntop(socket.AF_INET, raw[4:8]), port
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port

    def source_key(self, port_id: int, address: Address) -> int:
        """See `PacketIo.source_key`."""
        return self._source_keys.key(port_id, address)

    def set_destination(self, row: int, address: Address) -> None:
        """See `PacketIo.set_destination`."""
        packed = packed_host(address[0])
        port = address[1].to_bytes(2, "big")
        if len(packed) == 4:
            raw = _INET + port + packed
            self._remote_len[row] = _INET_OCTETS
        else:
            raw = _INET6 + port + bytes(4) + packed
            self._remote_len[row] = _INET6_OCTETS
            self._any_ipv6 = True
        at = row * _SOCKADDR_OCTETS
        self._remote_octets[at : at + _SOCKADDR_OCTETS] = raw.ljust(_SOCKADDR_OCTETS, b"\0")

    def send(
        self,
        buffer: PacketBuffer,
        index: NDArray[np.intp] | None,
        octets: NDArray[np.integer] | int,
        ports: NDArray[np.integer],
        rows: NDArray[np.integer],
    ) -> int:
        """See `PacketIo.send`."""
        count = len(rows)
        if count == 0:
            return 0
        order = ports.argsort(kind="stable")
        rows = rows.take(order)
        self._tx_name[:count] = self._remote_at.take(rows)
        if self._any_ipv6:
            self._tx_namelen[:count] = self._remote_len.take(rows)
        self._tx_base[:count] = buffer.pointers.take(order if index is None else index.take(order))
        if not isinstance(octets, int):
            self._tx_len[:count] = octets.take(order)
            self._tx_alike = 0, 0
        elif self._tx_alike[0] != octets or self._tx_alike[1] < count:
            self._tx_len[:count] = octets
            self._tx_alike = octets, count
        ordered = ports.take(order)
        edges = (ordered[1:] != ordered[:-1]).nonzero()[0]
        runs = ordered.take(edges).tolist()
        runs.append(int(ordered[-1]))
        sent = start = 0
        fds, at = self._fds, self._tx_at
        for last, port_id in zip((*edges.tolist(), count - 1), runs, strict=True):
            end = last + 1
            where = ctypes.c_void_p(at + start * _MMSGHDR_OCTETS)
            took: int = self._sendmmsg(fds[port_id], where, end - start, _DONTWAIT)
            if took != end - start:
                took = self._send_rest(fds[port_id], start, end, took)
            sent += took
            start = end
        self.send_errors += count - sent
        self.packets_sent += sent
        return sent

    def _send_rest(self, descriptor: int, start: int, end: int, took: int) -> int:
        """A call took but `took` of the datagrams from `start` to `end` (never more than 1,024, UIO_MAXIOV), or
        failed (-1): go on behind it; returns how many the system took in all."""
        if descriptor < 0:
            return 0
        sent = 0
        while True:
            if took > 0:
                sent += took
                start += took
            elif ctypes.get_errno() in _NOT_NOW:
                return sent
            else:
                start += 1  # this datagram cannot go (no route, bad address); the others can
            if start >= end:
                return sent
            where = ctypes.c_void_p(self._tx_at + start * _MMSGHDR_OCTETS)
            took = self._sendmmsg(descriptor, where, end - start, _DONTWAIT)

    def close(self) -> None:
        """See `PacketIo.close`."""
        for port_id in list(self._ports):
            self.close_port(port_id)
        self._epoll.close()
