"""RTCP of all streams: reports sent every five seconds or so, reports of the peers taken note of.

RFC 3550 sections 6.2 (interval), 6.4. Reports go only to a source that media has locked to, and are
taken only from there. A BYE ends nothing: calls end by signalling.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from media.dsp import emodel
from media.plane.outlet import Outlet
from media.plane.packet_io import PacketIo
from media.plane.relay import Relay
from media.plane.stream import Stream
from media.plane.streams import SSRC, Streams
from media.plane.timeline import DELAY, RATE_HZ
from media.plane.voices import Voices
from media.protocol import StreamStats
from media.wire import rtcp

INTERVAL_S = 5.0
_GATHER_S = 0.1
_TOGETHER = 16
_PLAYOUT_MS = 1000.0 * DELAY / RATE_HZ


class Reports:
    """One row a stream, as in `Streams`. `unix_offset_s` added to `now_s` gives Unix time."""

    def __init__(
        self,
        io: PacketIo,
        outlet: Outlet,
        streams: Streams,
        relay: Relay,
        voices: Voices,
        rng: random.Random,
        unix_offset_s: float,
    ) -> None:
        size = streams.capacity
        self._io = io
        self._outlet = outlet
        self._streams = streams
        self._relay = relay
        self._voices = voices
        self._rng = rng
        self._unix_offset_s = unix_offset_s
        self._cname = f"{rng.getrandbits(96):024x}"  # RFC 7022: random, says nothing about us
        self._next_s: NDArray[np.float64] = np.full(size, np.inf)
        self._reporting: set[int] = set()
        """Rows that have a time in `_next_s`: most calls end before anybody has been heard."""
        self._expected: NDArray[np.int64] = np.zeros(size, np.int64)
        self._missing: NDArray[np.int64] = np.zeros(size, np.int64)
        self._sent: NDArray[np.uint64] = np.zeros(size, np.uint64)
        self._last_sr: NDArray[np.uint32] = np.zeros(size, np.uint32)
        self._last_sr_s: NDArray[np.float64] = np.zeros(size)
        self.round_trip_s: NDArray[np.float64] = np.full(size, np.nan)
        """(streams,) seconds, as the peer's last report gives it."""
        self.remote_lost: NDArray[np.int64] = np.zeros(size, np.int64)
        self.remote_jitter: NDArray[np.float64] = np.zeros(size)
        self._reported: NDArray[np.bool_] = np.zeros(size, np.bool_)

    def __len__(self) -> int:
        return len(self._reporting)

    @property
    def gather_s(self) -> float:
        """How long reports that are due may gather: to send one costs nearly as much as to send sixteen, and
        more would keep packets waiting."""
        return min(_GATHER_S, _TOGETHER * INTERVAL_S / max(1, len(self._reporting)))

    def begin(self, stream: Stream, now_s: float) -> None:
        """The stream is locked to its source: report to it from now on."""
        address = None if stream.locked is None else stream.rtcp_address(stream.locked)
        if address is None:
            return
        self._io.set_destination(self._streams.capacity + stream.row, address)
        self._next_s[stream.row] = now_s + INTERVAL_S * self._rng.uniform(0.25, 0.75)
        self._reporting.add(stream.row)

    def stop(self, row: int) -> None:
        """Report no more, and forget what was said."""
        if row in self._reporting:
            self._reporting.remove(row)
            self._next_s[row] = np.inf

    def reset(self, rows: NDArray[np.intp]) -> None:
        """New streams will have these rows, which `stop` has been called for."""
        self._expected[rows] = self._missing[rows] = self._sent[rows] = 0
        self._last_sr[rows] = self.remote_lost[rows] = 0
        self.remote_jitter[rows] = 0.0
        self.round_trip_s[rows] = np.nan
        self._reported[rows] = False

    def due(self, now_s: float) -> list[int]:
        """Return the rows whose report is due."""
        used = self._next_s[: self._streams.high_water]
        rows: list[int] = (used <= now_s).nonzero()[0].tolist()
        return rows

    def send(self, streams: list[Stream], now_s: float) -> None:
        """Send the reports of these streams."""
        rows = np.array([stream.row for stream in streams], np.intp)
        # The interval varies from half to one and a half of itself (6.3.1): nothing in step.
        self._next_s[rows] = [
            now_s + INTERVAL_S * self._rng.uniform(0.5, 1.5) for _ in range(len(streams))
        ]
        octets = np.zeros(len(streams), np.int32)
        sent = self._streams.sent[rows]
        heard = np.array([stream.has_ssrc for stream in streams], np.bool_)
        # Nearly all of them hear and speak: those are built together.
        usual = heard & (sent != self._sent[rows])
        together = usual.nonzero()[0]
        if len(together):
            some = [streams[place] for place in together.tolist()]
            words = self._sender_reports(some, rows[together], sent[together], now_s)
            self._outlet.tx.words[together, : words.shape[1]] = words
            octets[together] = 4 * words.shape[1]
        for place in (~usual).nonzero()[0].tolist():
            data = rtcp.build_report(self._report(streams[place], now_s), self._cname)
            self._outlet.tx.octets[place, : len(data)] = np.frombuffer(data, np.uint8)
            octets[place] = len(data)
        own = [int(stream.params is None or not stream.params.rtcp_mux) for stream in streams]
        ports = self._streams.port_id[rows] + np.array(own, np.uint16)
        where = rows + self._streams.capacity
        self._outlet.send(self._outlet.tx, None, octets, ports, where)

    def _sender_reports(
        self,
        talkers: list[Stream],
        rows: NDArray[np.intp],
        sent: NDArray[np.uint64],
        now_s: float,
    ) -> NDArray[np.uint32]:
        """Return the words of the reports of streams that are heard, and have `sent` something."""
        streams = self._streams
        expected, missing = streams.expected_of(rows)
        wanted, lost = expected - self._expected[rows], missing - self._missing[rows]
        self._sent[rows], self._expected[rows], self._missing[rows] = sent, expected, missing
        share = 256 * np.maximum(lost, 0) // np.maximum(wanted, 1)
        last_sr = self._last_sr[rows]
        delay = ((now_s - self._last_sr_s[rows]) * 65_536).astype(np.int64)
        times = [self._relay.timestamp_of(stream, now_s) & 0xFFFFFFFF for stream in talkers]
        reports = rtcp.SenderReports(
            ntp=rtcp.ntp_of(now_s + self._unix_offset_s),
            ssrc=self._relay.ssrc_out[rows],
            rtp_timestamp=np.array(times, np.uint32),
            packets=(sent >> np.uint64(40)).astype(np.uint32),
            octets=sent.astype(np.uint32),
            source=streams.expected_words[rows, SSRC],
            fraction_lost=np.where(wanted > 0, np.minimum(share, 255), 0),
            cumulative_lost=np.minimum(missing, 0x7FFFFF),
            highest_sequence=streams.extended[rows].astype(np.uint32),
            jitter=streams.jitter[rows].astype(np.uint32),
            last_sr=last_sr,
            delay_since_last_sr=np.where(last_sr > 0, np.clip(delay, 0, 0xFFFFFFFF), 0),
        )
        return rtcp.build_sender_reports(reports, self._cname)

    def goodbye(self, stream: Stream) -> None:
        """Report no more; say that a stream ends, to a source that we have locked to and sent media (6.6)."""
        row = stream.row
        if row not in self._reporting:
            return
        self.stop(row)
        if not int(self._streams.sent[row]):
            return
        data = rtcp.build_bye([int(self._relay.ssrc_out[row])], self._cname)
        self._outlet.tx.octets[0, : len(data)] = np.frombuffer(data, np.uint8)
        own = stream.params is None or not stream.params.rtcp_mux
        port = self._streams.port_id[row] + np.uint16(own)
        where = np.array([row + self._streams.capacity], np.intp)
        octets = np.array([len(data)], np.int32)
        self._outlet.send(self._outlet.tx, None, octets, np.array([port]), where)

    def _report(self, stream: Stream, now_s: float) -> rtcp.SenderReport | rtcp.ReceiverReport:
        row = stream.row
        streams = self._streams
        ssrc = self._relay.ssrc_out.item(row)
        blocks = (self._block(row, now_s),) if stream.has_ssrc else ()
        sent = streams.sent.item(row)
        if sent == self._sent.item(row):
            return rtcp.ReceiverReport(ssrc, blocks)
        self._sent[row] = sent
        return rtcp.SenderReport(
            ssrc=ssrc,
            ntp=rtcp.ntp_of(now_s + self._unix_offset_s),
            rtp_timestamp=self._relay.timestamp_of(stream, now_s) & 0xFFFFFFFF,
            packets=sent >> 40,
            octets=sent & ((1 << 40) - 1),
            reports=blocks,
        )

    def _block(self, row: int, now_s: float) -> rtcp.ReportBlock:
        streams = self._streams
        expected, missing = streams.expected(row)
        wanted = expected - self._expected.item(row)
        lost = missing - self._missing.item(row)
        self._expected[row], self._missing[row] = expected, missing
        last_sr = self._last_sr.item(row)
        delay = int((now_s - self._last_sr_s.item(row)) * 65_536) if last_sr else 0
        return rtcp.ReportBlock(
            ssrc=streams.expected_words.item(row, SSRC),
            fraction_lost=min(255, 256 * lost // wanted) if wanted > 0 and lost > 0 else 0,
            cumulative_lost=missing,
            highest_sequence=streams.extended.item(row) & 0xFFFFFFFF,
            jitter=int(streams.jitter.item(row)),
            last_sr=last_sr,
            delay_since_last_sr=delay,
        )

    def heard(self, stream: Stream, data: bytes, now_s: float) -> None:
        """Take note of a compound packet of the peer."""
        row = stream.row
        own = int(self._relay.ssrc_out[row])
        for packet in rtcp.parse(data):
            if isinstance(packet, rtcp.SenderReport):
                self._last_sr[row] = rtcp.compact_ntp(packet.ntp)
                self._last_sr_s[row] = now_s
            if not isinstance(packet, rtcp.SenderReport | rtcp.ReceiverReport):
                continue
            for block in packet.reports:
                if block.ssrc == own:
                    self._note(row, block, now_s)

    def _note(self, row: int, block: rtcp.ReportBlock, now_s: float) -> None:
        self._reported[row] = True
        self.remote_lost[row] = block.cumulative_lost
        self.remote_jitter[row] = block.jitter
        trip_s = rtcp.round_trip_s(rtcp.ntp_of(now_s + self._unix_offset_s), block)
        if trip_s is not None and trip_s < 10.0:
            self.round_trip_s[row] = trip_s
        self._voices.expect_loss(row, block.fraction_lost / 256)

    def complete(self, stats: StreamStats, stream: Stream) -> StreamStats:
        """Return the account of a stream with what the peer reported, and a MOS estimate."""
        row = stream.row
        if not stats.packets_in and not stats.packets_out and not self._reported[row]:
            return stats
        trip_s = float(self.round_trip_s[row])
        known = not np.isnan(trip_s)
        total = stats.packets_in + stats.lost
        codec = "PCMU" if stream.params is None else stream.params.codec
        way_ms = emodel.one_way_ms(1000.0 * trip_s if known else 0.0, _PLAYOUT_MS)

        def score(lost: int, sent: int) -> float:
            share = min(max(lost, 0) / sent, 1.0)
            return round(float(emodel.mos(emodel.rating(share, way_ms, codec))), 2)

        theirs = None
        if self._reported[row] and stats.packets_out:
            theirs = score(int(self.remote_lost[row]), stats.packets_out)
        return StreamStats(
            packets_in=stats.packets_in,
            octets_in=stats.octets_in,
            packets_out=stats.packets_out,
            octets_out=stats.octets_out,
            lost=stats.lost,
            late=stats.late,
            jitter_ms=stats.jitter_ms,
            dropped=stats.dropped,
            round_trip_ms=round(1000.0 * trip_s, 3) if known else None,
            remote_lost=int(self.remote_lost[row]),
            remote_jitter_ms=round(
                1000.0 * float(self.remote_jitter[row] / self._streams.clock_hz[row]), 3
            ),
            mos=score(stats.lost + stats.late, total) if total else 0.0,
            remote_mos=theirs,
        )
