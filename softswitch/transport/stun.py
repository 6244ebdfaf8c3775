"""STUN as a keep-alive of telephones over UDP (RFC 5626 4.4.2, RFC 8489): a Binding request is answered with
the address that it came from, and that is all. Pure."""

from __future__ import annotations

import ipaddress
import struct

_HEADER = 20
_COOKIE = 0x2112A442
_REQUEST, _SUCCESS = 0x0001, 0x0101
_XOR_MAPPED_ADDRESS = 0x0020
_OCTETS_MAX = 548
"""A datagram that arrives everywhere whole (RFC 8489 6.1); a keep-alive is 20 octets and a name."""
_MUST_UNDERSTAND = 0x8000


def is_stun(data: bytes) -> bool:
    """Whether this is STUN and not SIP, by its first two bits and its cookie (RFC 8489 5)."""
    return data[:1] < b"\x40" and data[4:8] == b"\x21\x12\xa4\x42"


def binding_answer(data: bytes, source: tuple[str, int]) -> bytes | None:
    """The answer to a Binding request from `source`; None for anything else, and for what asks for more than
    we know."""
    if not _HEADER <= len(data) <= _OCTETS_MAX:
        return None
    kind, length, cookie = struct.unpack_from("!HHI", data)
    if kind != _REQUEST or cookie != _COOKIE or length % 4 or length != len(data) - _HEADER:
        return None
    if not _understood(data):
        return None
    return _success(data[4:_HEADER], source) or None


def _understood(data: bytes) -> bool:
    at = _HEADER
    while at < len(data):
        kind, length = struct.unpack_from("!HH", data, at)
        at += 4 + length + -length % 4
        if kind < _MUST_UNDERSTAND or at > len(data):
            return False
    return True


def _success(identity: bytes, source: tuple[str, int]) -> bytes:
    """`identity`: cookie and transaction id, with which the address is masked (RFC 8489 14.2)."""
    try:
        address = ipaddress.ip_address(source[0].partition("%")[0])
    except ValueError:
        return b""
    family = 1 if address.version == 4 else 2
    masked = bytes(a ^ b for a, b in zip(address.packed, identity, strict=False))
    value = struct.pack("!xBH", family, source[1] ^ (_COOKIE >> 16)) + masked
    attribute = struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(value)) + value
    return struct.pack("!HH", _SUCCESS, len(attribute)) + identity + attribute
