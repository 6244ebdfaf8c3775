"""The streams of a worker as a structure of arrays: one row a stream, one column a fact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.protocol import StreamStats

# Columns of `Streams.route`: what a packet meets on its way in, and what it becomes on its way out.
# They stand side by side so that one gather brings all of them for a batch; the first three and the last
# three in the order of the header's words, so that one operation handles all of them.
EXPECT = 0
"""First header word without marker and sequence that this row takes unseen; 0: look closer."""
ANY = 1
"""Always 0, beside the timestamp, of which nothing is expected."""
SSRC = 2
TARGET = 3
"""Row that the packet is relayed to, or `NONE`."""
SLOT = 4
"""Slot of the timeline that the samples go to, or `NONE`."""
HEAD_OUT = 5
"""First header word of what goes out, without marker and sequence."""
SEQUENCE_OFFSET = 6
TIMESTAMP_OFFSET = 7
SSRC_OUT = 8
_COLUMNS = 9

NONE = 0xFFFFFFFF
NOT_SOUND = 0xFFFFFFFE
"""In `SLOT`, of a single packet: it holds an event or noise, and nobody shall decode it."""
POLICED_HEAD = 1
"""In `EXPECT`: drop what comes until the second is over. Never the head of a packet, as 0."""
NO_PORT = 0xFFFF
HEADER_MASK = 0xFF7F0000
"""Version, padding, extension, CSRC count and payload type of the first header word."""

PACKET = 1 << 40
"""Counters hold packets above and octets below this bit: one addition counts both."""
_OCTETS = PACKET - 1

DROP_REASONS = (
    "malformed",
    "source",
    "ssrc",
    "payload_type",
    "policed",
    "oversize",
    "rtcp",
    "srtp",
)
MALFORMED, SOURCE, WRONG_SSRC, PAYLOAD_TYPE, POLICED, OVERSIZE, RTCP, SRTP = range(8)

_CLEANED_TOGETHER = 32

Counted = tuple[list[NDArray[np.intp]], list[NDArray[np.uint64]]]
"""Rows and what is to be added to their counters, batch by batch."""


def _add_up(counters: NDArray[np.uint64], counted: Counted) -> None:
    rows, octets = counted
    if rows:
        np.add.at(counters, np.concatenate(rows), np.concatenate(octets))
        rows.clear()
        octets.clear()


class Streams:
    """Rows 0..`capacity`-1; `take` and `give_back` are the only way to one.

    Columns (all (capacity,), but `route` (capacity, 9) and `drops` (capacity, reasons)):
    `received`, `sent`: packets and octets, see `PACKET`; `limit`: `received` that may be reached in
    this second; `extended`: highest sequence number seen, with cycles; `first`: where counting of
    losses began; `closer`: packets looked at one by
    one in this second; `heard_s`: time of the last packet taken and
    `timestamp` its RTP timestamp; `transit`, `jitter`: RFC 3550 6.4.1 in
    timestamp units; `rate_hz`: samples a second of its codec; `port_id`:
    where it sends from; `next_sequence`, `next_timestamp`, `sent_s`: continuation of what we send,
    valid while no relay feeds the row.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        # One row more than streams: an unknown source is row -1 and meets a route that expects nothing.
        self.route: NDArray[np.uint32] = np.zeros((capacity + 1, _COLUMNS), np.uint32)
        self.route[capacity, TARGET] = self.route[capacity, SLOT] = NONE
        self._received: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self._sent: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self._in: Counted = ([], [])
        self._out: Counted = ([], [])
        self.limit: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self.extended: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.first: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.counted: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.lost: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.late: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self.heard_s: NDArray[np.float64] = np.zeros(capacity)
        self.timestamp: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self.transit: NDArray[np.float64] = np.full(capacity, np.nan)
        self.jitter: NDArray[np.float64] = np.zeros(capacity)
        self.drops: NDArray[np.uint32] = np.zeros((capacity, len(DROP_REASONS)), np.uint32)
        self.port_id: NDArray[np.uint16] = np.full(capacity, NO_PORT, np.uint16)
        self.clock_hz: NDArray[np.float64] = np.full(capacity, 8000.0)
        self.rate_hz: NDArray[np.uint16] = np.full(capacity, 8000, np.uint16)
        self.next_sequence: NDArray[np.uint16] = np.zeros(capacity, np.uint16)
        self.next_timestamp: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self.sent_s: NDArray[np.float64] = np.zeros(capacity)
        self.expecting: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self.closer: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self.high_water = 0
        self._free = list(range(capacity - 1, -1, -1))
        self._clean: list[int] = []
        self.also_clean: list[Callable[[NDArray[np.intp]], None]] = [self._clear]
        """Called with rows that are about to be given out: who has columns of them, too."""

    def __len__(self) -> int:
        return self.capacity - len(self._free) - len(self._clean)

    @property
    def received(self) -> NDArray[np.uint64]:
        """What has come, see `PACKET`."""
        _add_up(self._received, self._in)
        return self._received

    @property
    def sent(self) -> NDArray[np.uint64]:
        """What was sent, see `PACKET`."""
        _add_up(self._sent, self._out)
        return self._sent

    def add_up(self) -> None:
        """Add up what has been counted: often enough that little waits, rarely enough to be cheap."""
        _add_up(self._received, self._in)
        _add_up(self._sent, self._out)

    def count_in(self, rows: NDArray[np.intp], octets: NDArray[np.uint64]) -> None:
        """Packets of `rows` (k,) have come, `octets` as the counters have them; nobody changes either
        afterwards. They are added up when somebody wants to know, or by `add_up`."""
        self._in[0].append(rows)
        self._in[1].append(octets)

    def count_out(self, rows: NDArray[np.intp], octets: NDArray[np.uint64]) -> None:
        """The same of what was sent."""
        self._out[0].append(rows)
        self._out[1].append(octets)

    def take(self) -> int:
        """Return a clean row, or -1 when there is none."""
        if not self._clean:
            if not self._free:
                return -1
            self._clean_some()
        row = self._clean.pop()
        if row >= self.high_water:
            self.high_water = row + 1
        return row

    def _clean_some(self) -> None:
        """Some rows together: each column costs as much for one as for all of them."""
        self._clean = self._free[-_CLEANED_TOGETHER:]
        del self._free[-_CLEANED_TOGETHER:]
        rows = np.array(self._clean, np.intp)
        for clean in self.also_clean:
            clean(rows)

    def _clear(self, rows: NDArray[np.intp]) -> None:
        self.route[rows] = 0
        self.route[rows, TARGET] = self.route[rows, SLOT] = NONE
        self.received[rows] = self.sent[rows] = self.limit[rows] = 0
        self.extended[rows] = self.counted[rows] = self.lost[rows] = self.late[rows] = 0
        self.first[rows] = 1
        self.closer[rows] = 0
        self.heard_s[rows] = self.jitter[rows] = self.sent_s[rows] = 0.0
        self.transit[rows] = np.nan
        self.drops[rows] = 0
        self.port_id[rows] = NO_PORT
        self.clock_hz[rows] = 8000.0
        self.rate_hz[rows] = 8000
        self.expecting[rows] = False

    def give_back(self, row: int) -> None:
        """End the life of a row; nothing must lead to it any more."""
        self.route[row] = 0
        self.expecting[row] = False
        self._free.append(row)

    def packets_in(self, row: int) -> int:
        """Return how many packets this row has taken."""
        return int(self.received[row]) >> 40

    def begin_sequence(self, row: int, sequence: int) -> None:
        """Count losses anew from `sequence` on: another source speaks (RFC 3550 A.1)."""
        self.lost[row] += self._missing(row)
        self.first[row] = sequence
        self.extended[row] = sequence - 1
        self.counted[row] = self.packets_in(row)
        self.transit[row] = np.nan

    def _missing(self, row: int) -> int:
        due = int(self.extended[row]) - int(self.first[row]) + 1
        return max(0, due - (self.packets_in(row) - int(self.counted[row])))

    def expected(self, row: int) -> tuple[int, int]:
        """Return how many packets this source has sent, and how many of them never came."""
        return int(self.extended[row]) - int(self.first[row]) + 1, self._missing(row)

    def stats(self, row: int) -> StreamStats:
        """Return the account of a row so far."""
        received, sent = int(self.received[row]), int(self.sent[row])
        drops = zip(DROP_REASONS, self.drops[row].tolist(), strict=True)
        if not received and not sent:
            # Nothing has come or gone: of a call that did not come about, or of one on hold.
            return StreamStats(dropped={reason: count for reason, count in drops if count})
        return StreamStats(
            packets_in=received >> 40,
            octets_in=received & _OCTETS,
            packets_out=sent >> 40,
            octets_out=sent & _OCTETS,
            lost=int(self.lost[row]) + self._missing(row),
            late=int(self.late[row]),
            jitter_ms=round(1000.0 * float(self.jitter[row] / self.clock_hz[row]), 3),
            dropped={reason: count for reason, count in drops if count},
        )
