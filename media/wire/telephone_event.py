"""Telephone events in RTP: DTMF digits and flash, received and sent for many streams at once.

Source: RFC 4733, sections 2.3 (payload), 2.5.1 (sender), 2.5.2 (receiver), 3.2 (DTMF events).

`EventReceiver` reports every digit once, whatever is lost: without the marker bit, without any end
packet, with duplicated or reordered packets, with segments of a digit longer than a duration field
can say (section 2.5.1.3), and from senders that step the timestamp within one digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.wire.order import turns
from media.wire.rtp import timestamp_delta

PAYLOAD_OCTETS = 4
DIGITS = "0123456789*#ABCD"
FLASH = 16
EVENT_MAX = FLASH
"""Events above this one (tones, trunk signals) are not reported."""

END_PACKETS = 3
"""The final packet is sent this often in all (section 2.5.1.4)."""

PACKETS_PER_STREAM_MAX = 16
"""More packets of one stream in one batch than this are a flood; the rest is dropped, counted."""

_DURATION_MAX = 0xFFFF
_MEMORY_S = 5.0


def digit_of(event: int) -> str:
    """Return the digit of an event code: one of `0`-`9`, `*`, `#`, `A`-`D`, or `!` for flash."""
    return "!" if event == FLASH else DIGITS[event]


def event_of(digit: str) -> int:
    """Return the event code of a digit; `KeyError` if it is none."""
    code = "0123456789*#ABCD!".find(digit.upper()) if len(digit) == 1 else -1
    if code < 0:
        raise KeyError(digit)
    return code


@dataclass(slots=True)
class EventColumns:
    """The telephone-event payloads of N packets; rows with `ok` false mean nothing."""

    ok: NDArray[np.bool_]
    event: NDArray[np.uint8]
    end: NDArray[np.bool_]
    volume: NDArray[np.uint8]
    """(N,) 0 to 63, in -dBm0."""
    duration: NDArray[np.uint16]
    """(N,) in units of the RTP timestamp."""


def parse(
    batch: NDArray[np.uint8],
    payload_at: NDArray[np.integer],
    payload_octets: NDArray[np.integer],
) -> EventColumns:
    """Parse N payloads (RFC 4733 section 2.3): `batch` (N, W) uint8, the rest (N,) from the header.

    Never raises for what the octets say; a payload that is too short, or that would begin outside
    the row, is not `ok`. Octets behind the first four (redundant blocks) are ignored.
    """
    at = payload_at.astype(np.int64)
    ok = (payload_octets >= PAYLOAD_OCTETS) & (at >= 0) & (at + PAYLOAD_OCTETS <= batch.shape[1])
    index = np.where(ok, at, 0)[:, None] + np.arange(PAYLOAD_OCTETS)
    octets = np.take_along_axis(batch, np.minimum(index, batch.shape[1] - 1), axis=1)
    flags = octets[:, 1]
    return EventColumns(
        ok=ok,
        event=octets[:, 0],
        end=(flags & 0x80) != 0,
        volume=(flags & 0x3F).astype(np.uint8),
        duration=((octets[:, 2].astype(np.uint16) << 8) | octets[:, 3]).astype(np.uint16),
    )


def build(
    event: NDArray[np.integer],
    end: NDArray[np.bool_],
    duration: NDArray[np.integer],
    volume: NDArray[np.integer] | int = 10,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Build N payloads: (N, 4) uint8 (RFC 4733 section 2.3).

    `duration` in timestamp units, saturating at 65,535; `volume` 0 to 63 in -dBm0.
    """
    if out is None:
        out = np.empty((len(event), PAYLOAD_OCTETS), np.uint8)
    length = np.clip(duration, 0, _DURATION_MAX)
    out[:, 0] = event
    out[:, 1] = (np.asarray(end, np.uint8) << 7) | (np.asarray(volume, np.uint8) & 0x3F)
    out[:, 2] = length >> 8
    out[:, 3] = length & 0xFF
    return out


@dataclass(slots=True)
class DigitReports:
    """What a batch, or the passing of time, has told about digits; rows in order of arrival."""

    stream: NDArray[np.intp]
    event: NDArray[np.uint8]
    ended: NDArray[np.bool_]
    """(M,) false: the digit has begun (for barge-in); true: it is over and `duration` is known."""
    duration: NDArray[np.int64]
    """(M,) timestamp units so far."""

    def over(self) -> Iterator[tuple[int, str, int]]:
        """Stream, digit and duration (timestamp units) of those that are over, in order."""
        ended = self.ended.nonzero()[0]
        events = map(digit_of, self.event[ended].tolist())
        yield from zip(
            self.stream[ended].tolist(), events, self.duration[ended].tolist(), strict=True
        )


