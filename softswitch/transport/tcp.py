"""SIP over TCP (RFC 3261 section 18, keep-alives of RFC 5626)."""

from __future__ import annotations

from typing import ClassVar

from softswitch.transport.stream import StreamTransport


class TcpTransport(StreamTransport):
    """TCP as it is; limits and deadlines are those of every stream."""

    name: ClassVar[str] = "tcp"
