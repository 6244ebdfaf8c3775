"""What is said and heard at one sampling rate: the streams whose codec has it, tick by tick.

A bridge whose parties have several rates is mixed once in each of their lanes. What the parties of
the other lanes say comes in as one more party, their sum, converted: an *image*. So a conference of
many G.711 telephones pays for one conversion when a wideband telephone joins, not for one each, and
parties of one rate hear each other untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from media.dsp.mixer import Edge, MixPlan, soft_clip
from media.plane.framing import Framer, frame_samples
from media.plane.player import Play
from media.plane.stream import Stream
from media.plane.streams import Streams
from media.plane.timelines import Timelines

Heard = tuple[Stream, Stream, float]
"""(listener, talker, gain): besides what the bridge carries."""

Send = Callable[[NDArray[np.intp], NDArray[np.uint8], NDArray[np.int16]], None]


@dataclass(slots=True, eq=False)
class Conversation:
    """Everybody who takes part in a mix, and how: made anew when something of it changes.

    `bridges`: the number of each party's bridge, -1: none. `edges`: see `Heard`.
    """

    parties: list[Stream] = field(default_factory=list)
    bridges: dict[Stream, int] = field(default_factory=dict)
    edges: list[Heard] = field(default_factory=list)


@dataclass(slots=True)
class _Images:
    """Sums of parties of another lane, side by side: one a bridge, or one for a single talker."""

    in_hz: int
    talkers: list[list[Stream]] = field(default_factory=list)
    bridges: list[int] = field(default_factory=list)
    slots: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    starts: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    gains: NDArray[np.float32] | None = None

    def add(self, bridge: int, talkers: list[Stream]) -> int:
        """Return the place of a new image."""
        self.talkers.append(talkers)
        self.bridges.append(bridge)
        return len(self.talkers) - 1

    def prepare(self, streams: Streams) -> None:
        """Look the slots up once all images are known."""
        everybody = [talker for talkers in self.talkers for talker in talkers]
        self.slots = streams.slot[[each.row for each in everybody]]
        counts = [len(talkers) for talkers in self.talkers]
        self.starts = np.cumsum([0, *counts[:-1]]).astype(np.intp)
        gains = np.array(
            [
                talker.gain if bridge >= 0 else 1.0
                for bridge, talkers in zip(self.bridges, self.talkers, strict=True)
                for talker in talkers
            ],
            np.float32,
        )
        self.gains = None if (gains == 1.0).all() else gains[:, None]

    def said(self, timelines: Timelines, out_hz: int) -> NDArray[np.int16]:
        """Return (images, a tick at `out_hz`) int16."""
        converter = timelines.filter(self.in_hz, out_hz)
        windows = timelines.at(self.in_hz).window(self.slots, 2 * converter.half)
        if timelines.hushed:
            windows[np.isin(self.slots, timelines.hushed.get(self.in_hz, ()))] = 0
        if self.gains is None and len(self.slots) == len(self.starts):
            return converter.convert(windows)
        summed = windows.astype(np.float32)
        if self.gains is not None:
            summed *= self.gains
        sums = np.rint(np.add.reduceat(summed, self.starts, axis=0)).astype(np.int32)
        # Bent like any sum, before the converter, which cuts off what is too loud.
        return converter.convert(soft_clip(sums))


class Lane:
    """The streams of one sampling rate. Owned by the mixer, which plans and drives it."""

    def __init__(self, rate_hz: int, streams: Streams, timelines: Timelines) -> None:
        self.rate_hz = rate_hz
        self._streams = streams
        self._timelines = timelines
        self._timeline = timelines.at(rate_hz)
        self._tick = self._timeline.tick_samples
        self._framer = Framer(streams.capacity, rate_hz)
        self._plan: MixPlan | None = None
        self._images: list[_Images] = []
        self._slots: NDArray[np.intp] = np.zeros(0, np.intp)
        self._heard: NDArray[np.intp] = np.zeros(0, np.intp)
        self._rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self._types: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._out: NDArray[np.int16] = np.zeros((0, self._tick), np.int16)
        self._sizes: NDArray[np.int64] = np.zeros(0, np.int64)
        self._rows_framed: NDArray[np.intp] = np.zeros(0, np.intp)
        self._odd: NDArray[np.intp] = np.zeros(0, np.intp)
        self._even: NDArray[np.intp] = np.zeros(0, np.intp)
        self.playing: list[tuple[int, Stream, Play]] = []
        """(place in what is sent, stream, what is played instead of the call)."""
        self.announcing: list[tuple[int, Stream, Play]] = []

    def reset(self, rows: NDArray[np.intp]) -> None:
        """New streams will have these rows."""
        self._framer.reset(rows)

    def rest(self, row: int) -> NDArray[np.int16]:
        """Take out (n,) int16 what waits to fill a packet of this row."""
        return self._framer.take(row)

    # --- planning -----------------------------------------------------------------------------

    def plan(
        self,
        conversation: Conversation,
        plays: Mapping[Stream, Play],
        busy: Callable[[Stream], bool],
    ) -> None:
        """Take over who is here now; `busy` streams send digits and no sound."""
        parties = [party for party in conversation.parties if party.rate_hz == self.rate_hz]
        self._plan_mix(conversation, parties)
        hearing = [
            place
            for place, party in enumerate(parties)
            if party.by_mix and party.sends and not party.playing and not busy(party)
        ]
        players = [
            stream
            for stream, play in plays.items()
            if stream.rate_hz == self.rate_hz
            and stream.sends
            and not busy(stream)
            and not play.over_call
        ]
        self._heard = np.array(hearing, np.intp)
        senders = [parties[place] for place in hearing] + players
        self.playing = [
            (len(hearing) + place, stream, plays[stream]) for place, stream in enumerate(players)
        ]
        self.announcing = [
            (place, stream, plays[stream])
            for place, stream in enumerate(senders[: len(hearing)])
            if stream.announced
        ]
        self._rows = np.array([stream.row for stream in senders], np.intp)
        self._types = np.array(
            [0 if stream.params is None else stream.params.payload_type for stream in senders],
            np.uint8,
        )
        self._out = np.zeros((len(senders), self._tick), np.int16)
        self._plan_packets(senders)

    def _plan_mix(self, conversation: Conversation, parties: list[Stream]) -> None:
        self._slots = self._streams.slot[[party.row for party in parties]]
        self._plan, self._images = None, []
        if not parties:
            return
        edges = self._plan_images(conversation, parties)
        images = [bridge for each in self._images for bridge in each.bridges]
        bridges = [conversation.bridges[party] for party in parties]
        extra = len(images)
        self._plan = MixPlan(
            np.array(bridges + images, np.int64),
            gain=[party.gain for party in parties] + [1.0] * extra,
            muted=[party.mute or not party.receives for party in parties] + [False] * extra,
            deaf=[party.deaf for party in parties] + [False] * extra,
            edges=edges,
        )

    def _plan_images(self, conversation: Conversation, parties: list[Stream]) -> list[Edge]:
        """Find who is heard here but speaks at another rate; returns the edges of this lane."""
        by_rate: dict[int, _Images] = {}
        places: dict[Stream, tuple[_Images, int]] = {}
        here = set(parties)
        mine = {conversation.bridges[party] for party in parties} - {-1}
        foreign: dict[tuple[int, int], list[Stream]] = {}
        for party in conversation.parties:
            bridge = conversation.bridges[party]
            if bridge in mine and party not in here and party.receives and not party.mute:
                foreign.setdefault((party.rate_hz, bridge), []).append(party)
        for (rate_hz, bridge), talkers in foreign.items():
            by_rate.setdefault(rate_hz, _Images(rate_hz)).add(bridge, talkers)
        wanted = [edge for edge in conversation.edges if edge[0] in here]
        for _, talker, _ in wanted:
            if talker not in here and talker not in places:
                images = by_rate.setdefault(talker.rate_hz, _Images(talker.rate_hz))
                places[talker] = images, images.add(-1, [talker])
        self._images = list(by_rate.values())
        first: dict[int, int] = {}
        at = len(parties)
        for images in self._images:
            images.prepare(self._streams)
            first[images.in_hz] = at
            at += len(images.bridges)
        own = {party: place for place, party in enumerate(parties)}
        edges = []
        for listener, talker, gain in wanted:
            place = own.get(talker)
            if place is None:
                images, offset = places[talker]
                place = first[images.in_hz] + offset
            edges.append((own[listener], place, gain))
        return edges

    def _plan_packets(self, senders: list[Stream]) -> None:
        """Most packets are a tick long; the others are put together in the framer."""
        before = self._rows_framed
        self._sizes = np.array(
            [
                self._tick
                if stream.params is None
                else frame_samples(stream.params.codec, stream.params.ptime_ms, self.rate_hz)
                for stream in senders
            ],
            np.int64,
        )
        self._odd = (self._sizes != self._tick).nonzero()[0]
        self._even = (self._sizes == self._tick).nonzero()[0]
        self._rows_framed = self._rows[self._odd]
        # What waits for a stream that is fed by somebody else now is too old when it sends again.
        self._framer.reset(np.setdiff1d(before, self._rows_framed))

    # --- a tick ---------------------------------------------------------------------------------

    def tick(self, send: Send) -> None:
        """Let `send` have what is due now; the timelines still stand at what is to be played."""
        if self._plan is not None and len(self._heard):
            said = self._timeline.slice().take(self._slots, axis=0)
            if self._timelines.hushed:
                said[np.isin(self._slots, self._timelines.hushed.get(self.rate_hz, ()))] = 0
            if self._images:
                images = [each.said(self._timelines, self.rate_hz) for each in self._images]
                said = np.concatenate([said, *images])
            if len(self._heard) == len(said) == len(self._out):
                self._plan.mix(said, out=self._out)
            else:
                self._out[: len(self._heard)] = self._plan.mix(said)[self._heard]
        for place, _, play in self.playing:
            play.take(self._out[place])
        for place, _, play in self.announcing:
            play.lay_over(self._out[place])
        if len(self._odd):
            self._send_odd(send)
        elif len(self._rows):
            send(self._rows, self._types, self._out)

    def _send_odd(self, send: Send) -> None:
        even, odd = self._even, self._odd
        send(self._rows[even], self._types[even], self._out[even])
        last = np.zeros(len(self._rows), np.bool_)
        last[[place for place, _, play in self.playing if play.over]] = True
        framed, types = self._rows[odd], self._types[odd]
        for part, samples in self._framer.push(framed, self._sizes[odd], self._out[odd], last[odd]):
            send(framed[part], types[part], samples)
