"""Each tick's outgoing sound: conferences, prompts and digits, encoded and sent as one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.plane.framing import split
from media.plane.handover import Handover, Tail
from media.plane.lane import Conversation, Heard, Lane
from media.plane.outlet import Outlet
from media.plane.packet_io import BATCH
from media.plane.player import Play
from media.plane.relay import Relay
from media.plane.stream import Stream
from media.plane.streams import NONE, PACKET, Streams
from media.plane.ticks import TICK_S
from media.plane.timeline import RATE_HZ, TICK_SAMPLES
from media.plane.timelines import Timelines
from media.plane.voices import Voices
from media.wire import rtp, telephone_event
from media.wire.rtp import HEADER_OCTETS as HEADER

_DIGIT_S = 0.1  # of sound and of pause, RFC 4733 2.5.1.1 and Q.24
_COMMA_TICKS = 50


class Mixer:
    """Owned by the engine. `played(stream, play, reason)` is called when a play has ended, `spelt`
    when a stream has no more digits to send."""

    def __init__(
        self,
        outlet: Outlet,
        streams: Streams,
        timelines: Timelines,
        relay: Relay,
        voices: Voices,
        played: Callable[[Stream, Play, str], None],
        spelt: Callable[[Stream], None],
    ) -> None:
        self._outlet = outlet
        self._voices = voices
        self._streams = streams
        self._timelines = timelines
        self._relay = relay
        self._played = played
        self._spelt = spelt
        self.plays: dict[Stream, Play] = {}
        self._spelling: dict[Stream, int] = {}
        self._parties: list[Stream] = []
        self._digits = telephone_event.EventSender(streams.capacity)
        self._stale = True
        self._lanes: dict[int, Lane] = {RATE_HZ: Lane(RATE_HZ, streams, timelines)}
        self.handover = Handover(streams, timelines, voices)
        self._waiting: set[Stream] = set()
        """Who will hear the mix when it has come to what he has not had by relay."""
        self._ticked_s = 0.0
        streams.also_clean.append(self._reset)

    @property
    def busy(self) -> bool:
        """There is something to send at each tick."""
        return bool(self._parties or self.plays or self._spelling)

    def changed(self) -> None:
        """Membership, direction or codec of somebody changed: plan anew before the next tick."""
        self._stale = True

    def admit(self, stream: Stream, mixed: bool) -> None:
        """Say whether a stream takes part in the mix: in a room, or with a partner whose codec
        differs. It has a slot then."""
        if mixed != (stream in self._parties):
            if mixed:
                self._parties.append(stream)
            else:
                self._parties.remove(stream)
            self._stale = True

    @property
    def parties(self) -> list[Stream]:
        """Streams that take part in a mix."""
        return self._parties

    def spell(self, stream: Stream) -> None:
        """Begin to send `stream.digits` as telephone events."""
        self._spelling.setdefault(stream, 0)
        stream.spelling = True
        stream.fed = None
        self._stale = True

    def forget(self, stream: Stream) -> None:
        """The stream is gone."""
        self.plays.pop(stream, None)
        if self._spelling.pop(stream, None) is not None:
            self._digits.stop(stream.row)
        self._waiting.discard(stream)
        self._stale = True

    def _reset(self, rows: NDArray[np.intp]) -> None:
        """New streams will have these rows."""
        for lane in self._lanes.values():
            lane.reset(rows)

    def finish(self, stream: Stream, tail: Tail) -> int | None:
        """Send `stream` at once what the mix still has for it, as it will be fed by relay; returns the offset
        by which timestamps of the talker go on behind it. None: it has not been hearing the mix."""
        lane = self._lanes.get(stream.rate_hz)
        if lane is None or stream.params is None or stream in self._waiting:
            return None
        samples = np.concatenate([lane.rest(stream.row), tail.samples])
        row = np.array([stream.row], np.intp)
        kind = np.array([stream.params.payload_type], np.uint8)
        for packet in split(samples, stream.params.codec, stream.params.ptime_ms, stream.rate_hz):
            self._send(row, kind, packet[None], stream.rate_hz, self._ticked_s)
        return int(self._streams.next_timestamp[stream.row]) - tail.end

    def _make_plan(self, now_s: float) -> None:
        self._stale = False
        parties = self._parties
        for stream, play in self.plays.items():
            if not play.over_call:
                stream.fed = None
        self._waiting = {
            party for party in parties if party.by_mix and self.handover.waits(party, now_s)
        }
        conversation = Conversation(parties, self._bridges(parties), self._edges(parties))
        for rate_hz in {stream.rate_hz for stream in (*parties, *self.plays)}:
            if rate_hz not in self._lanes:
                self._lanes[rate_hz] = Lane(rate_hz, self._streams, self._timelines)
        for lane in self._lanes.values():
            lane.plan(conversation, self.plays, self._is_busy)

    def _is_busy(self, stream: Stream) -> bool:
        """It is sent no sound now."""
        return stream in self._spelling or stream in self._waiting

    @staticmethod
    def _bridges(parties: list[Stream]) -> dict[Stream, int]:
        """Number the rooms, and the pairs that are bridged by way of samples; -1 for the others."""
        numbers: dict[tuple[str, int], int] = {}
        bridges = {}
        for party in parties:
            if party.room is not None:
                name = ("room", party.room)
            elif party.partner is not None:
                name = ("pair", min(party.stream_id, party.partner.stream_id))
            else:
                bridges[party] = -1
                continue
            bridges[party] = numbers.setdefault(name, len(numbers))
        return bridges

    def _edges(self, parties: list[Stream]) -> list[Heard]:
        """Say what supervisors hear, and who hears them."""
        present = set(parties)
        edges: list[Heard] = []
        for supervisor in parties:
            target = supervisor.monitors
            if target is None:
                continue
            call = [party for party in self._call_of(target) if party in present]
            for party in call:
                if party.receives and not party.mute:
                    edges.append((supervisor, party, party.gain))
            if supervisor.mode == "listen" or not supervisor.receives:
                continue
            hearers = call if supervisor.mode == "barge" else [target]
            edges += [(other, supervisor, 1.0) for other in hearers]
        return edges

    def _call_of(self, stream: Stream) -> list[Stream]:
        """All who are in one conversation with `stream`, itself first."""
        if stream.room is not None:
            others = [party for party in self._parties if party.room == stream.room]
            return [stream, *(party for party in others if party is not stream)]
        return [stream] if stream.partner is None else [stream, stream.partner]

    def tick(self, now_s: float) -> None:
        """Send what is due now; the timelines still stand at the positions to be played."""
        self._ticked_s = now_s
        if self._stale or self._waiting:
            self._make_plan(now_s)
        audible: list[tuple[Stream, Play]] = []
        for lane in self._lanes.values():
            rate_hz = lane.rate_hz
            lane.tick(
                lambda rows, types, samples, rate_hz=rate_hz: self._send(  # type: ignore[misc]
                    rows, types, samples, rate_hz, now_s
                )
            )
            if lane.playing or lane.announcing:
                audible += [(stream, play) for _, stream, play in lane.playing]
                audible += [(stream, play) for _, stream, play in lane.announcing]
        self._advance_silent(audible)
        if self._spelling:
            self._tick_digits(now_s)
        for stream, play in audible:
            if play.over and self.plays.get(stream) is play:
                self._played(stream, play, "end")

    def _advance_silent(self, audible: list[tuple[Stream, Play]]) -> None:
        """A play that its direction forbids to send goes on unheard, and ends."""
        if len(audible) == len(self.plays):
            return
        heard = {stream for stream, _ in audible}
        for stream, play in list(self.plays.items()):
            if stream not in heard and stream not in self._waiting:
                play.take(np.zeros(TICK_SAMPLES * play.rate_hz // RATE_HZ, np.int16))
                if play.over:
                    self._played(stream, play, "end")

    def _send(
        self,
        rows: NDArray[np.intp],
        types: NDArray[np.uint8],
        samples: NDArray[np.int16],
        rate_hz: int,
        now_s: float,
    ) -> None:
        """Send one packet of `samples` (k, n) int16 at `rate_hz` to each of `rows`."""
        ticks = samples.shape[1] / (TICK_S * rate_hz)
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            self._send_batch(rows[part], types[part], samples[part], ticks, now_s)

    def _send_batch(
        self,
        rows: NDArray[np.intp],
        types: NDArray[np.uint8],
        samples: NDArray[np.int16],
        ticks: float,
        now_s: float,
    ) -> None:
        count = len(rows)
        streams, tx = self._streams, self._outlet.tx
        sizes = self._voices.encode(rows, samples, tx.octets[:count, HEADER:])
        self._catch_up(rows, now_s, ticks * TICK_S)
        # The first packet after a pause carries the marker bit (RFC 3551 4.1).
        marker = now_s - streams.sent_s[rows] > 0.1
        rtp.build(
            types,
            marker,
            streams.next_sequence[rows],
            streams.next_timestamp[rows],
            self._relay.ssrc_out[rows],
            tx.octets[:count, :HEADER],
        )
        streams.next_sequence[rows] += np.uint16(1)
        streams.next_timestamp[rows] += self._steps(rows, ticks)
        streams.sent_s[rows] = now_s
        streams.sent[rows] += sizes.astype(np.uint64) + np.uint64(PACKET)
        self._outlet.send(tx, None, sizes + HEADER, streams.port_id[rows], rows)

    def _steps(self, rows: NDArray[np.intp], ticks: float = 1.0) -> NDArray[np.uint32]:
        """Return by how much the timestamp of each row advances in so many ticks."""
        return np.rint(self._streams.clock_hz[rows] * (TICK_S * ticks)).astype(np.uint32)

    def _catch_up(self, rows: NDArray[np.intp], now_s: float, frame_s: float = TICK_S) -> None:
        """Where nothing was sent for a while, the timestamp shows the time that passed."""
        streams = self._streams
        pause = now_s - streams.sent_s[rows] - frame_s
        paused = np.flatnonzero((pause > 0.03) & (streams.sent_s[rows] > 0.0))
        if len(paused):
            ticks = np.rint(pause[paused] / TICK_S).astype(np.uint32)
            streams.next_timestamp[rows[paused]] += ticks * self._steps(rows[paused])

    def _tick_digits(self, now_s: float) -> None:
        streams, tx = self._streams, self._outlet.tx
        for stream, wait in list(self._spelling.items()):
            self._next_digit(stream, wait, now_s)
        # Events count in the clock of the audio that they stand for (RFC 4733 2.1, RFC 7587 4.1).
        due = self._digits.tick(np.rint(streams.clock_hz * TICK_S).astype(np.int64))
        count = len(due.stream)
        if not count:
            return
        rows = due.stream
        types = [self._event_type(row) for row in rows.tolist()]
        rtp.build(
            np.array(types, np.uint8),
            due.marker,
            streams.next_sequence[rows],
            due.timestamp,
            self._relay.ssrc_out[rows],
            tx.octets[:count, :HEADER],
        )
        end = HEADER + telephone_event.PAYLOAD_OCTETS
        tx.octets[:count, HEADER:end] = due.payload
        streams.next_sequence[rows] += np.uint16(1)
        streams.sent[rows] += np.uint64(PACKET + telephone_event.PAYLOAD_OCTETS)
        octets = np.full(count, end, np.int32)
        self._outlet.send(tx, None, octets, streams.port_id[rows], rows)

    def _event_type(self, row: int) -> int:
        for stream in self._spelling:
            if stream.row == row and stream.params is not None:
                return stream.params.dtmf_payload_type or 101
        return 101

    def _next_digit(self, stream: Stream, wait: int, now_s: float) -> None:
        row = stream.row
        streams = self._streams
        if self._digits.busy[row]:
            self._pass(row, now_s)
        elif wait > 0:
            self._spelling[stream] = wait - 1
        elif not stream.digits or not stream.sends:
            stream.digits = ""
            stream.spelling = False
            del self._spelling[stream]
            self._stale = True
            self._spelt(stream)
        else:
            digit, stream.digits = stream.digits[0], stream.digits[1:]
            if digit == ",":
                self._spelling[stream] = _COMMA_TICKS
                return
            self._catch_up(np.array([row]), now_s)
            timestamp = int(streams.next_timestamp[row])
            event = telephone_event.event_of(digit)
            units = round(float(streams.clock_hz[row]) * _DIGIT_S)
            self._digits.start(row, event, timestamp, duration=units, pause=units)
            self._pass(row, now_s)

    def _pass(self, row: int, now_s: float) -> None:
        """Time passes for the peer while the audio gives way to a digit."""
        self._streams.next_timestamp[row] += self._steps(np.array([row]))[0]
        self._streams.sent_s[row] = now_s

    def slot_of(self, stream: Stream) -> int | None:
        """Return the timeline slot of a stream, None if it has none."""
        slot = int(self._streams.slot[stream.row])
        return None if slot == NONE else slot
