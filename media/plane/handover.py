"""From relay to mix and back without a seam: what is heard goes on where the other way has left off.

What is mixed is heard later than what is relayed, by the play-out delay. So one who was fed by relay is sent
nothing until the first sample comes out of the ring that he has not had: his packets pause for some 40 ms and
go on with the next sample and the next timestamp, and his own play-out buffer bridges that; silence in the
meantime would be a hole in what he hears. On the way back he is sent at once what still lies in the ring, and
the relay goes on behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.plane.stream import Stream
from media.plane.streams import NONE, TIMESTAMP_OFFSET, Streams
from media.plane.ticks import TICK_S
from media.plane.timelines import Timelines
from media.plane.voices import Voices

_WAIT_S = 0.1
"""One who has not been sent anything for longer waits for nobody: there was a pause anyway."""
_ASTRAY_S = 0.5
"""A timestamp that is further off belongs to another time scale."""
_TAIL_S_MAX = 0.3

NOT_LAID = -1


class Fed(NamedTuple):
    """How a stream was fed by relay until now: by whom, the offset of timestamps, and the position (samples of
    the ring) where what has been relayed ends, `NOT_LAID` if it was not laid there too."""

    source: Stream
    offset: int
    end: int


class Tail(NamedTuple):
    """What a mix still has of one talker: (n,) int16 samples, and the RTP time, of his, at which they end."""

    samples: NDArray[np.int16]
    end: int


class Handover:
    """Owned by the mixer; the wiring tells it of changes before they are made."""

    def __init__(self, streams: Streams, timelines: Timelines, voices: Voices) -> None:
        self._streams = streams
        self._timelines = timelines
        self._voices = voices

    def leave_relay(self, source: Stream) -> None:
        """`source` will not be relayed any more."""
        target = source.feeds
        if target is None or target is source or source.unsynced:
            return
        slot = self._slot_of(source)
        end = NOT_LAID if slot == NONE else self._timelines.at(source.rate_hz).end_of(slot)
        offset = int(self._streams.change[source.row, TIMESTAMP_OFFSET])
        target.fed = Fed(source, offset, end)

    def waits(self, stream: Stream, now_s: float) -> bool:
        """Whether `stream`, who is to hear a mix, has to wait for what it has not had; the first time that it
        has not, its timestamps are set to go on."""
        fed = stream.fed
        if fed is None:
            return False
        source = fed.source
        together = source.partner is stream or (
            stream.room is not None and source.room == stream.room
        )
        if not together or now_s - float(self._streams.sent_s[stream.row]) > _WAIT_S:
            stream.fed = None
            return False
        slot = self._slot_of(source)
        timeline = self._timelines.at(source.rate_hz)
        if slot == NONE or timeline.now < fed.end or not timeline.speaks(slot):
            return True
        stream.fed = None
        self._go_on(stream, self._time_of(source, slot, timeline.now) + fed.offset, now_s)
        return False

    def _go_on(self, stream: Stream, timestamp: int, now_s: float) -> None:
        streams, row = self._streams, stream.row
        astray = (timestamp - int(streams.next_timestamp[row]) + (1 << 31)) % (1 << 32) - (1 << 31)
        if abs(astray) <= _ASTRAY_S * float(streams.clock_hz[row]):
            streams.next_timestamp[row] = timestamp & 0xFFFFFFFF
        # No time has passed for him: nothing is to be made up for.
        streams.sent_s[row] = now_s - TICK_S

    def tail(self, source: Stream, target: Stream) -> Tail | None:
        """What of `source` is still to be mixed for its partner `target`, who will be fed by relay; None:
        nothing, or it must not go on."""
        slot = self._slot_of(source)
        if slot == NONE or not target.by_mix or source.rate_hz != target.rate_hz:
            return None
        if source.listens_for_digits or not source.receives:
            return None
        timeline = self._timelines.at(source.rate_hz)
        start = timeline.now if target.fed is None else max(timeline.now, target.fed.end)
        end = timeline.end_of(slot)
        if not start < end <= start + _TAIL_S_MAX * source.rate_hz:
            return None
        samples = timeline.read([slot], start, end)[0]
        # The last tick is half a packet of 10 or 30 ms, or silence that need not be sent.
        step = source.rate_hz // 100
        while len(samples) and not samples[-step:].any():
            samples, end = samples[:-step], end - step
        return Tail(samples, self._time_of(source, slot, end)) if len(samples) else None

    def _slot_of(self, stream: Stream) -> int:
        return int(self._streams.slot[stream.row])

    def _time_of(self, source: Stream, slot: int, position: int) -> int:
        """The RTP time of `source` at a position of its ring."""
        timestamp, at = self._timelines.at(source.rate_hz).anchor_of(slot)
        _, units, held = self._voices.scale(int(self._voices.kind[source.row]))
        return timestamp + (position - at) * units // held
