"""Linux back end: recvmmsg(2) and sendmmsg(2) through ctypes, straight into numpy arrays.

The C structures are numpy structured arrays whose addresses are handed to libc; they live as long
as this object. Both calls leave the interpreter lock while they are in the kernel.
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
_IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
_SOCKADDR_OCTETS = 32
_SOCKADDR_LEN = {socket.AF_INET: 16, socket.AF_INET6: 28}
_DONTWAIT = 0x40
_CALL_MAX = 1024  # UIO_MAXIOV bounds one call
_PER_SOCKET_MAX = 1024
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
        libc = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg = libc.recvmmsg
        self._recvmmsg.argtypes = [
            ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p,
        ]  # fmt: skip
        self._sendmmsg = libc.sendmmsg
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        self._batch = batch
        self._source_keys = SourceKeys(key_seed)
        self.rx = PacketBuffer(batch)
        self.tx = PacketBuffer(batch)
        self.lengths: NDArray[np.int32] = np.zeros(batch, np.int32)
        self.keys: NDArray[np.uint64] = np.zeros(batch, np.uint64)
        self.send_errors = 0
        self.packets_sent = 0
        self._make_headers(batch, streams)
        self._sockets: dict[int, socket.socket] = {}
        self._port_of_fd: dict[int, int] = {}
        self._family: dict[int, int] = {}
        self._fds: NDArray[np.int32] = np.full(PORTS_MAX, -1, np.int32)
        self._ready: list[int] = []
        self._epoll = select.epoll()
        self._watched = -1

    def _make_headers(self, batch: int, streams: int) -> None:
        rows = np.arange(batch, dtype=np.uint64)
        self._names: NDArray[np.uint64] = np.zeros((batch, _SOCKADDR_OCTETS // 8), np.uint64)
        self._rx_iov = np.zeros(batch, _IOVEC)
        self._rx_iov["base"] = self.rx.address + rows * STRIDE
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
        self._remote_len: NDArray[np.uint32] = np.zeros(streams, np.uint32)
        self._any_ipv6 = False
        self._rx_at = self._rx_msg.ctypes.data
        self._tx_at = self._tx_msg.ctypes.data
        self._remotes_at = np.uint64(self._remotes.ctypes.data)
        # Views of single fields, made once: a field look-up by name costs as much as the work.
        self._rx_len = self._rx_msg["len"]
        self._rx_namelen = self._rx_msg["namelen"]
        self._name0 = self._names[:, 0]
        self._tx_name = self._tx_msg["name"]
        self._tx_namelen = self._tx_msg["namelen"]
        self._tx_base = self._tx_iov["base"]
        self._tx_len = self._tx_iov["len"]
        self._tx_namelen[:] = _SOCKADDR_LEN[socket.AF_INET]

    def open_port(self, port_id: int, sock: socket.socket) -> None:
        """See `PacketIo.open_port`."""
        if not 0 <= port_id < PORTS_MAX:
            raise ValueError(f"port id {port_id}")
        self.close_port(port_id)
        sock.setblocking(False)
        self._sockets[port_id] = sock
        self._fds[port_id] = sock.fileno()
        self._family[port_id] = sock.family
        self._port_of_fd[sock.fileno()] = port_id
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def close_port(self, port_id: int) -> None:
        """See `PacketIo.close_port`."""
        sock = self._sockets.pop(port_id, None)
        if sock is None:
            return
        self._epoll.unregister(sock.fileno())
        del self._port_of_fd[sock.fileno()]
        self._fds[port_id] = -1
        self._ready = [ready for ready in self._ready if ready != port_id]
        sock.close()

    def watch(self, descriptor: int) -> None:
        """See `PacketIo.watch`."""
        self._watched = descriptor
        self._epoll.register(descriptor, select.EPOLLIN)

    def wait(self, timeout_s: float) -> bool:
        """See `PacketIo.wait`."""
        events = self._epoll.poll(timeout_s if timeout_s > 0.0 else 0, len(self._sockets) + 1)
        if not events:
            self._ready = []
            return False
        ports = self._port_of_fd
        watched = self._watched
        self._ready = [ports[fd] for fd, _ in events if fd != watched]
        return len(self._ready) != len(events)

    def receive(self) -> int:
        """See `PacketIo.receive`."""
        count = 0
        for port_id in self._ready:
            room = min(self._batch - count, _PER_SOCKET_MAX)
            if room == 0:
                break
            sock = self._sockets[port_id]
            took: int = self._recvmmsg(
                sock.fileno(), self._rx_at + count * _MMSGHDR.itemsize, room, _DONTWAIT, None
            )
            if took <= 0:
                continue
            end = count + took
            if self._family[port_id] == socket.AF_INET:
                # The first 8 octets of sockaddr_in are family, port, address: a key but for the
                # family, whose place the port number takes.
                np.add(
                    self._name0[count:end],
                    np.uint64((port_id - socket.AF_INET) & 0xFFFFFFFFFFFFFFFF),
                    out=self.keys[count:end],
                )
            else:
                self._fold_ipv6(count, end, port_id)
            count = end
        if count:
            self.lengths[:count] = self._rx_len[:count]
            self._rx_namelen[:count] = _SOCKADDR_OCTETS
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
            raw = socket.AF_INET.to_bytes(2, "little") + port + packed
            self._remote_len[row] = _SOCKADDR_LEN[socket.AF_INET]
        else:
            raw = socket.AF_INET6.to_bytes(2, "little") + port + bytes(4) + packed
            self._remote_len[row] = _SOCKADDR_LEN[socket.AF_INET6]
            self._any_ipv6 = True
        self._remotes[row] = np.frombuffer(raw.ljust(_SOCKADDR_OCTETS, b"\0"), np.uint8)

    def send(
        self,
        buffer: PacketBuffer,
        index: NDArray[np.intp],
        octets: NDArray[np.integer],
        ports: NDArray[np.integer],
        rows: NDArray[np.integer],
    ) -> int:
        """See `PacketIo.send`."""
        count = len(index)
        if count == 0:
            return 0
        order = np.argsort(ports, kind="stable")
        ordered = ports[order]
        destinations = rows[order].astype(np.uint64)
        np.add(
            destinations * np.uint64(_SOCKADDR_OCTETS), self._remotes_at, out=self._tx_name[:count]
        )
        if self._any_ipv6:
            self._tx_namelen[:count] = self._remote_len[rows[order]]
        starts = index[order].astype(np.uint64)
        np.add(starts * np.uint64(STRIDE), np.uint64(buffer.address), out=self._tx_base[:count])
        self._tx_len[:count] = octets[order]
        sent = 0
        edges = np.flatnonzero(ordered[1:] != ordered[:-1]).tolist()
        start = 0
        for last in [*edges, count - 1]:
            sent += self._send_run(int(self._fds[ordered[last]]), start, last + 1)
            start = last + 1
        self.send_errors += count - sent
        self.packets_sent += sent
        return sent

    def _send_run(self, descriptor: int, start: int, end: int) -> int:
        if descriptor < 0:
            return 0
        sent = 0
        while start < end:
            took: int = self._sendmmsg(
                descriptor,
                self._tx_at + start * _MMSGHDR.itemsize,
                min(end - start, _CALL_MAX),
                _DONTWAIT,
            )
            if took > 0:
                sent += took
                start += took
            elif ctypes.get_errno() in _NOT_NOW:
                break
            else:
                start += 1  # this datagram cannot go (no route, bad address); the others can
        return sent

    def close(self) -> None:
        """See `PacketIo.close`."""
        for port_id in list(self._sockets):
            self.close_port(port_id)
        self._epoll.close()
