"""The books of all received streams as columns: loss, order, jitter, delay, and who was heard.

Pure: packets come as arrays, time comes with them. Sources: RFC 3550 6.4.1 and A.8 (jitter), A.1
(sequence numbers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.wire.rtp import sequence_delta, timestamp_delta

_RESTART = 3000
_U64 = np.uint64
HEARD_MAX = 8
"""Other speakers remembered of one stream."""


@dataclass(slots=True)
class Arrived:
    """(n,) audio packets, at most one of each stream."""

    slots: NDArray[np.intp]
    sequence: NDArray[np.uint16]
    timestamp: NDArray[np.uint32]
    ssrc: NDArray[np.uint32]
    at_us: NDArray[np.int64]
    stamped: NDArray[np.bool_]
    identity: NDArray[np.uint32]
    frame: NDArray[np.uint32]
    said_us: NDArray[np.uint32]


class Window:
    """Loss, duplicates and order of rising numbers, one counter a stream, over the last 64 of each."""

    __slots__ = ("duplicates", "highest", "lost", "reordered", "seen", "started")

    def __init__(self, capacity: int) -> None:
        self.started = np.zeros(capacity, np.bool_)
        self.highest = np.zeros(capacity, np.int64)
        self.seen = np.zeros(capacity, np.uint64)
        self.lost = np.zeros(capacity, np.int64)
        self.duplicates = np.zeros(capacity, np.int64)
        self.reordered = np.zeros(capacity, np.int64)

    def reset(self, slot: int) -> None:
        for column in (self.started, self.highest, self.seen):
            column[slot] = 0
        for counts in (self.lost, self.duplicates, self.reordered):
            counts[slot] = 0

    def take(
        self,
        slots: NDArray[np.intp],
        number: NDArray[np.integer],
        step: NDArray[np.int64],
        fresh: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """(n,) numbers, `step` from the highest so far; `fresh` begins anew. Returns which are no
        duplicates."""
        fresh = fresh | ~self.started[slots] | (np.abs(step) > _RESTART)
        seen = self.seen[slots]
        ahead = fresh | (step > 0)
        back = np.clip(-step, 0, 63).astype(np.uint64)
        old = (~ahead) & (step > -64)
        bit = _U64(1) << back
        again = old & ((seen & bit) != 0)
        late = old & ~again
        shift = np.clip(step, 0, 63).astype(np.uint64)
        shifted = np.where(step > 63, _U64(0), seen << shift) | _U64(1)
        seen = np.where(ahead, np.where(fresh, _U64(1), shifted), np.where(late, seen | bit, seen))
        self.seen[slots] = seen
        jump = ahead & ~fresh
        self.lost[slots] += np.where(jump, step - 1, 0) - late
        self.duplicates[slots] += again
        self.reordered[slots] += late
        self.highest[slots] = np.where(ahead, number, self.highest[slots])
        self.started[slots] = True
        fine: NDArray[np.bool_] = ~again
        return fine


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What is known of one stream at its end. Times in ms; `loss` is a share, 0 to 1.

    `stamped`: packets that came through untouched, with a note of this run. `expected`, `own`,
    `other`: how often whom was heard, in notes or, where there are none, in sound (`listened` times).
    `sealed` by SRTP: `forged` were not under the key that SDP had told, `replays` came twice.
    `own_late_ms` is how late our own pacer was meanwhile: that much is not the target's fault.
    """

    identity: int
    expects: int
    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicates: int = 0
    reordered: int = 0
    stamped: int = 0
    listened: int = 0
    expected: int = 0
    own: int = 0
    other: int = 0
    others: tuple[int, ...] = ()
    unknown: int = 0
    silent: int = 0
    clipped: float = 0.0
    jitter_ms: float = 0.0
    delay_ms: float | None = None
    delay_max_ms: float | None = None
    gap_ms_max: float = 0.0
    tail_ms: float = 0.0
    own_late_ms: float = 0.0
    own_late_ms_max: float = 0.0
    elsewhere: int = 0
    strange: int = 0
    sealed: bool = False
    forged: int = 0
    replays: int = 0
    codec: str = ""
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """Packets missing of those that the sender had sent up to the last one that came."""
        total = self.received - self.duplicates + self.lost
        return max(self.lost, 0) / total if total > 0 else 0.0


