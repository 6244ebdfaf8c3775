"""The streams of a worker as a structure of arrays: one row a stream, one column a fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.protocol import StreamStats
from media.wire.rtp import HEADER_OCTETS as HEADER

# Columns of `Streams.expected_words` and `Streams.change`, in the order of the header's words, so that one
# operation over contiguous memory handles all of them.
HEAD = 0
"""First header word without marker and sequence that this row takes unseen; 0: look closer. Beside it, for
the timestamp, stands 0: nothing is expected of that."""
SSRC = 2
SEQUENCE_OFFSET = 0
TIMESTAMP_OFFSET = 1
SSRC_OUT = 2

NONE = -1
"""No row in `target`, no slot in `slot`."""
NOT_SOUND = -2
"""For a slot, of a single packet: it holds an event or noise, and nobody shall decode it."""
POLICED_HEAD = 1
"""In `HEAD`: drop what comes until the second is over. Never the head of a packet, as 0."""
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
_NOTHING = StreamStats()
"""The account of a call that did not come about, or of one on hold; nobody changes it."""

Sizes = NDArray[np.int32] | int
"""(k,) octets of each of k packets, header included, or one number if they are alike."""


def each_of(sizes: Sizes, count: int) -> NDArray[np.int32]:
    """Return (count,) int32: the size of each packet."""
    return np.full(count, sizes, np.int32) if isinstance(sizes, int) else sizes


def together(sizes: list[Sizes], parts: list[NDArray[np.intp]]) -> Sizes:
    """Return the sizes of the packets of batches one after the other, `parts` being the rows of each."""
    alike = {size if isinstance(size, int) else -1 for size in sizes}
    size = alike.pop()
    if not alike and size >= 0:
        return size
    return np.concatenate([each_of(own, len(part)) for own, part in zip(sizes, parts, strict=True)])


class Course(NamedTuple):
    """Where each of k packets goes: copies of what their rows say, for packets that may go another way."""

    target: NDArray[np.intp]
    slot: NDArray[np.intp]
    head_out: NDArray[np.uint32]
    change: NDArray[np.uint32]

    def at(self, places: NDArray[np.intp]) -> Course:
        """Return that of some of the packets."""
        target, slot, head_out, change = self
        return Course(target[places], slot[places], head_out[places], change[places])

    def renew(self, place: int, row: int, streams: Streams) -> None:
        """Let the packet at `place` go where its row says now."""
        self.target[place], self.slot[place] = streams.target[row], streams.slot[row]
        self.head_out[place], self.change[place] = streams.head_out[row], streams.change[row]


class Arrived(NamedTuple):
    """A batch of k packets that were taken in; nobody changes the arrays afterwards."""

    rows: NDArray[np.intp]
    words: NDArray[np.uint32]
    """(k, 3): the headers."""
    sizes: Sizes
    now_s: float


Left = tuple[NDArray[np.intp], Sizes]
"""The rows that a batch was sent for, and its sizes."""


def _count(
    counters: NDArray[np.uint64], parts: list[NDArray[np.intp]], sizes: list[Sizes]
) -> NDArray[np.intp]:
    """Add the packets of batches, and the octets of their payloads; returns the rows of all of them."""
    rows, octets = np.concatenate(parts), together(sizes, parts)
    if isinstance(octets, int):
        np.add.at(counters, rows, np.uint64(octets + PACKET - HEADER))
    else:
        np.add.at(counters, rows, octets.astype(np.uint64) + np.uint64(PACKET - HEADER))
    return rows


class Streams:
    """Rows 0..`capacity`-1; `take` and `give_back` are the only way to one.

    Columns (all (capacity,), but `expected_words` and `change` (capacity, 3), `drops` (capacity, reasons)):
    `expected_words`, `change`: header words that pass unseen, and what is added to them when they are relayed,
    to the row `target` and with the first word `head_out` (without marker and sequence); `slot`: of the
    timeline that the samples go to; `received`, `sent`: packets and octets, see `PACKET`; `limit`: `received`
    that may be reached in this second; `extended`: highest sequence number seen, with cycles; `first`: where
    counting of losses began; `closer`: packets looked at one by one in this second; `heard_s`: time of the
    last packet taken and `timestamp` its RTP timestamp; `transit`, `jitter`: RFC 3550 6.4.1 in timestamp
    units; `rate_hz`: samples a second of its codec; `port_id`: where it sends from; `next_sequence`,
    `next_timestamp`, `sent_s`: continuation of what we send, valid while no relay feeds the row.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        # One row more than streams: an unknown source is row -1 and meets a row that expects nothing.
        self.expected_words: NDArray[np.uint32] = np.zeros((capacity + 1, 3), np.uint32)
        self.change: NDArray[np.uint32] = np.zeros((capacity + 1, 3), np.uint32)
        self.head_out: NDArray[np.uint32] = np.zeros(capacity + 1, np.uint32)
        self.target: NDArray[np.intp] = np.full(capacity + 1, NONE, np.intp)
        self.slot: NDArray[np.intp] = np.full(capacity + 1, NONE, np.intp)
        self._arrived: list[Arrived] = []
        self._left: list[Left] = []
        self._received: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self._sent: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self._extended: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._heard_s: NDArray[np.float64] = np.zeros(capacity)
        self._timestamp: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
        self.limit: NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self.first: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.counted: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.lost: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.late: NDArray[np.uint32] = np.zeros(capacity, np.uint32)
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
        self.add_up()
        return self._received

    @property
    def sent(self) -> NDArray[np.uint64]:
        """What was sent, see `PACKET`."""
        self.add_up()
        return self._sent

    @property
    def extended(self) -> NDArray[np.int64]:
        """The highest sequence numbers seen, with cycles."""
        self.add_up()
        return self._extended

    @property
    def heard_s(self) -> NDArray[np.float64]:
        """When the last packet was taken."""
        self.add_up()
        return self._heard_s

    @property
    def timestamp(self) -> NDArray[np.uint32]:
        """The RTP timestamp of that packet."""
        self.add_up()
        return self._timestamp

    def came(self, batch: Arrived) -> None:
        """Packets have come. They are counted when somebody wants to know, or by `add_up`: five batches
        together cost little more than one."""
        self._arrived.append(batch)

    def went(self, rows: NDArray[np.intp], sizes: Sizes) -> None:
        """Packets were sent for `rows` (k,), which nobody changes afterwards; counted as those that come."""
        self._left.append((rows, sizes))

    def add_up(self) -> None:
        """Count what has come and gone: often enough that little waits, rarely enough to be cheap."""
        if self._left:
            left, self._left = self._left, []
            _count(self._sent, [rows for rows, _ in left], [sizes for _, sizes in left])
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self._note(arrived)

    def _note(self, arrived: list[Arrived]) -> None:
        words = np.concatenate([batch.words for batch in arrived])
        parts, sizes = [batch.rows for batch in arrived], [batch.sizes for batch in arrived]
        rows = _count(self._received, parts, sizes)
        highest = self._extended.take(rows)
        # What came out of order does not lead back.
        step = (words[:, 0] - highest.astype(np.uint32)).astype(np.int16)
        np.maximum.at(self._extended, rows, highest + step)
        # Of several packets of a row the last one assigned stays.
        self._timestamp[rows] = words[:, 1]
        for batch in arrived:
            self._heard_s[batch.rows] = batch.now_s

    def course(self, rows: NDArray[np.intp]) -> Course:
        """Return where packets of `rows` (k,) go."""
        return Course(self.target[rows], self.slot[rows], self.head_out[rows], self.change[rows])

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
        self.expected_words[rows] = self.change[rows] = self.head_out[rows] = 0
        self.target[rows] = self.slot[rows] = NONE
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
        """End the life of a row; nothing must lead to it any more, and from it nothing does."""
        self.expected_words[row, HEAD] = 0
        self.target[row] = self.slot[row] = NONE
        self.expecting[row] = False
        self._free.append(row)

    def packets_in(self, row: int) -> int:
        """Return how many packets this row has taken."""
        return int(self.received[row]) >> 40

    def begin_sequence(self, row: int, sequence: int) -> None:
        """Count losses anew from `sequence` on: another source speaks (RFC 3550 A.1)."""
        self.lost[row] += self.expected(row)[1]
        self.first[row] = sequence
        self.extended[row] = sequence - 1
        self.counted[row] = self.packets_in(row)
        self.transit[row] = np.nan

    def expected(self, row: int) -> tuple[int, int]:
        """Return how many packets this source has sent, and how many of them never came."""
        self.add_up()
        due = self._extended.item(row) - self.first.item(row) + 1
        came = (self._received.item(row) >> 40) - self.counted.item(row)
        return due, max(0, due - came)

    def expected_of(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same of each of `rows` (k,)."""
        due = self.extended[rows] - self.first[rows] + 1
        came = (self._received[rows] >> np.uint64(40)).astype(np.int64) - self.counted[rows]
        return due, np.maximum(due - came, 0)

    def stats(self, row: int) -> StreamStats:
        """Return the account of a row so far."""
        self.add_up()
        received, sent = self._received.item(row), self._sent.item(row)
        counts = self.drops[row].tolist()
        if not received and not sent and not any(counts):
            return _NOTHING
        drops = zip(DROP_REASONS, counts, strict=True)
        return StreamStats(
            packets_in=received >> 40,
            octets_in=received & _OCTETS,
            packets_out=sent >> 40,
            octets_out=sent & _OCTETS,
            lost=int(self.lost[row]) + self.expected(row)[1],
            late=int(self.late[row]),
            jitter_ms=round(1000.0 * float(self.jitter[row] / self.clock_hz[row]), 3),
            dropped={reason: count for reason, count in drops if count},
        )
