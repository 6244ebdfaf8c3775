"""Each tick's outgoing sound: conferences, prompts and digits, encoded and sent as one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.dsp.mixer import Edge, MixPlan
from media.plane.framing import Framer, frame_samples
from media.plane.outlet import Outlet
from media.plane.packet_io import BATCH
from media.plane.player import Play
from media.plane.relay import Relay
from media.plane.stream import Stream
from media.plane.streams import NONE, PACKET, SLOT, Streams
from media.plane.timeline import RATE_HZ, TICK_SAMPLES, Timeline
from media.plane.voices import Voices
from media.wire import rtp, telephone_event
from media.wire.rtp import HEADER_OCTETS as HEADER

TICK_S = TICK_SAMPLES / RATE_HZ
_DIGIT_SAMPLES = 800  # 100 ms of sound and of pause, RFC 4733 2.5.1.1 and Q.24
_COMMA_TICKS = 50


class Mixer:
    """Owned by the engine. `played(stream, play, reason)` is called when a play has ended, `spelt`
    when a stream has no more digits to send."""

    def __init__(
        self,
        outlet: Outlet,
        streams: Streams,
        timeline: Timeline,
        relay: Relay,
        voices: Voices,
        played: Callable[[Stream, Play, str], None],
        spelt: Callable[[Stream], None],
    ) -> None:
        self._outlet = outlet
        self._voices = voices
        self._streams = streams
        self._timeline = timeline
        self._relay = relay
        self._played = played
        self._spelt = spelt
        self.plays: dict[Stream, Play] = {}
        self._spelling: dict[Stream, int] = {}
        self._parties: list[Stream] = []
        self._digits = telephone_event.EventSender(streams.capacity)
        self._stale = True
        self._rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self._heard: NDArray[np.intp] = np.zeros(0, np.intp)
        self._slots: NDArray[np.intp] = np.zeros(0, np.intp)
        self._playing: list[tuple[int, Stream, Play]] = []
        self._announcing: list[tuple[int, Stream, Play]] = []
        self._plan: MixPlan | None = None
        self._out: NDArray[np.int16] = np.zeros((0, TICK_SAMPLES), np.int16)
        self._types: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._framer = Framer(streams.capacity)
        self._sizes: NDArray[np.int64] = np.zeros(0, np.int64)
        self._rows_framed: NDArray[np.intp] = np.zeros(0, np.intp)
        self._odd: NDArray[np.intp] = np.zeros(0, np.intp)
        self._even: NDArray[np.intp] = np.zeros(0, np.intp)

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
        self._stale = True

    def forget(self, stream: Stream) -> None:
        """The stream is gone."""
        self.plays.pop(stream, None)
        self._spelling.pop(stream, None)
        self._digits.stop(stream.row)
        self._framer.reset(np.array([stream.row]))
        self._stale = True

    def _make_plan(self) -> None:
        self._stale = False
        parties = self._parties
        route = self._streams.route
        self._slots = route[[party.row for party in parties], SLOT].astype(np.intp)
        self._plan = None
        if parties:
            self._plan = MixPlan(
                self._bridges(parties),
                gain=[party.gain for party in parties],
                muted=[party.mute or not party.receives for party in parties],
                deaf=[party.deaf for party in parties],
                edges=self._edges(parties),
            )
        hearing = [
            place
            for place, party in enumerate(parties)
            if party.by_mix and party.sends and not party.playing and party not in self._spelling
        ]
        players = [
            stream
            for stream, play in self.plays.items()
            if stream.sends and stream not in self._spelling and not play.over_call
        ]
        self._heard = np.array(hearing, np.intp)
        senders = [parties[place] for place in hearing] + players
        self._playing = [
            (len(hearing) + place, stream, self.plays[stream])
            for place, stream in enumerate(players)
        ]
        self._announcing = [
            (place, stream, self.plays[stream])
            for place, stream in enumerate(senders[: len(hearing)])
            if stream.announced
        ]
        self._rows = np.array([stream.row for stream in senders], np.intp)
        self._types = np.array(
            [0 if stream.params is None else stream.params.payload_type for stream in senders],
            np.uint8,
        )
        self._out = np.zeros((len(senders), TICK_SAMPLES), np.int16)
        self._plan_packets(senders)

    def _plan_packets(self, senders: list[Stream]) -> None:
        """Most packets are a tick long; the others are put together in the framer."""
        before = self._rows_framed
        self._sizes = np.array(
            [
                TICK_SAMPLES
                if stream.params is None
                else frame_samples(stream.params.codec, stream.params.ptime_ms)
                for stream in senders
            ],
            np.int64,
        )
        self._odd = (self._sizes != TICK_SAMPLES).nonzero()[0]
        self._even = (self._sizes == TICK_SAMPLES).nonzero()[0]
        self._rows_framed = self._rows[self._odd]
        # What waits for a stream that is fed by somebody else now is too old when it sends again.
        self._framer.reset(np.setdiff1d(before, self._rows_framed))

    def _bridges(self, parties: list[Stream]) -> NDArray[np.int64]:
        """Number the rooms, and the pairs that are bridged by way of samples; -1 for the others."""
        numbers: dict[tuple[str, int], int] = {}
        bridges = []
        for party in parties:
            if party.room is not None:
                name = ("room", party.room)
            elif party.partner is not None:
                name = ("pair", min(party.stream_id, party.partner.stream_id))
            else:
                bridges.append(-1)
                continue
            bridges.append(numbers.setdefault(name, len(numbers)))
        return np.array(bridges, np.int64)

    def _edges(self, parties: list[Stream]) -> list[Edge]:
        """Say what supervisors hear, and who hears them."""
        places = {party: place for place, party in enumerate(parties)}
        edges: list[Edge] = []
        for supervisor, place in places.items():
            target = supervisor.monitors
            if target is None:
                continue
            call = [places[party] for party in self._call_of(target) if party in places]
            for other in call:
                party = parties[other]
                if party.receives and not party.mute:
                    edges.append((place, other, party.gain))
            if supervisor.mode == "listen" or not supervisor.receives:
                continue
            hearers = call if supervisor.mode == "barge" else [places[target]]
            edges += [(other, place, 1.0) for other in hearers]
        return edges

    def _call_of(self, stream: Stream) -> list[Stream]:
        """All who are in one conversation with `stream`, itself first."""
        if stream.room is not None:
            others = [party for party in self._parties if party.room == stream.room]
            return [stream, *(party for party in others if party is not stream)]
        return [stream] if stream.partner is None else [stream, stream.partner]

    def tick(self, now_s: float) -> None:
        """Send what is due now; the timeline still stands at the positions to be played."""
        if self._stale:
            self._make_plan()
        if self._plan is not None and len(self._heard):
            said = self._timeline.slice().take(self._slots, axis=0)
            if len(self._heard) == len(self._slots) == len(self._out):
                self._plan.mix(said, out=self._out)
            else:
                self._out[: len(self._heard)] = self._plan.mix(said)[self._heard]
        for place, _, play in self._playing:
            play.take(self._out[place])
        for place, _, play in self._announcing:
            play.lay_over(self._out[place])
        if len(self._odd):
            self._send_odd(now_s)
        else:
            self._send(self._rows, self._types, self._out, now_s)
        self._advance_silent(now_s)
        if self._spelling:
            self._tick_digits(now_s)
        for _, stream, play in (*self._playing, *self._announcing):
            if play.over and self.plays.get(stream) is play:
                self._played(stream, play, "end")

    def _advance_silent(self, now_s: float) -> None:
        """A play that its direction forbids to send goes on unheard, and ends."""
        if len(self._playing) + len(self._announcing) == len(self.plays):
            return
        audible = {stream for _, stream, _ in (*self._playing, *self._announcing)}
        silence = np.zeros(TICK_SAMPLES, np.int16)
        for stream, play in list(self.plays.items()):
            if stream not in audible:
                play.take(silence)
                if play.over:
                    self._played(stream, play, "end")

    def _send_odd(self, now_s: float) -> None:
        even, odd = self._even, self._odd
        self._send(self._rows[even], self._types[even], self._out[even], now_s)
        last = np.zeros(len(self._rows), np.bool_)
        last[[place for place, _, play in self._playing if play.over]] = True
        framed, types = self._rows[odd], self._types[odd]
        for part, samples in self._framer.push(framed, self._sizes[odd], self._out[odd], last[odd]):
            self._send(framed[part], types[part], samples, now_s)

    def _send(
        self,
        rows: NDArray[np.intp],
        types: NDArray[np.uint8],
        samples: NDArray[np.int16],
        now_s: float,
    ) -> None:
        """Send one packet of `samples` (k, n) int16 to each of `rows`."""
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            self._send_batch(rows[part], types[part], samples[part], now_s)

    def _send_batch(
        self,
        rows: NDArray[np.intp],
        types: NDArray[np.uint8],
        samples: NDArray[np.int16],
        now_s: float,
    ) -> None:
        count = len(rows)
        ticks = samples.shape[1] / TICK_SAMPLES
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
        due = self._digits.tick(TICK_SAMPLES)
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
            # Time passes for the peer while the audio gives way to the digit.
            streams.next_timestamp[row] += np.uint32(TICK_SAMPLES)
            streams.sent_s[row] = now_s
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
            streams.sent_s[row] = now_s
            timestamp = int(streams.next_timestamp[row])
            event = telephone_event.event_of(digit)
            self._digits.start(row, event, timestamp, duration=_DIGIT_SAMPLES, pause=_DIGIT_SAMPLES)
            streams.next_timestamp[row] += np.uint32(TICK_SAMPLES)

    def slot_of(self, stream: Stream) -> int | None:
        """Return the timeline slot of a stream, None if it has none."""
        slot = int(self._streams.route[stream.row, SLOT])
        return None if slot == NONE else slot
