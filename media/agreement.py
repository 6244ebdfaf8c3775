"""What SDP has agreed for a stream, checked before a worker hears of it: numeric hosts, known codecs, keys."""

from __future__ import annotations

import socket
from functools import lru_cache

import msgspec

from media.errors import NotSupported
from media.plane.packet_io import packed_host
from media.protocol import DIRECTIONS, StreamParams
from media.wire.srtp import parse_crypto

CODECS = ("PCMU", "PCMA", "G722", "opus", "L16", "L16/16000", "G729")

_UNSPECIFIED = ("0.0.0.0", "::")


def is_ipv6(host: str) -> bool:
    """Of which family a numeric address is; raises `ValueError` where it is none."""
    return len(packed_host(host)) == 16


FMTP_MAX = 1000
"""Characters of format parameters that are read."""


@lru_cache(maxsize=1024)
def numeric(host: str) -> str:
    """Return a numeric address in its usual form; raises `NotSupported`."""
    try:
        packed = packed_host(host)
    except ValueError as error:
        raise NotSupported(str(error)) from error
    if len(packed) == 16 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        packed = packed[12:]  # an IPv4 address in IPv6 clothes must not pass as another host
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def checked(params: StreamParams) -> StreamParams:
    """Return `params` with numeric hosts, and no remote where SDP says "send nothing"."""
    if params.codec not in CODECS:
        raise NotSupported(f"codec {params.codec!r}; allowed: {', '.join(CODECS)}")
    if params.direction not in DIRECTIONS:
        raise NotSupported(f"direction {params.direction!r}")
    received = params.receive_payload_type
    if not 0 <= params.payload_type <= 127:
        raise NotSupported(f"payload type {params.payload_type}")
    if received is not None and not 0 <= received <= 127:
        raise NotSupported(f"payload type {received}")
    if params.fmtp is not None and len(params.fmtp) > FMTP_MAX:
        params = msgspec.structs.replace(params, fmtp=params.fmtp[:FMTP_MAX])
    if params.rtcp_port is not None and not 0 < params.rtcp_port < 65_536:
        raise NotSupported(f"RTCP port {params.rtcp_port}")
    if params.srtp_in is not None:
        parse_crypto(params.srtp_in)
    if params.srtp_out is not None:
        parse_crypto(params.srtp_out)
    remote, host = params.remote, params.signalled_host
    if remote is not None:
        name, port = remote
        usual = numeric(name)
        if usual in _UNSPECIFIED or not 0 < port < 65_536:
            remote = None
        elif usual != name:
            remote = (usual, port)
    if host is not None:
        host = numeric(host)
    if remote is params.remote and host == params.signalled_host:
        return params
    return msgspec.structs.replace(params, remote=remote, signalled_host=host)