class EventReceiver:
    """What each stream is hearing: one row a stream, arrays of fixed size.

    Every digit is reported twice: once with `ended` false at its first packet, once with `ended`
    true at its first end packet, at the next digit, or when `expire` finds it silent.
    """

    __slots__ = (
        "active",
        "dropped",
        "duration",
        "event",
        "known",
        "last_duration",
        "seen_s",
        "sounding",
        "timestamp",
    )

    def __init__(self, streams: int) -> None:
        self.known = np.zeros(streams, np.bool_)
        self.active = np.zeros(streams, np.bool_)
        self.event = np.zeros(streams, np.uint8)
        self.timestamp = np.zeros(streams, np.uint32)
        self.last_duration = np.zeros(streams, np.int64)
        self.duration = np.zeros(streams, np.int64)
        self.seen_s = np.zeros(streams)
        self.sounding = False
        """Some stream hears a digit, or did when `expire` was last asked."""
        self.dropped = 0
        """Packets that were events but not reported on: other events, floods."""

    def reset(self, stream: int | NDArray[np.intp]) -> None:
        """Forget what `stream`, one row or (K,), heard: it is given to another party."""
        self.known[stream] = self.active[stream] = False
        self.last_duration[stream] = self.duration[stream] = 0

    def receive(
        self,
        stream: NDArray[np.integer],
        timestamp: NDArray[np.uint32],
        columns: EventColumns,
        now_s: float,
    ) -> DigitReports:
        """Take the event packets of one batch, in order of arrival; (N,) each, N may be 0.

        `stream` is the row of each packet, `timestamp` that of its RTP header. The caller has
        already checked source, SSRC and payload type.
        """
        rows = np.flatnonzero(columns.ok & (columns.event <= EVENT_MAX))
        if rows.size == 0:
            self.dropped += len(stream)
            return _no_reports()
        turn = turns(np.asarray(stream)[rows])
        kept = turn < PACKETS_PER_STREAM_MAX
        self.dropped += len(stream) - int(kept.sum())
        found: list[tuple[NDArray[np.intp], DigitReports]] = []
        # One turn holds each stream at most once, so a turn is a plain scatter.
        for number in range(int(turn[kept].max()) + 1):
            part = rows[turn == number]
            found += self._turn(
                part,
                np.asarray(stream)[part].astype(np.intp),
                timestamp[part],
                columns.event[part],
                columns.end[part],
                columns.duration[part].astype(np.int64),
                now_s,
            )
        return _in_order(found)

    def _turn(
        self,
        part: NDArray[np.intp],
        stream: NDArray[np.intp],
        timestamp: NDArray[np.uint32],
        event: NDArray[np.uint8],
        end: NDArray[np.bool_],
        duration: NDArray[np.int64],
        now_s: float,
    ) -> list[tuple[NDArray[np.intp], DigitReports]]:
        delta = timestamp_delta(timestamp, self.timestamp[stream])
        # After a few seconds nothing can be a repetition; a sender may have begun anew.
        known = self.known[stream] & (now_s - self.seen_s[stream] < _MEMORY_S)
        same = self.event[stream] == event
        last = self.last_duration[stream]
        old = known & (delta < 0) & (delta > -0x40000000)
        repeat = known & (delta == 0)
        follows = same & self.active[stream] & (delta == _DURATION_MAX) & (last >= 0xFF00)
        # A digit cannot begin before the one it follows is over, nor can its first duration already
        # contain the gap: both mean a sender that steps the timestamp within one digit.
        stepped = known & same & (delta > 0) & ((delta <= last) | (delta == duration - last))
        fresh = ~(old | repeat | follows | stepped)
        found = []
        cut = fresh & self.active[stream]
        if cut.any():
            found.append((part[cut], self._ended(stream[cut])))
        base = np.where(follows, self.duration[stream], self.duration[stream] - last)
        base[fresh] = 0
        newer = fresh | follows | ((repeat | stepped) & same & self.active[stream])
        self._store(stream[newer], timestamp[newer], event[newer], now_s)
        grown = np.where(fresh | follows, duration, np.maximum(duration, last))[newer]
        self.last_duration[stream[newer]] = grown
        self.duration[stream[newer]] = base[newer] + grown
        if fresh.any():
            begun = stream[fresh]
            self.active[begun] = self.sounding = True
            false = np.zeros(len(begun), np.bool_)
            found.append(
                (part[fresh], DigitReports(begun, event[fresh], false, self.duration[begun]))
            )
        over = end & newer
        if over.any():
            found.append((part[over], self._ended(stream[over])))
        return found

    def _store(
        self,
        stream: NDArray[np.intp],
        timestamp: NDArray[np.uint32],
        event: NDArray[np.uint8],
        now_s: float,
    ) -> None:
        self.known[stream] = True
        self.timestamp[stream] = timestamp
        self.event[stream] = event
        self.seen_s[stream] = now_s

    def _ended(self, stream: NDArray[np.intp]) -> DigitReports:
        self.active[stream] = False
        true = np.ones(len(stream), np.bool_)
        return DigitReports(stream, self.event[stream], true, self.duration[stream])

    def expire(self, now_s: float, *, silence_s: float = 0.25) -> DigitReports:
        """End the digits of which nothing came for `silence_s`: all their end packets were lost."""
        if not self.sounding:
            return _no_reports()
        self.sounding = bool(self.active.any())
        stream = np.flatnonzero(self.active & (self.seen_s <= now_s - silence_s))
        return self._ended(stream) if stream.size else _no_reports()


