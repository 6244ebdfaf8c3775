"""SIP over TLS (RFC 3261 26.2, RFC 5922): 1.2 and newer, every certificate of a server verified."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import ClassVar

from softswitch.sip.flow import Flow
from softswitch.transport.credential import TlsIdentity
from softswitch.transport.limits import ConnectionQuota, StreamLimits
from softswitch.transport.stream import StreamTransport
from softswitch.transport.tls_session import TlsSession

NameOf = Callable[[str], str | None]
"""The name by which the peer at an IP address must identify itself, where one is configured."""


class TlsTransport(StreamTransport):
    """TLS over TCP.

    Parameters: `identity` has our certificate and whom we trust; `name_of` names the peer of flows
    that carry no `server_name` (requests inside a call that a trunk has begun). A server we connect
    to must present a certificate for that name, or for its IP address where no name is known, that a
    trusted authority has signed. There is no way to switch this off.
    """

    name: ClassVar[str] = "tls"

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        limits: StreamLimits,
        quota: ConnectionQuota,
        *,
        identity: TlsIdentity,
        name_of: NameOf | None = None,
    ) -> None:
        super().__init__(sock, loop, limits, quota)
        self.identity = identity
        self.name_of = name_of

    def make_tls(self, flow: Flow, *, ours: bool) -> TlsSession | None:
        if not ours:
            return TlsSession(self.identity.server_context(), server_side=True)
        name = flow.server_name
        if not name and self.name_of is not None:
            name = self.name_of(flow.remote[0]) or ""
        context: ssl.SSLContext = self.identity.client_context()
        return TlsSession(context, server_side=False, server_name=name or flow.remote[0])
