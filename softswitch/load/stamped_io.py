"""Batches of datagrams with the moment each arrived in the kernel, not when we came to look.

So what the generator itself is late by is not charged to the target. Linux `SO_TIMESTAMPNS`
(socket(7)); where there is none the time of looking is taken, which `precise` tells.
"""

from __future__ import annotations

import contextlib
import socket
import time

import numpy as np
from numpy.typing import NDArray

from media.plane.io_mmsg import MmsgIo, available
from media.plane.io_portable import PortableIo
from media.plane.packet_io import BATCH, PacketIo

_SO_TIMESTAMPNS = 35
_CONTROL_WORDS = 8
_CONTROL_OCTETS = 8 * _CONTROL_WORDS
_CMSG_OCTETS = 32  # header 16, timespec 16
_KIND = (_SO_TIMESTAMPNS << 32) | socket.SOL_SOCKET


def clock_us() -> int:
    """The clock that all generators on a machine share, in microseconds."""
    return time.monotonic_ns() // 1000


class _StampedMmsgIo(MmsgIo):
    """`MmsgIo` with a control buffer for each datagram."""

    def _make_headers(self, batch: int, streams: int) -> None:
        super()._make_headers(batch, streams)
        self._control: NDArray[np.uint64] = np.zeros((batch, _CONTROL_WORDS), np.uint64)
        rows = np.arange(batch, dtype=np.uint64)
        self._rx_msg["control"] = self._control.ctypes.data + rows * np.uint64(_CONTROL_OCTETS)
        self._control_octets = self._rx_msg["controllen"]
        self._control_octets[:] = _CONTROL_OCTETS

    def open_port(self, port_id: int, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        super().open_port(port_id, sock)

    def stamps_us(self, count: int) -> NDArray[np.int64]:
        """(count,) arrival on `clock_us` of the last `receive`; and makes ready for the next one."""
        control = self._control[:count]
        now_us = clock_us()
        offset_us = time.time_ns() // 1000 - now_us
        there = (control[:, 0] == _CMSG_OCTETS) & (control[:, 1] == _KIND)
        at_us = (control[:, 2] * np.uint64(1_000_000) + control[:, 3] // np.uint64(1000)).astype(
            np.int64
        )
        found: NDArray[np.int64] = np.where(there, at_us - offset_us, now_us)
        self._control_octets[:count] = _CONTROL_OCTETS
        control[:, 0] = 0
        # A clock that was set in between must not send packets into the past or the future.
        return np.clip(found, now_us - 1_000_000, now_us)


class StampedIo:
    """A `PacketIo` and the arrival times of what it receives; `streams` destinations, as many ports."""

    def __init__(self, streams: int) -> None:
        self._mmsg = _StampedMmsgIo(streams) if available() else None
        self.packets: PacketIo = self._mmsg if self._mmsg is not None else PortableIo(streams)
        self.precise = self._mmsg is not None

    def receive(self) -> tuple[int, NDArray[np.int64]]:
        """Take up to `BATCH` datagrams: how many, and (n,) when each arrived in us of `clock_us`."""
        self.packets.wait(0.0)
        count = self.packets.receive()
        if self._mmsg is not None:
            return count, self._mmsg.stamps_us(count)
        return count, np.full(count, clock_us(), np.int64)

    @property
    def batch(self) -> int:
        """The most that one `receive` takes."""
        return BATCH