def _no_reports() -> DigitReports:
    return DigitReports(
        np.zeros(0, np.intp), np.zeros(0, np.uint8), np.zeros(0, np.bool_), np.zeros(0, np.int64)
    )


def _in_order(found: list[tuple[NDArray[np.intp], DigitReports]]) -> DigitReports:
    """Join the reports and put them in the order of the packets that caused them."""
    if not found:
        return _no_reports()
    order = np.argsort(np.concatenate([part for part, _ in found]), kind="stable")
    return DigitReports(
        np.concatenate([reports.stream for _, reports in found])[order],
        np.concatenate([reports.event for _, reports in found])[order],
        np.concatenate([reports.ended for _, reports in found])[order],
        np.concatenate([reports.duration for _, reports in found])[order],
    )


@dataclass(slots=True)
class EventPackets:
    """The event packets due at one tick, at most one a stream."""

    stream: NDArray[np.intp]
    timestamp: NDArray[np.uint32]
    """(M,) for the RTP header: when the digit began."""
    marker: NDArray[np.bool_]
    payload: NDArray[np.uint8]
    """(M, 4) uint8."""


class EventSender:
    """The digits that streams are sending, one at a time each (RFC 4733 section 2.5.1).

    `busy` tells for every stream whether its audio gives way: a digit, its repeated end packets or
    the pause behind them is under way.
    """

    __slots__ = ("busy", "elapsed", "ends", "event", "length", "pause", "timestamp", "volume")

    def __init__(self, streams: int) -> None:
        self.busy = np.zeros(streams, np.bool_)
        self.event = np.zeros(streams, np.uint8)
        self.volume = np.zeros(streams, np.uint8)
        self.timestamp = np.zeros(streams, np.uint32)
        self.elapsed = np.zeros(streams, np.int64)
        self.length = np.zeros(streams, np.int64)
        self.pause = np.zeros(streams, np.int64)
        self.ends = np.zeros(streams, np.int8)

    def start(
        self,
        stream: int,
        event: int,
        timestamp: int,
        *,
        duration: int = 800,
        pause: int = 800,
        volume: int = 10,
    ) -> None:
        """Begin `event` on `stream` at RTP time `timestamp`; it must not be busy.

        `duration` (at least 1, at most 65,535: no segments are sent) and `pause` in timestamp
        units; `volume` in -dBm0.
        """
        if self.busy[stream]:
            raise ValueError(f"stream {stream} is still sending a digit")
        self.busy[stream] = True
        self.event[stream] = event
        self.volume[stream] = volume
        self.timestamp[stream] = timestamp & 0xFFFFFFFF
        self.elapsed[stream] = 0
        self.length[stream] = min(max(duration, 1), _DURATION_MAX)
        self.pause[stream] = max(pause, 0)
        self.ends[stream] = 0

    def stop(self, stream: int) -> None:
        """Drop what `stream` was sending: its row is given to another party."""
        self.busy[stream] = False

    def tick(self, step: int | NDArray[np.integer]) -> EventPackets:
        """Advance every busy stream by `step` timestamp units and return the packets now due.

        `step`: one for all, or (streams,) where their clocks differ.

        The first packet of a digit has the marker bit; its last duration is sent three times, one
        a tick; then the pause runs and the stream is no longer busy.
        """
        stream = np.flatnonzero(self.busy)
        begin = self.elapsed[stream] == 0
        self.elapsed[stream] += np.broadcast_to(step, self.busy.shape)[stream]
        over = self.elapsed[stream] >= self.length[stream]
        sending = self.ends[stream] < END_PACKETS
        self.ends[stream[over & sending]] += 1
        quiet = self.elapsed[stream] >= self.length[stream] + self.pause[stream]
        self.busy[stream[quiet & (self.ends[stream] >= END_PACKETS)]] = False
        out = stream[sending]
        lengths = np.minimum(self.elapsed[out], self.length[out])
        payload = build(self.event[out], over[sending], lengths, self.volume[out])
        return EventPackets(out, self.timestamp[out], begin[sending], payload)
