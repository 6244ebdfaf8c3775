"""The way out: everything that leaves a worker passes here, and is sealed where SRTP is agreed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.plane.packet_io import PacketBuffer, PacketIo
from media.plane.streams import Sizes
from media.wire.srtp import SrtpTable


class Outlet:
    """`PacketIo.send` with SRTP (RFC 3711) in front of it for the rows that have a key.

    Rows from `capacity` on are the RTCP destinations of the streams.
    """

    def __init__(self, io: PacketIo, srtp: SrtpTable, capacity: int) -> None:
        self._io = io
        self._srtp = srtp
        self._capacity = capacity
        self.sealing = False
        """Some row has a key; kept by whoever sets keys."""

    @property
    def tx(self) -> PacketBuffer:
        """The buffer for datagrams that we make."""
        return self._io.tx

    def send(
        self,
        buffer: PacketBuffer,
        index: NDArray[np.intp] | None,
        octets: Sizes,
        ports: NDArray[np.integer],
        rows: NDArray[np.intp],
    ) -> int:
        """See `PacketIo.send`; what cannot be sealed does not leave."""
        if not self.sealing:
            return self._io.send(buffer, index, octets, ports, rows)
        keyed = self._srtp.outbound[rows % self._capacity].nonzero()[0]
        if not len(keyed):
            return self._io.send(buffer, index, octets, ports, rows)
        where = np.arange(len(rows)) if index is None else index
        octets = np.full(len(rows), octets, np.int32)
        kept = np.ones(len(rows), np.bool_)
        for rtcp in (False, True):
            some = keyed[(rows[keyed] >= self._capacity) == rtcp]
            if not len(some):
                continue
            packets, sizes = buffer.octets[where[some]], octets[some]
            own = rows[some] % self._capacity
            kept[some] = self._srtp.protect(own, packets, sizes, rtcp=rtcp)
            buffer.octets[where[some]] = packets
            octets[some] = sizes
        return self._io.send(buffer, where[kept], octets[kept], ports[kept], rows[kept])
