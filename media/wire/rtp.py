"""RTP headers of a whole batch at once: parse to columns, build from columns.

Sources: RFC 3550 section 5.1 (fixed header), 5.3.1 (extension); RFC 5761 section 4 and RFC 7983
section 7 (telling RTP, RTCP, STUN and DTLS apart on one port).

A batch is a (N, W) uint8 array, one packet a row, with (N,) lengths in octets. What lies behind a
packet's length is never read as content. No octets make these functions raise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEADER_OCTETS = 12

OTHER, RTP, RTCP, STUN, DTLS = range(5)
"""What a packet is, as `classify` says it."""

_KIND_OF_FIRST = np.zeros(256, np.uint8)
_KIND_OF_FIRST[0:4] = STUN
_KIND_OF_FIRST[20:64] = DTLS
_KIND_OF_FIRST[128:192] = RTP


@dataclass(slots=True)
class RtpColumns:
    """The headers of N packets; a row with `ok` false has no meaningful value in the others."""

    ok: NDArray[np.bool_]
    """(N,) the packet is RTP version 2 and its header, extension and padding fit in its length."""
    payload_type: NDArray[np.uint8]
    marker: NDArray[np.bool_]
    sequence: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    """(N,) uint32, in units of the payload format's clock."""
    ssrc: NDArray[np.uint32]
    payload_at: NDArray[np.int32]
    """(N,) octets from the start of the packet: behind CSRC list and extension."""
    payload_octets: NDArray[np.int32]
    """(N,) octets, padding left out."""


def classify(batch: NDArray[np.uint8], lengths: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return (N,) uint8 of OTHER, RTP, RTCP, STUN, DTLS for each row (RFC 7983, RFC 5761).

    `batch` (N, W >= 2) uint8; `lengths` (N,) octets. Packets of less than 8 octets are OTHER.
    """
    kinds = np.take(_KIND_OF_FIRST, batch[:, 0])
    # RTCP packet types 192 to 223 take the place of payload types 64 to 95 with the marker set.
    rtcp = (kinds == RTP) & ((batch[:, 1] & 0xE0) == 0xC0)
    kinds[rtcp] = RTCP
    kinds[lengths < 8] = OTHER
    return kinds


def parse(batch: NDArray[np.uint8], lengths: NDArray[np.integer]) -> RtpColumns:
    """Parse N headers (RFC 3550 section 5.1).

    `batch` (N, W >= 12) uint8, `lengths` (N,) octets of each packet (at most W). RTCP on the same
    port is `ok` here too when its length allows: ask `classify` first where both may come.
    """
    words = np.ascontiguousarray(batch[:, :HEADER_OCTETS]).view(">u4").astype(np.uint32)
    first = words[:, 0]
    octets = lengths.astype(np.int32)
    ok = ((first >> 30) == 2) & (octets >= HEADER_OCTETS) & (octets <= batch.shape[1])
    columns = RtpColumns(
        ok=ok,
        payload_type=((first >> 16) & 0x7F).astype(np.uint8),
        marker=(first & 0x00800000) != 0,
        sequence=first.astype(np.uint16),
        timestamp=words[:, 1],
        ssrc=words[:, 2],
        payload_at=np.full(len(batch), HEADER_OCTETS, np.int32),
        payload_octets=octets - HEADER_OCTETS,
    )
    # Padding, extension and CSRC are rare: only the rows that have them pay for them.
    rare = np.flatnonzero(ok & ((first & 0x3F000000) != 0))
    if rare.size:
        _parse_rare(batch, octets, first, rare, columns)
    return columns


def _parse_rare(
    batch: NDArray[np.uint8],
    octets: NDArray[np.int32],
    first: NDArray[np.uint32],
    rows: NDArray[np.intp],
    columns: RtpColumns,
) -> None:
    word, length, last = first[rows], octets[rows], batch.shape[1] - 1
    at = HEADER_OCTETS + 4 * ((word >> 24) & 15).astype(np.int32)
    extended = (word & 0x10000000) != 0
    # Reads are clamped to the array; what was clamped fails the length check below.
    high = batch[rows, np.minimum(at + 2, last)].astype(np.int32)
    low = batch[rows, np.minimum(at + 3, last)].astype(np.int32)
    at = np.where(extended, at + 4 + 4 * ((high << 8) | low), at)
    padded = (word & 0x20000000) != 0
    padding = np.where(padded, batch[rows, np.clip(length - 1, 0, last)], 0).astype(np.int32)
    columns.ok[rows] = (at + padding <= length) & (~padded | (padding > 0))
    columns.payload_at[rows] = at
    columns.payload_octets[rows] = length - at - padding


def build(
    payload_type: NDArray[np.integer] | int,
    marker: NDArray[np.bool_] | bool,
    sequence: NDArray[np.integer],
    timestamp: NDArray[np.integer],
    ssrc: NDArray[np.integer],
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Build N fixed headers (version 2, no padding, extension or CSRC): (N, 12) uint8.

    `sequence`, `timestamp`, `ssrc` are (N,) integers taken modulo 2^16, 2^32, 2^32; `payload_type`
    (0 to 127) and `marker` are (N,) or one for all. `out` may be the first 12 columns of a (N, W)
    array of packets; it is written in place and returned.
    """
    count = len(sequence)
    if out is None:
        out = np.empty((count, HEADER_OCTETS), np.uint8)
    second = np.asarray(payload_type, np.int64) & 0x7F | (np.asarray(marker, np.int64) << 7)
    words = out.view(">u4")
    words[:, 0] = 0x80000000 | (second << 16) | (np.asarray(sequence, np.int64) & 0xFFFF)
    words[:, 1] = np.asarray(timestamp, np.int64) & 0xFFFFFFFF
    words[:, 2] = np.asarray(ssrc, np.int64) & 0xFFFFFFFF
    return out


def gather_payload(
    batch: NDArray[np.uint8], payload_at: NDArray[np.integer], octets: int
) -> NDArray[np.uint8]:
    """Return (N, `octets`) uint8: `octets` from `payload_at` on in each row.

    Rows that end earlier repeat their last octet; the caller knows `payload_octets`. When every row
    starts at the same place this is one slice copy.
    """
    if len(payload_at) and (payload_at == payload_at[0]).all():
        start = int(payload_at[0])
        if start + octets <= batch.shape[1]:
            return np.ascontiguousarray(batch[:, start : start + octets])
    index = payload_at[:, None].astype(np.intp) + np.arange(octets)
    return np.take_along_axis(batch, np.clip(index, 0, batch.shape[1] - 1), axis=1)


def sequence_delta(
    newer: NDArray[np.integer] | int, older: NDArray[np.integer] | int
) -> NDArray[np.int32]:
    """Return newer - older modulo 2^16 as -32768..32767, int32 of any shape (RFC 3550 A.1)."""
    difference = np.asarray(newer, np.int64) - np.asarray(older, np.int64)
    return (((difference + 0x8000) & 0xFFFF) - 0x8000).astype(np.int32)


def timestamp_delta(
    newer: NDArray[np.integer] | int, older: NDArray[np.integer] | int
) -> NDArray[np.int64]:
    """Return newer - older modulo 2^32 as -2^31..2^31-1, int64 of any shape."""
    difference = np.asarray(newer, np.int64) - np.asarray(older, np.int64)
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000
