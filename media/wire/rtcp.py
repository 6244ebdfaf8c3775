"""RTCP: what a received compound packet says, and the reports this side sends.

Sources: RFC 3550 sections 6.1 (compound packets), 6.4 (SR, RR), 6.5 (SDES), 6.6 (BYE), appendix A.2
(validity), A.3; RFC 5506 (reduced size is accepted); RFC 5761 (told apart in `rtp.classify`).

Reports are rare (one in five seconds a stream), so here a packet may be an object. Whatever the
octets, `parse` returns a list and never raises.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SR, RR, SDES, BYE = 200, 201, 202, 203
PACKETS_MAX = 32
"""Packets of one compound packet beyond these are not read."""

_CNAME = 1
_TEXT_MAX = 255
_NTP_EPOCH_S = 2208988800


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one source (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """In 1/256, since the last report."""
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    """Timestamp units."""
    last_sr: int
    """Middle 32 bits of the NTP time of the last SR received; 0: none."""
    delay_since_last_sr: int
    """In 1/65,536 s."""


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR: `ntp` is 64-bit NTP time, `rtp_timestamp` the same moment on the stream's clock."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES: the canonical name of each source that gives one."""

    names: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Bye:
    """BYE: sources that leave."""

    ssrcs: tuple[int, ...]
    reason: str = ""


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Bye


def parse(data: bytes) -> list[RtcpPacket]:
    """Read a compound packet; what is unknown is skipped, a broken one ends the list.

    An empty list: nothing in it could be understood.
    """
    found: list[RtcpPacket] = []
    at = 0
    for _ in range(PACKETS_MAX):
        if at + 4 > len(data):
            break
        first, kind, words = struct.unpack_from(">BBH", data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            break
        body = data[at + 4 : end]
        if first & 0x20:
            padding = body[-1] if body else 0
            if padding == 0 or padding > len(body):
                break
            body = body[:-padding]
        packet = _packet(kind, first & 31, body)
        if packet is not None:
            found.append(packet)
        at = end
    return found


def _packet(kind: int, count: int, body: bytes) -> RtcpPacket | None:
    if kind == SR and len(body) >= 24 + 24 * count:
        ssrc, ntp, timestamp, packets, octets = struct.unpack_from(">IQIII", body)
        return SenderReport(ssrc, ntp, timestamp, packets, octets, _blocks(body, 24, count))
    if kind == RR and len(body) >= 4 + 24 * count:
        return ReceiverReport(struct.unpack_from(">I", body)[0], _blocks(body, 4, count))
    if kind == SDES:
        return SourceDescription(_names(body, count))
    if kind == BYE and len(body) >= 4 * count:
        ssrcs = struct.unpack_from(f">{count}I", body)
        rest = body[4 * count :]
        reason = rest[1 : 1 + rest[0]].decode("utf-8", "replace") if rest else ""
        return Bye(ssrcs, reason)
    return None


def _blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for number in range(count):
        ssrc, loss, highest, jitter, last, delay = struct.unpack_from(
            ">IIIIII", body, at + 24 * number
        )
        lost = loss & 0xFFFFFF
        lost -= (lost & 0x800000) << 1
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last, delay))
    return tuple(blocks)


