"""Relay: packets of one stream become packets of another by new header fields, nothing else.

Sequence numbers and timestamps that a peer sees from us go on without a break, whoever feeds it:
the offsets of a new feed are decided by its first packet, from where the last feed ended.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media.plane.latch import Latch
from media.plane.stream import Stream
from media.plane.streams import (
    HEAD,
    NONE,
    NOT_SOUND,
    SEQUENCE_OFFSET,
    SSRC_OUT,
    TIMESTAMP_OFFSET,
    Course,
    Streams,
)

_NOISE_HEAD = 0x80000000 | (13 << 16)
FRAME_S = 0.02
"""Of sound that the last packet before a change of feeds is taken to hold."""
_CONVERSIONS = {("PCMU", "PCMA"): 1, ("PCMA", "PCMU"): 2}


def relayable(source: Stream, target: Stream) -> bool:
    """Tell whether packets of `source` can become packets of `target` without decoding."""
    ours, theirs = source.params, target.params
    if ours is None or theirs is None:
        return False
    longest_ms = theirs.maxptime_ms
    if longest_ms is not None and ours.ptime_ms > longest_ms:
        return False  # who wants long packets sends long ones
    return ours.codec == theirs.codec or (ours.codec, theirs.codec) in _CONVERSIONS


class Relay:
    """Makes and ends feeds. `ssrc_out[row]` is the SSRC that we send with on a row.

    `conversion[row]`: 1 u-law to A-law, 2 the reverse, for what comes in on `row`; `audio_out[row]`
    the payload type its audio leaves with; `feeds` counts the feeds, `converting` those of them that convert.
    """

    def __init__(self, streams: Streams, latch: Latch) -> None:
        self._streams = streams
        self._latch = latch
        self.ssrc_out: NDArray[np.uint32] = np.zeros(streams.capacity, np.uint32)
        self.conversion: NDArray[np.uint8] = np.zeros(streams.capacity, np.uint8)
        self.audio_out: NDArray[np.uint8] = np.zeros(streams.capacity, np.uint8)
        self.converting = 0
        self.feeds = 0
        latch.before_change = self.suspend

    def feed(self, source: Stream, target: Stream | None) -> None:
        """Relay `source` to `target` from its next packet on; None ends it. Idempotent."""
        if source.feeds is not target and source.feeds is not None:
            self._end(source)
        params, own = None if target is None else target.params, source.params
        if target is None or params is None or own is None:
            self._latch.refresh(source)
            return
        row, streams = source.row, self._streams
        if source.feeds is None:
            source.feeds = target
            target.fed = None
            source.unsynced = True
            self.feeds += 1
        streams.head_out[row] = 0x80000000 | (params.payload_type << 16)
        streams.change[row, SSRC_OUT] = self.ssrc_out[target.row]
        alike = own.codec == params.codec
        self._set_conversion(row, 0 if alike else _CONVERSIONS.get((own.codec, params.codec), 0))
        self.audio_out[row] = params.payload_type
        if source.unsynced:
            streams.expected_words[row, HEAD] = 0
        else:
            self._latch.refresh(source)

    def _set_conversion(self, row: int, code: int) -> None:
        before = self.conversion.item(row)
        if code != before:
            self.converting += int(code > 0) - int(before > 0)
            self.conversion[row] = code

    def suspend(self, source: Stream) -> None:
        """Note where the target's numbers stand; the next packet of `source` goes on from there."""
        target, row = source.feeds, source.row
        if target is None or source.unsynced:
            return
        streams = self._streams
        change = streams.change[row]
        newest = int(streams.extended[row]) + int(change[SEQUENCE_OFFSET])
        streams.next_sequence[target.row] = (newest + 1) & 0xFFFF
        frame = round(FRAME_S * float(streams.clock_hz[target.row]))
        latest = int(streams.timestamp[row]) + int(change[TIMESTAMP_OFFSET])
        streams.next_timestamp[target.row] = (latest + frame) & 0xFFFFFFFF
        streams.sent_s[target.row] = streams.heard_s[row]
        source.unsynced = True
        streams.target[row] = NONE
        streams.expected_words[row, HEAD] = 0

    def _end(self, source: Stream) -> None:
        self.suspend(source)
        self.feeds -= 1
        source.feeds = None
        source.unsynced = False
        source.lead = None
        self._streams.target[source.row] = NONE
        self._set_conversion(source.row, 0)

    def sync(self, source: Stream, sequence: int, timestamp: int, now_s: float) -> None:
        """The first packet of a feed: let the target's numbers go on from where they were."""
        target = source.feeds
        source.unsynced = False
        if target is None:
            self._latch.refresh(source)
            return
        streams, row = self._streams, source.row
        change = streams.change[row]
        sent_s = float(streams.sent_s[target.row])
        pause = max(0.0, now_s - sent_s - FRAME_S) if sent_s else 0.0
        clock_hz = float(streams.clock_hz[target.row])
        due = int(streams.next_timestamp[target.row]) + round(pause * clock_hz)
        if source.lead is not None:
            # Behind what the mix has sent of him last there is no pause but what he makes himself.
            exact, source.lead = timestamp + source.lead, None
            if (exact - int(streams.next_timestamp[target.row])) % (1 << 32) < clock_hz:
                due = exact
        change[SEQUENCE_OFFSET] = (int(streams.next_sequence[target.row]) - sequence) & 0xFFFF
        change[TIMESTAMP_OFFSET] = (due - timestamp) & 0xFFFFFFFF
        streams.target[row] = target.row
        self._latch.refresh(source)

    def timestamp_of(self, target: Stream, now_s: float) -> int:
        """Return the RTP timestamp that this moment has in what we send to `target`."""
        streams, row = self._streams, target.row
        source = target if target.feeds is target else target.partner
        at, sent_s = streams.next_timestamp.item(row), streams.sent_s.item(row)
        if source is not None and source.feeds is target and not source.unsynced:
            offset = streams.change.item(source.row, TIMESTAMP_OFFSET)
            at = streams.timestamp.item(source.row) + offset
            sent_s = streams.heard_s.item(source.row)
        return int(at + round((now_s - sent_s) * streams.clock_hz.item(row)))

    def passes_events(self, source: Stream) -> bool:
        """Tell whether telephone events of `source` reach another stream as they are."""
        target = source.feeds
        if target is None or target.params is None or source.unsynced:
            return False
        return target.params.dtmf_payload_type is not None

    def redirect(
        self,
        course: Course,
        place: int,
        source: Stream,
        kind: str,
        words: NDArray[np.uint32],
        rows: NDArray[np.intp],
    ) -> None:
        """Make the course of one packet, that at `place`, fit an event or comfort noise instead of audio.
        `words` (k, 3) are the headers of the batch, `rows` (k,) whose they are."""
        target = source.feeds
        course.slot[place] = NOT_SOUND
        if target is None or target.params is None or int(course.target[place]) == NONE:
            return
        if kind == "noise":
            known = target.params.codec in ("PCMU", "PCMA")
            head = _NOISE_HEAD if known else None
        else:
            payload_type = target.params.dtmf_payload_type
            head = None if payload_type is None else 0x80000000 | (payload_type << 16)
        if head is None:
            course.target[place] = NONE
            self._close_up(course, place, words, rows)
        else:
            course.head_out[place] = head

    def _close_up(
        self,
        course: Course,
        place: int,
        words: NDArray[np.uint32],
        rows: NDArray[np.intp],
    ) -> None:
        """The packet at `place` is kept from its target: what follows takes its number, for a number that is
        missing is a packet lost (RFC 3550 A.3). One that comes late, twice or behind a gap leaves its own
        empty, since what is missing may still come. Sound that is later than that finds its number taken: it is
        a duplicate to who hears it, and libsrtp does not seal it."""
        streams, row = self._streams, int(rows[place])
        before = words[:place, 0][rows[:place] == row]
        highest = streams.extended.item(row)
        newest = (before - np.uint32(highest & 0xFFFFFFFF)).astype(np.int16).max(initial=0)
        if (words.item(place, 0) - highest) & 0xFFFF != int(newest) + 1:
            return
        change = streams.change
        change[row, SEQUENCE_OFFSET] = (change.item(row, SEQUENCE_OFFSET) - 1) & 0xFFFF
        behind = (rows[place + 1 :] == row).nonzero()[0] + (place + 1)
        course.change[behind] = change[row]
