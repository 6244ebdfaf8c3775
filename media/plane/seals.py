"""Which streams are sealed: their SRTP keys, and whether the way in and the way out have to look for them."""

from __future__ import annotations

from media.plane.ingress import Ingress
from media.plane.outlet import Outlet
from media.protocol import StreamParams
from media.wire.srtp import SrtpTable, parse_crypto


class Seals:
    """Sets and takes away keys. Parameters: `table` holds them by stream row; `ingress` and `outlet` skip all
    that concerns SRTP while no stream has any."""

    def __init__(self, table: SrtpTable, ingress: Ingress, outlet: Outlet) -> None:
        self._table = table
        self._ingress = ingress
        self._outlet = outlet

    def set(
        self, row: int, before: StreamParams | None, params: StreamParams, *, resumed: bool
    ) -> None:
        """Set the keys of SRTP where they changed: the same key again must keep its replay window.

        `resumed`: the peer has been sending under its key to an earlier worker. Raises `MediaError` for
        a key that is not usable."""
        table = self._table
        before_in = None if before is None else before.srtp_in
        before_out = None if before is None else before.srtp_out
        if (before_in, before_out) == (params.srtp_in, params.srtp_out):
            return
        if params.srtp_in is None or params.srtp_out is None:
            table.clear(row)
            before_in = before_out = None
        if params.srtp_in is not None and params.srtp_in != before_in:
            table.set_inbound(row, parse_crypto(params.srtp_in), resumed=resumed)
        if params.srtp_out is not None and params.srtp_out != before_out:
            table.set_outbound(row, parse_crypto(params.srtp_out))
        self._look()

    def clear(self, row: int) -> None:
        """The stream of `row` is gone."""
        if self._ingress.sealed or self._outlet.sealing:
            self._table.clear(row)
            self._look()

    def _look(self) -> None:
        self._ingress.sealed = bool(self._table.inbound.any())
        self._outlet.sealing = bool(self._table.outbound.any())
