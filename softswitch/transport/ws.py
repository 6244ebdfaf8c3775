"""SIP over WebSocket and secure WebSocket (RFC 7118), for browsers: we listen, we never connect."""

from __future__ import annotations

import asyncio
import socket
from typing import ClassVar

from softswitch.sip.flow import Flow
from softswitch.transport.connection import Connection
from softswitch.transport.credential import TlsIdentity
from softswitch.transport.layers import Framing
from softswitch.transport.limits import ConnectionQuota, StreamLimits
from softswitch.transport.stream import StreamTransport
from softswitch.transport.tls_session import TlsSession
from softswitch.transport.ws_framing import AllowsOrigin, OriginList, WebSocketFraming


class WsTransport(StreamTransport):
    """WebSocket without TLS.

    Parameters: `allows` says which web pages may connect; by default those of our own host.
    """

    name: ClassVar[str] = "ws"

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        limits: StreamLimits,
        quota: ConnectionQuota,
        *,
        allows: AllowsOrigin | None = None,
    ) -> None:
        super().__init__(sock, loop, limits, quota)
        self._allows = allows if allows is not None else OriginList()

    def make_framing(self, *, ours: bool) -> Framing:
        return WebSocketFraming(self.limits.messages, self._allows)

    def _connect(self, flow: Flow) -> Connection | None:
        return None  # RFC 7118 5.3: only clients open WebSockets; nobody listens at a browser


class WssTransport(WsTransport):
    """WebSocket over TLS."""

    name: ClassVar[str] = "wss"

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        limits: StreamLimits,
        quota: ConnectionQuota,
        *,
        identity: TlsIdentity,
        allows: AllowsOrigin | None = None,
    ) -> None:
        super().__init__(sock, loop, limits, quota, allows=allows)
        self.identity = identity

    def make_tls(self, flow: Flow, *, ours: bool) -> TlsSession | None:
        return TlsSession(self.identity.server_context(), server_side=True)
