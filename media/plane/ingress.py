"""The way in: a batch of datagrams is checked, counted, decoded where needed, and relayed.

Nothing here is done packet by packet but in `_look_closer`, which sees what is not plain: sources
that are not locked yet, another SSRC, telephone events, RTCP, and the first packet of a relay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711
from media.plane.background import Background
from media.plane.backlog import Backlog
from media.plane.hush import Hush
from media.plane.latch import DROP, EVENT, NOISE, Latch
from media.plane.outlet import Outlet
from media.plane.packet_io import BATCH, PACKET_OCTETS_MAX, PacketIo
from media.plane.relay import FRAME_S, Relay
from media.plane.sources import Sources
from media.plane.stream import Stream
from media.plane.streams import (
    HEAD,
    HEADER_MASK,
    MALFORMED,
    NONE,
    NOT_SOUND,
    OVERSIZE,
    PACKET,
    POLICED,
    POLICED_HEAD,
    RTCP,
    SRTP,
    SSRC,
    Arrived,
    Course,
    Sizes,
    Streams,
    each_of,
)
from media.plane.timelines import Timelines
from media.wire import rtp, telephone_event
from media.wire.srtp import SrtpTable

HEADER = rtp.HEADER_OCTETS
_ODD_BITS = np.uint32(0x3F000000)
_MASK = np.uint32(HEADER_MASK)
_MARKER = np.uint32(0x00800000)
_COUNTING = np.uint32(0x0080FFFF)
"""Marker and sequence number of the first header word."""
_SEEN = np.tile(np.array([HEADER_MASK, 0, 0xFFFFFFFF], np.uint32), (BATCH, 1))
"""(BATCH, 3): of the three header words what must be as a row expects it. As many rows as packets, for an
operation over three columns at a time takes five times as long as one over all of them."""
_KEPT = np.tile(np.array([_COUNTING, 0xFFFFFFFF, 0], np.uint32), (BATCH, 1))
"""Of the same what goes on in a relayed packet, with an offset added."""
_PAYLOAD_MAX = np.uint32(PACKET_OCTETS_MAX - HEADER)
PACKETS_PER_S_MAX = 500
"""What one stream may send us; G.711 in packets of 10 ms needs 100."""

CLOSER_PER_S_MAX = 300
"""Packets of one stream that are looked at one by one in a second; what is beyond is dropped, so
that a flood with a wrong SSRC costs the other streams nothing."""

_HEADER = np.uint32(HEADER)
_JITTER_EVERY_S = 0.008
"""Jitter is an average: with many packets a sample of them says the same for less."""

DigitHeard = Callable[[int, str, int], None]


@dataclass(frozen=True, slots=True)
class _Events:
    """Telephone events of a batch: whose they are, the RTP time that each lasts until, and what they say."""

    rows: NDArray[np.intp]
    ends: NDArray[np.uint32]
    digits: telephone_event.DigitReports


class Ingress:
    """What happens to received packets. Owned by the engine, which gives it its parts.

    `rows` maps a row to its `Stream`; `digit_suspected(stream)` is called before a packet is taken that may
    hold a digit; `digit_heard(row, digit, duration in timestamp units)` is
    called once for each digit; `rtcp_heard(stream, octets, now_s)` for each accepted RTCP packet;
    `revived(stream)` when a stream that had timed out is heard again.
    """

    def __init__(
        self,
        io: PacketIo,
        streams: Streams,
        sources: Sources,
        rows: list[Stream | None],
        latch: Latch,
        relay: Relay,
        timelines: Timelines,
        backlog: Backlog,
        hush: Hush,
        background: Background,
        srtp: SrtpTable,
        outlet: Outlet,
        digit_heard: DigitHeard,
        digit_suspected: Callable[[Stream], None],
        rtcp_heard: Callable[[Stream, bytes, float], None],
        revived: Callable[[Stream], None],
    ) -> None:
        self._io = io
        self._streams = streams
        self._sources = sources
        self._rows = rows
        self._latch = latch
        self._relay = relay
        self._timelines = timelines
        self._backlog = backlog
        self._hush = hush
        self._background = background
        self._srtp = srtp
        self._outlet = outlet
        self.sealed = False
        """Some row expects SRTP; kept by whoever sets keys."""
        self._digit_heard = digit_heard
        self._digit_suspected = digit_suspected
        self._rtcp_heard = rtcp_heard
        self._revived = revived
        self._next_jitter_s = 0.0
        self.events = telephone_event.EventReceiver(streams.capacity)
        self.unknown_sources = 0

    def take(self, count: int, now_s: float, *, timed: bool = True) -> None:
        """Handle the first `count` datagrams of the receive buffer; not `timed`: when they came is unknown,
        else they have just come."""
        if not timed:
            self._next_jitter_s = now_s + _JITTER_EVERY_S
        # A batch of few packets costs what its numpy calls cost: each call here is counted.
        io, streams = self._io, self._streams
        words: NDArray[np.uint32] = io.rx.headers[:count].astype(np.uint32)
        lengths = io.lengths[:count]
        rows, known = self._sources.find(io.keys[:count])
        if self.sealed:
            if np.count_nonzero(known) != count:
                self._sources.settle(rows, known, io.keys[:count], words[:, 2])
                known = rows >= 0
            self._unseal(rows, known, lengths)
        sizes = _alike(lengths)
        # Rows that mean nothing take anybody's words; they are not good.
        expected = streams.expected_words.take(rows, axis=0, mode="clip")
        plain = (words & _SEEN[:count]) == expected
        everybody_known = np.count_nonzero(known) == count
        if (
            isinstance(sizes, int)
            and HEADER <= sizes <= PACKET_OCTETS_MAX
            and everybody_known
            and np.count_nonzero(plain) == plain.size
        ):
            self._accept(None, words, sizes, rows, None, now_s)
            return
        good = plain.all(axis=1) & known
        good &= (lengths.view(np.uint32) - _HEADER) <= _PAYLOAD_MAX
        if not (everybody_known or self.sealed):
            self._sources.settle(rows, known, io.keys[:count], words[:, 2])
        if np.count_nonzero(good) == count:
            self._accept(None, words, lengths.copy(), rows, None, now_s)
            return
        course, events = self._look_closer(words, lengths, rows, good, now_s)
        chosen = good.nonzero()[0]
        if len(chosen):
            own = None if course is None else course.at(chosen)
            sizes = _alike(lengths[chosen])
            self._accept(chosen, words[chosen], sizes, rows[chosen], own, now_s)
        if events is not None:
            # Last, for a digit may end the relay that packets of this very batch take.
            self._note_ends(events)
            self.report(events.digits)

    def _accept(
        self,
        index: NDArray[np.intp] | None,
        words: NDArray[np.uint32],
        sizes: Sizes,
        rows: NDArray[np.intp],
        course: Course | None,
        now_s: float,
    ) -> None:
        """Take packets at `index` of the receive buffer (None: all, in order) on their `course` (None: that of
        their rows)."""
        streams = self._streams
        streams.came(Arrived(rows, words, sizes, now_s))
        if now_s >= self._next_jitter_s:
            self._next_jitter_s = now_s + _JITTER_EVERY_S
            self._measure_jitter(words[:, 1], rows, course, now_s)
        quiet = self._look(index, sizes, rows, course) if self._hush.watching else None
        if self._timelines.active:
            slots = streams.slot.take(rows) if course is None else course.slot
            listened = (slots >= 0).nonzero()[0]
            octets_in = self._io.rx.octets
            if len(listened) == len(rows):
                self._backlog.take(octets_in, index, sizes, rows, now_s)
            elif len(listened):
                places = listened if index is None else index[listened]
                some = sizes if isinstance(sizes, int) else sizes[listened]
                self._backlog.take(octets_in, places, some, rows[listened], now_s)
        targets = streams.target.take(rows) if course is None else course.target
        gone = targets == NONE
        if np.count_nonzero(gone):
            going = (~gone).nonzero()[0]
            if not len(going):
                return
            index = going if index is None else index[going]
            course = streams.course(rows[going]) if course is None else course.at(going)
            words, rows, targets = words[going], rows[going], targets[going]
            sizes = sizes if isinstance(sizes, int) else sizes[going]
            quiet = None if quiet is None else quiet[going]
        self._forward(index, words, sizes, rows, course, targets, quiet)
        streams.went(targets, sizes)

    def _look(
        self,
        index: NDArray[np.intp] | None,
        sizes: Sizes,
        rows: NDArray[np.intp],
        course: Course | None,
    ) -> NDArray[np.bool_] | None:
        """Look for digits in sound before it goes on: (k,) which packets shall be silent; None: none.

        Where something may be a digit its stream is listened to from this very packet on; that
        updates `course` in place.
        """
        found = self._hush.look(self._io.rx.octets, index, sizes, rows)
        if found is None:
            return None
        hint, quiet = found
        sound = np.ones(len(rows), np.bool_) if course is None else course.slot != NOT_SOUND
        suspected = set(rows[hint & sound].tolist())
        for row in suspected:
            stream = self._rows[row]
            if stream is not None:
                self._digit_suspected(stream)
        if suspected and course is not None:
            course.slot[sound] = self._streams.slot[rows[sound]]
        quiet &= sound
        return quiet

    def begin_second(self) -> None:
        """Every stream may send its share again."""
        streams = self._streams
        used = slice(0, streams.high_water)
        streams.limit[used] = streams.received[used] + np.uint64(PACKETS_PER_S_MAX * PACKET)
        streams.closer[used] = 0
        for stream in self._rows[: streams.high_water]:
            if stream is not None and stream.policed:
                stream.policed = False
                self._latch.refresh(stream)

    def police(self) -> None:
        """Shut out the streams that have sent more than their share of this second; adds up what is counted."""
        streams = self._streams
        streams.add_up()
        used = slice(0, streams.high_water)
        for row in (streams.received[used] > streams.limit[used]).nonzero()[0].tolist():
            stream = self._rows[row]
            if stream is not None:
                stream.policed = True
                self._latch.refresh(stream)

    def _measure_jitter(
        self,
        timestamps: NDArray[np.uint32],
        rows: NDArray[np.intp],
        course: Course | None,
        now_s: float,
    ) -> None:
        # RFC 3550 A.8, of one packet a stream and batch at most: the last one assigned wins.
        streams = self._streams
        if course is not None and np.count_nonzero(course.slot == NOT_SOUND):
            # The packets of an event all bear the time of its beginning (RFC 4733 2.2.1).
            sound = (course.slot != NOT_SOUND).nonzero()[0]
            timestamps, rows = timestamps[sound], rows[sound]
        transit = streams.clock_hz.take(rows)
        transit *= now_s
        transit -= timestamps
        change = transit - streams.transit.take(rows)
        streams.transit[rows] = transit
        np.abs(change, out=change)
        jitter = streams.jitter.take(rows)
        # A jump of seconds is a new time scale, not jitter; so is the first packet (NaN).
        change = np.where(change < 16_000.0, change, jitter)
        change -= jitter
        change *= 1.0 / 16.0
        change += jitter
        streams.jitter[rows] = change

    def _forward(
        self,
        index: NDArray[np.intp] | None,
        words: NDArray[np.uint32],
        sizes: Sizes,
        rows: NDArray[np.intp],
        course: Course | None,
        targets: NDArray[np.intp],
        quiet: NDArray[np.bool_] | None,
    ) -> None:
        rx, streams = self._io.rx, self._streams
        if course is None:
            head_out, change = streams.head_out.take(rows), streams.change.take(rows, axis=0)
        else:
            head_out, change = course.head_out, course.change
        if self._relay.converting:
            places = np.arange(len(rows)) if index is None else index
            self._convert(places, sizes, rows, head_out)
        if quiet is not None:
            chosen = quiet.nonzero()[0]
            places = chosen if index is None else index[chosen]
            lengths = each_of(sizes, len(rows))[chosen]
            self._hush.apply(rx.octets, places, lengths, rows[chosen])
        words = words & _KEPT[: len(words)]
        words += change
        head = words[:, 0]
        head &= _COUNTING  # a sequence number that wraps carries
        head |= head_out
        if index is None:
            rx.headers[: len(rows)] = words
        else:
            rx.headers[index] = words
        self._outlet.send(rx, index, sizes, streams.port_id.take(targets), targets)

    def _convert(
        self,
        index: NDArray[np.intp],
        sizes: Sizes,
        rows: NDArray[np.intp],
        head_out: NDArray[np.uint32],
    ) -> None:
        """Turn u-law into A-law and back, in place, where the two ends of a relay differ."""
        audio = (head_out >> 16) & 0x7F
        for code, table in ((1, g711.ULAW_TO_ALAW), (2, g711.ALAW_TO_ULAW)):
            differs = (self._relay.conversion[rows] == code) & (
                audio == self._relay.audio_out[rows]
            )
            chosen = np.flatnonzero(differs)
            if len(chosen):
                end = sizes if isinstance(sizes, int) else int(sizes[chosen].max())
                places = index[chosen]
                octets = self._io.rx.octets[places, HEADER:end]
                self._io.rx.octets[places, HEADER:end] = np.take(table, octets)

    def _unseal(
        self, rows: NDArray[np.intp], known: NDArray[np.bool_], lengths: NDArray[np.int32]
    ) -> None:
        """Check and decrypt what must be SRTP, before anybody believes it; the rest is nobody's."""
        io, srtp = self._io, self._srtp
        keyed = (srtp.inbound[rows] & (rows >= 0)).nonzero()[0]
        fit = (lengths[keyed] >= 8) & (lengths[keyed] <= PACKET_OCTETS_MAX)
        known[keyed[~fit]] = False
        np.add.at(self._streams.drops[:, MALFORMED], rows[keyed[~fit]], 1)
        rows[keyed[~fit]] = -1
        keyed = keyed[fit]
        second = io.rx.octets[keyed, 1]
        control = (second >= 192) & (second <= 223)
        for rtcp in (False, True):
            some = keyed[control == rtcp]
            if not len(some):
                continue
            packets, sizes = io.rx.octets[some], lengths[some]
            genuine = srtp.unprotect(rows[some], packets, sizes, rtcp=rtcp)
            io.rx.octets[some] = packets
            lengths[some] = sizes
            forged = some[~genuine]
            np.add.at(self._streams.drops[:, SRTP], rows[forged], 1)
            rows[forged] = -1
            known[forged] = False

    def _look_closer(
        self,
        words: NDArray[np.uint32],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
        good: NDArray[np.bool_],
        now_s: float,
    ) -> tuple[Course | None, _Events | None]:
        """Decide on the packets that are not plain; updates `good` and headers in place.

        Returns where all of the packets go, None: where their rows say; and what telephone events there
        were, which is to be told when the packets have gone on.
        """
        doubtful = np.flatnonzero(~good & (rows >= 0))
        self.unknown_sources += int((rows < 0).sum())
        shut_out = self._streams.expected_words[rows[doubtful], HEAD] == POLICED_HEAD
        if shut_out.any():
            np.add.at(self._streams.drops[:, POLICED], rows[doubtful[shut_out]], 1)
            doubtful = doubtful[~shut_out]
        if not len(doubtful):
            return None, None
        self._strip(doubtful, words, lengths, rows, good)
        doubtful = doubtful[~good[doubtful]]
        closer = self._streams.closer
        np.add.at(closer, rows[doubtful], 1)
        flooded = closer[rows[doubtful]] > CLOSER_PER_S_MAX
        if flooded.any():
            np.add.at(self._streams.drops[:, POLICED], rows[doubtful[flooded]], 1)
            doubtful = doubtful[~flooded]
        events: list[int] = []
        # Before anything changes: what has come before a change goes as it would have gone.
        course = self._streams.course(rows)
        plain = np.count_nonzero(good)
        for place in doubtful.tolist():
            self._settle(place, words, lengths, rows, course, good, events, now_s)
        told = self._hear_events(np.array(events), words, lengths, rows, now_s) if events else None
        return None if np.count_nonzero(good) == plain else course, told

    def _strip(
        self,
        doubtful: NDArray[np.intp],
        words: NDArray[np.uint32],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
        good: NDArray[np.bool_],
    ) -> None:
        """Take extension, CSRC list and padding out: the peers agreed on none of them with us."""
        odd = doubtful[(words[doubtful, 0] & _ODD_BITS) != 0]
        odd = odd[(lengths[odd] >= HEADER) & (lengths[odd] <= PACKET_OCTETS_MAX)]
        kind = (words[odd, 0] >> 16) & 0xFF
        odd = odd[(kind < 192) | (kind > 223)]  # RTCP counts its blocks in these bits
        if not len(odd):
            return
        octets = self._io.rx.octets
        columns = rtp.parse(octets[odd], lengths[odd])
        for start in np.unique(columns.payload_at[columns.ok]).tolist():
            some = columns.ok & (columns.payload_at == start)
            places = odd[some]
            size = columns.payload_octets[some]
            end = int(size.max())
            octets[places, HEADER : HEADER + end] = octets[places, start : start + end]
            lengths[places] = size + HEADER
            words[places, 0] &= ~_ODD_BITS
        expected = self._streams.expected_words[rows[odd]]
        fine = (words[odd, 0] & _MASK) == expected[:, HEAD]
        fine &= words[odd, 2] == expected[:, SSRC]
        good[odd] = fine & columns.ok

    def _settle(
        self,
        place: int,
        words: NDArray[np.uint32],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
        course: Course,
        good: NDArray[np.bool_],
        events: list[int],
        now_s: float,
    ) -> None:
        row = int(rows[place])
        stream = self._rows[row]
        length = int(lengths[place])
        drops = self._streams.drops
        if stream is None:
            return
        if length > PACKET_OCTETS_MAX:
            drops[row, OVERSIZE] += 1
            return
        first = int(words[place, 0])
        if length >= 8 and first >> 30 == 2 and 192 <= (first >> 16) & 0xFF <= 223:
            if self._latch.admits_rtcp(stream, int(self._io.keys[place])):
                self._rtcp_heard(stream, self._io.rx.octets[place, :length].tobytes(), now_s)
            else:
                drops[row, RTCP] += 1
            return
        if length < HEADER or first >> 24 != 0x80:
            drops[row, MALFORMED] += 1
            return
        # Another source or another time scale may begin here: what waits belongs to the one before.
        self._backlog.flush()
        key, ssrc = int(self._io.keys[place]), int(words[place, 2])
        verdict = self._latch.admit(stream, place, key, first, ssrc, now_s)
        if verdict == DROP:
            return
        good[place] = True
        if stream.timed_out:
            self._revived(stream)
        if stream.unsynced:
            self._relay.sync(stream, first & 0xFFFF, int(words[place, 1]), now_s)
            words[place, 0] |= _MARKER
        course.renew(place, row, self._streams)
        if verdict == EVENT:
            events.append(place)
            self._relay.redirect(course, place, stream, "event", words, rows)
        elif verdict == NOISE:
            self._relay.redirect(course, place, stream, "noise", words, rows)
            payload = self._io.rx.octets[place, HEADER:length].tobytes()
            self._background.hear(stream, payload, int(words[place, 1]))

    def _hear_events(
        self,
        places: NDArray[np.intp],
        words: NDArray[np.uint32],
        lengths: NDArray[np.int32],
        rows: NDArray[np.intp],
        now_s: float,
    ) -> _Events:
        packets = self._io.rx.octets[places, : HEADER + telephone_event.PAYLOAD_OCTETS]
        at = np.full(len(places), HEADER, np.int32)
        columns = telephone_event.parse(packets, at, lengths[places] - HEADER)
        own, begun = rows[places], words[places, 1]
        reports = self.events.receive(own, begun, columns, now_s)
        return _Events(own, begun + columns.duration, reports)

    def _note_ends(self, events: _Events) -> None:
        """An event goes on while its timestamp stands still (RFC 4733 2.2.1): who feeds the row that it is
        relayed to next goes on from its end."""
        streams = self._streams
        for row, end in zip(events.rows.tolist(), events.ends.tolist(), strict=True):
            latest = (end - round(FRAME_S * float(streams.clock_hz[row]))) & 0xFFFFFFFF
            if 0 < (latest - int(streams.timestamp[row])) & 0xFFFFFFFF < 1 << 31:
                streams.timestamp[row] = latest

    def report(self, reports: telephone_event.DigitReports) -> None:
        """Pass on the digits that are over."""
        for row, digit, duration in reports.over():
            self._digit_heard(row, digit, duration)


def _alike(lengths: NDArray[np.int32]) -> Sizes:
    """Return the length of all packets if they have but one, otherwise `lengths`."""
    first = int(lengths[0])
    return first if np.count_nonzero(lengths == first) == len(lengths) else lengths