def _names(body: bytes, count: int) -> tuple[tuple[int, str], ...]:
    names, at = [], 0
    for _ in range(count):
        if at + 4 > len(body):
            break
        ssrc = struct.unpack_from(">I", body, at)[0]
        at += 4
        while at + 1 < len(body) and body[at] != 0:
            kind, length = body[at], body[at + 1]
            text = body[at + 2 : at + 2 + length]
            if kind == _CNAME and len(text) == length:
                names.append((ssrc, text.decode("utf-8", "replace")))
            at += 2 + length
        # The list ends with a null; the next chunk begins at the next 32-bit boundary.
        at = (at // 4 + 1) * 4
    return tuple(names)


def _head(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def _block(block: ReportBlock) -> bytes:
    lost = min(max(block.cumulative_lost, -0x800000), 0x7FFFFF) & 0xFFFFFF
    return struct.pack(
        ">IIIIII",
        block.ssrc,
        (block.fraction_lost & 0xFF) << 24 | lost,
        block.highest_sequence & 0xFFFFFFFF,
        min(max(block.jitter, 0), 0xFFFFFFFF),
        block.last_sr & 0xFFFFFFFF,
        min(max(block.delay_since_last_sr, 0), 0xFFFFFFFF),
    )


def build_report(report: SenderReport | ReceiverReport, cname: str) -> bytes:
    """Build the compound packet of a report and our SDES (section 6.1); at most 31 blocks."""
    blocks = b"".join(_block(block) for block in report.reports[:31])
    count = min(len(report.reports), 31)
    if isinstance(report, SenderReport):
        info = struct.pack(
            ">IQIII",
            report.ssrc,
            report.ntp & 0xFFFFFFFFFFFFFFFF,
            report.rtp_timestamp & 0xFFFFFFFF,
            report.packets & 0xFFFFFFFF,
            report.octets & 0xFFFFFFFF,
        )
        first = _head(SR, count, info + blocks)
    else:
        first = _head(RR, count, struct.pack(">I", report.ssrc) + blocks)
    return first + _description(report.ssrc, cname)


@lru_cache(maxsize=64)
def _description(ssrc: int, cname: str) -> bytes:
    text = cname.encode("utf-8", "replace")[:_TEXT_MAX]
    item = struct.pack(">IBB", ssrc, _CNAME, len(text)) + text + b"\0"
    return _head(SDES, 1, item + b"\0" * (-len(item) % 4))


@dataclass(frozen=True, slots=True)
class SenderReports:
    """Reports of many streams at one moment, `ntp`, each with one block: see `SenderReport` and `ReportBlock`.
    All (k,) and of 32 bits, but 8 of `fraction_lost` and 23 of `cumulative_lost`; nothing is negative."""

    ntp: int
    ssrc: NDArray[np.integer]
    rtp_timestamp: NDArray[np.integer]
    packets: NDArray[np.integer]
    octets: NDArray[np.integer]
    source: NDArray[np.integer]
    fraction_lost: NDArray[np.integer]
    cumulative_lost: NDArray[np.integer]
    highest_sequence: NDArray[np.integer]
    jitter: NDArray[np.integer]
    last_sr: NDArray[np.integer]
    delay_since_last_sr: NDArray[np.integer]


def build_sender_reports(reports: SenderReports, cname: str) -> NDArray[np.uint32]:
    """Return (k, n) big-endian words: what `build_report` builds of each."""
    name = np.frombuffer(_description(0, cname), ">u4")
    words = np.empty((len(reports.ssrc), 13 + len(name)), ">u4")
    words[:, 0] = 0x81 << 24 | SR << 16 | 12
    words[:, 1] = words[:, 14] = reports.ssrc
    words[:, 2], words[:, 3] = reports.ntp >> 32, reports.ntp & 0xFFFFFFFF
    words[:, 4], words[:, 5], words[:, 6] = reports.rtp_timestamp, reports.packets, reports.octets
    words[:, 7] = reports.source
    words[:, 8] = reports.fraction_lost << 24 | reports.cumulative_lost
    words[:, 9], words[:, 10] = reports.highest_sequence, reports.jitter
    words[:, 11], words[:, 12] = reports.last_sr, reports.delay_since_last_sr
    words[:, 13], words[:, 15:] = name[0], name[2:]
    return words


def build_bye(ssrcs: Sequence[int], cname: str, reason: str = "") -> bytes:
    """Build the compound packet of an empty RR, our SDES and a BYE (section 6.6); 1 to 31 SSRCs."""
    if not 1 <= len(ssrcs) <= 31:
        raise ValueError(f"{len(ssrcs)} sources; allowed: 1 to 31")
    text = reason.encode("utf-8", "replace")[:_TEXT_MAX]
    tail = bytes([len(text)]) + text if text else b""
    body = struct.pack(f">{len(ssrcs)}I", *ssrcs) + tail + b"\0" * (-len(tail) % 4)
    leave = _head(BYE, len(ssrcs), body)
    return build_report(ReceiverReport(ssrcs[0]), cname) + leave


def ntp_of(unix_s: float) -> int:
    """Return 64-bit NTP time of a Unix time in seconds (RFC 3550 section 4)."""
    return round((unix_s + _NTP_EPOCH_S) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def compact_ntp(ntp: int) -> int:
    """Return the middle 32 bits of 64-bit NTP time: seconds modulo 65,536, in 1/65,536 s."""
    return (ntp >> 16) & 0xFFFFFFFF


def round_trip_s(now_ntp: int, block: ReportBlock) -> float | None:
    """Return the round trip a received report block gives, in seconds (section 6.4.1).

    `now_ntp` is 64-bit NTP time at its arrival, of the clock our SR used. None: the peer has had no
    SR of ours yet, or its figures are not plausible.
    """
    if block.last_sr == 0:
        return None
    ticks = (compact_ntp(now_ntp) - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF
    if ticks >= 0x80000000:
        # Rounding may make a very short trip slightly negative.
        return 0.0 if ticks > 0xFFFFFFFF - 655 else None
    return ticks / 65536.0
