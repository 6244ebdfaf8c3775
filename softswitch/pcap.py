"""SIP messages as a capture file for Wireshark, sngrep and their like.

Each message is one UDP datagram over IP, whatever carried it (so TLS can be read, too); link type
"raw IP".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

from softswitch.hep import Passed

_RAW_IP = 101
_SNAP = 262_144
_UDP = 17
PAYLOAD_MAX = 65_000


def pcap(messages: Iterable[Passed]) -> bytes:
    """The capture file, times in microseconds."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP, _RAW_IP)]
    for message in messages:
        packet = _packet(message)
        seconds = int(message.at_s)
        microseconds = min(999_999, round((message.at_s - seconds) * 1e6))
        parts.append(struct.pack("<IIII", seconds, microseconds, len(packet), len(packet)))
        parts.append(packet)
    return b"".join(parts)


def _packet(message: Passed) -> bytes:
    source, destination = ip_address(message.source[0]), ip_address(message.destination[0])
    data = message.data[:PAYLOAD_MAX]
    length = 8 + len(data)
    ports = struct.pack("!HH", message.source[1], message.destination[1])
    if source.version == 4:
        datagram = ports + struct.pack("!HH", length, 0) + data
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, _UDP, 0)
        addresses = source.packed + destination.packed
        total = _checksum(head + addresses)
        return head[:10] + struct.pack("!H", total) + addresses + datagram
    pseudo = source.packed + destination.packed + struct.pack("!II", length, _UDP)
    checksum = _checksum(pseudo + ports + struct.pack("!HH", length, 0) + data) or 0xFFFF
    datagram = ports + struct.pack("!HH", length, checksum) + data
    head = struct.pack("!IHBB", 0x60000000, length, _UDP, 64)
    return head + source.packed + destination.packed + datagram


def _checksum(octets: bytes) -> int:
    if len(octets) % 2:
        octets += b"\0"
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