class StreamBook:
    """Columns for up to `capacity` streams; a stream keeps its slot for its life."""

    def __init__(self, capacity: int) -> None:
        def numbers() -> NDArray[np.int64]:
            return np.zeros(capacity, np.int64)

        self.capacity = capacity
        self.rtp = Window(capacity)
        self.frames = Window(capacity)
        self.ssrc = np.zeros(capacity, np.uint32)
        self.received, self.stamped = numbers(), numbers()
        self.expects, self.identity = numbers(), numbers()
        self.expected, self.own, self.other = numbers(), numbers(), numbers()
        self.last_us, self.first_us, self.gap_us = numbers(), numbers(), numbers()
        self.delay_sum_us, self.delay_max_us = numbers(), numbers()
        self.transit = np.zeros(capacity, np.float64)
        self.timestamp = np.zeros(capacity, np.uint32)
        self.jitter = np.zeros(capacity, np.float64)
        self.speaker = numbers()
        self.others: dict[int, dict[int, int]] = {}
        self._columns = (
            self.received, self.stamped, self.expected, self.own, self.other, self.last_us,
            self.first_us, self.gap_us, self.delay_sum_us, self.delay_max_us,
            self.speaker,
        )  # fmt: skip

    def reset(self, slot: int, identity: int, expects: int) -> None:
        """Begin a stream: who speaks into it at our end, who is to be heard (0: anybody)."""
        self.rtp.reset(slot)
        self.frames.reset(slot)
        for column in self._columns:
            column[slot] = 0
        self.transit[slot] = self.jitter[slot] = 0.0
        self.ssrc[slot] = self.timestamp[slot] = 0
        self.identity[slot], self.expects[slot] = identity, expects
        self.others.pop(slot, None)

    def take(self, packets: Arrived) -> NDArray[np.int64]:
        """Count (n,) packets, one a stream; returns the delays in us of those that carry a note."""
        slots, at_us = packets.slots, packets.at_us
        begun = self.rtp.started[slots]
        fresh = ~begun | (self.ssrc[slots] != packets.ssrc)
        step = sequence_delta(packets.sequence, self.rtp.highest[slots] & 0xFFFF).astype(np.int64)
        whole = np.where(fresh, packets.sequence, self.rtp.highest[slots] + step)
        ahead = (step > 0) & ~fresh
        self.rtp.take(slots, whole, step, fresh)
        self.ssrc[slots] = packets.ssrc
        self.received[slots] += 1
        # Interarrival jitter in us, of packets in order only.
        clock = timestamp_delta(packets.timestamp, self.timestamp[slots]) * 125.0
        drift = (at_us - self.last_us[slots]) - clock
        moved = np.abs(drift)
        jitter = self.jitter[slots]
        self.jitter[slots] = np.where(ahead & (moved < 1e6), jitter + (moved - jitter) / 16, jitter)
        forward = ahead | fresh
        gap = np.where(begun, at_us - self.last_us[slots], 0)
        self.gap_us[slots] = np.maximum(self.gap_us[slots], gap)
        self.first_us[slots] = np.where(begun, self.first_us[slots], at_us)
        self.last_us[slots] = np.where(forward, at_us, self.last_us[slots])
        self.timestamp[slots] = np.where(forward, packets.timestamp, self.timestamp[slots])
        return self._take_notes(packets)

    def _take_notes(self, packets: Arrived) -> NDArray[np.int64]:
        told = np.flatnonzero(packets.stamped)
        if told.size == 0:
            return np.zeros(0, np.int64)
        slots = packets.slots[told]
        who = packets.identity[told].astype(np.int64)
        self.stamped[slots] += 1
        wanted, own = self.expects[slots], self.identity[slots]
        right = (who == wanted) | ((wanted == 0) & (who != own))
        self.expected[slots] += right
        self.own[slots] += who == own
        wrong = ~right & (who != own)
        self.other[slots] += wrong
        for place in np.flatnonzero(wrong)[:256].tolist():
            self.note_other(int(slots[place]), int(who[place]))
        frame = packets.frame[told].astype(np.int64)
        step = timestamp_delta(frame, self.frames.highest[slots])
        # Another speaker (after a transfer) begins his own count.
        self.frames.take(slots, frame, step, self.speaker[slots] != who)
        self.speaker[slots] = who
        delay = timestamp_delta(packets.at_us[told] & 0xFFFFFFFF, packets.said_us[told])
        delay = np.maximum(delay, 0)
        self.delay_sum_us[slots] += delay
        self.delay_max_us[slots] = np.maximum(self.delay_max_us[slots], delay)
        return delay

    def note_other(self, slot: int, identity: int) -> None:
        """Somebody unexpected was heard in a stream."""
        heard = self.others.setdefault(slot, {})
        if identity in heard or len(heard) < HEARD_MAX:
            heard[identity] = heard.get(identity, 0) + 1

    def facts(self, slot: int) -> dict[str, object]:
        """The columns of one stream as arguments of `StreamFacts`."""
        told = int(self.stamped[slot])
        # Notes know better than sequence numbers, which a B2BUA writes anew.
        window = self.frames if told > self.received[slot] // 2 else self.rtp
        heard = sorted(self.others.get(slot, {}).items(), key=lambda item: -item[1])
        span_us = int(self.last_us[slot] - self.first_us[slot])
        return {
            "identity": int(self.identity[slot]),
            "expects": int(self.expects[slot]),
            "received": int(self.received[slot]),
            "lost": int(window.lost[slot]),
            "duplicates": int(window.duplicates[slot]),
            "reordered": int(window.reordered[slot]),
            "stamped": told,
            "expected": int(self.expected[slot]),
            "own": int(self.own[slot]),
            "other": int(self.other[slot]),
            "others": tuple(identity for identity, _ in heard),
            "jitter_ms": float(self.jitter[slot]) / 1000,
            "delay_ms": self.delay_sum_us[slot] / told / 1000 if told else None,
            "delay_max_ms": self.delay_max_us[slot] / 1000 if told else None,
            "gap_ms_max": float(self.gap_us[slot]) / 1000,
            "seconds": span_us / 1e6,
        }


def rounds(slots: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Indices of a batch cut into rounds, so that no stream is twice in one; order is kept."""
    if slots.size == 0:
        return []
    order = slots.argsort(kind="stable")
    ordered = slots[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    place = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.append(starts, len(ordered))))
    if place[-1] == 0 and not place.any():
        return [order]
    return [order[place == turn] for turn in range(int(place.max()) + 1)]
