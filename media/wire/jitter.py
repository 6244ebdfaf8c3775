"""What a receiver learns from the arrival of packets: loss, order, jitter, play-out delay.

Sources: RFC 3550 section 6.4.1 and appendices A.1 (sequence numbers), A.3 (loss), A.8 (jitter). The
play-out delay is a quantile of a fading histogram of how late packets come, relative to the earliest
of the last seconds, which so follow a clock that runs wrong.

Everything is arrays, one row a stream; no packet is kept. Arrival times are seconds of any monotonic
clock, the same for all calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.wire.order import turns
from media.wire.rtp import sequence_delta, timestamp_delta

DROPOUT_MAX = 3000
"""A forward jump of this many packets is a restart, not loss (appendix A.1)."""

WINDOW = 64
"""How many packets behind the newest one a duplicate is still told from a late one."""

PACKETS_PER_STREAM_MAX = 64
"""More packets of one stream in one batch are counted as `excess` and not looked at."""

Rows = NDArray[np.intp]


@dataclass(slots=True)
class Reception:
    """The report block fields (RFC 3550 section 6.4.1) of K streams."""

    fraction_lost: NDArray[np.uint8]
    """(K,) lost since the last report, in 1/256."""
    cumulative_lost: NDArray[np.int64]
    """(K,) -2^23 to 2^23-1; duplicates make it smaller, as the RFC wants."""
    highest_sequence: NDArray[np.int64]
    """(K,) extended by the count of wraps, 32 bits."""
    jitter: NDArray[np.int64]
    """(K,) timestamp units."""


class ReceptionStats:
    """Counters of up to `streams` received streams. A new SSRC on a row is a `reset`."""

    __slots__ = (
        "_bad",
        "_base",
        "_duplicates_before",
        "_expected_prior",
        "_last_s",
        "_lost_before",
        "_received_before",
        "_received_prior",
        "_seen",
        "_timestamp",
        "clock_hz",
        "duplicates",
        "excess",
        "highest",
        "jitter",
        "received",
        "reordered",
        "restarts",
        "started",
    )

    def __init__(self, streams: int) -> None:
        self.started = np.zeros(streams, np.bool_)
        self.clock_hz = np.full(streams, 8000.0)
        """(streams,) RTP clock of each row's payload format."""
        self.highest = np.zeros(streams, np.int64)
        """(streams,) highest sequence number, extended by wraps."""
        self.received = np.zeros(streams, np.int64)
        """(streams,) packets, duplicates included."""
        self.duplicates = np.zeros(streams, np.int64)
        self.reordered = np.zeros(streams, np.int64)
        self.restarts = np.zeros(streams, np.int64)
        self.jitter = np.zeros(streams)
        """(streams,) interarrival jitter in timestamp units (appendix A.8)."""
        self.excess = 0
        self._base = np.zeros(streams, np.int64)
        self._bad = np.full(streams, -1, np.int64)
        self._seen = np.zeros(streams, np.uint64)
        self._timestamp = np.zeros(streams, np.uint32)
        self._last_s = np.zeros(streams)
        self._expected_prior = np.zeros(streams, np.int64)
        self._received_prior = np.zeros(streams, np.int64)
        # What earlier sequence spaces of the same call (before a restart) have left behind.
        self._lost_before = np.zeros(streams, np.int64)
        self._received_before = np.zeros(streams, np.int64)
        self._duplicates_before = np.zeros(streams, np.int64)

    def reset(self, rows: NDArray[np.integer] | int, clock_hz: float = 8000.0) -> None:
        """Start `rows`, one or (K,), anew: another call, or another SSRC. `clock_hz`: their RTP clock."""
        self.started[rows] = False
        self.clock_hz[rows] = clock_hz
        for counter in (self.received, self.duplicates, self.reordered, self.restarts):
            counter[rows] = 0
        self.jitter[rows] = 0.0
        self._lost_before[rows] = self._received_before[rows] = 0
        self._duplicates_before[rows] = 0
        self._expected_prior[rows] = self._received_prior[rows] = 0
        self._bad[rows] = -1

    def receive(
        self,
        stream: NDArray[np.integer],
        sequence: NDArray[np.uint16],
        timestamp: NDArray[np.uint32],
        arrival_s: NDArray[np.floating] | float,
    ) -> NDArray[np.bool_]:
        """Count N packets, in order of arrival; (N,) each, `arrival_s` one for all or (N,).

        Returns (N,) bools: neither a duplicate nor part of an implausible jump.
        """
        fresh = np.zeros(len(stream), np.bool_)
        if not len(stream):
            return fresh
        rows = np.asarray(stream).astype(np.intp)
        when = np.broadcast_to(np.asarray(arrival_s, np.float64), rows.shape)
        turn = turns(rows)
        last = int(turn.max())
        self.excess += int((turn >= PACKETS_PER_STREAM_MAX).sum())
        for number in range(min(last, PACKETS_PER_STREAM_MAX - 1) + 1):
            part = np.flatnonzero(turn == number) if last else np.arange(len(rows))
            fresh[part] = self._turn(rows[part], sequence[part], timestamp[part], when[part])
        return fresh

    def _turn(
        self,
        rows: Rows,
        sequence: NDArray[np.uint16],
        timestamp: NDArray[np.uint32],
        when: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        begin = ~self.started[rows]
        delta = sequence_delta(sequence, self.highest[rows] & 0xFFFF).astype(np.int64)
        plausible = begin | ((delta < DROPOUT_MAX) & (delta > -DROPOUT_MAX))
        if not plausible.all():
            begin = self._restarting(rows, sequence, plausible) | begin
            plausible |= begin
        if begin.any():
            self._begin(rows[begin], sequence[begin], timestamp[begin], when[begin])
        self.received[rows[plausible]] += 1
        ahead = plausible & ~begin & (delta > 0)
        behind = plausible & ~begin & (delta <= 0)
        fresh = begin | ahead
        if ahead.any():
            self._advance(rows[ahead], delta[ahead])
        if behind.any():
            fresh[behind] = self._fill(rows[behind], -delta[behind])
        timed = fresh & ~begin
        if timed.any():
            self._time(rows[timed], timestamp[timed], when[timed])
        return fresh

    def _restarting(
        self, rows: Rows, sequence: NDArray[np.uint16], plausible: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Two packets in a row after a jump are a restart (appendix A.1)."""
        wild = ~plausible
        again: NDArray[np.bool_] = wild & (sequence == self._bad[rows])
        self._bad[rows[wild]] = (sequence[wild].astype(np.int64) + 1) & 0xFFFF
        self.restarts[rows[again]] += 1
        return again

    def _begin(
        self,
        rows: Rows,
        sequence: NDArray[np.uint16],
        timestamp: NDArray[np.uint32],
        when: NDArray[np.float64],
    ) -> None:
        self._lost_before[rows] = self.lost(rows)
        self._received_before[rows] = self._received_prior[rows] = self.received[rows]
        self._duplicates_before[rows] = self.duplicates[rows]
        self.started[rows] = True
        self.highest[rows] = self._base[rows] = sequence
        self._seen[rows] = 1
        self._bad[rows] = -1
        self._expected_prior[rows] = 0
        self._timestamp[rows], self._last_s[rows] = timestamp, when

    def _advance(self, rows: Rows, delta: NDArray[np.int64]) -> None:
        self.highest[rows] += delta
        shift = np.minimum(delta, WINDOW - 1).astype(np.uint64)
        moved = np.left_shift(self._seen[rows], shift)
        moved[delta >= WINDOW] = 0
        self._seen[rows] = moved | np.uint64(1)

    def _fill(self, rows: Rows, age: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take packets that are not newer than the newest; returns which were missing till now."""
        bit = np.left_shift(np.uint64(1), np.minimum(age, WINDOW - 1).astype(np.uint64))
        near = age < WINDOW
        twice = near & ((self._seen[rows] & bit) != 0)
        self._seen[rows] = np.where(near, self._seen[rows] | bit, self._seen[rows])
        # What came before the first packet we saw was never expected: the base moves back to it.
        self._base[rows] = np.minimum(self._base[rows], self.highest[rows] - age)
        self.duplicates[rows] += twice
        self.reordered[rows] += ~twice
        missing: NDArray[np.bool_] = ~twice
        return missing

    def _time(self, rows: Rows, timestamp: NDArray[np.uint32], when: NDArray[np.float64]) -> None:
        elapsed = (when - self._last_s[rows]) * self.clock_hz[rows]
        difference = np.abs(elapsed - timestamp_delta(timestamp, self._timestamp[rows]))
        # A pause with a new time base is not jitter.
        difference[difference > 10.0 * self.clock_hz[rows]] = 0.0
        self.jitter[rows] += (difference - self.jitter[rows]) / 16.0
        self._timestamp[rows], self._last_s[rows] = timestamp, when

    def expected(self, rows: Rows) -> NDArray[np.int64]:
        """Return (K,) how many packets were sent since the last restart, by sequence numbers."""
        count: NDArray[np.int64] = self.highest[rows] - self._base[rows] + 1
        return np.where(self.started[rows], count, 0)

    def lost(self, rows: Rows) -> NDArray[np.int64]:
        """Return (K,) how many packets never came; duplicates do not make up for them."""
        came = self.received[rows] - self._received_before[rows]
        came -= self.duplicates[rows] - self._duplicates_before[rows]
        missing: NDArray[np.int64] = np.maximum(self.expected(rows) - came, 0)
        return missing + self._lost_before[rows]

    def report(self, rows: Rows) -> Reception:
        """Return the report block fields of `rows` (K,), (K,) each, and begin a new reporting interval."""
        expected, received = self.expected(rows), self.received[rows]
        since = received - self._received_before[rows]
        wanted = expected - self._expected_prior[rows]
        missing = wanted - (received - self._received_prior[rows])
        self._expected_prior[rows], self._received_prior[rows] = expected, received
        fraction = np.where(missing > 0, 256 * missing // np.maximum(wanted, 1), 0)
        return Reception(
            np.clip(fraction, 0, 255).astype(np.uint8),
            np.clip(expected - since, -(1 << 23), (1 << 23) - 1),
            self.highest[rows] & 0xFFFFFFFF,
            self.jitter[rows].astype(np.int64),
        )


_BIN_S = 0.005
_BINS = 64
_WEIGHT_MAX = 1e12


class PlayoutDelay:
    """How long each stream's sound should wait.

    `target_s` is the delay, behind the earliest packets of the last seconds, that would have been
    enough for all but `late_share` of recent packets (about the last `memory` of them). It rises
    within a few packets and falls as they are forgotten.
    """

    __slots__ = (
        "_base_s",
        "_early_s",
        "_expected_s",
        "_growth",
        "_histogram",
        "_late_share",
        "_limits_s",
        "_started",
        "_timestamp",
        "_weight",
        "_window_end_s",
        "_window_s",
        "clock_hz",
    )

    def __init__(
        self,
        streams: int,
        *,
        min_s: float = 0.02,
        max_s: float = 0.3,
        late_share: float = 0.01,
        memory: int = 500,
        window_s: float = 4.0,
    ) -> None:
        self._limits_s = (min_s, max_s)
        self._late_share = late_share
        # Instead of making all that is remembered smaller for each packet, each packet counts for more
        # than the one before it.
        self._growth = np.float32(memory / (memory - 1.0))
        self._window_s = window_s
        self.clock_hz = np.full(streams, 8000.0)
        self._started = np.zeros(streams, np.bool_)
        self._timestamp = np.zeros(streams, np.uint32)
        self._expected_s = np.zeros(streams)
        self._early_s = np.zeros(streams)
        self._base_s = np.zeros(streams)
        self._window_end_s = np.zeros(streams)
        self._histogram = np.zeros((streams, _BINS), np.float32)
        self._weight = np.ones(streams, np.float32)

    @property
    def target_s(self) -> NDArray[np.float64]:
        """(streams,) the play-out delay in seconds; worked out anew each time."""
        # From the latest bin down: the first one whose tail holds more than the share.
        tail = np.cumsum(self._histogram[:, ::-1], axis=1)
        enough = tail > self._late_share * tail[:, -1:]
        need = np.where(tail[:, -1] > 0.0, _BINS - enough.argmax(axis=1), 0)
        return np.clip(need * _BIN_S, *self._limits_s)

    def reset(self, rows: NDArray[np.integer] | int, clock_hz: float = 8000.0) -> None:
        """Start `rows`, one or (K,), anew: another call, another SSRC, a jump of the timestamps. `clock_hz`:
        their RTP clock."""
        self._started[rows] = False
        self.clock_hz[rows] = clock_hz
        self._histogram[rows] = 0.0
        self._weight[rows] = 1.0

    def receive(
        self,
        stream: NDArray[np.integer],
        timestamp: NDArray[np.uint32],
        arrival_s: NDArray[np.floating] | float,
    ) -> None:
        """Take the timestamps of N packets, (N,) each, duplicates left out."""
        if not len(stream):
            return
        rows = np.asarray(stream).astype(np.intp)
        when = np.broadcast_to(np.asarray(arrival_s, np.float64), rows.shape)
        turn = turns(rows)
        last = int(turn.max())
        for number in range(min(last, PACKETS_PER_STREAM_MAX - 1) + 1):
            part = np.flatnonzero(turn == number) if last else np.arange(len(rows))
            self._turn(rows[part], timestamp[part], when[part])

    def _turn(self, rows: Rows, timestamp: NDArray[np.uint32], when: NDArray[np.float64]) -> None:
        begin = ~self._started[rows]
        if begin.any():
            new = rows[begin]
            self._started[new] = True
            self._timestamp[new], self._expected_s[new] = timestamp[begin], when[begin]
            self._early_s[new] = self._base_s[new] = 0.0
            self._window_end_s[new] = when[begin] + self._window_s
        step = timestamp_delta(timestamp, self._timestamp[rows]) / self.clock_hz[rows]
        self._expected_s[rows] += step
        self._timestamp[rows] = timestamp
        late_s = when - self._expected_s[rows]
        self._early_s[rows] = np.minimum(self._early_s[rows], late_s)
        self._base_s[rows] = np.minimum(self._base_s[rows], late_s)
        self._remember(rows, late_s - self._base_s[rows])
        over = when >= self._window_end_s[rows]
        if over.any():
            self._roll(rows[over], when[over], late_s[over])

    def _remember(self, rows: Rows, wait_s: NDArray[np.float64]) -> None:
        bins = np.minimum((wait_s / _BIN_S).astype(np.intp), _BINS - 1)
        weight = self._weight[rows] * self._growth
        self._weight[rows] = weight
        self._histogram[rows, bins] += weight
        if float(weight.max()) > _WEIGHT_MAX:
            self._histogram[rows] /= weight[:, None]
            self._weight[rows] = 1.0

    def _roll(self, rows: Rows, when: NDArray[np.float64], late_s: NDArray[np.float64]) -> None:
        """End a window: its earliest packet becomes the base, which so follows a clock that runs wrong."""
        self._base_s[rows] = self._early_s[rows]
        self._early_s[rows] = late_s
        self._window_end_s[rows] = when + self._window_s
