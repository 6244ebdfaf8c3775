"""Where a message came from and where it goes: the only address type the SIP core knows."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

RELIABLE_TRANSPORTS = frozenset({"tcp", "tls", "ws", "wss"})


@dataclass(frozen=True, slots=True)
class Flow:
    """One path between us and a peer (RFC 5626 uses the word in the same sense).

    `transport` is "udp", "tcp", "tls", "ws" or "wss"; `local` and `remote` are (host, port) with
    host an IP literal without brackets; `connection_id` numbers stream connections and is 0 for UDP.
    `server_name` is whom the certificate of a TLS server we connect to must name.
    """

    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    connection_id: int = 0
    server_name: str = ""

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself (RFC 3261 section 17 sets timers by this)."""
        return self.transport in RELIABLE_TRANSPORTS


class Outgoing(Struct, gc=False):
    """One message the transport is to send now: the octets and the flow they leave by."""

    data: bytes
    flow: Flow
