"""What the engine asks of a network: batches of datagrams in, batches out, sources as numbers.

A *port* here is one bound UDP socket, known to the engine by a small number; a *row* is the
engine's index of a stream, which has one destination (RTCP has as many rows again). A source is one
64-bit *key*: port number, UDP port and IP address of the sender, so that finding a stream is one
search over integers.

    bits 0-15  port number      bits 16-31  UDP port, network order      bits 32-63  IPv4 address

IPv6 addresses are folded into the upper 32 bits by a keyed hash; the key is random for each
process, so that nobody outside can look for two addresses that fall together.
"""

from __future__ import annotations

import os
import socket
import struct
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from media.protocol import Address

BATCH = 4096
"""Datagrams that one `receive` takes at most."""

STRIDE = 1536
"""Octets of a row in a packet buffer; more than `PACKET_OCTETS_MAX`, so that excess shows."""

PACKET_OCTETS_MAX = 1500
PORTS_MAX = 32_768

_HOSTS_KEPT = 1024

HOST_MASK = 0xFFFFFFFF0000FFFF
"""Key without the UDP port: a host as seen on one port."""


class PacketBuffer:
    """(rows, `STRIDE`) octets of datagrams, the same memory as big-endian words, of which three are a
    packet's header, and the address of each row."""

    __slots__ = ("headers", "octets", "pointers", "words")

    def __init__(self, rows: int) -> None:
        self.octets: NDArray[np.uint8] = np.zeros((rows, STRIDE), np.uint8)
        self.words: NDArray[np.uint32] = self.octets.view(">u4")
        self.headers: NDArray[np.uint32] = self.words[:, :3]
        starts = np.arange(rows, dtype=np.uint64) * np.uint64(STRIDE)
        self.pointers: NDArray[np.uint64] = starts + np.uint64(self.octets.ctypes.data)


class PacketIo(Protocol):
    """One worker's sockets. Blocks in `wait` only; never raises for what peers or routes do."""

    rx: PacketBuffer
    """Row i holds datagram i of the last `receive`."""
    tx: PacketBuffer
    """For datagrams that we make."""
    lengths: NDArray[np.int32]
    """(BATCH,) octets of each datagram received; above `PACKET_OCTETS_MAX`: it was longer."""
    keys: NDArray[np.uint64]
    """(BATCH,) source key of each datagram received."""
    packets_sent: int
    """Datagrams the system took so far."""
    send_errors: int
    """Datagrams the system refused so far (full buffer, no route)."""

    def open_port(self, port_id: int, sock: socket.socket) -> None:
        """Use a bound UDP socket as port `port_id`; it becomes non-blocking and ours to close."""

    def close_port(self, port_id: int) -> None:
        """Stop using the port and close its socket. Unknown ports are ignored."""

    def watch(self, descriptor: int) -> None:
        """Let `wait` also wake up for this descriptor."""

    def unwatch(self, descriptor: int) -> None:
        """No longer; before it is closed."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a datagram or a watched descriptor is there; True if one of the latter is."""

    def rest(self, timeout_s: float) -> None:
        """Sleep until a datagram is there, whatever watched descriptors have to say; `wait` tells of both
        afterwards. Who closes the other end of one may end it early."""

    def receive(self) -> int:
        """Take what has come to the ports that the last `wait` found ready; how many datagrams."""

    def source_of(self, index: int) -> Address:
        """Sender of datagram `index` of the last `receive`."""

    def source_key(self, port_id: int, address: Address) -> int:
        """Key that a datagram from `address` to port `port_id` would have."""

    def set_destination(self, row: int, address: Address) -> None:
        """Datagrams sent for `row` go to this IP address and port."""

    def send(
        self,
        buffer: PacketBuffer,
        index: NDArray[np.intp] | None,
        octets: NDArray[np.integer] | int,
        ports: NDArray[np.integer],
        rows: NDArray[np.integer],
    ) -> int:
        """Send rows `index` of `buffer` (None: its first n), `octets` long each (a number: all of them), from
        `ports` to the destinations of `rows`; all (n,), n up to `BATCH`. Returns how many the system took."""

    def close(self) -> None:
        """Close every port."""


class SourceKeys:
    """Makes keys of addresses; the hash key of IPv6 addresses is drawn here."""

    __slots__ = ("_folded", "high", "low")

    def __init__(self, seed: bytes | None = None) -> None:
        secret = seed if seed is not None else os.urandom(16)
        high, low = struct.unpack("=QQ", secret)
        self.high: int = high | 1
        self.low: int = low | 1
        self._folded: dict[str, int] = {}

    def fold(self, packed: bytes) -> int:
        """Return 32 bits for a packed IPv4 or IPv6 address."""
        if len(packed) == 4:
            return int.from_bytes(packed, "little")
        high, low = int.from_bytes(packed[:8], "little"), int.from_bytes(packed[8:], "little")
        mixed = (high * self.high) ^ (low * self.low)
        return (mixed >> 32) & 0xFFFFFFFF

    def key(self, port_id: int, address: Address) -> int:
        """Return the source key of `address` (numeric host) on port `port_id`."""
        host, port = address[0], address[1]
        folded = self._folded.get(host)
        if folded is None:
            if len(self._folded) >= _HOSTS_KEPT:
                self._folded.clear()
            folded = self._folded[host] = self.fold(packed_host(host)) << 32
        return port_id | ((port & 0xFF) << 24) | ((port >> 8) << 16) | folded


@lru_cache(maxsize=_HOSTS_KEPT)
def packed_host(host: str) -> bytes:
    """Return 4 or 16 octets of a numeric host; raises `ValueError` for anything else."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.inet_pton(family, host)
    except OSError as error:
        raise ValueError(f"{host!r} is not a numeric IP address") from error
