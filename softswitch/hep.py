"""SIP messages as they passed, for Homer: packets of HEP version 3 (the Homer encapsulation protocol)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

_MAGIC = b"HEP3"
_VENDOR = 0
_FAMILY, _PROTOCOL = 1, 2
_SOURCE = {4: 3, 6: 5}
_DESTINATION = {4: 4, 6: 6}
_SOURCE_PORT, _DESTINATION_PORT = 7, 8
_SECONDS, _MICROSECONDS = 9, 10
_KIND, _AGENT, _KEY, _PAYLOAD, _CORRELATION = 11, 12, 14, 15, 17
_SIP = 1
_FAMILIES = {4: 2, 6: 10}  # AF_INET and AF_INET6 of Linux, whatever they are here
_PROTOCOLS = {"udp": 17, "tcp": 6, "tls": 6, "ws": 6, "wss": 6}
PAYLOAD_MAX = 60_000
"""Of one message; a datagram takes no more. What is longer is cut."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One message: from where to where, over what, at what time since the epoch."""

    source: tuple[str, int]
    destination: tuple[str, int]
    transport: str
    at_s: float
    data: bytes


def _chunk(kind: int, value: bytes) -> bytes:
    return struct.pack("!HHH", _VENDOR, kind, 6 + len(value)) + value


def hep3(message: Passed, *, agent: int, key: str = "", correlation: str = "") -> bytes:
    """The packet of one SIP message.

    Parameters: `agent`, the number of this capture agent; `key`, what the collector asks for;
    `correlation`, the same text for all messages of one call.
    """
    source, destination = (ip_address(a[0]) for a in (message.source, message.destination))
    version = source.version
    seconds = int(message.at_s)
    microseconds = min(999_999, round((message.at_s - seconds) * 1e6))
    chunks = [
        _chunk(_FAMILY, bytes([_FAMILIES[version]])),
        _chunk(_PROTOCOL, bytes([_PROTOCOLS.get(message.transport, 17)])),
        _chunk(_SOURCE[version], source.packed),
        _chunk(_DESTINATION[version], _as_version(destination, version)),
        _chunk(_SOURCE_PORT, struct.pack("!H", message.source[1])),
        _chunk(_DESTINATION_PORT, struct.pack("!H", message.destination[1])),
        _chunk(_SECONDS, struct.pack("!I", seconds)),
        _chunk(_MICROSECONDS, struct.pack("!I", microseconds)),
        _chunk(_KIND, bytes([_SIP])),
        _chunk(_AGENT, struct.pack("!I", agent)),
    ]
    if key:
        chunks.append(_chunk(_KEY, key.encode()))
    if correlation:
        chunks.append(_chunk(_CORRELATION, correlation.encode()))
    chunks.append(_chunk(_PAYLOAD, message.data[:PAYLOAD_MAX]))
    body = b"".join(chunks)
    return _MAGIC + struct.pack("!H", 6 + len(body)) + body


def _as_version(address: object, version: int) -> bytes:
    if isinstance(address, IPv4Address) and version == 6:
        return b"\0" * 10 + b"\xff\xff" + address.packed
    packed: bytes = address.packed  # type: ignore[attr-defined]
    return packed[-4:] if version == 4 else packed


class HepExporter:
    """Sends packets to a collector and never waits: what the socket does not take is counted as lost, and
    what strangers send beyond their share as left out, by who decides that (`Copies`)."""

    def __init__(self, collector: tuple[str, int], *, agent: int, key: str = "") -> None:
        family = socket.AF_INET6 if ":" in collector[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._collector = collector
        self._agent = agent
        self._key = key
        self.sent = self.lost = self.left_out = 0

    def send(self, message: Passed, correlation: str = "") -> None:
        """Export one message."""
        try:
            packet = hep3(message, agent=self._agent, key=self._key, correlation=correlation)
            self._socket.sendto(packet, self._collector)
            self.sent += 1
        except (OSError, ValueError):  # nobody there, no buffer; an address that is none
            self.lost += 1

    def close(self) -> None:
        self._socket.close()

    def snapshot(self) -> dict[str, int]:
        return {"sent": self.sent, "lost": self.lost, "left_out": self.left_out}
